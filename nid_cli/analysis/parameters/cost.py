"""Of ``nid cost``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nid_cli.analysis.catalog import METHODS, SOLVERS
from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.bounds import check_share, refuse_many, refuse_wide
from nid_cli.analysis.parameters.choices import by_name, choose, know
from nid_cli.errors import UsageError
from nid_cli.nets.graph import Graph

# Of a convolution the ridge estimate takes so many patches where no --subsample is given.
PATCHES = 20_000
# The parameters of the ridge estimate alone that all betas share.
RIDGE = ("neurons", "solver", "iterations", "subsample")


@dataclass(frozen=True, kw_only=True)
class CostParameters(Parameters):
    """``layers``: by 0-based index or name, None for all. What follows belongs to the ridge estimate alone:

    ``betas`` (temperatures), ``neurons`` (all ordered pairs of the first so many), ``solver``, ``iterations`` and
    ``subsample`` (None: the solver's, or the data's, own).
    """

    method: str = "mahalanobis"
    explained_variance: float = 0.9
    layers: tuple[str, ...] | None = None
    betas: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    neurons: int = 16
    solver: str = "lbfgs"
    iterations: int | None = None
    subsample: int | None = None

    def __post_init__(self) -> None:
        know("method", [self.method], METHODS)
        know("solver", [self.solver], list(SOLVERS))
        check_share(self.explained_variance)
        if not self.betas or any(not 0 < beta < float("inf") for beta in self.betas):
            raise UsageError(f"betas must be positive numbers, not {', '.join(map(str, self.betas))}")
        for name in ("neurons", "iterations", "subsample"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each layer, and for ridge for each beta."""
        common = self.common("layers", "betas")
        for layer in self._layers(graph):
            if self.method != "ridge":
                yield {name: value for name, value in common.items() if name not in RIDGE} | {"layer": layer}
                continue
            usual = PATCHES if graph.layers[layer].patches or graph.rows_of(graph.layers[layer]) > 1 else None
            for beta in dict.fromkeys(self.betas):
                yield common | {"layer": layer, "subsample": self.subsample or usual, "beta": beta}

    def _layers(self, graph: Graph) -> list[str]:
        names = list(graph.layers)
        return names if self.layers is None else choose(self.layers, by_name(names))

    def check(self, graphs: Sequence[Graph]) -> None:
        """Costs of all pairs, and covariances, must fit into memory; ridge must know each layer's activation."""
        for graph in graphs:
            names = self._layers(graph)
            layers = [graph.layers[name] for name in names]
            refuse_wide([(layer.name, layer.fan_in) for layer in layers])
            if self.method != "ridge":  # which is of the first neurons alone
                refuse_many([(layer.name, layer.channels) for layer in layers])
            elif wrong := [name for name in names if name in graph.not_followed]:
                function = graph.not_followed[wrong[0]].function.partition(".")[0]
                others = ",".join(name for name in names if name not in wrong)
                raise UsageError(
                    f"the ridge estimate cannot tell the activation of {wrong[0]}: what follows it, {function}, is no "
                    "activation of one call that treats all neurons alike",
                    f"--layers {others}" if others else "leave the layer out with --layers",
                )
