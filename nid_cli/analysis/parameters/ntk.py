"""Of ``nid ntk``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.choices import know
from nid_cli.errors import UsageError
from nid_cli.nets.graph import Graph
from nid_cli.specs import SPLITS

# Of one kernel.
MOST_SAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class KernelParameters(Parameters):
    """So many ``samples`` of a ``split``, of each class equally many."""

    samples: int = 100
    split: str = "train"

    def __post_init__(self) -> None:
        know("split", [self.split], SPLITS)
        if not 2 <= self.samples <= MOST_SAMPLES:
            raise UsageError(f"samples must lie between 2 and {MOST_SAMPLES}, not {self.samples}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each model, or pair."""
        yield self.common()


@dataclass(frozen=True, kw_only=True)
class NtkParameters(KernelParameters):
    """The same, of models beside their own epoch 0 and the epoch saved before."""

    def also(self, epoch: int, known: Collection[int]) -> tuple[int, ...]:
        """Epoch 0 and the saved one before, in order: the same at the first epoch after 0."""
        earlier = [other for other in known if other < epoch]
        return tuple(sorted({0, max(earlier)} & set(earlier))) if earlier else ()

    def lacking(self, epoch: int, also: Collection[int] = ()) -> str | None:
        """Why nothing is compared with the initialization."""
        if epoch == 0 or 0 in also:
            return None
        return (
            "no comparison with the initialization and no linearization, because epoch 0 of these models is not in the "
            "registry; nid register --init takes initializations in"
        )
