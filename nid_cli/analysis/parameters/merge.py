"""Of ``nid merge``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.choices import know
from nid_cli.analysis.parameters.corrections import corrections, know_repair, refuse_corrections
from nid_cli.nets.graph import Graph
from nid_cli.specs import MERGES


@dataclass(frozen=True, kw_only=True)
class MergeParameters(Parameters):
    """``align``: names of ``specs.MERGES``. ``bn_reset`` and ``repair``: as in :class:`LmcParameters`."""

    align: tuple[str, ...] = ("none", "first", "many", "cycle")
    bn_reset: bool = False
    repair: str | None = None

    def __post_init__(self) -> None:
        know("alignment", self.align, list(MERGES))
        know_repair(self.bn_reset, self.repair)

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each alignment."""
        common = self.common("align", "bn_reset", "repair") | corrections(self.bn_reset, self.repair, graph)
        for name in self.align:
            yield {"align": name, **common, **MERGES[name].parameters.canonical()}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Some group must have batch norms where they are to be reset, and pre-activations to be repaired."""
        refuse_corrections(self.bn_reset, self.repair, graphs)
