"""Of ``nid match``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from nid_cli.analysis.catalog import SIMILARITIES
from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.choices import choose, know
from nid_cli.errors import UsageError
from nid_cli.nets.graph import SITES, Graph


@dataclass(frozen=True, kw_only=True)
class MatchParameters(Parameters):
    """``random``: so many random permutations for the baseline. ``layers``: spaces, by label or name, None for all."""

    at: tuple[str, ...] = ("post_activation",)
    similarity: tuple[str, ...] = ("pearson",)
    random: int = 100
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        know("recording point", self.at, SITES)
        know("similarity", self.similarity, list(SIMILARITIES))
        if not 0 <= self.random <= 100_000:
            raise UsageError(f"random must lie between 0 and 100000, not {self.random}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each recording site, similarity and hidden layer that has the site."""
        labels = {str(space.label): space.name for space in graph.spaces}
        chosen = set(labels.values() if self.layers is None else choose(self.layers, labels, "space"))
        common = self.common("at", "similarity", "layers")
        for at, similarity, space in product(self.at, self.similarity, graph.spaces):
            if at in space.sites and space.name in chosen:
                yield common | {"layer": space.name, "at": at, "similarity": similarity}

    def check_not_empty(self, graphs: Sequence[Graph]) -> None:
        """Says which sites there are."""
        found = {site for graph in graphs for space in graph.spaces for site in space.sites}
        if not any(graph.spaces for graph in graphs):
            raise UsageError("the selected networks have no neurons that could be permuted, so none to match")
        known = [site for site in SITES if site in found]
        raise UsageError(
            f"the chosen neurons of the selected networks are not recorded at {' or '.join(self.at)}",
            f"--at {','.join(known)}" if known else None,
        )
