"""Of ``nid coherence``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.bounds import check_share, refuse_wide
from nid_cli.analysis.parameters.choices import by_name, choose, output_of
from nid_cli.nets.graph import Graph


@dataclass(frozen=True, kw_only=True)
class CoherenceParameters(Parameters):
    """The share of the inputs' variance that a layer's principal subspace holds; ``layers`` by index or name (or
    ``output``), None for all."""

    explained_variance: float = 0.9
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_share(self.explained_variance)

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each weighted layer, and one for the output."""
        for layer in self._layers(graph):
            yield {"layer": layer, **self.common("layers")}

    def _layers(self, graph: Graph) -> list[str]:
        names = [*graph.layers, output_of(graph)]
        return names if self.layers is None else choose(self.layers, by_name(names))

    def check(self, graphs: Sequence[Graph]) -> None:
        """Covariances must fit into memory."""
        for graph in graphs:
            wide = {output_of(graph): graph.outputs} | {name: layer.fan_in for name, layer in graph.layers.items()}
            refuse_wide([(name, wide[name]) for name in self._layers(graph)])
