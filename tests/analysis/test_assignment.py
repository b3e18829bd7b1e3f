"""Positions, similarities and assignments of families against enumeration and loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nid_cli.analysis.assignment import Similarity, ascend, families, solve
from nid_cli.analysis.weight_matching import _Problem, match_weights
from nid_cli.nets.axes import Tree
from nid_cli.nets.permutation import permute, random
from nid_cli.nets.positions import positions
from tests.analysis.exported import network, planted
from tests.nets.test_axes import AXES, SIZES, SPACES, places


@pytest.mark.parametrize("tree", [tree for axes in AXES for tree in axes])
@pytest.mark.parametrize("names", [("h",), ("p",), ("q",), ("h", "i"), ("i", "h"), ("p", "q")])
def test_positions_are_those_found_one_by_one(tree: Tree, names: tuple[str, ...]) -> None:
    """Each row has one place for each combination; all rows together have the places that belong to it."""
    found = positions(tree, *names)
    belongs = [places(tree, position) for position in range(tree.size)]
    for combination in itertools.product(*(range(SIZES[name]) for name in names)):
        here = [at for at, own in enumerate(belongs) if tuple(own.get(name) for name in names) == combination]
        assert sorted(here) == (sorted(found[:, *combination].tolist()) if found is not None else [])


@given(st.integers(0, 2**20))
@settings(max_examples=20)
def test_a_family_is_solved_exactly(seed: int) -> None:
    """Heads of 3 with two insides of 2: all permutations enumerated."""
    [family] = [own for own in families(SPACES) if own.outer.name == "h"]
    generator = torch.Generator().manual_seed(seed)
    similarity = Similarity.empty(family)
    similarity.outer += torch.randn(3, 3, generator=generator)
    similarity.inner["i"] += torch.randn(3, 3, 2, 2, generator=generator)
    values = []
    for outer in itertools.permutations(range(3)):
        for inner in itertools.product(itertools.permutations(range(2)), repeat=3):
            values.append(
                sum(float(similarity.outer[n, outer[n]]) for n in range(3))
                + sum(float(similarity.inner["i"][n, outer[n], k, inner[n][k]]) for n in range(3) for k in range(2))
            )
    assert similarity.value(family, solve(family, similarity)) == pytest.approx(max(values))


@pytest.mark.parametrize("name", ["vit", "gpt", "mixer", "densenet", "residual"])
def test_similarities_say_what_the_objective_gains(name: str) -> None:
    """Of random permutations of a family, the others at random too; by whole networks."""
    graph, a = network(name)
    _, b = planted(graph, a, 1, noise=0.5)
    problem, generator = _Problem(graph, a, b), torch.Generator().manual_seed(0)

    def objective(permutation: dict[str, torch.Tensor]) -> float:
        moved = permute(graph.symmetries.axes, b, permutation)
        return sum(float((a[own].double() * moved[own].double()).sum()) for own in graph.parameters)

    for family in problem.families:
        now, then = random(graph.spaces, generator), random(graph.spaces, generator)
        after = now | {own: then[own] for own in family.names}
        given_ = problem.similarity(family, now)
        gain = given_.value(family, after) - given_.value(family, now)
        assert problem.objective(now) == pytest.approx(objective(now))
        assert gain == pytest.approx(objective(after) - objective(now), abs=1e-4)


def test_a_stream_on_both_axes_never_lowers_the_objective() -> None:
    graph, a = network("square")
    _, b = network("square", 1)
    for seed in range(5):
        found = match_weights(graph, a, b, restarts=4, seed=seed)
        assert all(later > earlier for earlier, later in zip(found.history, found.history[1:], strict=False))
        assert found.history[-1] == pytest.approx(found.objective)


def test_a_family_that_nothing_touches_is_solved_once() -> None:
    chosen, calls = families(SPACES), []
    generator = torch.Generator().manual_seed(0)

    def similarity(family, permutation):
        calls.append(family.names[0])
        own = Similarity.empty(family)
        own.outer += torch.randn(own.outer.shape, generator=generator)
        return own

    start = {s.name: torch.arange(s.size).expand(3, 2) if s.depends_on else torch.arange(s.size) for s in SPACES}
    ascend(chosen, similarity, start, lambda *_: True, lambda family: ())
    assert sorted(calls) == sorted(family.names[0] for family in chosen)
