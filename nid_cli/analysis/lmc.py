"""Linear mode connectivity (docs/science.md, 3): metrics along the segment between two networks, and their barriers
(Frankle et al. 2020; Entezari et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor

from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.analysis.repair import Moments, moments_of, repaired
from nid_cli.data.tensors import Data
from nid_cli.metrics import EVALUATION_BATCH, Metrics, Tally
from nid_cli.nets import stacking
from nid_cli.nets.axes import Axes
from nid_cli.nets.biased import biased
from nid_cli.nets.functional import State, apply, completed, forward, record, size_in_bytes
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.permutation import Permutation, permute
from nid_cli.nets.stackable import stackable
from nid_cli.nets.stacking import stack
from nid_cli.records.lmc import Curve
from nid_cli.specs import SPLITS

SplitMetrics = dict[str, Metrics]

# Interpolated networks that exist at one time take at most this many bytes (but one at least).
STATE_BYTES = 2**28

# Logits of a permuted network may differ from the original's by rounding: this share of their magnitude.
SAME_FUNCTION = 1e-4


class FunctionChanged(Exception):
    """A permutation changed the network's function: the alignment would be meaningless."""


@dataclass(frozen=True)
class Endpoint:
    """B as one end of a segment: its state, and the permutation that made it of the original B (None: itself)."""

    state: State
    permutation: Permutation | None = None


@dataclass(frozen=True)
class Correction:
    """What is done to interpolated networks: ``reset`` of the statistics of batch norms, or ``repair`` (``exact`` or
    ``closed``), with the moments of A and each end that it goes by; or nothing."""

    reset: bool = False
    repair: str | None = None
    moments: Sequence[Mapping[str, Moments]] = ()


def interpolate(graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], weight: float) -> State:
    """(1 - weight) A + weight B, of every parameter and running statistic; constants, which both share, are A's."""
    mixed = {*graph.parameters, *graph.running}
    return {name: torch.lerp(tensor, b[name], weight) if name in mixed else tensor for name, tensor in a.items()}


