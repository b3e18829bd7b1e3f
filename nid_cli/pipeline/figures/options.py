"""How the texts of figures' options are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nid_cli.errors import UsageError
from nid_cli.pipeline.choices import layers, parse_numbers

# Options that are read from text: how.
READ: dict[str, Callable[[Any], Any]] = {"layers": layers, "betas": lambda text: parse_numbers(text, "betas")}


def reader(option: str, default: Any) -> Callable[[Any], Any]:
    """How an option is read: as ``READ`` says, a comma list as values of the type of its default's first."""
    if option in READ:
        return READ[option]
    if not isinstance(default, tuple):
        return lambda value: value
    kind = type(default[0]) if default else str

    def read(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part.strip()) for part in text.split(","))
        except ValueError:
            raise UsageError(
                f"{option.replace('_', '-')} must be like {','.join(map(str, default))}, not {text!r}"
            ) from None

    return read
