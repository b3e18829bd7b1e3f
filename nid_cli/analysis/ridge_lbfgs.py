"""L-BFGS for the ridge-regression fits: many pairs at once, one in each row, with its own curvature as metric."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nid_cli.analysis.ridge_problem import MaskedInverse, Problem

MEMORY = 10  # curvature pairs that L-BFGS remembers
ARMIJO = 1e-4  # share of the decrease promised by the slope that a step must deliver
MAX_HALVINGS = 20


@dataclass
class Fit:
    """Where each row ended: points (R x q, float32), objectives (R, float64) and iterations (R)."""

    point: Tensor
    objective: Tensor
    iterations: Tensor


@dataclass
class _Rows:
    """The pairs still being solved, one in each row; ``index`` says which row of the whole it is.

    ``before`` (R x N): pre-activations at ``point``, kept up to date along steps instead of recomputed; ``history``:
    steps, changes of gradient, and 1 / their product (0: ignored), oldest first.
    """

    index: Tensor
    neuron: Tensor
    target: Tensor
    point: Tensor
    before: Tensor
    objective: Tensor
    gradient: Tensor
    history: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def take(self, rows: Tensor) -> _Rows:
        """The rows where ``rows`` (R, bool) is True."""
        return _Rows(
            self.index[rows],
            self.neuron[rows],
            self.target[rows],
            self.point[rows],
            self.before[rows],
            self.objective[rows],
            self.gradient[rows],
            [(step[rows], change[rows], weight[rows]) for step, change, weight in self.history],
        )


@dataclass(frozen=True)
class _Objective:
    """The objective of rows (neuron, target) at one beta; ``wanted`` (J x N) are the block's target outputs."""

    problem: Problem
    wanted: Tensor
    beta: float

    def error(self, before: Tensor, target: Tensor) -> Tensor:
        """Realized minus wanted output (R x N) for pre-activations ``before``."""
        return self.problem.layer.activation(before) - self.wanted[target]

    def value(self, error: Tensor, point: Tensor, neuron: Tensor) -> Tensor:
        """The objective (R, float64)."""
        mse = torch.linalg.vector_norm(error, dim=1, dtype=torch.float64).square() / error.shape[1]
        return mse / self.beta + self.trained(point, neuron).double().square().sum(1)

    def trained(self, point: Tensor, neuron: Tensor) -> Tensor:
        """The penalized part w (R x q, zero at the bias) of points."""
        return (point - self.problem.fixed.to(point.dtype)[neuron]) * self.problem.penalized[neuron]

    def gradient(self, before: Tensor, error: Tensor, point: Tensor, neuron: Tensor) -> Tensor:
        """The gradient (R x q), zero at fixed coordinates."""
        back = self.problem.layer.backward(before, error)
        pull = (back @ self.problem.x) * (2 / (self.beta * len(self.problem.x)))
        return (pull + 2 * self.trained(point, neuron)) * self.problem.free[neuron]


def minimize(
    problem: Problem,
    metric: MaskedInverse,
    targets: Tensor,
    beta: float,
    starts: Tensor,
    neuron: Tensor,
    target: Tensor,
    iterations: int,
    tolerance: float,
) -> Fit:
    """L-BFGS from ``starts`` (R x q) for pairs sorted by ``target`` (of ``targets``) and then by ``neuron`` (R each).

    Objectives never rise. Each row stops on its own: when half its Newton decrement, the expected gain, is within
    tolerance, or when no step along the preconditioned gradient lowers the objective: float32 has no more to give.
    """
    objective = _Objective(problem, problem.wanted[targets], beta)
    rows = _begin(objective, starts.float(), neuron, target)
    fit = Fit(rows.point.clone(), rows.objective.clone(), torch.zeros_like(rows.index))
    for count in range(iterations):
        if not len(rows.index):
            break
        direction = -_precondition(metric, rows)
        slope = (direction * rows.gradient).sum(1, dtype=torch.float64)
        going = -slope / 2 > tolerance * rows.objective
        if not going.all():
            rows, direction, slope = rows.take(going), direction[going], slope[going]
            if not len(rows.index):
                break
        moved = _step(objective, rows, direction, slope)
        # Without a step, forget the history and try the preconditioned gradient; without that too, stop.
        stuck = ~moved & ~_remembers(rows)
        for _, _, weight in rows.history:
            weight[~moved] = 0
        fit.point[rows.index], fit.objective[rows.index] = rows.point, rows.objective
        fit.iterations[rows.index] = count + 1
        if stuck.any():
            rows = rows.take(~stuck)
    return fit


