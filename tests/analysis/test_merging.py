"""Many models in one: permuted copies become the network, objectives by double loops, the optimum by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from nid_cli.analysis.assignment import families
from nid_cli.analysis.cycle_consistent import frank_wolfe, highest
from nid_cli.analysis.merge_metrics import ensemble_logits, measure
from nid_cli.analysis.merging import Models, common_objective, merged, pairwise_cycle_error, swept
from nid_cli.analysis.relaxation import Relaxation, applied, between, nearest, soft, uniform
from nid_cli.analysis.weight_matching import Layout, match_weights
from nid_cli.data.tensors import Data, Split
from nid_cli.nets.functional import State, forward
from nid_cli.nets.graph import Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.permutation import Permutation, permute, random
from nid_cli.specs import MERGES, SPLITS, Measures
from tests.analysis import conv_networks, exported, test_match

ALIGNED = [name for name, merge in MERGES.items() if merge.function]


def network(name: str, seed: int = 0) -> tuple[Graph, State]:
    if name == "mlp":
        return test_match.network(seed)
    if name == "resnet":
        return conv_networks.trained_resnet("batch", seed)
    return exported.network(name, seed)


def different(name: str, count: int, **settings: int) -> Models:
    found = [network(name, seed) for seed in range(count)]
    return Models(found[0][0], [state for _, state in found], **settings)


def tiny(seed: int, depth: int = 3) -> tuple[Graph, State]:
    """Width 3: all permutations can be tried."""
    graph = mlp(Measures((4,), 2, "classes"), width=3, depth=depth, norm="none", activation="relu", gated=False)
    generator = torch.Generator().manual_seed(seed)
    return graph, {name: torch.randn(shape, generator=generator) for name, shape in graph.parameters.items()}


@pytest.mark.parametrize("align", ["many", "cycle"])
@pytest.mark.parametrize("name", ["mlp", "resnet", "residual", "square", "vit", "gpt", "mixer"])
def test_permuted_copies_of_a_network_merge_to_it(name: str, align: str) -> None:
    graph, state = network(name, 3)
    generator = torch.Generator().manual_seed(4)
    copies = [permute(graph.symmetries.axes, state, random(graph.spaces, generator)) for _ in range(3)]
    models = Models(graph, copies)
    found = merged(graph, models.permuted(models.frames(align)))
    assert all(torch.equal(found[own], copies[0][own]) for own in copies[0])
    assert models.are_one(models.frames(align)) and not models.are_one(models.unmoved())
    assert pairwise_cycle_error(models) == 0


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_copies_come_back_to_the_first_wherever_they_were(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    graph, state = test_match.network(seed)
    copies = [permute(graph.symmetries.axes, state, random(graph.spaces, generator)) for _ in range(4)]
    models = Models(graph, copies)
    for align in ALIGNED:
        found = merged(graph, models.permuted(models.frames(align)))
        assert all(torch.equal(found[own], copies[0][own]) for own in copies[0])


def slow_objective(graph: Graph, states: list[State], frames: list[Permutation]) -> float:
    """Pair by pair, number by number."""
    moved = [permute(graph.symmetries.axes, s, f) for s, f in zip(states, frames, strict=True)]
    total = 0.0
    for a in range(len(moved)):
        for b in range(a + 1, len(moved)):
            for name in graph.parameters:
                pairs = zip(moved[a][name].flatten().tolist(), moved[b][name].flatten().tolist(), strict=True)
                total += math.fsum(x * y for x, y in pairs)
    return total


@pytest.mark.parametrize("name", ["mlp", "residual", "vit"])
def test_the_objective_by_double_loops_and_no_alignment_is_below_a_simpler_one(name: str) -> None:
    models = different(name, 3, random_starts=0, steps=8)
    found = {align: models.frames(align) for align in MERGES}
    values = {align: models.objective(frames) for align, frames in found.items()}
    for align, frames in found.items():
        assert values[align] == pytest.approx(slow_objective(models.graph, list(models.states), frames), rel=1e-9)
        assert values[align] == pytest.approx(common_objective(models.graph, models.permuted(frames)))
    slack = 1e-9 * models.bound
    assert values["none"] < values["first"] <= values["many"] + slack and values["many"] <= values["cycle"] + slack
    assert values["cycle"] < models.bound and not models.are_one(found["cycle"])


def test_the_first_model_stays_and_two_models_are_weight_matching_at_least() -> None:
    models = different("mlp", 2)
    graph, (a, b) = models.graph, models.states
    wanted = match_weights(graph, a, b).permutation
    assert all(torch.equal(own, wanted[name]) for name, own in models.frames("first")[1].items())
    for align in MERGES:
        own = models.frames(align)[0]
        assert all(torch.equal(index, torch.arange(len(index))) for index in own.values())
    assert pairwise_cycle_error(models) is None


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_cycle_reaches_the_best_of_all_permutations(count: int, seed: int) -> None:
    found = [tiny(10 * seed + place) for place in range(count)]
    graph, states = found[0][0], [state for _, state in found]
    orders = [torch.tensor(p) for p in itertools.permutations(range(3))]
    every = [dict(zip([s.name for s in graph.spaces], own, strict=True)) for own in itertools.product(orders, repeat=2)]
    names = list(graph.parameters)
    flat = [
        torch.stack(
            [torch.cat([permute(graph.symmetries.axes, s, p)[n].double().flatten() for n in names]) for p in every]
        )
        for s in states
    ]
    fixed, moving = flat[0][0], flat[1:]  # the first model's order is the frame
    totals = moving[0] @ fixed
    if count == 3:
        totals = totals[:, None] + (moving[1] @ fixed)[None] + moving[0] @ moving[1].T
    models = Models(graph, states, random_starts=8)
    assert models.objective(models.frames("cycle")) == pytest.approx(float(totals.max()), rel=1e-9)


def test_cycles_of_pairs_by_loops() -> None:
    models = different("vit", 3, restarts=2)
    graph, moved = models.graph, []
    for a, b, c in itertools.combinations(range(3), 3):
        ab, bc, ca = models.pair(a, b), models.pair(b, c), models.pair(c, a)
        for space in graph.spaces:
            if space.depends_on is None:
                for i in range(space.size):
                    j = int(ab[space.name][i])
                    k = int(bc[space.name][j])
                    moved.append(int(ca[space.name][k]) != i)
                continue
            heads = next(other for other in graph.spaces if other.name == space.depends_on)
            for h, i in itertools.product(range(heads.size), range(space.size)):
                head, place = h, i
                for step in (ab, bc, ca):
                    head, place = int(step[heads.name][head]), int(step[space.name][head, place])
                moved.append((head, place) != (h, i))
    assert pairwise_cycle_error(models) == pytest.approx(np.mean(moved)) and 0 < np.mean(moved) < 1


@pytest.mark.parametrize("name", ["mlp", "square", "vit", "gpt", "densenet", "mixer", "resnext"])
def test_a_permutation_as_matrices_moves_what_it_moves(name: str) -> None:
    graph, state = network(name, 1)
    chosen = families(graph.spaces)
    permutation = random(graph.spaces, torch.Generator().manual_seed(0))
    matrices, axes = soft(chosen, permutation), graph.symmetries.axes
    moved = permute(axes, state, permutation)
    relaxation = Relaxation(graph, [state, state], chosen)
    left_out = {n for n in graph.parameters if not torch.equal(moved[n], state[n])}
    left_out -= {block.name for block in relaxation.blocks}
    # Two places inside of one group on one axis: the weights of grouped convolutions.
    assert left_out == {n for n in graph.parameters if name == "resnext" and "conv2" in n}
    for block in relaxation.blocks:
        layout = Layout.of(axes[block.name], graph.parameters[block.name])
        assert torch.equal(applied(block.trees, block.values[0], matrices), layout.see(moved[block.name]))
    back = nearest(chosen, matrices)
    assert back.keys() == permutation.keys() and all(torch.equal(own, permutation[n]) for n, own in back.items())
    value, _ = relaxation.gradient([matrices, matrices])
    squares = [state[block.name].double().square().sum() for block in relaxation.blocks]
    assert value == pytest.approx(float(sum(squares)))


@pytest.mark.parametrize("name", ["mlp", "square", "vit"])
def test_the_line_search_is_exact_and_derivatives_are_those_of_the_objective(name: str) -> None:
    models = different(name, 3)
    chosen = families(models.graph.spaces)
    relaxation = Relaxation(models.graph, models.states, chosen)
    generator = torch.Generator().manual_seed(1)
    a, b = (
        [between(soft(chosen, random(models.graph.spaces, generator)), uniform(chosen), 0.3) for _ in models.states]
        for _ in range(2)
    )
    along = relaxation.along(a, b)
    for s in (0.0, 0.17, 0.5, 1.0, 1.3):
        at = [between(x, y, s) for x, y in zip(a, b, strict=True)]
        assert along(s) == pytest.approx(relaxation.gradient(at)[0], rel=1e-9, abs=1e-9)
    _, slopes = relaxation.gradient(a)
    rise = sum(float((slope[n] * (y[n] - x[n])).sum()) for slope, x, y in zip(slopes, a, b, strict=True) for n in x)
    assert along.deriv()(0.0) == pytest.approx(rise, rel=1e-9)


def test_climbing_never_falls_and_keeps_matrices_doubly_stochastic() -> None:
    models = different("vit", 2)
    chosen = families(models.graph.spaces)
    relaxation = Relaxation(models.graph, models.states, chosen)
    at = [between(soft(chosen, own), uniform(chosen), 0.5) for own in models.unmoved()]
    values = [relaxation.gradient(at)[0]]
    for _ in range(5):
        at = frank_wolfe(relaxation, at, 1, models.bound)
        values.append(relaxation.gradient(at)[0])
    assert all(later >= earlier - 1e-9 * models.bound for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[0]
    for family in chosen:
        for own in at:
            outer = own[family.outer.name]
            ones = torch.ones(len(outer), dtype=outer.dtype)
            assert torch.allclose(outer.sum(0), ones) and torch.allclose(outer.sum(1), ones) and (outer >= 0).all()
            for space in family.inner:
                assert torch.allclose(own[space.name].sum(3), outer[:, :, None].expand(-1, -1, space.size))
                assert torch.allclose(own[space.name].sum(2), outer[:, :, None].expand(-1, -1, space.size))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_the_highest_place_of_a_polynomial(coefficients: list[float]) -> None:
    values = Polynomial(coefficients)
    best = highest(values)
    assert 0 <= best <= 1 and values(best) >= values(np.linspace(0, 1, 501)).max() - 1e-6


def test_sweeps_never_fall_from_any_start() -> None:
    models = different("residual", 4)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        start = [random(models.graph.spaces, generator) for _ in models.states]
        end = swept(models, start)
        assert models.objective(end) > models.objective(start)
        assert models.objective(swept(models, end)) == pytest.approx(models.objective(end), rel=1e-12)


def test_the_mean_of_parameters_and_statistics_by_numpy() -> None:
    models = different("resnet", 3)
    graph, found = models.graph, merged(models.graph, models.states)
    assert graph.running
    for name, own in found.items():
        every = np.stack([state[name].numpy() for state in models.states]).astype(np.float64)
        mixed = name in graph.parameters or name in graph.running
        np.testing.assert_allclose(own.numpy(), every.mean(0) if mixed else every[0], rtol=1e-6)
        assert own.dtype == models.states[0][name].dtype


def test_metrics_by_loops_over_samples() -> None:
    models = different("mlp", 3)
    data = test_match.random_data(60)
    merges = [(models.graph, state) for state in (merged(models.graph, models.states), models.states[1])]
    found = measure(models.graph, models.states, merges, data)
    for split in SPLITS:
        x, y = data.split(split).inputs, data.split(split).targets
        logits = [
            forward(models.graph, state, x).double().numpy() for state in (*models.states, *(m for _, m in merges))
        ]
        losses, hits, joint = np.zeros(5), np.zeros(5), np.zeros(2)
        for n, target in enumerate(y.tolist()):
            each = [np.exp(own[n] - own[n].max()) for own in logits]
            each = [own / own.sum() for own in each]
            for place, own in enumerate(each):
                losses[place] -= np.log(own[target]) / len(y)
                hits[place] += 100 * (own.argmax() == target) / len(y)
            mean = (each[0] + each[1] + each[2]) / 3
            joint += [-np.log(mean[target]) / len(y), 100 * (mean.argmax() == target) / len(y)]
        for place, own in enumerate(found):
            r = own[split]
            assert (r.loss, r.accuracy) == pytest.approx((losses[3 + place], hits[3 + place]), rel=1e-5)
            assert (r.parts_loss, r.parts_accuracy) == pytest.approx((losses[:3].mean(), hits[:3].mean()), rel=1e-5)
            assert (r.best_loss, r.best_accuracy) == pytest.approx((losses[:3].min(), hits[:3].max()), rel=1e-5)
            assert (r.ensemble_loss, r.ensemble_accuracy) == pytest.approx(tuple(joint), rel=1e-5)


def test_an_ensemble_on_labels_is_the_mean_of_sigmoids() -> None:
    z = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)) * 3
    together = ensemble_logits(list(z), labels=True)
    torch.testing.assert_close(together.sigmoid(), z.double().sigmoid().mean(0))
    far = ensemble_logits([torch.tensor([200.0]), torch.tensor([-200.0])], labels=True)
    assert float(far) == pytest.approx(0.0)


def test_an_ensemble_over_positions() -> None:
    graph, state = network("gpt")
    other = network("gpt", 1)[1]
    given_data = exported.data_of(graph)
    x = given_data.train.inputs[:20]
    y = torch.randint(graph.outputs, x.shape, generator=torch.Generator().manual_seed(0))
    y[:, 0] = -100
    part = Split(x, y)
    data = exported.Given(part, part, part)
    assert isinstance(data, Data)
    [found] = measure(graph, [state, other], [(graph, state)], data)
    mean = sum(forward(graph, own, x).double().softmax(-1) for own in (state, other)) / 2
    kept = y != -100
    right = 100 * float((mean.argmax(-1) == y)[kept].double().mean())
    loss = -float(mean[kept].gather(1, y[kept][:, None]).log().mean())
    assert found["test"].ensemble_accuracy == pytest.approx(right)
    assert found["test"].ensemble_loss == pytest.approx(loss, rel=1e-6)
