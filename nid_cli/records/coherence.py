"""How coherent a layer's principal subspace is, and how unevenly masks cut it (docs/science.md, 8)."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import MODEL, Record, column, nested
from nid_cli.records.subspace import SubspaceSummary


@dataclass(frozen=True, kw_only=True)
class Coherence(Record):
    """One layer of a model."""

    schema = "nid.coherence/1"
    about = MODEL

    layer: int | str = column("The weighted layer whose inputs are meant: its 0-based index or its name; or output")
    subspace: SubspaceSummary = nested(SubspaceSummary)
    anisotropy: list[float] = column("Operator norm of S_i - p I for each neuron")
    anisotropy_mean: float | None = column("Its mean over neurons; None for the output", title="anisotropy")
    anisotropy_bounds: dict[str, float] = column("For each delta what it does not exceed with probability 1 - delta")
    share_above_bounds: dict[str, float | None] = column("For each delta the share of the neurons above that bound")