def _begin(objective: _Objective, point: Tensor, neuron: Tensor, target: Tensor) -> _Rows:
    before = point @ objective.problem.x.T
    error = objective.error(before, target)
    index = torch.arange(len(point), device=point.device)
    gradient = objective.gradient(before, error, point, neuron)
    return _Rows(index, neuron, target, point, before, objective.value(error, point, neuron), gradient)


def _remembers(rows: _Rows) -> Tensor:
    """Which rows (R, bool) have any history."""
    if not rows.history:
        return torch.zeros_like(rows.index, dtype=torch.bool)
    return torch.stack([weight != 0 for _, _, weight in rows.history]).any(0)


def _precondition(metric: MaskedInverse, rows: _Rows) -> Tensor:
    """The two-loop recursion (Nocedal & Wright, algorithm 7.4), around a solve with the pair's own curvature."""
    values, shares = rows.gradient, []
    for step, change, weight in reversed(rows.history):
        shares.append(weight * (step * values).sum(1))
        values = values - shares[-1][:, None] * change
    values = metric.solve(values, rows.neuron, rows.target).float()
    for (step, change, weight), share in zip(rows.history, reversed(shares), strict=True):
        values = values + (share - weight * (change * values).sum(1))[:, None] * step
    return values


def _step(objective: _Objective, rows: _Rows, direction: Tensor, slope: Tensor) -> Tensor:
    """Moves each row along its direction (in place) and remembers the curvature seen; which rows moved (R, bool)."""
    along = direction @ objective.problem.x.T
    length = _line_search(objective, rows, direction, along, slope)
    step = length[:, None] * direction
    rows.point = rows.point + step
    rows.before.addcmul_(length[:, None], along)
    error = objective.error(rows.before, rows.target)
    rows.objective = objective.value(error, rows.point, rows.neuron)
    gradient = objective.gradient(rows.before, error, rows.point, rows.neuron)
    change = gradient - rows.gradient
    product = (step * change).sum(1)
    # Only positive curvature keeps the recursion a descent method.
    seen = product > 1e-8 * step.norm(dim=1) * change.norm(dim=1)
    rows.history = [*rows.history[-MEMORY + 1 :], (step, change, torch.where(seen, 1 / product, 0.0))]
    rows.gradient = gradient
    return length > 0


def _line_search(objective: _Objective, rows: _Rows, direction: Tensor, along: Tensor, slope: Tensor) -> Tensor:
    """Step lengths (R) of sufficient decrease, 0 where none is found: from 1, backwards by quadratic interpolation.

    Pre-activations are linear in the step, so a trial costs no matrix product.
    """
    length = torch.ones_like(slope, dtype=direction.dtype)
    trying = torch.arange(len(length), device=length.device)
    for _ in range(MAX_HALVINGS):
        some = slice(None) if len(trying) == len(length) else trying
        tried = length[some]
        before = torch.addcmul(rows.before[some], tried[:, None], along[some])
        error = objective.error(before, rows.target[some])
        point = rows.point[some] + tried[:, None] * direction[some]
        rise = objective.value(error, point, rows.neuron[some]) - rows.objective[some]
        refused = ~(rise <= ARMIJO * tried * slope[some])
        trying = trying[refused]
        if not len(trying):
            return length
        old, promised = tried[refused], (tried * slope[some])[refused]
        shrink = promised / (2 * (promised - rise[refused]))
        length[trying] = old * shrink.nan_to_num(0.1).clamp(0.1, 0.5).to(old.dtype)
    length[trying] = 0
    return length
