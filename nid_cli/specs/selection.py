"""Selectors as a value: which groups, models, epochs and pairs a command is about, and how their texts are read."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.specs.kappa import Kappa

# As ``pairs``: two epochs of one model.
PATHS = "epochs"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selectors: values of one are alternatives, all given ones hold. ``sweep``: groups of the sweeps of these names.

    ``models``: ``1,2,5-8`` or None for all that are complete. ``epochs``: ``last``, ``all``, ``0,5,10``, ``0:100:5``.
    """

    arch: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    symmetry: tuple[str, ...] = ()
    kappa: tuple[Kappa, ...] = ()
    group: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()
    models: str | None = None
    epochs: str = "last"


def parse_numbers(text: str, what: str) -> list[int]:
    """``1,2,5-8`` as a sorted list of distinct numbers.

    Raises:
        UsageError: it cannot be read so.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"{what} must read like 1,2,5-8, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > 100_000:
            raise UsageError(f"{what} names too many numbers: {part}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def parse_epochs(text: str, available: Collection[int]) -> list[int]:
    """The epochs that ``text`` names among those ``available`` (sorted).

    ``0:100:5`` is every fifth from 0 to 100 inclusive and skips what is not there; a listed epoch must be there.

    Raises:
        UsageError: it cannot be read. NotFoundError: an epoch was named that is not there.
    """
    if text == "last":
        return [max(available)]
    if text == "all":
        return sorted(available)
    if match := re.fullmatch(r"(\d{1,9}):(\d{1,9})(?::(\d{1,9}))?", text):
        start, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if step < 1 or stop < start:
            raise UsageError(f"epochs must read like 0:100:5, not {text!r}")
        found = [e for e in sorted(available) if start <= e <= stop and (e - start) % step == 0]
        if not found:
            raise NotFoundError(f"no epoch in {text} has checkpoints", f"there are {listed(available)}")
        return found
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise UsageError(f"epochs must be last, all, 0,5,10 or 0:100:5, not {text!r}")
    wanted = sorted({int(part) for part in text.split(",")})
    if missing := [e for e in wanted if e not in available]:
        raise NotFoundError(
            f"epoch {missing[0]} has no checkpoint of every selected model", f"there are {listed(available)}"
        )
    return wanted


def parse_pairs(text: str, numbers: list[int]) -> list[tuple[int, int]]:
    """Pairs of model numbers: ``all``, ``disjoint`` (1-2, 3-4, ...), or ``1-2,3-4``.

    Raises:
        UsageError: it cannot be read. NotFoundError: a named model is not selected.
    """
    if text == "all":
        return list(combinations(numbers, 2))
    if text == "disjoint":
        return list(zip(numbers[::2], numbers[1::2], strict=False))
    pairs = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})-(\d{1,9})\s*", part)
        if not match:
            raise UsageError(
                f"pairs must be all, disjoint or like 1-2,3-4, not {text!r}",
                f"nid lmc --pairs {PATHS} pairs two epochs of one model",
            )
        pair = int(match[1]), int(match[2])
        if pair[0] == pair[1]:
            raise UsageError(f"pairs are of two models, and {part.strip()} names one", "--pairs 1-2")
        if missing := [number for number in pair if number not in numbers]:
            raise NotFoundError(f"there is no model {missing[0]} to pair", f"models selected: {listed(numbers)}")
        pairs.append(pair)
    return list(dict.fromkeys(pairs))


def listed(numbers: Collection[int]) -> str:
    """Numbers as a sentence names them: all, or the first ten and the last."""
    ordered = sorted(numbers)
    shown = [str(n) for n in ordered] if len(ordered) <= 12 else [*map(str, ordered[:10]), "...", str(ordered[-1])]
    return ", ".join(shown) or "none"
