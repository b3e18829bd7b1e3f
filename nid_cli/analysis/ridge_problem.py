"""The ridge-regression fits of a layer as a numerical problem: its coordinates, and solves with its curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Samples that are widened to float64 at once.
ROWS = 1024


@dataclass(frozen=True)
class Layer:
    """One linear layer with its inputs.

    ``inputs`` (N x d, float32); ``weight`` (n x d) effective, ``bias`` (n); ``mask`` (n x d, bool, True = trained) and
    ``fixed`` (n x d): V, so that the effective weight is V + D w: kappa F at masked positions and 0 elsewhere for w,
    kappa N for syre, 0 for standard. ``activation`` is elementwise and differentiable almost everywhere.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor
    mask: Tensor
    fixed: Tensor
    activation: Callable[[Tensor], Tensor]

    def take(self, neurons: Sequence[int]) -> Layer:
        """The layer of the chosen neurons only, in the given order."""
        index = torch.tensor(list(neurons), device=self.weight.device, dtype=torch.long)
        return replace(
            self,
            weight=self.weight.index_select(0, index),
            bias=self.bias.index_select(0, index),
            mask=self.mask.index_select(0, index),
            fixed=self.fixed.index_select(0, index),
        )

    def backward(self, at: Tensor, times: Tensor) -> Tensor:
        """act'(at) * times, elementwise: gradients on their way back through the activation."""
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            return torch.autograd.grad(self.activation(at), at, times)[0]


