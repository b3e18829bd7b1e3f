"""``nid cost``: what it costs a neuron to realize another's function, by two estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import Graph, Op, layer_label
from nid_cli.pipeline.analyse import Lab, Values, analyse
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.subspaces import Subspaces, by_model, check_share, need_models
from nid_cli.recipes import graph_of
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import Subject
from nid_cli.registry.selection import Selection, select_models

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nid_cli.analysis.cost import Costs
    from nid_cli.analysis.ridge import RidgeFit
    from nid_cli.analysis.ridge_problem import Layer
    from nid_cli.analysis.subspace import Subspace

METHODS = ("mahalanobis", "ridge")
SOLVERS = ("lbfgs", "adamw")
# Of a convolution the ridge estimate takes so many patches where no --subsample is given.
PATCHES = 20_000
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """Settings of the ridge estimate; None takes the solver's or the data's own."""

    betas: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    neurons: int = 16
    solver: str = "lbfgs"
    iterations: int | None = None
    subsample: int | None = None

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise unknown("solver", self.solver, SOLVERS)
        if not self.betas or any(not 0 < beta < float("inf") for beta in self.betas):
            raise UsageError(f"betas must be positive numbers, not {', '.join(map(str, self.betas))}")
        for name in ("neurons", "iterations", "subsample"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")


def subjects(
    context: Context,
    selection: Selection,
    *,
    method: str = "mahalanobis",
    explained_variance: float = 0.9,
    layers: Sequence[str] | None = None,
    ridge: Ridge | None = None,
) -> list[Subject]:
    """The (group, epoch, model, layer and, for ridge, beta) that a call speaks of, in order.

    Args:
        layers: weighted layers by their 0-based index or their name in records; None takes all.

    Raises:
        UsageError, NotFoundError: a selector or setting cannot be, or nothing is selected.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    check_share(explained_variance)
    own: list[dict[str, Any]] = [{"method": method}]
    if method == "ridge":
        settings = ridge or Ridge()
        shared = {name: getattr(settings, name) for name in ("neurons", "solver", "iterations", "subsample")}
        own = [{"method": method, **shared, "beta": beta} for beta in dict.fromkeys(settings.betas)]
    registry = open_for_writing(context.registry)
    found = []
    with registry.read() as connection:
        for selected in select_models(connection, selection):
            graph = graph_of(selected.group.settings)
            names = _layer_names(graph, layers)
            for epoch in selected.epochs:
                for model in selected.models:
                    for layer in names:
                        for parameters in own:
                            full = {"layer": layer, "explained_variance": explained_variance, **parameters}
                            if method == "ridge" and graph.by_name[layer].kind == "conv":
                                full["subsample"] = full["subsample"] or PATCHES
                            found.append(Subject("cost", selected.group, epoch, (model,), full))
    need_models(found)
    return found


def cost(
    context: Context, wanted: Sequence[Subject], *, force: bool = False, matrices: bool = False
) -> list[dict[str, Any]]:
    """Records of costs (``nid.cost/1``) for ``wanted``, in its order; what is missing is computed.

    Args:
        matrices: put the n x n matrices into the records.

    Raises:
        IntegrityError: files or data are not what was recorded.
    """
    return analyse(context, "cost", wanted, _compute, force=force, matrices=matrices)


def _layer_names(graph: Graph, layers: Sequence[str] | None) -> list[str]:
    names = [op.name for op in graph.weighted]
    if layers is None:
        return names
    known = dict(zip(names, names, strict=True)) | {str(index): name for index, name in enumerate(names)}
    if wrong := [layer for layer in layers if layer not in known]:
        raise UsageError(f"there is no layer {wrong[0]}; layers are 0 to {len(names) - 1}, or {', '.join(names)}")
    return list(dict.fromkeys(known[layer] for layer in layers))


def _compute(lab: Lab, missing: Sequence[Subject]) -> Iterator[tuple[Subject, Values]]:
    """One pass over the data a model serves all its layers."""
    for group, epoch, model, batch in by_model(lab, missing, "cost"):
        subspaces = Subspaces(lab, group, epoch, model, [s.parameters["layer"] for s in batch])
        graph = graph_of(group.settings)
        for layer in dict.fromkeys(s.parameters["layer"] for s in batch):
            own = [s for s in batch if s.parameters["layer"] == layer]
            subspace = subspaces.of(layer, own[0].parameters["explained_variance"])
            costs = _mahalanobis(lab, group, layer, subspaces, subspace)
            common = {"layer": layer_label(layer), "method": own[0].parameters["method"], **subspace.summary()}
            if own[0].parameters["method"] == "mahalanobis":
                for subject in own:
                    yield subject, common | _mahalanobis_values(costs)
                continue
            fits = _ridge(lab, group, layer, subspaces, own)
            for subject, fit in zip(own, fits, strict=True):
                about = {"beta": fit.beta, "activation": _ridge_activation(graph, graph.by_name[layer], group)}
                yield subject, common | about | _ridge_values(fit, costs)


