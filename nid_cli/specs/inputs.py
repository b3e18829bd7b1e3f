"""What a network reads, as the command line says it: ``3x64x64`` (numbers) or ``16:100`` (whole numbers). No torch."""

from __future__ import annotations

import re
from typing import NamedTuple

from nid_cli.errors import UsageError

_INPUT = re.compile(r"([1-9][0-9]{0,8}(?:x[1-9][0-9]{0,8})*)(?::([1-9][0-9]{0,8}))?")


class InputText(NamedTuple):
    """One sample's shape, and where it is whole numbers, what they are below."""

    shape: tuple[int, ...]
    vocabulary: int | None = None


def parse_input(text: str) -> InputText:
    """``3x64x64``: 3 x 64 x 64 numbers; ``16:100``: 16 whole numbers below 100.

    Raises:
        UsageError: the text is neither.
    """
    if (found := _INPUT.fullmatch(text.strip())) is None:
        raise UsageError(
            f"{text!r} says no input",
            "3x64x64 is 3 x 64 x 64 numbers, 16:100 is 16 whole numbers below 100; leave out the number of samples",
        )
    return InputText(tuple(map(int, found[1].split("x"))), int(found[2]) if found[2] else None)
