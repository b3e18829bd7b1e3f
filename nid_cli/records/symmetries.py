"""``nid.symmetries/1``: what may be permuted in a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nid_cli.records.base import Record, column


@dataclass(frozen=True, kw_only=True)
class PermutationPlaces(Record):
    """One permutation space of a network (``nid symmetries``): neurons that one permutation moves together.

    The document has a `summary` beside its records: `spaces`, `parameters`, `moved` (the share of parameters in tensors
    that some space moves), `error` (the greatest relative change of the outputs in float64 under a random permutation
    of every space), `pinned` (a list of `reason` and `count`) and `seconds`.
    """

    schema = "nid.symmetries/1"

    label: str | int = column("The space's name in other records")
    size: int = column("How many neurons it has")
    depends_on: str | int | None = column(
        "The space of which each position has a permutation of its own here: the heads, of what is inside of them",
        title="inside of",
    )
    places: Sequence[Sequence[Any]] = column("Where it acts: stored tensors, each with the axis (0-based)")
