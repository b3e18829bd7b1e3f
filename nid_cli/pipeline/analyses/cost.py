"""What it costs a neuron to realize another's function, by two estimates: one pass over the data for each model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from nid_cli.analysis.cost import Costs, layer_constraint, realization_costs, swap_costs
from nid_cli.analysis.parameters import Parameters
from nid_cli.analysis.ridge import RidgeFit, fit_pairs
from nid_cli.analysis.ridge_problem import Layer
from nid_cli.analysis.subspace import Subspace, sample_inputs
from nid_cli.analysis.swap_index import swap_index
from nid_cli.nets.kernels import activation
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.pipeline.analyses.subspaces import Subspaces, by_model
from nid_cli.records.cost import MahalanobisCost, RidgeCost, Spread
from nid_cli.registry.groups import Group
from nid_cli.registry.results import ResultKey
from nid_cli.specs import derive_seed

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def compute(
    lab: Lab, missing: Sequence[ResultKey], parameters: Parameters
) -> Iterator[tuple[ResultKey, MahalanobisCost | RidgeCost]]:
    """One pass over the data serves all layers of a model; one subspace serves all betas of a layer."""
    for group, epoch, model, batch in by_model(lab, missing, "cost"):
        subspaces = Subspaces(lab, group, epoch, model, [key.parameters["layer"] for key in batch])
        for layer in dict.fromkeys(key.parameters["layer"] for key in batch):
            own = [key for key in batch if key.parameters["layer"] == layer]
            subspace = subspaces.of(layer, own[0].parameters["explained_variance"])
            costs = _mahalanobis(lab, group, layer, subspaces, subspace)
            label = group.graph.layers[layer].label
            if own[0].parameters["method"] == "mahalanobis":
                record = _mahalanobis_record(label, subspace, costs)
                yield from ((key, record) for key in own)
                continue
            for key, fit in zip(own, _ridge(lab, group, layer, subspaces, own), strict=True):
                yield key, _ridge_record(label, subspace, _activation_name(group, layer), fit, costs)


def _mahalanobis(lab: Lab, group: Group, layer: str, subspaces: Subspaces, subspace: Subspace) -> Costs:
    rule, own = lab.constraint(group), group.graph.layers[layer]
    weight = subspaces.state[own.weight]
    fixed, mask = layer_constraint(own, weight, rule.pinned, rule.anchor)
    return realization_costs(subspace, own.matrix(weight), fixed, mask)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().contiguous().numpy()


def _spread(values: Tensor) -> Spread:
    """Median and quantiles over ordered pairs of distinct neurons."""
    apart = values[~torch.eye(len(values), dtype=torch.bool, device=values.device)].double()
    if not len(apart):
        return Spread(median=None, quantiles=None)
    found = [float(torch.quantile(apart, q)) for q in QUANTILES] if len(apart) < 2**24 else []
    quantiles = dict(zip(map(str, QUANTILES), found, strict=False))
    return Spread(median=quantiles.get("0.5"), quantiles=quantiles)


def _mahalanobis_record(label: int | str, subspace: Subspace, costs: Costs) -> MahalanobisCost:
    swap, squared, residual = costs.swap_squared, _array(costs.cost_squared), _array(costs.residual)
    return MahalanobisCost(
        layer=label,
        method="mahalanobis",
        subspace=subspace.summary(),
        neurons=len(costs.cost_squared),
        cost=_spread(costs.cost_squared),
        swap=_spread(swap),
        infeasible=_spread(costs.residual),
        centers=_spread(costs.center_distance),
        swap_index=swap_index(squared, residual, 1 / subspace.summary().full_dimension),
        cost_squared=squared,
        swap_squared=_array(swap),
        residual=residual,
        center_distance=_array(costs.center_distance),
    )


def _ridge(lab: Lab, group: Group, layer: str, subspaces: Subspaces, own: list[ResultKey]) -> list[RidgeFit]:
    parameters = own[0].parameters
    neurons = min(parameters["neurons"], group.graph.layers[layer].channels)
    betas = [key.parameters["beta"] for key in own]
    problem = _ridge_layer(lab, group, layer, subspaces, parameters["subsample"])
    return fit_pairs(problem, range(neurons), betas, parameters["solver"], parameters["iterations"])


def _ridge_layer(lab: Lab, group: Group, layer: str, subspaces: Subspaces, subsample: int | None) -> Layer:
    """A layer with its inputs on the validation split, or ``subsample`` of them drawn at random."""
    graph, state, rule = group.graph, subspaces.state, lab.constraint(group)
    own = graph.layers[layer]
    weight = own.matrix(state[own.weight])
    fixed, mask = layer_constraint(own, state[own.weight], rule.pinned, rule.anchor)
    return Layer(
        inputs=sample_inputs(graph, state, lab.data(group), own, subsample, derive_seed(0, "ridge", layer)),
        weight=weight,
        bias=weight.new_zeros(len(weight)) if own.bias is None else state[own.bias],
        mask=mask if mask is not None else weight.new_ones(weight.shape).bool(),
        fixed=fixed,
        activation=activation(graph.activation_after[layer], state),
    )


def _activation_name(group: Group, layer: str) -> str:
    """As records call it; a layer that nothing follows, or a gate that mixes neurons, has the identity."""
    call = group.graph.activation_after[layer]
    return "identity" if call is None else call.function.partition(".")[0]


def _ridge_record(
    label: int | str, subspace: Subspace, activation: str, fit: RidgeFit, mahalanobis: Costs
) -> RidgeCost:
    """The fits of one beta, beside the Mahalanobis estimate for the same neurons."""
    count = len(fit.norm)
    swap = swap_costs(fit.norm)
    other = mahalanobis.cost_squared[:count, :count]
    # Swap costs need only the four entries of a pair, so a block of them is a block of all.
    other_swap = swap_costs(other)
    return RidgeCost(
        layer=label,
        method="ridge",
        subspace=subspace.summary(),
        beta=fit.beta,
        activation=activation,
        neurons=count,
        rank_correlation=_rank_correlation(swap, other_swap),
        cost_rank_correlation=_rank_correlation(fit.norm, other),
        cost=_spread(fit.norm),
        swap=_spread(swap),
        objectives=_spread(fit.objective),
        errors=_spread(fit.mse),
        cost_squared=_array(fit.norm),
        swap_squared=_array(swap),
        objective=_array(fit.objective),
        mse=_array(fit.mse),
        weight_norm=_array(fit.weight_norm),
        target_norm=_array(fit.target_norm),
        gradient_norm=_array(fit.gradient_norm),
        iterations=_array(fit.iterations),
        residual=_array(mahalanobis.residual[:count, :count]),
        center_distance=_array(mahalanobis.center_distance[:count, :count]),
        mahalanobis_cost_squared=_array(other),
        mahalanobis_swap_squared=_array(other_swap),
    )


def _rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's over pairs of distinct neurons; None where one side does not vary."""
    apart = ~torch.eye(len(a), dtype=torch.bool)
    x, y = _array(a.cpu()[apart]), _array(b.cpu()[apart])
    if len(x) < 2 or x.max() == x.min() or y.max() == y.min():
        return None
    return float(spearmanr(x, y).statistic)
