"""The one table of alignments: how the second model of a pair is permuted to match the first. No torch.

A new alignment is one entry here and one function ``(graph, a, b, data, parameters) -> Permutation``; everything else
(option, key, curves, figures, report) follows from the entry.
"""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.specs.canonical import Canonical, later


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """One way to align, by its ``name`` in options and records and its ``label`` in figures.

    ``function`` is ``module:name``; None leaves the second model as it is. ``parameters`` are part of a result's key.
    ``reads_data``: whether it looks at activations. ``reference``: who proposed it.
    """

    name: str
    label: str
    function: str | None = None
    reads_data: bool = False
    reference: str = ""
    parameters: Canonical


@dataclass(frozen=True, kw_only=True)
class ByActivations(Canonical):
    """Where activations are recorded, and how neurons are compared."""

    at: str = later("post_activation")
    similarity: str = later("pearson")


@dataclass(frozen=True, kw_only=True)
class ByWeights(Canonical):
    """How many starts the coordinate descent has, which, and the seed of the random ones.

    ``starts``: "anchored" ones go from the inputs and outputs on, then the identity, then random permutations. Results
    without it started from the identity.
    """

    restarts: int = 5
    starts: str = "anchored"
    seed: int = later(0)


@dataclass(frozen=True, kw_only=True)
class NoParameters(Canonical):
    """Nothing to choose."""


ALIGNMENTS: dict[str, Alignment] = {
    alignment.name: alignment
    for alignment in (
        Alignment(name="none", label="no alignment", parameters=NoParameters()),
        Alignment(
            name="activation",
            label="aligned by activations",
            function="nid_cli.analysis.match:align_by_activations",
            reads_data=True,
            reference="Li et al. 2016; Ainsworth et al. 2023, section 3.1",
            parameters=ByActivations(),
        ),
        Alignment(
            name="weight",
            label="aligned by weights",
            function="nid_cli.analysis.weight_matching:align_by_weights",
            reference="Ainsworth et al. 2023, section 3.2",
            parameters=ByWeights(),
        ),
    )
}
