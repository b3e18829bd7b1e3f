"""The swap index against Sinkhorn's definition, enumeration of all permutations, and what it must not depend on."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from nid_cli.analysis.swap_index import doubly_stochastic, swap_index


def costs(n: int, scale: float, seed: int = 0) -> np.ndarray:
    """Squared costs of realizing each other's functions: own ones are cheapest."""
    generator = np.random.default_rng(seed)
    a, v = generator.normal(size=(2, n, 3))
    return scale * ((v[:, None] + 0.3 * a[:, None] - v[None] - 0.3 * a[None]) ** 2).sum(-1) + generator.random(n)


def none_infeasible(c2: np.ndarray) -> np.ndarray:
    return np.zeros_like(c2)


def slow_index(c2: np.ndarray, variance: float, steps: int = 20_000) -> float:
    """Plain Sinkhorn, entry by entry as it is defined."""
    matrix = np.exp(-c2 / (2 * variance))
    for _ in range(steps):
        for i in range(len(matrix)):
            matrix[i] /= sum(matrix[i])
        for j in range(len(matrix)):
            matrix[:, j] /= sum(matrix[:, j])
        if abs(matrix.sum(1) - 1).max() < 1e-9:
            break
    return float(np.mean([matrix[i, i] for i in range(len(matrix))]))


def expected_share(c2: np.ndarray, variance: float) -> float:
    """The mean share of neurons in their places under P(pi) = exp(-sum_i c2[i, pi(i)] / 2 variance), all pi listed."""
    total = kept = 0.0
    for pi in permutations(range(len(c2))):
        weight = float(np.exp(-sum(c2[i, pi[i]] for i in range(len(c2))) / (2 * variance)))
        total += weight
        kept += weight * sum(pi[i] == i for i in range(len(c2))) / len(c2)
    return kept / total


@pytest.mark.parametrize("n", [1, 2, 5, 9])
@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_it_is_the_mean_diagonal_of_sinkhorns_matrix(n: int, scale: float) -> None:
    c2 = costs(n, scale)
    assert swap_index(c2, none_infeasible(c2), 0.5) == pytest.approx(slow_index(c2, 0.5), abs=2e-4)


def test_rows_and_columns_sum_to_one() -> None:
    for scale in (0.1, 100.0, 1e5):
        found = doubly_stochastic(-costs(40, scale))
        assert found.sum(0) == pytest.approx(1, abs=1e-4) and found.sum(1) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("n", [1, 3, 64])
def test_standard_layers_give_one_over_n(n: int) -> None:
    """Whatever the functions cost, whoever computes them."""
    c2 = np.tile(np.random.default_rng(1).random(n) * 50, (n, 1))
    assert swap_index(c2, none_infeasible(c2), 0.01) == pytest.approx(1 / n, abs=1e-6)


def test_it_rises_from_one_over_n_to_one_as_the_prior_narrows() -> None:
    c2 = costs(8, 1.0)
    found = [swap_index(c2, none_infeasible(c2), variance) for variance in (1e6, 10.0, 1.0, 0.1, 1e-4)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(1 / 8, abs=1e-4) and found[-1] == pytest.approx(1, abs=1e-4)


def test_it_depends_on_swaps_alone_and_on_no_order() -> None:
    """What a neuron, or a function, costs by itself cancels; so does the order in which they are named."""
    c2, generator = costs(7, 1.0), np.random.default_rng(3)
    usual = swap_index(c2, none_infeasible(c2), 0.5)
    shifted = c2 + generator.random((7, 1)) * 9 + generator.random(7) * 9
    assert swap_index(shifted, none_infeasible(c2), 0.5) == pytest.approx(usual, abs=2e-4)
    order = generator.permutation(7)
    assert swap_index(c2[order][:, order], none_infeasible(c2), 0.5) == pytest.approx(usual, abs=2e-4)


def test_what_cannot_be_realized_is_no_place() -> None:
    c2 = np.zeros((4, 4))
    residual = np.ones((4, 4)) - np.eye(4)
    assert swap_index(c2, residual, 1.0) == pytest.approx(1)
    residual[0, 1] = residual[1, 0] = 0  # these two can swap
    assert swap_index(c2, residual, 1.0) == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize("n", [2, 4, 6])
@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 3.0, 1000.0])
def test_it_is_near_the_expected_share_over_all_permutations(n: int, scale: float) -> None:
    """Exact at both ends. Between them it is lower, by up to .2 here, because Sinkhorn's matrix is not that of the
    permutations' marginals: of two neurons it has sqrt(w) / (1 + sqrt(w)) where these have w / (1 + w)."""
    c2 = costs(n, scale) * (scale > 0)
    found, exact = swap_index(c2, none_infeasible(c2), 0.5), expected_share(c2, 0.5)
    assert found == pytest.approx(exact, abs=1e-3 if scale in (0.0, 1000.0) else 0.21)
    assert found <= exact + 1e-3


def test_two_neurons_in_closed_form() -> None:
    for swap in (0.1, 2.0, 7.0):
        c2 = np.array([[0.3, 1.0], [swap - 0.5, 0.2]])
        ratio = np.exp((c2[0, 1] + c2[1, 0] - c2[0, 0] - c2[1, 1]) / (2 * 0.5))
        assert swap_index(c2, none_infeasible(c2), 0.5) == pytest.approx(ratio**0.5 / (1 + ratio**0.5), abs=2e-4)
        assert expected_share(c2, 0.5) == pytest.approx(ratio / (1 + ratio))
