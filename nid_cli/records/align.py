"""What ``nid align`` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nid_cli.records.base import EPOCH, GROUP, Record, column


@dataclass(frozen=True, kw_only=True)
class Aligned(Record):
    """A model permuted to match another, as files."""

    schema = "nid.align/1"
    about = (*GROUP[:1], EPOCH)

    models: Sequence[int] = column("The first model, and the second, which is permuted")
    align: str = column("How, by its name in `--align`")
    distance_before: float = column("L2 distance of their parameters")
    distance_after: float = column("The same after the alignment")
    objective_before: float = column("Inner product of their parameters")
    objective_after: float = column("The same after the alignment")
    moved: float = column("The share of neurons that changed their place")
    path: str = column("The file of the permuted state dictionary")
    sha256: str = column("Its SHA-256")
    permutation_path: str | None = column(
        "The file of the permutation, where one was asked for", title="permutation", default=None
    )
    permutation_sha256: str | None = column("Its SHA-256", default=None)
