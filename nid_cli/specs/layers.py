"""Settings of which each weighted layer has its own: one value, a list, or values by name pattern. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from nid_cli.errors import UsageError

EVERY = "*"


def parse_by_layer(text: str, what: str) -> list[float] | dict[str, float]:
    """``0.5``, ``1,1,0.5`` (one for each layer), ``blocks.*.mlp.*=0.25,head=0``, or ``0.5,head=0``.

    Raises:
        UsageError: it cannot be read so.
    """
    numbers: list[float] = []
    patterns: dict[str, float] = {}
    for part in text.split(","):
        pattern, equals, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(
                f"{what} must be a number, several like 1,1,0.5, or PATTERN=NUMBER, not {part!r} in {text!r}"
            ) from None
        if equals:
            patterns.pop(pattern.strip(), None)  # the last one counts
            patterns[pattern.strip()] = value
        else:
            numbers.append(value)
    if not patterns:
        return numbers
    if len(numbers) > 1:
        raise UsageError(f"{what} takes one number for each layer, or PATTERN=NUMBER and one number for the others")
    return {EVERY: numbers[0], **patterns} if numbers else patterns


def by_layer(
    value: Any, names: Sequence[Sequence[str]], what: str, otherwise: Callable[[], Sequence[float]]
) -> list[float]:
    """One number for each layer.

    Args:
        value: a number, a sequence, or a mapping of patterns, of which the last that fits counts.
        names: what each layer may be called.
        otherwise: the numbers of those that no pattern fits.

    Raises:
        UsageError: a sequence of another length, or a pattern that fits no layer.
    """
    if isinstance(value, Mapping):
        found = list(otherwise())
        for pattern, number in value.items():
            fits = [at for at, own in enumerate(names) if any(fnmatchcase(name, pattern) for name in own)]
            if not fits:
                shown = ", ".join(own[0] for own in names)
                raise UsageError(f"{what}: no layer is called {pattern!r}", f"the layers are {shown}")
            for at in fits:
                found[at] = float(number)
        return found
    numbers = [float(v) for v in (value if isinstance(value, Sequence) and not isinstance(value, str) else [value])]
    if len(numbers) == 1:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise UsageError(f"{what} takes one number or one for each of the {len(names)} layers, not {len(numbers)}")
    return numbers
