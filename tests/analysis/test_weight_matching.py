"""Weight matching: planted permutations come back, and the objective never falls."""

import pytest
import torch

from nid_cli.analysis.weight_matching import match_weights
from nid_cli.nets.permutation import permute, random
from tests.analysis.test_match import network


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_permutation_is_recovered_exactly(norm: str, seed: int) -> None:
    graph, a = network(1, norm)
    axes = graph.symmetries.axes
    planted = permute(axes, a, random(graph.spaces, torch.Generator().manual_seed(seed)))
    restored = permute(axes, planted, match_weights(graph, a, planted).permutation)
    assert all(torch.equal(restored[name], a[name]) for name in a)


def test_the_objective_never_falls_and_is_what_it_says() -> None:
    (graph, a), (_, b) = network(1), network(2)
    for seed in range(10):
        found = match_weights(graph, a, b, restarts=1 + seed % 3, seed=seed)
        assert all(later > earlier for earlier, later in zip(found.history, found.history[1:], strict=False))
        aligned = permute(graph.symmetries.axes, b, found.permutation)
        product = sum(float((a[n].double() * aligned[n].double()).sum()) for n in graph.parameters)
        assert found.objective == pytest.approx(product) and found.history[-1] == pytest.approx(product)


def test_restarts_find_nothing_farther_in_squared_distance() -> None:
    (graph, a), (_, b) = network(3), network(4)

    def distance(restarts: int) -> float:
        aligned = permute(graph.symmetries.axes, b, match_weights(graph, a, b, restarts=restarts).permutation)
        return sum(float((a[n] - aligned[n]).double().square().sum()) for n in graph.parameters)

    unaligned = sum(float((a[n] - b[n]).double().square().sum()) for n in graph.parameters)
    assert distance(8) <= distance(1) + 1e-9 < unaligned
