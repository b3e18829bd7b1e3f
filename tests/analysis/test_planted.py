"""Permutations planted into networks of plain modules come back, by weights and by activations."""

from __future__ import annotations

import pytest
import torch

from nid_cli.analysis.match import match_activations
from nid_cli.analysis.moments import stream_moments, units_of
from nid_cli.analysis.weight_matching import match_weights
from nid_cli.nets.axes import leaves
from nid_cli.nets.graph import SITES
from nid_cli.nets.permutation import inverse, permute
from tests.analysis.exported import MODULES, data_of, network, planted


@pytest.mark.parametrize("name", MODULES)
def test_weights_bring_them_back_bit_by_bit(name: str) -> None:
    graph, a = network(name)
    _, b = planted(graph, a, 1)
    found = match_weights(graph, a, b)
    back = permute(graph.symmetries.axes, b, found.permutation)
    assert all(torch.equal(back[own], a[own]) for own in a)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("res") or name == "residual"])
def test_weights_bring_noisy_ones_back_and_the_objective_never_falls(name: str) -> None:
    graph, a = network(name)
    permutation, b = planted(graph, a, 2, noise=0.05)
    found = match_weights(graph, a, b, restarts=2)
    assert all(later > earlier for earlier, later in zip(found.history, found.history[1:], strict=False))
    for own, index in inverse(graph.spaces, permutation).items():
        assert torch.equal(found.permutation[own], index)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("name", MODULES)
def test_activations_bring_them_back(name: str, noise: float) -> None:
    """All but neurons that hardly ever vary, whose activations look alike."""
    graph, a = network(name)
    permutation, b = planted(graph, a, 3, noise)
    data = data_of(graph)
    found, wanted = match_activations(graph, a, b, data), inverse(graph.spaces, permutation)
    units = units_of(graph, SITES)
    own = stream_moments(graph, a, a, data, units)
    alive: dict[str, torch.Tensor] = {}
    for unit in units:
        spaces = {leaf.space for leaf in leaves(unit.tree)}
        if len(spaces) == 1:  # the last site decides
            alive[spaces.pop()] = own[unit.name, unit.site].pearson().diagonal() > 0.5
    for name_, index in wanted.items():
        right = found[name_] == index
        varies = alive.get(name_, torch.ones(len(index), dtype=torch.bool))
        assert right[varies].double().mean() == 1 if not noise else right[varies].double().mean() > 0.9
