"""The swap index (docs/science.md, 16): how firmly a layer's neurons hold their places, predicted from one model."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

# A residual of at least this share of the largest cost's root is a function that no weights realize.
FEASIBLE = 1e-6
# Rows and columns of a doubly stochastic matrix sum to one within this.
TOLERANCE = 1e-4
# Scalings between two exact steps, and at most so many of these.
SCALINGS, STEPS = 50, 60
SMALLEST = 1e-200


def swap_index(cost_squared: np.ndarray, residual: np.ndarray, variance: float) -> float:
    """The mean diagonal of the doubly stochastic matrix of exp(-c2 / 2 variance), between 1/n and 1.

    c2[i, j] is the least squared norm at which neuron i realizes function j, so under a Gaussian prior of this variance
    the arrangement pi of the functions has probability proportional to exp(-sum_i c2[i, pi(i)] / 2 variance).
    Sinkhorn's matrix is the mean-field estimate of how probable each place is; standard layers, whose costs differ by
    row and column alone, give 1/n.

    Args:
        cost_squared: c2 (n x n). residual: what cannot be realized (n x n); such pairs are left out.
        variance: that of one weight under the prior.
    """
    logs = -np.asarray(cost_squared, dtype=np.float64) / (2 * variance)
    infeasible = np.asarray(residual) > FEASIBLE * np.sqrt(max(float(np.max(cost_squared)), 1.0))
    np.fill_diagonal(infeasible, False)  # each neuron realizes its own function
    logs[infeasible] = -np.inf
    return float(np.diagonal(doubly_stochastic(logs)).mean())


def doubly_stochastic(logs: np.ndarray) -> np.ndarray:
    """The matrix whose rows and columns sum to one that is exp(``logs``) (n x n, -inf: never) with rows and columns
    scaled (Sinkhorn and Knopp 1967).

    Exact steps in logarithms alternate with plain scalings, which are ten times faster and stay in range between them.
    """
    logs = np.array(logs, dtype=np.float64)
    for _ in range(STEPS):
        logs -= logsumexp(logs, axis=1, keepdims=True)
        logs -= logsumexp(logs, axis=0, keepdims=True)
        scaled = np.exp(logs)
        if np.abs(scaled.sum(axis=1) - 1).max() < TOLERANCE:
            break
        rows, columns = np.ones(len(logs)), np.ones(len(logs))
        for _ in range(SCALINGS):
            rows = 1 / np.maximum(scaled @ columns, SMALLEST)
            columns = 1 / np.maximum(rows @ scaled, SMALLEST)
        logs += np.log(rows)[:, None] + np.log(columns)
    return np.exp(logs)
