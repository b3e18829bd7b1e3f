"""Rank correlations against scipy's and slow definitions, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nid_cli.analysis.correlation import kendall, partial_spearman, spearman, with_interval


@pytest.mark.parametrize("seed", range(6))
def test_they_are_scipys_with_ties(seed: int) -> None:
    x, y = np.random.default_rng(seed).integers(0, 6, size=(2, 15)).astype(float)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert kendall(x, y) == pytest.approx(kendalltau(x, y).statistic)


def test_a_partial_correlation_is_that_of_what_regression_leaves() -> None:
    x, y, z = np.random.default_rng(0).normal(size=(3, 30)) + np.linspace(0, 3, 30)
    ranks = [np.argsort(np.argsort(values)) - 14.5 for values in (x, y, z)]
    left = [own - ranks[2] * (own @ ranks[2]) / (ranks[2] @ ranks[2]) for own in ranks[:2]]
    assert partial_spearman(x, y, z) == pytest.approx(np.corrcoef(*left)[0, 1])


def test_what_the_third_tells_wholly_has_no_partial_correlation() -> None:
    x = np.arange(9.0)
    assert np.isnan(partial_spearman(x, x[::-1].copy(), x))
    assert np.isnan(spearman(x, np.ones(9))) and np.isnan(kendall(np.ones(9), x))


def test_intervals_are_seeded_hold_the_value_and_narrow_with_groups() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for n in (8, 60):
        x = generator.normal(size=n)
        y = x + generator.normal(size=n)
        found = with_interval(spearman, [str(i) for i in range(n)], x, y)
        assert found == with_interval(spearman, [str(i) for i in range(n)], x, y)
        assert found.interval is not None and found.value is not None
        assert found.interval[0] <= found.value <= found.interval[1]
        widths.append(found.interval[1] - found.interval[0])
    assert widths[1] < widths[0] / 2


def test_epochs_of_a_group_are_drawn_together() -> None:
    """Rows that repeat others add no certainty."""
    x, y = np.random.default_rng(2).normal(size=(2, 12))
    names = [str(i) for i in range(12)]
    once = with_interval(spearman, names, x, y)
    often = with_interval(spearman, names * 5, np.tile(x, 5), np.tile(y, 5))
    assert often.interval == pytest.approx(once.interval)
