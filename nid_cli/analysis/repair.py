"""Repair of merged networks (Jordan et al. 2023; docs/science.md, 15): each channel of each pre-activation gets the
mean and the standard deviation that it has in the ends, on average."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nid_cli.analysis.catalog import REPAIRS
from nid_cli.analysis.repair_folding import FOLDS, Correction
from nid_cli.data.tensors import Data
from nid_cli.errors import NidError, UsageError, unknown
from nid_cli.lazy import resolve
from nid_cli.nets.calls import Batch
from nid_cli.nets.functional import State, neurons_last, record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.preactivations import Preactivation, preactivations

BATCH = 1024
# Samples (pixels, of a convolution) of one product: float32 sums stay exact enough.
ROWS = 8192
# A channel whose sd is below this share of its magnitude varies by rounding only: it counts as constant.
CONSTANT = 1e-6
# Values that are kept between the corrections of one network take at most this many bytes; else they are made again.
KEPT_BYTES = 2**28


@dataclass
class Moments:
    """First and second moments of the channels of several networks over the same samples, channel by channel.

    Sums run over values shifted by each channel's first sample, and accumulate in float64.
    """

    shift: Tensor
    total: Tensor
    products: Tensor
    samples: int = 0

    @classmethod
    def start(cls, values: Tensor) -> Moments:
        """Empty moments, for values of networks x samples x channels whose first ones these are."""
        networks, _, channels = values.shape
        wide = {"dtype": torch.float64, "device": values.device}
        return cls(
            values[:, :1].clone(),
            torch.zeros(networks, channels, **wide),  # type: ignore[call-overload]
            torch.zeros(channels, networks, networks, **wide),  # type: ignore[call-overload]
        )

    def add(self, values: Tensor) -> None:
        """Adds samples (networks x samples x channels)."""
        for rows in values.split(ROWS, 1):
            shifted = rows - self.shift
            self.samples += rows.shape[1]
            self.total += shifted.sum(1)
            for i, own in enumerate(shifted):
                self.products[:, i, :] += (own * shifted).sum(1).T

    @property
    def mean(self) -> Tensor:
        """Networks x channels, float64."""
        return self.shift[:, 0].double() + self.total / self.samples

    @property
    def covariance(self) -> Tensor:
        """Channels x networks x networks, float64, over the number of samples."""
        mean = (self.total / self.samples).T
        return self.products / self.samples - mean[:, :, None] * mean[:, None, :]

    @property
    def deviation(self) -> Tensor:
        """Networks x channels, float64; 0 for a channel that varies by rounding only."""
        sd = self.covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt().T
        return torch.where(sd <= CONSTANT * self.mean.abs(), 0.0, sd)


@torch.no_grad()
def repaired(
    graph: Graph,
    merged: State,
    ends: Sequence[State],
    weights: Sequence[float],
    data: Data,
    how: str,
    known: Mapping[str, Moments] | None = None,
) -> State:
    """The merged network, its pre-activations corrected channel by channel and layer after layer.

    The mean of each becomes sum_i w_i mu_i, and the standard deviation sum_i w_i sd_i, of the ends i on the
    un-augmented training set. Channels that are constant, in the merged network or in all ends, stay as they are. See
    ``nets.preactivations`` for what is corrected and what is left out; layers without a bias get the deviation alone
    (``nets.biased`` gives them one).

    Args:
        merged: any network of the graph; what is meant is sum_i w_i end_i. It is not changed.
        weights: one for each end, which sum to one.
        how: ``exact`` measures the merged network after each correction; ``closed`` takes each of its pre-activations
            as sum_i w_i X_i of the ends' X_i, and measures nothing but the ends.
        known: the ends' moments (:func:`moments_of`), where they serve several merged networks.

    Raises:
        UsageError: another ``how``, weights that do not sum to one, or a training set without samples.
        NidError: pre-activations overflow.
    """
    if how not in REPAIRS:
        raise unknown("repair", how, list(REPAIRS))
    if len(ends) != len(weights) or not abs(sum(weights) - 1) < 1e-6:
        raise UsageError("the weights of a repair must be one for each network, and sum to one")
    known = moments_of(graph, ends, data) if known is None else known
    correct: Callable[..., State] = resolve(REPAIRS[how])
    return correct(graph, merged, ends, weights, data, known)


@torch.no_grad()
def moments_of(graph: Graph, states: Sequence[State], data: Data) -> dict[str, Moments]:
    """The moments of all pre-activations of some networks by name, in one pass over the training set."""
    points = preactivations(graph).all
    names = _measured(points)
    found: dict[str, Moments] = {}
    recorded = len(states) * sum(graph.sizes[name] for name in names)
    for x, _ in data.batches("train", graph.batch(BATCH, recorded)):
        _add(found, points, [record(graph, state, {INPUT: x}, names) for state in states])
    _check(found, points)
    return found


def closed(
    graph: Graph,
    merged: State,
    ends: Sequence[State],
    weights: Sequence[float],
    data: Data,
    known: Mapping[str, Moments],
) -> State:
    """By the ends' moments alone: a pre-activation of the merged network is taken as sum_i w_i X_i of the ends' X_i, so
    that its variance is sum_ij w_i w_j cov(X_i, X_j)."""
    state = dict(merged)
    for point in preactivations(graph).all:
        w = torch.tensor(weights, dtype=torch.float64, device=known[point.name].total.device)
        variance = torch.einsum("i,cij,j->c", w, known[point.name].covariance, w)
        deviation = variance.clamp_min(0).sqrt()
        mean = w @ known[point.name].mean
        deviation = torch.where(deviation <= CONSTANT * mean.abs(), 0.0, deviation)
        state |= _corrected(point, state, ends, weights, known[point.name], mean, deviation)
    return state


def exact(
    graph: Graph,
    merged: State,
    ends: Sequence[State],
    weights: Sequence[float],
    data: Data,
    known: Mapping[str, Moments],
) -> State:
    """Level by level: a pass over the data for each, from values that no later correction changes where they fit."""
    own = preactivations(graph)
    state = dict(merged)
    source = _Source(graph, data)
    for level in range(1, max((point.level for point in own.all), default=0) + 1):
        points = [point for point in own.all if point.level == level]
        found: dict[str, Moments] = {}
        keep = _frontier(graph, own.levels, level - 1) if level > 1 else ()
        for values in source.run(state, _measured(points), keep):
            _add(found, points, [values])
        _check(found, points)
        for point in points:
            moments = found[point.name]
            state |= _corrected(point, state, ends, weights, known[point.name], moments.mean[0], moments.deviation[0])
    return state


def _corrected(
    point: Preactivation,
    state: State,
    ends: Sequence[State],
    weights: Sequence[float],
    known: Moments,
    mean: Tensor,
    deviation: Tensor,
) -> State:
    """The tensors that a correction changes, where the merged network has this mean and deviation."""
    w = torch.tensor(weights, dtype=torch.float64, device=mean.device)
    wanted_mean, wanted = w @ known.mean, w @ known.deviation
    alive = (deviation > 0) & (wanted > 0)
    correction = Correction(alive, mean, torch.where(alive, deviation, 1.0), wanted_mean, wanted, known.samples)
    return FOLDS[point.fold](point, state, ends, weights, correction)


def _measured(points: Collection[Preactivation]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for point in points for name, _ in point.measured))


def _add(found: dict[str, Moments], points: Collection[Preactivation], values: Sequence[Mapping[str, Tensor]]) -> None:
    """Adds a batch, of one or several networks, to the moments of pre-activations."""
    for point in points:
        for name, axis in point.measured:
            rows = torch.stack([neurons_last(own[name], axis % own[name].ndim) for own in values])
            if point.name not in found:
                found[point.name] = Moments.start(rows)
            found[point.name].add(rows)


def _check(found: Mapping[str, Moments], points: Collection[Preactivation]) -> None:
    if points and not found:
        raise UsageError("no training samples, so no statistics to repair by", "take more samples")
    for name, moments in found.items():
        if not moments.products.isfinite().all():
            raise NidError(
                f"the values of {name} are too large to be repaired", "the network has not been trained well"
            )


def _frontier(graph: Graph, levels: Mapping[str, int], level: int) -> tuple[str, ...]:
    """The values which no correction after ``level`` changes, and which calls read that one does; the data's own."""
    made = {given.name for given in graph.description.inputs}
    by_data: dict[str, bool] = {}
    for call in graph.calls:
        by_data[call.name] = call.shape is not None and any(n in made or by_data.get(n, False) for n in call.reads)
    later = (call for call in graph.calls if levels[call.name] > level and call.shape is not None)
    read = dict.fromkeys(name for call in later for name in call.reads)
    return tuple(n for n in read if n in made or (by_data[n] and levels[n] <= level))


