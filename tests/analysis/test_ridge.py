"""Tests of the ridge-regression estimate (section 7) against independent implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.analysis.ridge import RidgeFit, fit_pairs
from nid_cli.analysis.ridge_problem import Layer

KINDS = ("standard", "w", "sparse", "syre")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Problems this small only lose time to a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def identity(x: Tensor) -> Tensor:
    return x


def make_layer(kind: str, activation: Callable[[Tensor], Tensor], seed: int = 0, n: int = 5, d: int = 12) -> Layer:
    """A small random layer whose inputs are correlated, off-center, and constant in their last two columns."""
    g = torch.Generator().manual_seed(seed)
    inputs = torch.randn(400, d - 2, generator=g) @ torch.randn(d - 2, d - 2, generator=g) / 2 + 0.7
    inputs = torch.cat([inputs, torch.tensor([-0.42, 0.0]).expand(400, 2)], 1)
    weight, bias = torch.randn(n, d, generator=g) / d**0.5, torch.randn(n, generator=g) / 4
    mask, fixed = torch.ones(n, d, dtype=torch.bool), torch.zeros(n, d)
    if kind in ("w", "sparse"):
        # Rows of one layer need not agree in the number of fixed entries: few from 0 on, or most of them.
        count = torch.arange(n)[:, None] + (0 if kind == "w" else d - n)
        mask = torch.rand(n, d, generator=g).argsort(1) >= count
        fixed = torch.randn(n, d, generator=g).masked_fill(mask, 0.0)
        weight = torch.where(mask, weight, fixed)
    if kind == "syre":
        fixed = torch.randn(n, d, generator=g)
        weight = weight + fixed
    return Layer(inputs, weight, bias, mask, fixed, activation)


def objective(layer: Layer, fit: RidgeFit, i: int, j: int, weight: Tensor, bias: Tensor) -> Tensor:
    """The objective of one pair, written down from its definition (float64)."""
    x = layer.inputs.double()
    wanted = layer.activation(x @ layer.weight[j].double() + layer.bias[j].double())
    own = layer.activation(x @ (layer.fixed[i].double() + layer.mask[i] * weight) + bias)
    return (wanted - own).square().mean() / fit.beta + (layer.mask[i] * weight).square().sum()


def ridge_minimum(layer: Layer, beta: float, i: int, j: int) -> tuple[float, float]:
    """Least objective and its |w|^2 for the identity, by numpy's least squares on stacked equations (float64)."""
    x = layer.inputs.double().numpy()
    mask, fixed = layer.mask[i].numpy(), layer.fixed[i].double().numpy()
    y = x @ (layer.weight[j].double().numpy() - fixed) + float(layer.bias[j])
    free = np.concatenate([x[:, mask], np.ones((len(x), 1))], 1) / np.sqrt(beta * len(x))
    penalty = np.eye(mask.sum(), mask.sum() + 1)
    left, right = np.concatenate([free, penalty]), np.concatenate([y / np.sqrt(beta * len(x)), np.zeros(mask.sum())])
    solution, *_ = np.linalg.lstsq(left, right, rcond=None)
    return float(np.square(left @ solution - right).sum()), float(np.square(solution[:-1]).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_identity_lbfgs_equals_closed_form(kind: str) -> None:
    layer = make_layer(kind, identity)
    for fit in fit_pairs(layer):
        expected = torch.tensor([[ridge_minimum(layer, fit.beta, i, j) for j in range(5)] for i in range(5)])
        torch.testing.assert_close(fit.objective, expected[..., 0].double(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(fit.norm, expected[..., 1].double(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_identity_adamw_equals_closed_form(kind: str) -> None:
    layer = make_layer(kind, identity)
    fit = fit_pairs(layer, neurons=(0, 3), betas=(1.0,), solver="adamw", iterations=2000)[0]
    expected = [[ridge_minimum(layer, 1.0, i, j)[0] for j in (0, 3)] for i in (0, 3)]
    torch.testing.assert_close(fit.objective, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_adamw_is_torchs_on_the_objective_of_one_pair(kind: str) -> None:
    layer, (i, j) = make_layer(kind, F.gelu), (4, 1)
    fit = fit_pairs(layer, betas=(0.01,), solver="adamw", iterations=30)[0]
    weight = ((layer.weight[i] - layer.fixed[i]) * layer.mask[i]).double().requires_grad_()
    bias = layer.bias[i].double().clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=5e-3, weight_decay=0.0)
    for _ in range(30):
        optimizer.zero_grad()
        objective(layer, fit, i, j, weight, bias).backward()
        optimizer.step()
    torch.testing.assert_close(
        fit.objective[i, j], objective(layer, fit, i, j, weight, bias).detach(), rtol=1e-4, atol=0
    )
    assert (fit.iterations == 30).all()


@pytest.mark.parametrize("activation", [F.gelu, torch.relu])
@pytest.mark.parametrize("kind", KINDS)
def test_report_matches_definition(kind: str, activation: Callable[[Tensor], Tensor]) -> None:
    layer = make_layer(kind, activation)
    for fit in fit_pairs(layer, betas=(0.01, 1.0), iterations=7):
        for i, j in ((0, 1), (3, 3), (4, 2)):
            fixed, mask = layer.fixed[i].double(), layer.mask[i]
            weight = ((fit.weight[i, j].double() - fixed) * mask).requires_grad_()
            bias = fit.bias[i, j].double().requires_grad_()
            value = objective(layer, fit, i, j, weight, bias)
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, (weight, bias))])
            torch.testing.assert_close(fit.objective[i, j], value.detach())
            torch.testing.assert_close(fit.mse[i, j] / fit.beta + fit.norm[i, j], value.detach())
            torch.testing.assert_close(fit.norm[i, j], weight.detach().square().sum())
            torch.testing.assert_close(fit.gradient_norm[i, j], gradient.norm())
            torch.testing.assert_close(fit.weight_norm[i, j], fit.weight[i, j].double().norm())
            torch.testing.assert_close(fit.target_norm[j], layer.weight[j].double().norm())
            torch.testing.assert_close(fit.weight[i, j][~mask], layer.fixed[i][~mask], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs_is_stationary(kind: str) -> None:
    layer = make_layer(kind, F.gelu)
    for fit in fit_pairs(layer, tolerance=1e-8):
        for i in range(5):
            for j in range(5):
                # A zero gradient is judged beside that of the trivial fit w = 0, c = 0.
                zero = torch.zeros(12, dtype=torch.float64, requires_grad=True)
                bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
                start = torch.autograd.grad(objective(layer, fit, i, j, zero, bias), (zero, bias))
                scale = torch.cat([g.flatten() for g in start]).norm()
                assert fit.gradient_norm[i, j] <= 1e-3 * scale, (fit.beta, i, j)


@pytest.mark.parametrize("activation", [F.gelu, torch.relu])
def test_objective_never_rises(activation: Callable[[Tensor], Tensor]) -> None:
    layer = make_layer("w", activation)
    fits = [fit_pairs(layer, betas=(0.001,), iterations=count)[0] for count in (0, 1, 2, 3, 5, 10, 20, 40)]
    for before, after in pairwise(fits):
        assert (after.objective <= before.objective * (1 + 1e-5) + 1e-5).all()
    assert (fits[0].iterations == 0).all()
    assert fits[-1].objective.mean() < 0.9 * fits[0].objective.mean()


def test_own_function_costs_at_most_own_weight() -> None:
    layer = make_layer("standard", F.gelu)
    fit = fit_pairs(layer, betas=(1e-6,))[0]
    own = layer.weight.double().square().sum(1)
    assert (fit.objective.diagonal() <= own * (1 + 1e-4)).all()


def test_realization_does_not_depend_on_the_neuron_in_standard_layers() -> None:
    for fit in fit_pairs(make_layer("standard", F.gelu)):
        torch.testing.assert_close(fit.objective, fit.objective[:1].expand_as(fit.objective), rtol=1e-4, atol=1e-5)


def test_constant_inputs_cost_nothing() -> None:
    layer = make_layer("w", F.gelu)
    level = torch.full_like(layer.inputs, 0.3)
    constant = Layer(level, layer.weight, layer.bias, layer.mask, layer.fixed, layer.activation)
    for fit in fit_pairs(constant):
        assert fit.objective.max() < 1e-6
        assert fit.norm.max() == 0


@pytest.mark.parametrize("solver", ["lbfgs", "adamw"])
def test_betas_are_independent(solver: str) -> None:
    layer = make_layer("w", F.gelu)
    forth = fit_pairs(layer, betas=(0.001, 0.1, 1.0), solver=solver, iterations=25)
    back = fit_pairs(layer, betas=(1.0, 0.1, 0.001), solver=solver, iterations=25)
    for one, other in zip(forth, reversed(back), strict=True):
        assert one.beta == other.beta
        assert torch.equal(one.objective, other.objective)
        assert torch.equal(one.weight, other.weight)
    alone = [fit_pairs(layer, (2,), (beta,), solver, 25)[0].objective for beta in (0.01, 1.0)]
    assert torch.equal(
        torch.stack(alone), torch.stack([f.objective for f in fit_pairs(layer, (2,), (0.01, 1.0), solver, 25)])
    )


def test_neurons_choose_rows_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer("w", F.gelu)
    whole = fit_pairs(layer, betas=(0.1,))[0]
    monkeypatch.setattr("nid_cli.analysis.ridge_solvers.BLOCK_ENTRIES", 1)
    chosen = fit_pairs(layer, neurons=(4, 1), betas=(0.1,))[0]
    index = torch.tensor([4, 1])
    torch.testing.assert_close(chosen.objective, whole.objective[index][:, index], rtol=1e-4, atol=1e-5)
    assert chosen.target_norm.equal(whole.target_norm[index])


@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs_is_no_worse_than_many_steps_of_adamw(kind: str) -> None:
    layer = make_layer(kind, F.gelu)
    ours = fit_pairs(layer, betas=(0.01, 1.0))
    theirs = fit_pairs(layer, betas=(0.01, 1.0), solver="adamw", iterations=800)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.objective <= other.objective * 1.001 + 1e-6).all()


def test_dead_relu_target_costs_nothing() -> None:
    layer = make_layer("standard", torch.relu)
    layer.bias[2] = -1e3
    fit = fit_pairs(layer, betas=(0.001,))[0]
    assert fit.objective.isfinite().all()
    assert fit.objective[:, 2].max() < 1e-6


def test_wrong_requests_are_refused() -> None:
    layer = make_layer("standard", F.gelu)
    with pytest.raises(ValueError, match="unknown solver 'sgd'; choose from lbfgs, adamw"):
        fit_pairs(layer, solver="sgd")
    with pytest.raises(ValueError, match="betas must be positive"):
        fit_pairs(layer, betas=(0.1, 0.0))
