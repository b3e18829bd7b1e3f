"""Principal subspaces of a layer's inputs (docs/science.md, 6 and 8), from second moments streamed in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.parameters import output_of
from nid_cli.data.tensors import Data
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.kernels import inputs_of_neurons
from nid_cli.nets.layers import Layer
from nid_cli.records.subspace import SubspaceSummary

BATCH = 1024
# Samples (patches, of a convolution) of one float32 product and sum; those are added up in float64.
ROWS = 8192
# Neurons decomposed at once: bounds memory at CHUNK x f x k.
CHUNK = 64
# From so many columns on, two halves and what lies between them are multiplied faster than the whole.
WIDE = 256


def gram(x: Tensor) -> Tensor:
    """x^T x (d x d): symmetric, so of a large one only the blocks on one side of the diagonal are multiplied."""
    d = x.shape[1]
    if d < WIDE:
        return x.T @ x
    left, right = x[:, : d // 2], x[:, d // 2 :]
    across = left.T @ right
    return torch.cat([torch.cat([gram(left), across], 1), torch.cat([across.T, gram(right)], 1)])


@dataclass
class Moments:
    """Mean and covariance of d-dimensional samples, accumulated in float64 around the first sample."""

    shift: Tensor
    samples: int
    total: Tensor
    products: Tensor

    @classmethod
    def start(cls, x: Tensor) -> Moments:
        """Empty moments for samples like the rows of ``x`` (N x d)."""
        d, wide = x.shape[1], {"dtype": torch.float64, "device": x.device}
        return cls(x[0].clone(), 0, torch.zeros(d, **wide), torch.zeros(d, d, **wide))  # type: ignore[call-overload]

    def add(self, x: Tensor) -> None:
        """Adds the rows of ``x`` (N x d)."""
        self.samples += len(x)
        for rows in x.split(ROWS):
            centered = rows - self.shift
            self.total += centered.sum(0)
            self.products += gram(centered)

    def covariance(self) -> Tensor:
        """The covariance (d x d, float64; divided by N)."""
        mean = self.total / self.samples
        return self.products / self.samples - torch.outer(mean, mean)


@torch.no_grad()
def stream_input_moments(
    graph: Graph, state: Mapping[str, Tensor], data: Data, layers: Sequence[str] | None = None
) -> dict[str, Moments]:
    """Moments of the inputs of weighted layers, and of the network's output, in one pass over the training set.

    Args:
        layers: names of weighted layers, and ``"output"``; None takes all of them.

    Returns:
        by the name of the layer whose inputs they are, and by ``parameters.output_of``.
    """
    every: list[tuple[str, Layer | None, str]] = [
        (layer.name, use, use.source) for layer in graph.weighted for use in layer.uses
    ]
    every.append((output_of(graph), None, graph.output))
    sources = [known for known in every if layers is None or known[0] in layers]
    wanted = {source for _, _, source in sources}
    moments: dict[str, Moments] = {}
    patches = [graph.rows_of(layer) * layer.fan_in for _, layer, _ in sources if layer]
    for x, _ in data.batches("train", graph.batch(BATCH, sum(graph.sizes[name] for name in wanted), *patches)):
        values = record(graph, state, {INPUT: x}, wanted)
        for name, layer, source in sources:
            samples = inputs_of_neurons(layer, values[source]) if layer else values[source].flatten(0, -2)
            if name not in moments:
                moments[name] = Moments.start(samples)
            moments[name].add(samples)
    return moments


@torch.no_grad()
def sample_inputs(
    graph: Graph, state: Mapping[str, Tensor], data: Data, layer: Layer, count: int | None, seed: int
) -> Tensor:
    """Inputs of a weighted layer's neurons on the validation split (rows x d), of a convolution patches.

    Of a layer that is used several times, those of all its uses.

    Args:
        count: so many rows, drawn without replacement by ``seed``, in the split's order; None takes all.
    """
    rows = graph.rows_of(layer)
    total = rows * len(data.val)
    chosen = torch.arange(total)
    if count is not None and count < total:
        chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values
    parts, seen = [], 0
    for x, _ in data.batches("val", graph.batch(BATCH, rows * layer.fan_in)):
        values = record(graph, state, {INPUT: x}, {use.source for use in layer.uses} - {INPUT}) | {INPUT: x}
        samples = torch.cat([inputs_of_neurons(use, values[use.source]) for use in layer.uses])
        own = chosen[(chosen >= seen) & (chosen < seen + len(samples))] - seen
        parts.append(samples[own.to(samples.device)])
        seen += len(samples)
    return torch.cat(parts)


@dataclass(frozen=True)
class Subspace:
    """The top principal directions ``basis`` (d x k, orthonormal, float64) and the share of variance in them."""

    basis: Tensor
    explained_variance: float

    @property
    def coherence(self) -> float:
        """nu(U) = max_i |e_i^T U|^2, between k/d and 1 (docs/science.md, 8)."""
        return float(self.basis.square().sum(1).max())

    def summary(self) -> SubspaceSummary:
        """The subspace as records describe it."""
        full, dimension = self.basis.shape
        return SubspaceSummary(
            subspace_dimension=dimension,
            full_dimension=full,
            explained_variance=self.explained_variance,
            coherence=self.coherence,
        )


def principal_subspace(covariance: Tensor, target: float) -> Subspace:
    """The smallest number of principal directions whose share of variance reaches ``target`` (in (0, 1])."""
    variances, directions = torch.linalg.eigh(covariance)
    variances, directions = variances.flip(0).clamp_min(0), directions.flip(1)
    shares = variances.cumsum(0) / variances.sum().clamp_min(torch.finfo(torch.float64).tiny)
    # Rounding must not ask for more directions than there are when all variance is wanted.
    k = min(int((shares < target - 1e-12).sum()) + 1, len(shares))
    return Subspace(directions[:, :k].contiguous(), float(shares[k - 1]))


@dataclass(frozen=True)
class FixedFactors:
    """For each neuron the decomposition of U_F^T U_F, U_F the rows of U at its f fixed inputs.

    ``squares`` (n x r) are the squared singular values of U_F, ``rows`` (n x r x k) the vectors s_r q_r^T, where
    r = min(f, k). Then S_i = U^T D_i U = I - sum_r s_r^2 q_r q_r^T.
    """

    squares: Tensor
    rows: Tensor


def fixed_factors(basis: Tensor, positions: Tensor) -> FixedFactors:
    """Decomposes U_F of several neurons at once, through the smaller of the f x f and the k x k eigenproblem.

    Args:
        basis: U (d x k). positions: fixed inputs of each neuron (n x f).
    """
    blocks = basis[positions]
    if blocks.shape[1] <= blocks.shape[2]:
        squares, left = torch.linalg.eigh(blocks @ blocks.transpose(1, 2))
        return FixedFactors(squares.clamp_min(0), left.transpose(1, 2) @ blocks)
    squares, right = torch.linalg.eigh(blocks.transpose(1, 2) @ blocks)
    squares = squares.clamp_min(0)
    return FixedFactors(squares, squares.sqrt()[:, :, None] * right.transpose(1, 2))


def fixed_squares(basis: Tensor, positions: Tensor) -> Tensor:
    """The squared singular values alone (n x r; see :class:`FixedFactors`), a few neurons at a time."""
    parts = []
    for part in positions.split(CHUNK):
        blocks = basis[part]
        small = blocks @ blocks.mT if blocks.shape[1] <= blocks.shape[2] else blocks.mT @ blocks
        parts.append(torch.linalg.eigh(small)[0].clamp_min(0))
    return torch.cat(parts)


def fixed_positions(mask: Tensor) -> Tensor:
    """The columns of the fixed entries of each row (n x f) of a mask (n x d, True = trained)."""
    return (~mask).nonzero()[:, 1].view(len(mask), -1)
