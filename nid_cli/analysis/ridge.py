"""Ridge-regression estimate of realization costs (section 7): fit neuron i to reproduce neuron j on data.

For every ordered pair (i, j) of a layer's chosen neurons and every temperature beta, minimize over the trainable part
w of neuron i's weight and over its bias c (which is not penalized)

    (1/beta) * mean_x( act(x . W_j + b_j) - act(x . (V_i + D_i w) + c) )^2 + |w|^2.

Each pair is a small non-convex problem (non-convex where the activation is not the identity) of dimension d + 1. All
pairs of a layer are solved together: an iteration is two matrix products, X U^T and R X, whatever the number of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

BETAS = (0.001, 0.01, 0.1, 1.0)
NEURONS = 16
TOLERANCE = 1e-6
ADAMW_LR = 5e-3

STARTS = 3
MEMORY = 10  # curvature pairs that L-BFGS remembers
ARMIJO = 1e-4  # share of the decrease promised by the slope that a step must deliver
MAX_HALVINGS = 20
# Samples that are widened to float64 at once.
ROWS = 1024
# Entries of the largest tensor of a block of targets (float64: 16 MiB); a few of that size live at once.
BLOCK_ENTRIES = 2**21


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
    betas: Sequence[float] = BETAS,
    solver: str = "lbfgs",
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
    chosen = layer.take(range(min(NEURONS, len(layer.weight))) if neurons is None else neurons)
    method, most = SOLVERS[solver]
    solutions = method(chosen, betas, most if iterations is None else iterations, tolerance)
    return [_report(chosen, beta, *solution) for beta, solution in zip(betas, solutions, strict=True)]


# Effective weights (n x n x d), biases (n x n) and iterations (n x n) of all pairs at one beta.
Solution = tuple[Tensor, Tensor, Tensor]


def _slope(activation: Callable[[Tensor], Tensor], at: Tensor, times: Tensor) -> Tensor:
    """act'(at) * times, elementwise."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        return torch.autograd.grad(activation(at), at, times)[0]


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
        back = _slope(layer.activation, before, error) * (2 / (beta * len(x)))
        gradient = (back @ x + 2 * trained) * layer.mask[i]
        mse, norm = error.square().mean(1), trained.square().sum(1)
        slope = (gradient.square().sum(1) + back.sum(1).square()).sqrt()
        rows.append(torch.stack([mse / beta + norm, mse, norm, slope, effective.norm(dim=1)]))
    objective, mse, norm, slope, weight_norm = torch.stack(rows, 1)
    return RidgeFit(
        beta, objective, mse, norm, slope, iterations, weight_norm, targets.norm(dim=1), weight.float(), bias.float()
    )


# --- AdamW, the literal variant ---------------------------------------------------------------------------------------


def _adamw(layer: Layer, betas: Sequence[float], iterations: int, tolerance: float) -> list[Solution]:
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
        back = _slope(layer.activation, before, error).mul_(2 / (beta * len(x)))
        weight.grad = (back @ x).add_(weight - fixed, alpha=2).mul_(mask)
        bias.grad = back.sum(1)
        optimizer.step()
    return weight.view(n, n, -1), bias.view(n, n), torch.full((n, n), iterations, device=x.device)


# --- The solver's coordinates -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Problem:
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
    def of(cls, layer: Layer) -> _Problem:
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
        slopes = _slope(self.layer.activation, self.before[targets], torch.ones_like(self.before[targets]))
        jitter = 1e-7 * torch.trace(self.gram) * torch.eye(len(self.gram), device=self.x.device)
        grams = []
        for slope in slopes:
            scaled = self.x * slope[:, None]
            grams.append((scaled.T @ scaled).double() / len(scaled) + jitter)
        return torch.stack(grams)