@dataclass(frozen=True)
class Problem:
    """The layer in coordinates that suit a solver: q = (inputs that vary) + 1, the last one the bias.

    An input that never varies only adds to the unpenalized bias: its trainable weight is 0 at the optimum, so it is
    dropped. The others are centered, which decouples them from the bias and keeps float32 products accurate.

    ``x`` (N x q, float32); ``own`` and ``fixed`` (n x q, float64): the neurons and V; ``free`` and ``penalized``
    (n x q, bool): trained coordinates, with and without the bias; ``few`` (n x m): each neuron's fixed coordinates, or
    the free ones (``direct``) where they are fewer, padded to m where ``real`` is False; ``gram`` (q x q, float64) =
    x^T x / N; ``before`` and ``wanted`` (n x N): the targets before and after the activation.
    """

    layer: Layer
    varying: Tensor
    center: Tensor
    x: Tensor
    own: Tensor
    fixed: Tensor
    free: Tensor
    penalized: Tensor
    few: Tensor
    real: Tensor
    direct: bool
    gram: Tensor
    before: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, layer: Layer) -> Problem:
        """The problem of a layer; its inputs are widened to float64 in parts."""
        inputs, n = layer.inputs, len(layer.weight)
        varying = (inputs != inputs[0]).any(0)
        center = torch.where(varying, inputs.mean(0, dtype=torch.float64), inputs[0].double())
        bias = layer.bias.double() + layer.weight.double() @ center
        own = torch.cat([layer.weight[:, varying].double(), bias[:, None]], 1)
        fixed = torch.cat([layer.fixed[:, varying].double(), torch.zeros_like(bias)[:, None]], 1)
        trained, last = layer.mask[:, varying], layer.mask.new_ones(n, 1)
        free, penalized = torch.cat([trained, last], 1), torch.cat([trained, ~last], 1)
        x = inputs.new_empty(len(inputs), free.shape[1])
        gram = torch.zeros(free.shape[1], free.shape[1], dtype=torch.float64, device=inputs.device)
        for part, out in zip(inputs.split(ROWS), x.split(ROWS), strict=True):
            wide = torch.cat([part[:, varying].double() - center[varying], part.new_ones(len(part), 1)], 1)
            out.copy_(wide)
            gram += wide.T @ wide / len(inputs)
        before = own.float() @ x.T
        wanted = layer.activation(before)
        return cls(layer, varying, center, x, own, fixed, free, penalized, *_fewer(free), gram, before, wanted)

    def to_layer(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Effective weights (n x n x d, float32) and biases (n x n) of points (n x n x q), neuron by target."""
        n = len(self.own)
        weight = torch.where(self.layer.mask, 0.0, self.layer.fixed.double())
        weight = torch.where(self.varying, weight, self.layer.fixed.double())[:, None].repeat(1, n, 1)
        weight[..., self.varying] = points[..., :-1].double()
        return weight.float(), (points[..., -1].double() - weight @ self.center).float()

    def curvature(self, gram: Tensor, beta: float) -> Tensor:
        """The Hessian (.. x q x q) of (1/beta) u^T gram u + |penalized part of u|^2, before any mask."""
        penalty = gram.new_ones(gram.shape[-1])
        penalty[-1] = 0
        return 2 / beta * gram + 2 * torch.diag(penalty)

    def weighted_grams(self, targets: Tensor) -> Tensor:
        """For each target the Gram matrix of inputs weighted by act'^2 there (J x q x q, float64).

        It is the Gauss-Newton curvature of a perfect fit. The small multiple of I covers float32 rounding and inputs
        where the target's slope is zero.
        """
        slopes = self.layer.backward(self.before[targets], torch.ones_like(self.before[targets]))
        jitter = 1e-7 * torch.trace(self.gram) * torch.eye(len(self.gram), device=self.x.device)
        grams = []
        for slope in slopes:
            scaled = self.x * slope[:, None]
            grams.append((scaled.T @ scaled).double() / len(scaled) + jitter)
        return torch.stack(grams)


def _fewer(free: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Positions (n x m) of each row's fixed entries, or of its free ones if those are fewer (True); see Problem."""
    fixed_count, free_count = (int(chosen.sum(1).max()) for chosen in (~free, free))
    direct, most = free_count < fixed_count, min(free_count, fixed_count)
    chosen = free if direct else ~free
    positions = (~chosen).long().argsort(stable=True, dim=1)[:, :most]
    return positions, torch.arange(most, device=free.device) < chosen.sum(1, keepdim=True), direct


class MaskedInverse:
    """Solves with one curvature matrix H_j a target, restricted to each neuron's free coordinates.

    A pair's matrix is H_j without the rows and columns c that neuron i holds fixed. With P = H_j^-1, its inverse is
    P - P_:c (P_cc)^-1 P_c: on the free coordinates: one q x q inverse for each target and a small m x m one
    for each pair serve all.
    Where fewer coordinates are free than fixed, the free block of H_j is small itself and is inverted directly.
    """

    def __init__(self, problem: Problem, curvatures: Tensor) -> None:
        """``curvatures``: J x q x q (float64), positive definite."""
        self.free, self.few, self.real, self.direct = problem.free, problem.few, problem.real, problem.direct
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvatures))
        source = curvatures if self.direct else self.inverse
        blocks = source[:, self.few[:, :, None], self.few[:, None, :]]
        padding = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
        blocks = torch.where(self.real[:, :, None] & self.real[:, None, :], blocks, padding)
        self.blocks = torch.cholesky_inverse(torch.linalg.cholesky(blocks)) if blocks.numel() else blocks

    def solve(self, right: Tensor, neuron: Tensor, target: Tensor) -> Tensor:
        """Solutions (R x q, float64) for right-hand sides (R x q) of pairs, sorted by target and then by neuron."""
        free = self.free[neuron]
        right = right.double() * free
        if self.direct:
            return self._times_blocks(right, neuron, target)
        solution = self._times_inverse(right, target)
        if self.few.shape[1]:
            solution -= self._times_inverse(self._times_blocks(solution, neuron, target), target)
        return solution * free

    def _times_inverse(self, values: Tensor, target: Tensor) -> Tensor:
        groups, counts = torch.unique_consecutive(target, return_counts=True)
        parts = values.split(counts.tolist())
        return torch.cat([part @ self.inverse[j] for j, part in zip(groups.tolist(), parts, strict=True)])

    def _times_blocks(self, values: Tensor, neuron: Tensor, target: Tensor) -> Tensor:
        """Each pair's small inverse, applied to its few coordinates; the others become zero."""
        few, real = self.few[neuron], self.real[neuron]
        pair = target * len(self.free) + neuron
        _, group, counts = torch.unique_consecutive(pair, return_inverse=True, return_counts=True)
        slot = torch.arange(len(pair), device=pair.device) - (counts.cumsum(0) - counts)[group]
        blocks = self.blocks.flatten(0, 1)
        # A row finds its pair's block by its place in a grid of all pairs: gathering the blocks would copy them.
        grid = values.new_zeros(len(blocks), int(counts.max()), few.shape[1])
        grid[pair, slot] = values.gather(1, few) * real
        return torch.zeros_like(values).scatter_add_(1, few, (grid @ blocks)[pair, slot] * real)
