"""Costs and coherence against slow implementations with explicit Gram matrices and pinv, which import no analysis."""

import numpy as np
import pytest
import torch

from nid_cli.analysis import subspace
from nid_cli.analysis.coherence import DELTAS, anisotropy, anisotropy_bounds, layer_coherence
from nid_cli.analysis.cost import layer_constraint, realization_costs, swap_costs
from nid_cli.analysis.subspace import Moments, Subspace, principal_subspace, stream_input_moments
from nid_cli.graphs import graph_of
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT
from nid_cli.nets.symmetry import constraint, draw_fixed, initial_state, rule_of
from tests.analysis.test_match import network, random_data
from tests.conftest import small_spec


def slow_costs(basis: np.ndarray, weight: np.ndarray, fixed: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    n = len(weight)
    cost, residual = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        gram = basis.T @ np.diag(mask[i].astype(float)) @ basis
        inverse = np.linalg.pinv(gram, rcond=1e-8, hermitian=True)
        for j in range(n):
            delta = basis.T @ (weight[j] - fixed[i])
            cost[i, j] = delta @ inverse @ delta
            residual[i, j] = np.linalg.norm(delta - gram @ inverse @ delta)
    own = np.diag(cost)
    swap = cost + cost.T - own[:, None] - own[None]
    centers = fixed @ basis
    return {
        "cost": cost, "residual": residual, "swap": swap,
        "centers": np.linalg.norm(centers[:, None] - centers[None], axis=2),
    }  # fmt: skip


def layer(n: int, d: int, k: int, f: int, seed: int, align: bool = False):
    """A random masked layer; ``align`` makes U contain fixed coordinate axes, so that S_i is singular."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, k)))[0]
    if align:
        basis = np.linalg.qr(np.concatenate([np.eye(d)[:, :2], rng.normal(size=(d, k - 2))], 1))[0]
    mask = np.ones((n, d), dtype=bool)
    for row in mask:
        row[rng.permutation(d)[:f]] = False
    fixed = np.where(mask, 0, rng.normal(size=(n, d)))
    weight = np.where(mask, rng.normal(size=(n, d)), fixed)
    return basis, weight, fixed, mask


@pytest.mark.parametrize(
    ("n", "d", "k", "f", "align"),
    [
        (7, 20, 5, 3, False),  # f < k
        (7, 20, 5, 9, False),  # f > k
        (70, 12, 4, 4, False),  # f = k, more neurons than a chunk
        (6, 10, 10, 4, False),  # k = d: every S_i singular
        (6, 10, 10, 7, False),
        (9, 12, 5, 3, True),  # some S_i singular
        (9, 12, 4, 8, True),
        (5, 8, 3, 0, False),  # nothing fixed
    ],
)
def test_fast_costs_equal_the_slow_ones(n: int, d: int, k: int, f: int, align: bool) -> None:
    basis, weight, fixed, mask = layer(n, d, k, f, seed=n + d + k + f, align=align)
    slow = slow_costs(basis, weight, fixed, mask)
    fast = realization_costs(
        Subspace(torch.from_numpy(basis), 1.0), *(torch.from_numpy(x) for x in (weight, fixed)), torch.from_numpy(mask)
    )
    scale = max(1.0, slow["cost"].max())
    np.testing.assert_allclose(fast.cost_squared.numpy(), slow["cost"], atol=1e-8 * scale, rtol=1e-7)
    np.testing.assert_allclose(fast.residual.numpy(), slow["residual"], atol=1e-6)
    np.testing.assert_allclose(fast.swap_squared.numpy(), slow["swap"], atol=4e-8 * scale)
    np.testing.assert_allclose(fast.center_distance.numpy(), slow["centers"], atol=1e-9)
    swap = fast.swap_squared
    assert torch.equal(swap, swap.T) and (swap.diagonal() == 0).all()
    if k == d and f:
        assert slow["residual"].max() > 0.1


@pytest.mark.parametrize("symmetry", ["standard", "sigma", "syre"])
def test_layers_without_masks_solve_nothing(symmetry: str) -> None:
    spec = small_spec(symmetry=symmetry, kappa=1.5 if symmetry == "syre" else None)
    graph, kind = graph_of(spec), rule_of(symmetry)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 1)
    state = initial_state(kind, graph, fixed, spec.symmetry.kappa, 2)
    rule = constraint(kind, graph, fixed, spec.symmetry.kappa)
    weight = state["linear.0.weight"]
    part, mask = layer_constraint(graph.layers["linear.0"], weight, rule.pinned, rule.anchor)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 9)))[0]
    fast = realization_costs(Subspace(torch.from_numpy(basis), 1.0), weight, part, mask)
    slow = slow_costs(basis, weight.double().numpy(), part.double().numpy(), np.ones((12, 64), dtype=bool))
    assert mask is None and (fast.residual == 0).all()
    np.testing.assert_allclose(fast.cost_squared.numpy(), slow["cost"], rtol=1e-9)
    if symmetry != "syre":
        assert fast.swap_squared.abs().max() < 1e-12
    else:
        assert fast.swap_squared[0, 1] > 1


def test_constraints_of_a_w_layer_are_found_again() -> None:
    spec = small_spec(symmetry="w", kappa=[1, 0.5, 2])
    graph, kind = graph_of(spec), rule_of("w")
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 1)
    rule = constraint(kind, graph, fixed, spec.symmetry.kappa)
    state = initial_state(kind, graph, fixed, spec.symmetry.kappa, 2)
    part, mask = layer_constraint(graph.layers["linear.1"], state["linear.1.weight"], rule.pinned, rule.anchor)
    assert torch.equal(mask, fixed["linear.1.mask"]) and torch.equal(part, 0.5 * fixed["linear.1.fixed"])


def test_swap_costs_of_a_block_are_a_block_of_the_swap_costs() -> None:
    cost = torch.rand(6, 6, dtype=torch.float64)
    torch.testing.assert_close(swap_costs(cost)[:3, :3], swap_costs(cost[:3, :3]))


def test_streamed_covariances_equal_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subspace, "BATCH", 37)
    graph, state = network(1, "batch")
    data = random_data()
    moments = stream_input_moments(graph, state, data)
    assert set(moments) == {"linear.0", "linear.1", "linear.2", "linear.3", "output"}
    for name, source in (("linear.0", INPUT), ("linear.2", "activation.1"), ("output", "linear.3")):
        stored = record(graph, state, {INPUT: data.train.inputs}, (source,))[source]
        expected = np.cov(stored.double().numpy().T, bias=True)
        np.testing.assert_allclose(moments[name].covariance().numpy(), expected, atol=1e-5)


def test_covariance_survives_large_means() -> None:
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    shifted = x + torch.tensor([0.0, 1e4, 0.0])
    moments = Moments.start(shifted)
    for part in shifted.split(600):
        moments.add(part)
    np.testing.assert_allclose(moments.covariance().numpy(), np.cov(shifted.double().numpy().T, bias=True), atol=1e-4)


def test_principal_subspaces_take_the_fewest_directions() -> None:
    covariance = torch.diag(torch.tensor([1.0, 5.0, 3.0, 1.0], dtype=torch.float64))
    for target, k, share in ((0.5, 1, 0.5), (0.51, 2, 0.8), (0.8, 2, 0.8), (0.9, 3, 0.9), (1.0, 4, 1.0)):
        found = principal_subspace(covariance, target)
        assert found.basis.shape == (4, k) and found.explained_variance == pytest.approx(share)
    one = principal_subspace(covariance, 0.5)
    assert one.coherence == pytest.approx(1) and one.basis[1].abs() == pytest.approx(1)


@pytest.mark.parametrize(("d", "k", "f"), [(20, 5, 3), (20, 5, 9), (12, 4, 4), (10, 10, 4)])
def test_anisotropy_is_the_operator_norm(d: int, k: int, f: int) -> None:
    basis, _, _, mask = layer(8, d, k, f, seed=d + k + f)
    found = anisotropy(Subspace(torch.from_numpy(basis), 1.0), torch.from_numpy(mask))
    share = mask.mean()
    for i in range(8):
        gram = basis.T @ np.diag(mask[i].astype(float)) @ basis
        assert found[i].item() == pytest.approx(np.linalg.norm(gram - share * np.eye(k), 2), abs=1e-9)


def test_bounds_by_formula_and_without_a_mask() -> None:
    basis, _, _, mask = layer(8, 20, 5, 12, seed=3)
    space = Subspace(torch.from_numpy(basis), 1.0)
    bounds = anisotropy_bounds(space, torch.from_numpy(mask))
    p, nu = 8 / 20, (basis**2).sum(1).max()
    for delta in DELTAS:
        log = np.log(2 * 5 / delta)
        expected = 2 / 3 * 0.6 * nu * log + np.sqrt(p * (1 - p)) * np.sqrt(nu) * np.sqrt(2 * log)
        assert bounds[str(delta)] == pytest.approx(expected)
    assert set(anisotropy_bounds(space, None).values()) == {0.0}
    plain = layer_coherence(0, space, 8, None).values()
    assert plain["anisotropy"] == [0.0] * 8 and plain["share_above_bounds"]["0.05"] == 0.0
    assert layer_coherence("output", space, 0, None).anisotropy_mean is None


def test_few_neurons_exceed_the_bounds() -> None:
    basis, _, _, mask = layer(400, 60, 3, 30, seed=5)
    found = layer_coherence(0, Subspace(torch.from_numpy(basis), 1.0), 400, torch.from_numpy(mask)).values()
    assert all(found["share_above_bounds"][str(delta)] <= delta for delta in DELTAS)