def _mahalanobis(lab: Lab, group: Group, layer: str, subspaces: Subspaces, subspace: Subspace) -> Costs:
    from nid_cli.analysis.cost import layer_constraint, realization_costs

    rule, weight = lab.constraint(group), subspaces.state[f"{layer}.weight"]
    fixed, mask = layer_constraint(layer, weight, rule.pinned, rule.anchor)
    return realization_costs(subspace, weight.flatten(1), fixed, mask)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().contiguous().numpy()


def _spread(name: str, values: Tensor) -> dict[str, Any]:
    """Median and quantiles over ordered pairs of distinct neurons."""
    import torch

    apart = values[~torch.eye(len(values), dtype=torch.bool, device=values.device)].double()
    if not len(apart):
        return {f"{name}_median": None, f"{name}_quantiles": None}
    found = [float(torch.quantile(apart, q)) for q in QUANTILES] if len(apart) < 2**24 else []
    quantiles = dict(zip(map(str, QUANTILES), found, strict=False))
    return {f"{name}_median": quantiles.get("0.5"), f"{name}_quantiles": quantiles}


def _mahalanobis_values(costs: Costs) -> dict[str, Any]:
    named = {
        "cost_squared": costs.cost_squared,
        "swap_squared": costs.swap_squared,
        "residual": costs.residual,
        "center_distance": costs.center_distance,
    }
    summaries = {k: v for name, values in named.items() for k, v in _spread(name, values).items()}
    arrays = {name: _array(values) for name, values in named.items()}
    return {"neurons": len(costs.cost_squared), **summaries, **arrays}


def _ridge(lab: Lab, group: Group, layer: str, subspaces: Subspaces, own: list[Subject]) -> list[RidgeFit]:
    from nid_cli.analysis.ridge import fit_pairs

    parameters = own[0].parameters
    neurons = min(parameters["neurons"], len(subspaces.state[f"{layer}.weight"]))
    betas = [s.parameters["beta"] for s in own]
    problem = _ridge_layer(lab, group, layer, subspaces, parameters["subsample"])
    return fit_pairs(problem, range(neurons), betas, parameters["solver"], parameters["iterations"])


def _ridge_layer(lab: Lab, group: Group, layer: str, subspaces: Subspaces, subsample: int | None) -> Layer:
    """A layer with its inputs on the validation split, or ``subsample`` of them drawn at random."""
    from nid_cli.analysis.cost import layer_constraint
    from nid_cli.analysis.ridge_problem import Layer
    from nid_cli.analysis.subspace import sample_inputs
    from nid_cli.nets.functional import ACTIVATIONS
    from nid_cli.specs import derive_seed

    graph, state, rule = graph_of(group.settings), subspaces.state, lab.constraint(group)
    op = graph.by_name[layer]
    weight = state[f"{layer}.weight"].flatten(1)
    fixed, mask = layer_constraint(layer, weight, rule.pinned, rule.anchor)
    return Layer(
        inputs=sample_inputs(graph, state, lab.data(group), op, subsample, derive_seed(0, "ridge", layer)),
        weight=weight,
        bias=state.get(f"{layer}.bias", weight.new_zeros(len(weight))),
        mask=mask if mask is not None else weight.new_ones(weight.shape).bool(),
        fixed=fixed,
        activation=ACTIVATIONS[_ridge_activation(graph, op, group)],
    )


def _ridge_activation(graph: Graph, op: Op, group: Group) -> str:
    """The output layer has no activation; a sigma layer's gate mixes neurons and does not enter."""
    return "identity" if op is graph.output or graph.gated else str(group.settings["activation"])


def _ridge_values(fit: RidgeFit, mahalanobis: Costs) -> dict[str, Any]:
    """The fits of one beta, beside the Mahalanobis estimate for the same neurons."""
    from nid_cli.analysis.cost import swap_costs

    count = len(fit.norm)
    swap = swap_costs(fit.norm)
    other = mahalanobis.cost_squared[:count, :count]
    # Swap costs need only the four entries of a pair, so a block of them is a block of all.
    other_swap = swap_costs(other)
    named = {"cost_squared": fit.norm, "swap_squared": swap, "objective": fit.objective, "mse": fit.mse}
    arrays = named | {
        "weight_norm": fit.weight_norm,
        "target_norm": fit.target_norm,
        "gradient_norm": fit.gradient_norm,
        "iterations": fit.iterations,
        "residual": mahalanobis.residual[:count, :count],
        "center_distance": mahalanobis.center_distance[:count, :count],
        "mahalanobis_cost_squared": other,
        "mahalanobis_swap_squared": other_swap,
    }
    summaries = {k: v for name, values in named.items() for k, v in _spread(name, values).items()}
    return {
        "neurons": count,
        "rank_correlation": _rank_correlation(swap, other_swap),
        "cost_rank_correlation": _rank_correlation(fit.norm, other),
        **summaries,
        **{name: _array(values) for name, values in arrays.items()},
    }


def _rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's over pairs of distinct neurons; None where one side does not vary."""
    import torch
    from scipy.stats import spearmanr

    apart = ~torch.eye(len(a), dtype=torch.bool)
    x, y = _array(a.cpu()[apart]), _array(b.cpu()[apart])
    if len(x) < 2 or x.max() == x.min() or y.max() == y.min():
        return None
    return float(spearmanr(x, y).statistic)
