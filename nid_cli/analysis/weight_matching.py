"""Matching neurons by weights (docs/science.md, 5): coordinate descent over permutations (Ainsworth et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nid_cli.data.tensors import Data
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, identity
from nid_cli.specs.alignments import ByWeights

# A step must raise the objective by more than rounding, this share of its scale, to be taken.
IMPROVEMENT = 1e-12


@dataclass(frozen=True)
class WeightMatch:
    """The best permutation of B found, its objective sum <A, P(B)>, and the objective after each step of its start."""

    permutation: Permutation
    objective: float
    history: list[float]


def match_weights(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], restarts: int = 5, seed: int = 0
) -> WeightMatch:
    """The permutation of B's neurons that brings its parameters nearest to A's, in squared distance.

    Coordinate descent from the identity and from ``restarts`` - 1 random permutations: one linear assignment at a time,
    layers in random order, until a whole round improves nothing. The objective never falls.
    """
    problem = _Problem(graph, a, b)
    generator = torch.Generator().manual_seed(seed)
    starts = [identity(graph)]
    for _ in range(restarts - 1):
        starts.append({s.name: torch.randperm(s.size, generator=generator) for s in graph.spaces})
    # |A - P(B)|^2 = |A|^2 + |B|^2 - 2 sum <A, P(B)>: the nearest has the greatest objective.
    return max((problem.descend(start, generator) for start in starts), key=lambda match: match.objective)


def align_by_weights(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, parameters: ByWeights
) -> Permutation:
    """The alignment ``weight`` of ``specs.ALIGNMENTS``; it needs no data."""
    return match_weights(graph, a, b, parameters.restarts, parameters.seed).permutation


class _Problem:
    """The inner products of A's and a permuted B's parameters, as functions of one layer's permutation at a time."""

    def __init__(self, graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
        self.axes = {name: graph.axes[name] for name in graph.parameters}
        self.spaces = graph.spaces
        self.a = {name: a[name].detach().double().cpu() for name in graph.parameters}
        self.b = {name: b[name].detach().double().cpu() for name in graph.parameters}
        self.scale = sum(float(t.square().sum()) for t in (*self.a.values(), *self.b.values()))

    def similarity(self, space: str, permutation: Permutation) -> Tensor:
        """M (n x n): what a match of A's neuron i with B's neuron j of ``space`` adds, the other layers permuted."""
        size = next(s.size for s in self.spaces if s.name == space)
        total = torch.zeros(size, size, dtype=torch.float64)
        for name, axes in self.axes.items():
            if space not in axes:
                continue
            b = self.b[name]
            for dim, other in enumerate(axes):
                if other is not None and other != space:
                    b = b.index_select(dim, permutation[other])
            own = axes.index(space)
            total += self.a[name].movedim(own, 0).reshape(size, -1) @ b.movedim(own, 0).reshape(size, -1).T
        return total

    def objective(self, permutation: Permutation) -> float:
        """sum <A, P(B)> over all parameters."""
        value = 0.0
        for name, axes in self.axes.items():
            b = self.b[name]
            for dim, space in enumerate(axes):
                if space is not None:
                    b = b.index_select(dim, permutation[space])
            value += float((self.a[name] * b).sum())
        return value

    def descend(self, start: Permutation, generator: torch.Generator) -> WeightMatch:
        """Coordinate descent from ``start``."""
        permutation = dict(start)
        history = [self.objective(permutation)]
        improved = True
        while improved:
            improved = False
            for index in torch.randperm(len(self.spaces), generator=generator).tolist():
                space = self.spaces[index]
                similarity = self.similarity(space.name, permutation)
                _, partners = linear_sum_assignment(similarity.numpy(), maximize=True)
                rows, best = torch.arange(space.size), torch.from_numpy(partners)
                gain = float(similarity[rows, best].sum() - similarity[rows, permutation[space.name]].sum())
                if gain > IMPROVEMENT * self.scale:
                    permutation[space.name] = best
                    history.append(history[-1] + gain)
                    improved = True
        return WeightMatch(permutation, self.objective(permutation), history)