class _Source:
    """The training set batch by batch, from the values that were kept last on."""

    def __init__(self, graph: Graph, data: Data) -> None:
        self.graph, self.data = graph, data
        self.shapes: dict[str, Any] = {given.name: given.shape for given in graph.description.inputs}
        self.shapes |= {call.name: call.shape for call in graph.calls}
        self.kept: list[Mapping[str, Tensor]] | None = None

    def run(self, state: State, wanted: tuple[str, ...], keep: tuple[str, ...]) -> Iterator[Mapping[str, Tensor]]:
        """The values ``wanted`` of each batch; those to ``keep`` are what the next run starts from, if they fit."""
        size = 4 * len(self.data.train) * sum(self.graph.sizes[name] for name in keep)
        first = next((axis for name in keep for axis in (self.shapes[name] or ())[:1]), None)
        keep = keep if size <= KEPT_BYTES and isinstance(first, Batch) else ()
        kept: list[Mapping[str, Tensor]] = []
        for given in self._given():
            values = record(self.graph, state, given, tuple(dict.fromkeys((*wanted, *keep))))
            if keep:
                kept.append({name: values[name] for name in keep})
            yield values
        if keep:
            self.kept = kept

    def _given(self) -> Iterator[Mapping[str, Tensor]]:
        if self.kept is not None:
            yield from self.kept
            return
        for x, _ in self.data.batches("train", self.graph.batch(BATCH)):
            yield {INPUT: x}
