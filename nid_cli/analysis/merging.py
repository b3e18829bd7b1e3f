"""Many models in one frame, and their mean (docs/science.md, 14): each matched to the first, or MergeMany
(Ainsworth et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import combinations

import torch
from torch import Tensor

from nid_cli.analysis.weight_matching import IMPROVEMENT, match_weights, match_weights_from
from nid_cli.lazy import resolve
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, compose, identity, inverse, moved, permute
from nid_cli.specs.merges import MERGES

# The permutation of each model onto one frame, in their order.
Frames = list[Permutation]


@dataclass
class Models:
    """Models that are to be merged; what several alignments need of them is found once.

    ``restarts`` and ``seed`` are those of weight matching, ``steps`` and ``random_starts`` of ``cycle`` alone.
    """

    graph: Graph
    states: Sequence[State]
    restarts: int = 5
    seed: int = 0
    steps: int = 50
    random_starts: int = 2
    _pairs: dict[tuple[int, int], Permutation] = field(default_factory=dict)
    _frames: dict[str, Frames] = field(default_factory=dict)

    def pair(self, a: int, b: int) -> Permutation:
        """The permutation of model ``b`` that weight matching finds for ``a`` (places from 0); that of the pair the
        other way round undoes it."""
        if a > b:
            return inverse(self.graph.spaces, self.pair(b, a))
        if (a, b) not in self._pairs:
            found = match_weights(self.graph, self.states[a], self.states[b], self.restarts, self.seed)
            self._pairs[a, b] = found.permutation
        return self._pairs[a, b]

    def frames(self, align: str) -> Frames:
        """The frames of one way of ``specs.MERGES``, in which the first model stays as it is."""
        if align not in self._frames:
            function = MERGES[align].function
            found = self.unmoved() if function is None else resolve(function)(self)
            self._frames[align] = self._by_the_first(found)
        return self._frames[align]

    def unmoved(self) -> Frames:
        """Each model as it is."""
        return [identity(self.graph.spaces) for _ in self.states]

    @cached_property
    def bound(self) -> float:
        """What no common objective exceeds (Cauchy, Schwarz): that of models of which each has become the others."""
        squares = (state[name].double().square().sum() for state in self.states for name in self.graph.parameters)
        return (len(self.states) - 1) * float(sum(squares)) / 2

    def are_one(self, frames: Frames) -> bool:
        """Whether each model has become the others, up to rounding."""
        return self.objective(frames) >= self.bound * (1 - IMPROVEMENT)

    def _by_the_first(self, frames: Frames) -> Frames:
        """The same relations between models (frames are free up to one permutation of all)."""
        back = inverse(self.graph.spaces, frames[0])
        return [compose(self.graph.spaces, own, back) for own in frames]

    def permuted(self, frames: Frames) -> list[State]:
        """The models in their frames."""
        axes = self.graph.symmetries.axes
        return [permute(axes, state, own) for state, own in zip(self.states, frames, strict=True)]

    def objective(self, frames: Frames) -> float:
        """The common objective of frames."""
        return common_objective(self.graph, self.permuted(frames))


def common_objective(graph: Graph, states: Sequence[Mapping[str, Tensor]]) -> float:
    """sum over pairs a < b of <A, B>, over all parameters: (|sum of all|^2 - sum of |A|^2) / 2."""
    value = 0.0
    for name in graph.parameters:
        own = [_wide(state[name]) for state in states]
        total = reduce(torch.add, own)
        value += float(total.square().sum() - sum(one.square().sum() for one in own)) / 2
    return value


def merged(graph: Graph, states: Sequence[State]) -> State:
    """The mean of every parameter and running statistic; constants, which all share, are the first's."""
    mixed = {*graph.parameters, *graph.running}
    found = {}
    for name, own in states[0].items():
        mean = reduce(torch.add, [state[name].double() for state in states]) / len(states) if name in mixed else own
        found[name] = mean.to(own.dtype)
    return found


def pairwise_cycle_error(models: Models) -> float | None:
    """The share of neurons that are elsewhere after a -> b -> c -> a, over all triples, each pair matched on its own.

    None for two models, and for networks without neurons that could be permuted.
    """
    graph = models.graph
    shares = []
    for a, b, c in combinations(range(len(models.states)), 3):
        there = compose(graph.spaces, models.pair(b, c), models.pair(a, b))
        shares.append(moved(graph.spaces, compose(graph.spaces, models.pair(c, a), there)))
    found = torch.cat(shares) if shares else torch.empty(0)
    return float(found.double().mean()) if len(found) else None


def first(models: Models) -> Frames:
    """Each model matched to the first, by weights."""
    return [identity(models.graph.spaces), *(models.pair(0, b) for b in range(1, len(models.states)))]


def many(models: Models) -> Frames:
    """MergeMany from where the models are, and from where each is matched to the first; the better one."""
    starts = (models.unmoved(), models.frames("first"))
    return best(models, [swept(models, start) for start in starts])


def best(models: Models, candidates: Sequence[Frames]) -> Frames:
    """Those with the greatest common objective, the earliest of equal ones."""
    return max(candidates, key=models.objective)


def swept(models: Models, start: Frames) -> Frames:
    """Each model in turn matched to the mean of the others, in random order, until nothing changes.

    <P(t), sum of the others> is all that the common objective has of one model: each step raises it.
    """
    graph, frames = models.graph, list(start)
    generator = torch.Generator().manual_seed(models.seed)
    others = len(frames) - 1
    own = [_parameters(graph, state) for state in models.permuted(frames)]
    total = {name: reduce(torch.add, [state[name] for state in own]) for name in graph.parameters}
    waiting = set(range(len(frames)))
    while waiting:
        for place in torch.randperm(len(frames), generator=generator).tolist():
            if place not in waiting:
                continue
            waiting.discard(place)
            rest = {name: (total[name] - own[place][name]) / others for name in total}
            found = match_weights_from(graph, rest, models.states[place], frames[place], models.seed)
            if len(found.history) == 1:
                continue
            frames[place] = found.permutation
            own[place] = _parameters(graph, permute(graph.symmetries.axes, models.states[place], found.permutation))
            total = {name: rest[name] * others + own[place][name] for name in total}
            waiting |= set(range(len(frames))) - {place}
    return frames


def _parameters(graph: Graph, state: Mapping[str, Tensor]) -> State:
    return {name: _wide(state[name]) for name in graph.parameters}


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()
