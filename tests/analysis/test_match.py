"""Streamed matching against numpy on stored activations."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nid_cli.analysis import moments as streams
from nid_cli.analysis.assignment import best_permutation
from nid_cli.analysis.match import match_activations, match_layer
from nid_cli.analysis.moments import CrossMoments, stream_moments, units_of
from nid_cli.data.tensors import Data, Split
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT, SITES
from nid_cli.nets.mlp import mlp
from nid_cli.nets.permutation import permute, random
from nid_cli.specs import Measures


def network(seed: int, norm: str = "layer"):
    graph = mlp(Measures((6,), 3, "classes"), width=8, depth=4, norm=norm, activation="gelu", gated=False)
    generator = torch.Generator().manual_seed(seed)
    shapes = graph.parameters | graph.buffers
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return graph, state | {name: torch.rand(shape, generator=generator) + 0.5 for name, shape in graph.buffers.items()}


def random_data(count: int = 300) -> Data:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(count, 6, generator=generator), torch.randint(3, (count,), generator=generator)
    part = Split(x, y)
    return Data(part, Split(x[:50], y[:50]), Split(x[50:90], y[50:90]))


def pearson_by_numpy(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    n = u.shape[1]
    return np.corrcoef(u.astype(np.float64).T, v.astype(np.float64).T)[:n, n:]


def test_streamed_moments_equal_stored_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BATCH", 37)
    (graph, a), (_, b) = network(1), network(2)
    data = random_data()
    moments = stream_moments(graph, a, b, data, units_of(graph, SITES))
    assert len(moments) == 9
    for space in graph.spaces:
        for point, [own] in space.sites.items():
            u, v = (record(graph, s, {INPUT: data.train.inputs}, (own.call,))[own.call].numpy() for s in (a, b))
            found = moments[space.name, point]
            np.testing.assert_allclose(found.pearson().numpy(), pearson_by_numpy(u, v), atol=2e-6)
            np.testing.assert_allclose(found.dot().numpy(), u.astype(np.float64).T @ v / len(u), atol=2e-6)


def test_constant_neurons_correlate_with_nothing_and_large_means_lose_no_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(5000, 4, generator=generator)
    u[:, 1] = 3.7  # constant
    shifted = u.double().clone()
    shifted[:, 2] += 3e4  # a mean far above the spread
    moments = CrossMoments.start(shifted.float(), u)
    for part in zip(shifted.float().split(700), u.split(700), strict=True):
        moments.add(*part)
    correlation = moments.pearson()
    assert (correlation[1] == 0).all() and (correlation[:, 1] == 0).all() and correlation.isfinite().all()
    expected = pearson_by_numpy(shifted.float().double()[:, [0, 2, 3]].numpy(), u[:, [0, 2, 3]].numpy())
    np.testing.assert_allclose(correlation[[0, 2, 3]][:, [0, 2, 3]].numpy(), expected, atol=1e-6)
    assert correlation[2, 2] > 0.9999


def test_assignment_is_the_best_of_all() -> None:
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    partners = best_permutation(similarity)
    total = similarity[torch.arange(5), partners].sum()
    totals = [sum(similarity[i, p[i]] for i in range(5)) for p in itertools.permutations(range(5))]
    assert total == pytest.approx(max(totals).item())


@given(st.integers(2, 6), st.integers(0, 2**20))
def test_a_layers_record_by_definition(n: int, seed: int) -> None:
    """Objectives against loops over all permutations; the random ones lie between the worst and the best."""
    similarity = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = match_layer(similarity, 20, seed).record(layer=0, at="post_norm", similarity="dot")
    means = {p: sum(float(similarity[i, p[i]]) for i in range(n)) / n for p in itertools.permutations(range(n))}
    assert found.optimal == pytest.approx(max(means.values())) == pytest.approx(means[tuple(found.permutation)])
    assert found.identity == pytest.approx(means[tuple(range(n))])
    assert found.share_identity == pytest.approx(sum(i == p for i, p in enumerate(found.permutation)) / n)
    drawn = match_layer(similarity, 20, seed).random.tolist()
    assert all(min(abs(value - mean) for mean in means.values()) < 1e-9 for value in drawn)
    assert len(set(drawn)) > 1  # 20 draws of at least 2 permutations
    assert (found.random_min, found.random_max) == (min(drawn), max(drawn))
    assert found.random_mean == pytest.approx(np.mean(drawn)) and found.random_sd == pytest.approx(
        np.std(drawn, ddof=1)
    )


def test_few_random_permutations_have_no_spread() -> None:
    similarity = torch.eye(3, dtype=torch.float64)
    none, one = (match_layer(similarity, count, 0).record(layer=0, at="", similarity="") for count in (0, 1))
    assert none.random_mean is none.random_sd is none.random_min is none.random_max is one.random_sd is None
    assert one.random_mean == one.random_min == one.random_max


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_planted_permutation_is_found(norm: str) -> None:
    """The reference code, which maximizes 1 - |correlation|, would find the worst partners."""
    graph, a = network(1, norm)
    generator = torch.Generator().manual_seed(5)
    axes = graph.symmetries.axes
    b = permute(axes, a, random(graph.spaces, generator))
    found = match_activations(graph, a, b, random_data())
    restored = permute(axes, b, found)
    assert all(torch.equal(restored[name], a[name]) for name in a)
