"""The solvers of the ridge-regression fits: all ordered pairs of a layer's neurons, at each beta on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nid_cli.analysis.ridge_lbfgs import minimize
from nid_cli.analysis.ridge_problem import Layer, MaskedInverse, Problem

ADAMW_LR = 5e-3
STARTS = 3
# Entries of the largest tensor of a block of targets (float64: 16 MiB); a few of that size live at once.
BLOCK_ENTRIES = 2**21

# Effective weights (n x n x d), biases (n x n) and iterations (n x n) of all pairs at one beta.
Solution = tuple[Tensor, Tensor, Tensor]


def lbfgs(layer: Layer, betas: Sequence[float], iterations: int, tolerance: float) -> list[Solution]:
    """Preconditioned L-BFGS on all pairs, a block of targets at a time; the Gram matrices serve all betas."""
    problem, n = Problem.of(layer), len(layer.weight)
    columns: list[list[tuple[Tensor, Tensor]]] = [[] for _ in betas]
    for targets in torch.arange(n, device=layer.weight.device).split(_block(problem)):
        grams = problem.weighted_grams(targets)
        for column, beta in zip(columns, betas, strict=True):
            column.append(_solve_block(problem, grams, targets, beta, iterations, tolerance))
    solutions = []
    for column in columns:
        points, counts = (torch.cat(parts).transpose(0, 1) for parts in zip(*column, strict=True))
        solutions.append((*problem.to_layer(points), counts))
    return solutions


def _block(problem: Problem) -> int:
    """Targets per block: as many as keep each tensor below ``BLOCK_ENTRIES``."""
    (samples, q), (n, m) = problem.x.shape, problem.few.shape
    return max(1, BLOCK_ENTRIES // max(STARTS * n * samples, n * m * m, q * q))


def _solve_block(
    problem: Problem, grams: Tensor, targets: Tensor, beta: float, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The best of the starts for each pair: points (targets x n x q) and their iterations (targets x n)."""
    metric = MaskedInverse(problem, problem.curvature(grams, beta))
    starts = torch.stack(_starts(problem, metric, grams, targets, beta), 2)
    block, n, tries, q = starts.shape
    neuron = torch.arange(n, device=starts.device).repeat_interleave(tries).repeat(block)
    target = torch.arange(block, device=starts.device).repeat_interleave(n * tries)
    fit = minimize(problem, metric, targets, beta, starts.view(-1, q), neuron, target, iterations, tolerance)
    best = fit.objective.view(block, n, tries).argmin(2, keepdim=True)
    points = fit.point.view(block, n, tries, q).gather(2, best[..., None].expand(-1, -1, -1, q))
    return points.squeeze(2), fit.iterations.view(block, n, tries).gather(2, best).squeeze(2)


def _starts(problem: Problem, metric: MaskedInverse, grams: Tensor, targets: Tensor, beta: float) -> list[Tensor]:
    """Starting points (targets x n x q, float64 each) that depend on this beta alone.

    First the closed-form ridge solution on the pre-activations, exact for the identity; then the same with each
    sample weighted by the target's squared slope there, which forgets what the activation hides; last the neuron's
    own trained weight. Each alone ends in a worse minimum for some pairs.
    """
    n, block = len(problem.own), len(targets)
    away = problem.own[targets][:, None] - problem.fixed
    neuron, target = torch.arange(n, device=targets.device), torch.arange(block, device=targets.device)

    plain = MaskedInverse(problem, problem.curvature(problem.gram[None], beta))
    right = (2 / beta * away @ problem.gram).transpose(0, 1).flatten(0, 1)
    shift = plain.solve(right, neuron.repeat_interleave(block), torch.zeros_like(target).repeat(n))
    right = (2 / beta * away @ grams).flatten(0, 1)
    weighted = metric.solve(right, neuron.repeat(block), target.repeat_interleave(n))

    steps = shift.view(n, block, -1).transpose(0, 1), weighted.view(block, n, -1)
    return [*(problem.fixed + step for step in steps), problem.own.expand(block, -1, -1)]


def adamw(layer: Layer, betas: Sequence[float], iterations: int, tolerance: float) -> list[Solution]:
    """Full-batch AdamW on all pairs; their gradients do not mix, and Adam's step is elementwise."""
    return [_adamw_one(layer, beta, iterations) for beta in betas]


def _adamw_one(layer: Layer, beta: float, iterations: int) -> Solution:
    n, x = len(layer.weight), layer.inputs
    mask, fixed = layer.mask.repeat_interleave(n, 0), layer.fixed.repeat_interleave(n, 0)
    wanted = layer.activation(layer.weight @ x.T + layer.bias[:, None]).repeat(n, 1)
    weight, bias = layer.weight.repeat_interleave(n, 0), layer.bias.repeat_interleave(n, 0)
    optimizer = torch.optim.AdamW([weight, bias], lr=ADAMW_LR, weight_decay=0.0)
    for _ in range(iterations):
        before = torch.addmm(bias[:, None], weight, x.T)
        error = layer.activation(before).sub_(wanted)
        back = layer.backward(before, error).mul_(2 / (beta * len(x)))
        weight.grad = (back @ x).add_(weight - fixed, alpha=2).mul_(mask)
        bias.grad = back.sum(1)
        optimizer.step()
    return weight.view(n, n, -1), bias.view(n, n), torch.full((n, n), iterations, device=x.device)