@torch.no_grad()
def segments(
    graph: Graph,
    a: State,
    b: State,
    ends: Sequence[Endpoint],
    weights: Sequence[float],
    data: Data,
    advance: Callable[[float], None] = lambda samples: None,
    reset: bool = False,
    stacked: bool | None = None,
    repair: str | None = None,
) -> list[list[SplitMetrics]]:
    """Metrics inside the segments from A to each of ``ends``.

    A pass over the data serves as many interpolated networks as fit into ``STATE_BYTES`` at once. The first layer is
    affine in its weights, so its values for an interpolated network are the interpolation of the values of the two
    ends, and those of a permuted B are a reordering of B's: two products serve all networks.

    Args:
        weights: interpolation weights, 0 and 1 excluded (the ends' own metrics are known).
        advance: told the samples done, of ``len(ends) * len(weights)`` networks each (in parts, where several passes).
        reset: estimate the statistics of batch norms anew, of each interpolated network.
        stacked: whether the networks of a pass run together (``nets.stacking``), which differs by rounding; by default
            where they are not on the CPU and can.
        repair: ``exact`` or ``closed``, see :mod:`nid_cli.analysis.repair`; layers that lack a bias are given one.

    Returns:
        for each end and weight the metrics by split.
    """
    networks = [(index, weight) for index in range(len(ends)) for weight in weights]
    correction = Correction(reset)
    if repair is not None:
        graph = biased(graph)
        a, b = completed(graph, a), completed(graph, b)
        ends = [replace(end, state=completed(graph, end.state)) for end in ends]
        correction = Correction(False, repair, [moments_of(graph, [a, end.state], data) for end in ends])
    if stacked is None:
        stacked = next(iter(a.values())).device.type != "cpu" and stackable(graph) is None
    batch = graph.batch(EVALUATION_BATCH)
    values = 4 * batch * max(graph.sizes.values()) if stacked else 0  # of all that run together they are there at once
    at_once = max(1, STATE_BYTES // max(size_in_bytes(a), values))
    one_pass = _one_stacked_pass if stacked else _one_pass
    parts = [networks[start : start + at_once] for start in range(0, len(networks), at_once)]
    found: list[SplitMetrics] = []
    for part in parts:
        share = len(part) / len(networks)
        found += one_pass(graph, a, b, ends, part, data, partial(_tell, advance, share), correction)
    return [found[i * len(weights) : (i + 1) * len(weights)] for i in range(len(ends))]


def _tell(advance: Callable[[float], None], share: float, samples: float) -> None:
    advance(share * samples)


def _one_pass(
    graph: Graph,
    a: State,
    b: State,
    ends: Sequence[Endpoint],
    networks: Sequence[tuple[int, float]],
    data: Data,
    advance: Callable[[float], None],
    correction: Correction,
) -> list[SplitMetrics]:
    """Metrics of some interpolated networks, each an end (by its place among ``ends``) and a weight, in one pass."""
    states = _interpolated(graph, a, ends, networks, data, correction)
    found: list[SplitMetrics] = [{} for _ in networks]
    wanted = {index for index, _ in networks}
    for split in SPLITS:
        tallies = [Tally() for _ in networks]
        for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
            entered = _entered(graph, a, b, ends, wanted, x, correction)
            for (index, weight), state, tally in zip(networks, states, tallies, strict=True):
                given = {name: torch.lerp(from_a, from_ends[index], weight) for name, from_a, from_ends in entered}
                tally.add(record(graph, state, given or {INPUT: x}, (graph.output,))[graph.output], targets)
            advance(len(targets))
        for metrics, tally in zip(found, tallies, strict=True):
            metrics[split] = tally.result()
    return found


def _one_stacked_pass(
    graph: Graph,
    a: State,
    b: State,
    ends: Sequence[Endpoint],
    networks: Sequence[tuple[int, float]],
    data: Data,
    advance: Callable[[float], None],
    correction: Correction,
) -> list[SplitMetrics]:
    """The same, with each call of a function for all networks."""
    states = _interpolated(graph, a, ends, networks, data, correction)
    mixed = {*graph.parameters, *graph.running}
    stacked = stack([{name: state[name] for name in mixed} for state in states])
    constants = {name: tensor for name, tensor in a.items() if name not in mixed}
    del states
    wanted = sorted({index for index, _ in networks})
    found: list[SplitMetrics] = [{} for _ in networks]
    for split in SPLITS:
        tally = Tally()
        for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
            given = {
                name: _lerp_each(from_a, from_ends, networks)
                for name, from_a, from_ends in _entered(graph, a, b, ends, wanted, x, correction)
            }
            values = stacking.record(graph, stacked, constants, given or {INPUT: x}, (graph.output,), own=bool(given))
            tally.add_each(values[graph.output], targets.expand(len(networks), *targets.shape))
            advance(len(targets))
        for metrics, own in zip(found, tally.results(len(networks)), strict=True):
            metrics[split] = own
    return found


def _lerp_each(from_a: Tensor, from_ends: Mapping[int, Tensor], networks: Sequence[tuple[int, float]]) -> Tensor:
    """(1 - weight) A + weight end, for each network (networks x N x ...)."""
    places = {index: place for place, index in enumerate(from_ends)}
    chosen = torch.tensor([places[index] for index, _ in networks], device=from_a.device)
    weights = torch.tensor([weight for _, weight in networks], dtype=from_a.dtype, device=from_a.device)
    ends = torch.stack([*from_ends.values()]).index_select(0, chosen)
    return torch.lerp(from_a, ends, weights.view(-1, *(1 for _ in from_a.shape)))


def _interpolated(
    graph: Graph,
    a: State,
    ends: Sequence[Endpoint],
    networks: Sequence[tuple[int, float]],
    data: Data,
    correction: Correction,
) -> list[State]:
    states = [interpolate(graph, a, ends[index].state, weight) for index, weight in networks]
    if correction.repair is not None:
        return [
            repaired(
                graph,
                state,
                (a, ends[index].state),
                (1 - weight, weight),
                data,
                correction.repair,
                correction.moments[index],
            )
            for (index, weight), state in zip(networks, states, strict=True)
        ]
    return [reset_statistics(graph, state, data) for state in states] if correction.reset else states


def _entered(
    graph: Graph,
    a: State,
    b: State,
    ends: Sequence[Endpoint],
    wanted: Collection[int],
    x: Tensor,
    correction: Correction,
) -> list[tuple[str, Tensor, dict[int, Tensor]]]:
    """The first layer's name, and its values on a batch for A and for the ends (by their places among ``ends``), which
    those in between are interpolated from. Nothing where it is not affine, or is repaired."""
    if correction.repair is not None or (layer := graph.entry) is None:
        return []
    name, axes = layer.name, cast(Axes, graph.symmetries.value_axes[layer.name])
    from_a, from_b = apply(graph, layer, a, x), apply(graph, layer, b, x)

    def reordered(moved: Permutation | None) -> Tensor:
        return from_b if moved is None else permute({name: axes}, {name: from_b}, moved)[name]

    return [(name, from_a, {index: reordered(ends[index].permutation) for index in wanted})]


@torch.no_grad()
def check_function(graph: Graph, original: State, permuted: State, data: Data) -> None:
    """Holds a permuted network's outputs on real data against the original's.

    Raises:
        FunctionChanged: they differ by more than rounding.
    """
    x, _ = next(data.batches("train", graph.batch(512)))
    check_outputs(graph, original, permuted, x)


@torch.no_grad()
def check_outputs(graph: Graph, original: State, permuted: State, x: Tensor) -> None:
    """The same for any inputs ``x``.

    Raises:
        FunctionChanged: the outputs differ by more than rounding.
    """
    before, after = forward(graph, original, x), forward(graph, permuted, x)
    difference = (before - after).abs().max() / before.abs().max().clamp_min(1e-12)
    if not difference <= SAME_FUNCTION:
        raise FunctionChanged(f"its outputs differ by {difference:.1e} of their magnitude")


def distances(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], trainable: Mapping[str, Tensor]
) -> tuple[float, float]:
    """L2 distance of the trainable effective parameters, and the same over the root of their number.

    Args:
        trainable: masks of what is trained, for the parameters of which only a part is.
    """
    square, count = 0.0, 0
    for name in graph.trained:
        difference = a[name].double() - b[name].double()
        kept = difference[trainable[name]] if name in trainable else difference
        square += kept.square().sum().item()
        count += kept.numel()
    return square**0.5, (square / max(count, 1)) ** 0.5


