"""Kappa: the scale of what a symmetry type fixes, one number or one for each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nid_cli.errors import UsageError
from nid_cli.specs.canonical import canonical_json


@dataclass(frozen=True)
class Kappa:
    """One kappa for each layer; a single one stands for all layers; none where the symmetry type has no kappa.

    Two of them mean the same where their :attr:`json` is equal.

    Raises:
        UsageError: a kappa that is negative or not finite.
    """

    layers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(not math.isfinite(k) or k < 0 for k in self.layers):
            given = ", ".join(f"{k:g}" for k in self.layers)
            raise UsageError(f"kappa must be a number that is not negative, not {given}")

    @classmethod
    def of(cls, value: Any) -> Kappa:
        """The kappa that a record, a column or a caller of Python gives: None, a number, or one number for each layer.

        Raises:
            UsageError: it is something else.
        """
        if isinstance(value, Kappa):
            return value
        try:
            numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            return cls(() if value is None else tuple(float(k) + 0.0 for k in numbers))  # -0.0 becomes 0.0
        except (TypeError, ValueError):
            raise UsageError(f"kappa must be a number or a list of numbers, not {value!r}") from None

    @classmethod
    def parse(cls, text: str) -> Kappa:
        """``1``, ``1,1,0.5`` (one for each layer) or ``null``.

        Raises:
            UsageError: it cannot be read so.
        """
        if text.strip().lower() in ("null", "none"):
            return cls()
        try:
            return cls.of([float(part) for part in text.split(",")])
        except ValueError:
            raise UsageError(f"kappa must be a number, or several like 1,1,0.5, not {text!r}") from None

    @property
    def json(self) -> float | list[float] | None:
        """As records show it: None, one number where all layers agree, else a list."""
        if not self.layers:
            return None
        return self.layers[0] if len(set(self.layers)) == 1 else list(self.layers)

    @property
    def column(self) -> str:
        """As the registry's columns hold it."""
        return canonical_json(self.json)

    @property
    def numbers(self) -> tuple[float, ...]:
        """What is distinct: none, the one number of all layers, or one for each layer."""
        return self.layers[:1] if len(set(self.layers)) == 1 else self.layers

    @property
    def order(self) -> tuple[int, tuple[float, ...]]:
        """Where it stands among others: none, then numbers by size, then lists."""
        return len(self.numbers), self.numbers

    def __str__(self) -> str:
        """As an option takes it: ``null``, ``1``, ``1,0.5``."""
        return ",".join(map(_short, self.numbers)) or "null"


def _short(number: float) -> str:
    """The shortest text that reads back as this number."""
    text = f"{number:g}"
    return text if float(text) == number else repr(number)
