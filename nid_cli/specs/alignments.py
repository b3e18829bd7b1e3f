"""The one table of alignments: how the second model of a pair is permuted to match the first. No torch.

A new alignment is one entry here and one function ``(graph, a, b, data, parameters) -> Permutation``; everything else
(option, key, curves, figures, report) follows from the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nid_cli.errors import UsageError
from nid_cli.specs.canonical import Canonical, later


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """One way to align, by its ``name`` in options and records and its ``label`` in figures.

    ``function`` is ``module:name``; None leaves the second model as it is. ``parameters`` are part of a result's key;
    ``chosen`` are those that a request may set. ``reads_data``: whether it looks at samples. ``reference``: who
    proposed it.
    """

    name: str
    label: str
    function: str | None = None
    reads_data: bool = False
    reference: str = ""
    parameters: Any
    chosen: tuple[str, ...] = ()

    def parameters_of(self, request: Mapping[str, Any]) -> Any:
        """Its parameters, with those that a request chooses.

        Raises:
            UsageError: a value that cannot be.
        """
        return replace(self.parameters, **{name: request[name] for name in self.chosen if name in request})


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
class ByLearning(ByWeights):
    """How weights are matched for the start, and the training of free weights from there on.

    ``learn_steps`` of SGD with ``learning_rate`` and ``momentum``, on batches of ``batch_size`` samples in an order by
    ``seed``; the permutation of every ``judged_every``-th step is tried on the training split. ``bn_reset``: with the
    statistics of batch norms estimated anew.

    Raises:
        UsageError: a number of steps that cannot be.
    """

    seed: int = 0
    learn_steps: int = 200
    learning_rate: float = 0.01
    momentum: float = 0.9
    batch_size: int = 256
    judged_every: int = 10
    bn_reset: bool = later(False)

    def __post_init__(self) -> None:
        if not 1 <= self.learn_steps <= 100_000:
            raise UsageError(f"learn-steps must lie between 1 and 100000, not {self.learn_steps}")


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
        Alignment(
            name="learned",
            label="aligned by learning",
            function="nid_cli.analysis.straight_through:align_by_learning",
            reads_data=True,
            reference="Ainsworth et al. 2023, section 3.3",
            parameters=ByLearning(),
            chosen=("learn_steps", "bn_reset"),
        ),
    )
}
