"""Matching neurons of two networks by their activations (docs/science.md, 4; Li et al. 2016), from streamed moments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nid_cli.analysis.catalog import SIMILARITIES
from nid_cli.data.tensors import Data
from nid_cli.errors import NidError
from nid_cli.lazy import resolve
from nid_cli.nets.functional import neurons_last, record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.permutation import Permutation
from nid_cli.records.match import Match
from nid_cli.specs.alignments import ByActivations

BATCH = 1024
# Samples (pixels, of a convolution) of one product: float32 sums stay exact enough, and its operands in the cache.
ROWS = 8192
# A neuron whose sd is below this share of its magnitude varies by rounding only: it counts as constant.
CONSTANT = 1e-6


@dataclass
class CrossMoments:
    """First and second moments of the neurons of A and of B over the same samples, and their cross products.

    Sums run over values shifted by the first sample of each neuron, which keeps float32 products accurate where means
    are large; they accumulate in float64. All are O(n^2), however many samples.
    """

    shift_a: Tensor
    shift_b: Tensor
    samples: int
    sum_a: Tensor
    sum_b: Tensor
    square_a: Tensor
    square_b: Tensor
    cross: Tensor

    @classmethod
    def start(cls, a: Tensor, b: Tensor) -> CrossMoments:
        """Empty moments for neurons whose first samples are the first rows of ``a`` and ``b``."""
        n, m = a.shape[1], b.shape[1]
        wide = {"dtype": torch.float64, "device": a.device}
        zeros = [torch.zeros(size, **wide) for size in (n, m, n, m, (n, m))]  # type: ignore[call-overload]
        return cls(a[0].clone(), b[0].clone(), 0, *zeros)

    def add(self, a: Tensor, b: Tensor) -> None:
        """Adds samples: ``a`` (N x n) and ``b`` (N x m)."""
        for rows_a, rows_b in zip(a.split(ROWS), b.split(ROWS), strict=True):
            self._add(rows_a, rows_b)

    def _add(self, a: Tensor, b: Tensor) -> None:
        a, b = a - self.shift_a, b - self.shift_b
        self.samples += len(a)
        # Shifted values of one product lose nothing in float32; the sums over products are float64.
        self.sum_a += a.sum(0)
        self.sum_b += b.sum(0)
        self.square_a += a.square().sum(0)
        self.square_b += b.square().sum(0)
        self.cross += a.T @ b

    def pearson(self) -> Tensor:
        """Correlations (n x m, float64); a constant neuron has correlation 0 with all."""
        count = self.samples
        covariance = self.cross - torch.outer(self.sum_a, self.sum_b) / count
        sides = ((self.shift_a, self.sum_a, self.square_a), (self.shift_b, self.sum_b, self.square_b))
        scales = []
        for shift, total, squares in sides:
            variance = (squares - total.square() / count).clamp_min(0) / count
            mean = shift.double() + total / count
            constant = variance <= (CONSTANT * mean.abs()).square()
            scales.append(torch.where(constant, torch.inf, variance.sqrt()))
        return covariance / count / torch.outer(*scales)

    def dot(self) -> Tensor:
        """Mean products of the raw values (n x m, float64)."""
        count = self.samples
        shift_a, shift_b = self.shift_a.double(), self.shift_b.double()
        mixed = torch.outer(shift_a, self.sum_b) + torch.outer(self.sum_a, shift_b)
        return (self.cross + mixed) / count + torch.outer(shift_a, shift_b)


def similarities(moments: CrossMoments, similarity: str) -> Tensor:
    """The similarities (n x m, float64) of A's and B's neurons, by a name of ``catalog.SIMILARITIES``."""
    found: Tensor = resolve(SIMILARITIES[similarity])(moments)
    return found


@torch.no_grad()
def stream_moments(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, sites: Collection[str]
) -> dict[tuple[str, str], CrossMoments]:
    """Moments for every hidden layer and each of ``sites`` it has, in one pass over the training set.

    Raises:
        NidError: activations overflow, so that their moments are no numbers.

    Returns:
        by (space name, site). Where a space has several recordings at a site, their samples pool.
    """
    wanted = [(space, site, ops) for space in graph.spaces for site, ops in space.sites.items() if site in sites]
    names = tuple({op for _, _, ops in wanted for op in ops})
    moments: dict[tuple[str, str], CrossMoments] = {}
    recorded = sum(graph.sizes[name] for name in names)
    for x, _ in data.batches("train", graph.batch(BATCH, recorded)):
        values_a, values_b = (record(graph, state, {INPUT: x}, names) for state in (a, b))
        for space, site, ops in wanted:
            for op in ops:
                u, v = neurons_last(values_a[op]), neurons_last(values_b[op])
                if (space.name, site) not in moments:
                    moments[space.name, site] = CrossMoments.start(u, v)
                moments[space.name, site].add(u, v)
    for (name, _), found in moments.items():
        if not (found.cross.isfinite().all() and found.square_a.isfinite().all() and found.square_b.isfinite().all()):
            raise NidError(
                f"the activations of {name} are too large to be compared", "the network has not been trained well"
            )
    return moments


@dataclass(frozen=True)
class Matching:
    """How well the neurons of one layer match: objectives are means over neurons of the similarity to the partner."""

    permutation: Tensor
    optimal: float
    identity: float
    random: Tensor

    def record(self, *, layer: int | str, at: str, similarity: str) -> Match:
        """As it is recorded; spreads are None for fewer than two random permutations."""
        some = len(self.random) > 0
        own = self.permutation == torch.arange(len(self.permutation))
        return Match(
            layer=layer,
            at=at,
            similarity=similarity,
            optimal=self.optimal,
            identity=self.identity,
            random_mean=float(self.random.mean()) if some else None,
            random_sd=float(self.random.std()) if len(self.random) > 1 else None,
            random_min=float(self.random.min()) if some else None,
            random_max=float(self.random.max()) if some else None,
            share_identity=float(own.double().mean()),
            permutation=self.permutation.tolist(),
        )


def match_layer(similarity: Tensor, random: int, seed: int) -> Matching:
    """Optimal, identity and random objectives of a similarity matrix (n x n; docs/science.md, 4)."""
    similarity = similarity.cpu()
    rows, generator = torch.arange(len(similarity)), torch.Generator().manual_seed(seed)
    best = best_permutation(similarity)
    draws = [similarity[rows, torch.randperm(len(rows), generator=generator)].mean() for _ in range(random)]
    objectives = torch.stack(draws) if draws else torch.zeros(0, dtype=similarity.dtype)
    return Matching(best, float(similarity[rows, best].mean()), float(similarity.diagonal().mean()), objectives)


def best_permutation(similarity: Tensor) -> Tensor:
    """For each neuron i of A its partner pi(i) in B: the assignment with the greatest total similarity."""
    _, partners = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
    return torch.from_numpy(partners)


def match_activations(
    graph: Graph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    data: Data,
    at: str = "post_activation",
    similarity: str = "pearson",
) -> Permutation:
    """The permutation of B's neurons that makes them most similar to A's, layer by layer."""
    moments = stream_moments(graph, a, b, data, (at,))
    return {space.name: best_permutation(similarities(moments[space.name, at], similarity)) for space in graph.spaces}


def align_by_activations(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, parameters: ByActivations
) -> Permutation:
    """The alignment ``activation`` of ``specs.ALIGNMENTS``."""
    return match_activations(graph, a, b, data, parameters.at, parameters.similarity)
