"""Matching, costs and coherence of convolutions, against explicit patches and stored activations."""

import numpy as np
import pytest
import torch

from nid_cli.analysis import lmc, moments, subspace
from nid_cli.analysis.cost import layer_constraint, realization_costs
from nid_cli.analysis.lmc import Endpoint, check_function, segments
from nid_cli.analysis.match import match_activations
from nid_cli.analysis.moments import stream_moments, units_of
from nid_cli.analysis.subspace import principal_subspace, sample_inputs, stream_input_moments
from nid_cli.analysis.weight_matching import match_weights
from nid_cli.graphs import graph_of
from nid_cli.metrics import evaluate
from nid_cli.nets import graph as graphs
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT
from nid_cli.nets.permutation import permute, random
from nid_cli.nets.symmetry import constraint, draw_fixed, rule_of
from nid_cli.recipes import resolve
from tests.analysis.conv_networks import image_data, trained_resnet
from tests.analysis.test_cost import slow_costs
from tests.conftest import small_spec


def explicit_patches(values: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Every patch of N x C x H x W values that a neuron sees, a row each, by loops."""
    pad = kernel // 2
    padded = np.pad(values.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    side = -(-values.shape[2] // stride)
    rows = [
        image[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].ravel()
        for image in padded
        for i in range(side)
        for j in range(side)
    ]
    return np.array(rows)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches, and several products within one."""
    monkeypatch.setattr(graphs, "BATCH_ENTRIES", 60_000)
    monkeypatch.setattr(subspace, "ROWS", 100)
    monkeypatch.setattr(moments, "ROWS", 100)


def test_input_moments_are_those_of_explicit_patches(small_batches: None) -> None:
    graph, state = trained_resnet("batch", 1)
    data = image_data()
    found = stream_input_moments(graph, state, data)
    assert len(found) == len(graph.weighted) + 1
    for op in graph.weighted[:-1]:
        values = data.train.inputs if op.source == INPUT else None
        if values is None:
            values = record(graph, state, {INPUT: data.train.inputs}, (op.source,))[op.source]
        patches = explicit_patches(values.numpy(), op.kernel[0], op.argument(3, 1)[0])
        expected = np.cov(patches.T, bias=True)
        np.testing.assert_allclose(found[op.name].covariance().numpy(), expected, atol=2e-5 * np.abs(expected).max())
        # The neurons' outputs are products of these very rows with the rows of the flattened weight.
        outputs = record(graph, state, {INPUT: data.train.inputs}, (op.name,))[op.name]
        product = patches @ state[f"{op.name}.weight"].flatten(1).double().numpy().T
        np.testing.assert_allclose(outputs.permute(0, 2, 3, 1).flatten(0, 2).numpy(), product, atol=1e-4)


@pytest.mark.parametrize("symmetry", ["standard", "w", "syre"])
def test_costs_of_convolutions_equal_the_slow_form(symmetry: str) -> None:
    graph, state = trained_resnet("group", 1, symmetry)
    spec = small_spec(arch="resnet", norm="group", depth=8, width=1, symmetry=symmetry)
    kind = rule_of(symmetry)
    rule = constraint(kind, graph, draw_fixed(kind, graph, spec.symmetry.num_fixed, 0), spec.symmetry.kappa)
    inputs = stream_input_moments(graph, state, image_data())
    for name in ("stem.conv", "stage2.0.conv1", "stage3.0.shortcut.conv", "linear"):
        weight = state[f"{name}.weight"]
        fixed, mask = layer_constraint(graph.layers[name], weight, rule.pinned, rule.anchor)
        weight = weight.flatten(1)
        space = principal_subspace(inputs[name].covariance(), 0.9)
        found = realization_costs(space, weight, fixed, mask)
        full = np.ones(weight.shape, dtype=bool) if mask is None else mask.numpy()
        slow = slow_costs(space.basis.numpy(), weight.double().numpy(), fixed.double().numpy(), full)
        np.testing.assert_allclose(found.cost_squared.numpy(), slow["cost"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.residual.numpy(), slow["residual"], atol=1e-5)
        if symmetry == "standard":
            assert float(found.swap_squared.abs().max()) < 1e-9


def test_matching_pools_all_recordings_and_pixels_of_a_stream(small_batches: None) -> None:
    (graph, a), (_, b) = trained_resnet("group", 1, depth=14), trained_resnet("group", 2, depth=14)
    data = image_data(40)
    found = stream_moments(graph, a, b, data, units_of(graph, ("post_activation",)))
    assert len(found) == len(graph.spaces)
    for space in graph.spaces:
        names = [own.call for own in space.sites["post_activation"]]
        rows = []
        for state in (a, b):
            values = record(graph, state, {INPUT: data.train.inputs}, names)
            rows.append(np.concatenate([values[n].permute(0, 2, 3, 1).flatten(0, 2).double().numpy() for n in names]))
        alive = [r.std(0) > 1e-7 for r in rows]
        with np.errstate(invalid="ignore"):
            expected = np.corrcoef(rows[0].T, rows[1].T)[: space.size, space.size :]
        expected = np.where(np.outer(*alive), expected, 0.0)
        np.testing.assert_allclose(found[space.name, "post_activation"].pearson().numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("depth", [8, 20])
def test_planted_permutations_of_residual_networks_are_recovered(norm: str, depth: int) -> None:
    graph, a = trained_resnet(norm, 1, depth=depth)
    axes, shuffle = graph.symmetries.axes, random(graph.spaces, torch.Generator().manual_seed(3))
    planted = permute(axes, a, shuffle)
    check_function(graph, a, planted, image_data())
    by_activations = match_activations(graph, a, planted, image_data())
    own = stream_moments(graph, a, a, image_data(), units_of(graph, ("post_activation",)))
    for space in graph.spaces:
        # Neurons that never vary look alike.
        varies = own[space.name, "post_activation"].pearson().diagonal() > 0.5
        assert torch.equal(shuffle[space.name][by_activations[space.name]][varies], torch.arange(space.size)[varies])
        assert varies.double().mean() > 0.8
    by_weights = match_weights(graph, a, planted, restarts=5)
    assert all(later > earlier for earlier, later in zip(by_weights.history, by_weights.history[1:], strict=False))
    restored = permute(axes, planted, by_weights.permutation)
    assert all(torch.equal(restored[name], a[name]) for name in graph.parameters | graph.buffers)


def test_several_passes_of_few_networks_give_the_same_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    (graph, a), (_, b) = trained_resnet("batch", 1), trained_resnet("batch", 2)
    data, ends, told = image_data(), [Endpoint(b), Endpoint(a)], []
    once = segments(graph, a, b, ends, [0.2, 0.5, 0.7], data)
    monkeypatch.setattr(lmc, "STATE_BYTES", 2 * sum(t.numel() * 4 for t in a.values()))
    assert segments(graph, a, b, ends, [0.2, 0.5, 0.7], data, told.append) == once
    assert sum(told) == pytest.approx(len(data.train) + len(data.val) + len(data.test))


@pytest.mark.parametrize("depth", [8, 20, 110])
def test_batches_of_the_papers_networks_are_neither_one_picture_nor_too_large(depth: int) -> None:
    graph = graph_of(resolve({"arch": "resnet", "dataset": "cifar10", "depth": depth})[0])
    assert 16 <= graph.batch(2048) <= 64
    recorded = sum(graph.sizes[call.name] for call in graph.calls if call.function == "relu.default")
    assert graph.batch(1024, recorded) * recorded <= 4 * graphs.BATCH_ENTRIES
    patches = max(graph.rows_of(layer) * layer.fan_in for layer in graph.weighted)
    assert graph.batch(1024, patches) * patches <= 4 * graphs.BATCH_ENTRIES


def test_sampled_patches_are_patches_of_the_validation_split() -> None:
    graph, state = trained_resnet("group", 1)
    data, op = image_data(), graph.layers["stage2.0.conv1"]
    every = sample_inputs(graph, state, data, op, None, 0)
    values = record(graph, state, {INPUT: data.val.inputs}, (op.source,))[op.source]
    np.testing.assert_allclose(every.numpy(), explicit_patches(values.numpy(), 3, 2), atol=1e-5)
    some = sample_inputs(graph, state, data, op, 50, 0)
    rows = {row.numpy().tobytes(): i for i, row in enumerate(every)}
    places = [rows[row.numpy().tobytes()] for row in some]
    assert len(some) == 50 and places == sorted(places) and max(places) > len(every) / 2
    assert torch.equal(sample_inputs(graph, state, data, op, 50, 0), some)


def test_a_segment_between_equal_or_permuted_networks_is_flat(small_batches: None) -> None:
    graph, a = trained_resnet("batch", 1)
    data = image_data()
    shuffle = {s.name: torch.arange(s.size).flip(0) for s in graph.spaces}
    axes = graph.symmetries.axes
    b = permute(axes, a, shuffle)
    back = {name: torch.argsort(index) for name, index in shuffle.items()}
    ends = [Endpoint(b), Endpoint(permute(axes, b, back), back)]
    (apart,), (aligned,) = segments(graph, a, b, ends, [0.3], data)
    own = evaluate(graph, a, data, "train")
    assert aligned["train"].loss == pytest.approx(own.loss, rel=1e-5)
    assert apart["train"].loss != pytest.approx(own.loss, rel=1e-3)