def _fewer(free: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Positions (n x m) of each row's fixed entries, or of its free ones if those are fewer (True); see _Problem."""
    fixed_count, free_count = (int(chosen.sum(1).max()) for chosen in (~free, free))
    direct, most = free_count < fixed_count, min(free_count, fixed_count)
    chosen = free if direct else ~free
    positions = (~chosen).long().argsort(stable=True, dim=1)[:, :most]
    return positions, torch.arange(most, device=free.device) < chosen.sum(1, keepdim=True), direct


class _MaskedInverse:
    """Solves with one curvature matrix H_j a target, restricted to each neuron's free coordinates.

    A pair's matrix is H_j without the rows and columns c that neuron i holds fixed. With P = H_j^-1, its inverse is
    P - P_:c (P_cc)^-1 P_c: on the free coordinates: one q x q inverse a target and a small m x m one a pair serve all.
    Where fewer coordinates are free than fixed, the free block of H_j is small itself and is inverted directly.
    """

    def __init__(self, problem: _Problem, curvatures: Tensor) -> None:
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


# --- L-BFGS -----------------------------------------------------------------------------------------------------------


def _lbfgs(layer: Layer, betas: Sequence[float], iterations: int, tolerance: float) -> list[Solution]:
    """Preconditioned L-BFGS on all pairs, a block of targets at a time; the Gram matrices serve all betas."""
    problem, n = _Problem.of(layer), len(layer.weight)
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


def _block(problem: _Problem) -> int:
    """Targets per block: as many as keep each tensor below ``BLOCK_ENTRIES``."""
    (samples, q), (n, m) = problem.x.shape, problem.few.shape
    return max(1, BLOCK_ENTRIES // max(STARTS * n * samples, n * m * m, q * q))


def _solve_block(
    problem: _Problem, grams: Tensor, targets: Tensor, beta: float, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The best of the starts for each pair: points (targets x n x q) and their iterations (targets x n)."""
    metric = _MaskedInverse(problem, problem.curvature(grams, beta))
    starts = torch.stack(_starts(problem, metric, grams, targets, beta), 2)
    block, n, tries, q = starts.shape
    neuron = torch.arange(n, device=starts.device).repeat_interleave(tries).repeat(block)
    target = torch.arange(block, device=starts.device).repeat_interleave(n * tries)
    fit = _minimize(problem, metric, targets, beta, starts.view(-1, q), neuron, target, iterations, tolerance)
    best = fit.objective.view(block, n, tries).argmin(2, keepdim=True)
    points = fit.point.view(block, n, tries, q).gather(2, best[..., None].expand(-1, -1, -1, q))
    return points.squeeze(2), fit.iterations.view(block, n, tries).gather(2, best).squeeze(2)


def _starts(problem: _Problem, metric: _MaskedInverse, grams: Tensor, targets: Tensor, beta: float) -> list[Tensor]:
    """Starting points (targets x n x q, float64 each) that depend on this beta alone.

    First the closed-form ridge solution on the pre-activations, exact for the identity; then the same with each
    sample weighted by the target's squared slope there, which forgets what the activation hides; last the neuron's
    own trained weight. Each alone ends in a worse minimum for some pairs.
    """
    n, block = len(problem.own), len(targets)
    away = problem.own[targets][:, None] - problem.fixed
    neuron, target = torch.arange(n, device=targets.device), torch.arange(block, device=targets.device)

    plain = _MaskedInverse(problem, problem.curvature(problem.gram[None], beta))
    right = (2 / beta * away @ problem.gram).transpose(0, 1).flatten(0, 1)
    shift = plain.solve(right, neuron.repeat_interleave(block), torch.zeros_like(target).repeat(n))
    right = (2 / beta * away @ grams).flatten(0, 1)
    weighted = metric.solve(right, neuron.repeat(block), target.repeat_interleave(n))

    steps = shift.view(n, block, -1).transpose(0, 1), weighted.view(block, n, -1)
    return [*(problem.fixed + step for step in steps), problem.own.expand(block, -1, -1)]


@dataclass
class _Fit:
    """Where each row ended: points (R x q, float32), objectives (R, float64) and iterations (R)."""

    point: Tensor
    objective: Tensor
    iterations: Tensor


@dataclass
class _Rows:
    """The pairs still being solved, a row each; ``index`` says which row of the whole it is.

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

    problem: _Problem
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
        back = _slope(self.problem.layer.activation, before, error)
        pull = (back @ self.problem.x) * (2 / (self.beta * len(self.problem.x)))
        return (pull + 2 * self.trained(point, neuron)) * self.problem.free[neuron]


def _minimize(
    problem: _Problem,
    metric: _MaskedInverse,
    targets: Tensor,
    beta: float,
    starts: Tensor,
    neuron: Tensor,
    target: Tensor,
    iterations: int,
    tolerance: float,
) -> _Fit:
    """L-BFGS from ``starts`` (R x q) for sorted pairs; each row stops on its own.

    Objectives never rise. A row stops when half its Newton decrement, the expected gain, is within tolerance, or when
    no step along the preconditioned gradient lowers the objective: float32 has no more to give.
    """
    objective = _Objective(problem, problem.wanted[targets], beta)
    rows = _begin(objective, starts.float(), neuron, target)
    fit = _Fit(rows.point.clone(), rows.objective.clone(), torch.zeros_like(rows.index))
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


def _precondition(metric: _MaskedInverse, rows: _Rows) -> Tensor:
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


# Each solver with its default number of iterations.
SOLVERS: dict[str, tuple[Callable[[Layer, Sequence[float], int, float], list[Solution]], int]] = {
    "lbfgs": (_lbfgs, 500),
    "adamw": (_adamw, 3000),
}