def inner_product(graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """sum <A, B> over all parameters."""
    return sum(float((a[name].double() * b[name].double()).sum()) for name in graph.parameters)


def curve(weights: Sequence[float], losses: Sequence[float], accuracies: Sequence[float], middle: Metrics) -> Curve:
    """A split's curve with every barrier that the literature uses, each by its own name (docs/science.md, 3).

    Args:
        weights: from 0 to 1; ``losses`` and ``accuracies`` (percent) are those there, ``middle`` the metrics at 1/2.
            Where a loss is not a number, neither are the barriers of the losses.
    """
    barriers = {}
    errors = [100 - accuracy for accuracy in accuracies]
    for name, values, mid in (("loss", losses, middle.loss), ("error", errors, 100 - middle.accuracy)):
        chords = [(1 - w) * values[0] + w * values[-1] for w in weights]
        barriers[f"{name}_barrier"] = _greatest([v - chord for v, chord in zip(values, chords, strict=True)])
        barriers[f"{name}_barrier_max"] = _greatest(values) - max(values[0], values[-1])
        barriers[f"{name}_barrier_mid"] = mid - (values[0] + values[-1]) / 2
    best_end = max(accuracies[0], accuracies[-1])
    return Curve(
        loss=list(losses),
        accuracy=list(accuracies),
        **barriers,
        relative_accuracy_drop=100 * (min(accuracies) - best_end) / best_end if best_end > 0 else 0.0,
        accuracy_mid=middle.accuracy,
    )


def greatest_rise(losses: Sequence[float]) -> float:
    """max over i <= j of losses[j] - losses[i]: 0 where the loss never rises on the way (Goodfellow et al. 2015); not a
    number where one of them is none."""
    return _greatest([loss - least for loss, least in zip(losses, accumulate(losses, min), strict=True)])


def _greatest(values: Sequence[float]) -> float:
    """The greatest value; Python's ``max`` would pass over one that is not a number."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def curve_of(
    split: str, weights: Sequence[float], metrics: Sequence[SplitMetrics], middle: SplitMetrics, path: bool = False
) -> Curve:
    """The curve of one split, from the metrics at ``weights`` and at 1/2; ``path``: of one model's, with its rise."""
    losses, accuracies = [m[split].loss for m in metrics], [m[split].accuracy for m in metrics]
    found = curve(weights, losses, accuracies, middle[split])
    return replace(found, greatest_rise=greatest_rise(losses)) if path else found
