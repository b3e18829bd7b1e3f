"""What records say of the principal subspace of a layer's inputs (docs/science.md, 6 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import column


@dataclass(frozen=True, kw_only=True)
class SubspaceSummary:
    """The principal subspace of a layer's inputs."""

    subspace_dimension: int = column("Principal directions that reach the wanted share of variance, k", title="k")
    full_dimension: int = column("Dimension of the layer's inputs, d", title="d")
    explained_variance: float = column("Share of the inputs' variance in the subspace")
    coherence: float = column("Coherence: the greatest squared norm of a coordinate projected onto the subspace")
