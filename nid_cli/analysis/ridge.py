"""Ridge-regression estimate of realization costs (docs/science.md, 7): fit neuron i to reproduce neuron j on data.

For every ordered pair (i, j) of a layer's chosen neurons and every temperature beta, minimize over the trainable part
w of neuron i's weight and over its bias c (which is not penalized)

    (1/beta) * mean_x( act(x . W_j + b_j) - act(x . (V_i + D_i w) + c) )^2 + |w|^2.

Each pair is a small non-convex problem (non-convex where the activation is not the identity) of dimension d + 1. All
pairs of a layer are solved together: an iteration is two matrix products, X U^T and R X, whatever the number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.catalog import SOLVERS
from nid_cli.analysis.parameters import CostParameters
from nid_cli.analysis.ridge_problem import Layer
from nid_cli.lazy import resolve

USUAL = CostParameters()
TOLERANCE = 1e-6


@dataclass(frozen=True)
class RidgeFit:
    """The fits of all ordered pairs of n chosen neurons at one ``beta``: row i realizes column j.

    n x n, float64: ``objective`` = ``mse`` / beta + ``norm``; ``norm`` = |w|^2, the squared realization cost;
    ``gradient_norm``, the Euclidean norm of the objective's gradient in (w, c); ``weight_norm`` = |V_i + D_i w|.
    ``iterations`` (n x n, int64) are those of the start that was kept. ``target_norm`` (n, float64) = |W_j|.
    ``weight`` (n x n x d, float32) = V_i + D_i w, and ``bias`` (n x n, float32) = c.
    """

    beta: float
    objective: Tensor
    mse: Tensor
    norm: Tensor
    gradient_norm: Tensor
    iterations: Tensor
    weight_norm: Tensor
    target_norm: Tensor
    weight: Tensor
    bias: Tensor


@torch.no_grad()
def fit_pairs(
    layer: Layer,
    neurons: Sequence[int] | None = None,
    betas: Sequence[float] = USUAL.betas,
    solver: str = USUAL.solver,
    iterations: int | None = None,
    tolerance: float = TOLERANCE,
) -> list[RidgeFit]:
    """Fits every ordered pair of ``neurons`` (default: the first 16) at every beta; the betas are independent.

    Args:
        solver: ``lbfgs`` converges: the best of three starts, the closed-form ridge solution on the pre-activations,
            the same weighted by the target's slopes, and neuron i's own trained weight and bias. ``adamw`` is the
            literal variant: full-batch AdamW (lr 5e-3, no decay) from neuron i's own trained weight and bias.
        iterations: at most (lbfgs, default 500) or exactly (adamw, default 3000) that many.
        tolerance: lbfgs stops a pair when it expects to gain less than this share of the objective.

    Returns:
        one ``RidgeFit`` a beta, in the order of ``betas``.

    Raises:
        ValueError: an unknown solver, a beta that is not positive, or no samples.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; choose from {', '.join(SOLVERS)}")
    if any(beta <= 0 for beta in betas):
        raise ValueError(f"betas must be positive, got {', '.join(map(str, betas))}")
    if not len(layer.inputs):
        raise ValueError("no samples to fit on")
    chosen = layer.take(range(min(USUAL.neurons, len(layer.weight))) if neurons is None else neurons)
    chosen_solver = SOLVERS[solver]
    most = chosen_solver.iterations if iterations is None else iterations
    solutions = resolve(chosen_solver.function)(chosen, betas, most, tolerance)
    return [_report(chosen, beta, *solution) for beta, solution in zip(betas, solutions, strict=True)]


def _report(layer: Layer, beta: float, weight: Tensor, bias: Tensor, iterations: Tensor) -> RidgeFit:
    """Evaluates fits on the layer as given (not in a solver's coordinates), in float64, neuron by neuron."""
    x, targets = layer.inputs.double(), layer.weight.double()
    wanted = layer.activation(targets @ x.T + layer.bias.double()[:, None])
    rows = []
    for i in range(len(weight)):
        effective = weight[i].double()
        trained = (effective - layer.fixed[i].double()) * layer.mask[i]
        before = effective @ x.T + bias[i].double()[:, None]
        error = layer.activation(before) - wanted
        back = layer.backward(before, error) * (2 / (beta * len(x)))
        gradient = (back @ x + 2 * trained) * layer.mask[i]
        mse, norm = error.square().mean(1), trained.square().sum(1)
        slope = (gradient.square().sum(1) + back.sum(1).square()).sqrt()
        rows.append(torch.stack([mse / beta + norm, mse, norm, slope, effective.norm(dim=1)]))
    objective, mse, norm, slope, weight_norm = torch.stack(rows, 1)
    return RidgeFit(
        beta, objective, mse, norm, slope, iterations, weight_norm, targets.norm(dim=1), weight.float(), bias.float()
    )
