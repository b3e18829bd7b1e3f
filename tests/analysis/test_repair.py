"""Repair against a slow implementation layer by layer in float64, and what must hold of every network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from nid_cli.analysis import repair as repairs
from nid_cli.analysis.lmc import Endpoint, interpolate, segments
from nid_cli.analysis.repair import moments_of, repaired
from nid_cli.data.tensors import Data, Split
from nid_cli.errors import UsageError
from nid_cli.metrics import evaluate
from nid_cli.nets.biased import biased
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.functional import State, completed, forward, record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.permutation import permute
from nid_cli.nets.preactivations import STATISTICS, preactivations
from nid_cli.specs import Measures
from tests.analysis import exported, test_native
from tests.analysis.conv_networks import image_data, trained_resnet
from tests.analysis.test_match import network as small_mlp
from tests.analysis.test_match import random_data

HOWS = ("exact", "closed")
each_way = pytest.mark.parametrize("how", HOWS)


def networks(name: str, count: int) -> tuple[Graph, list[State], Data]:
    """Networks of one graph, with their data."""
    if name in exported.MODULES:
        found = [exported.network(name, seed) for seed in range(count)]
        return found[0][0], [state for _, state in found], exported.data_of(found[0][0])
    if name in test_native.NETWORKS:
        native = [test_native.network(name, seed) for seed in range(count)]
        return native[0][0], [state for _, state, _ in native], native[0][2]
    if name.startswith("resnet-"):
        found = [trained_resnet(name.removeprefix("resnet-"), seed) for seed in range(count)]
        return found[0][0], [state for _, state in found], image_data()
    found = [small_mlp(seed, name) for seed in range(count)]
    return found[0][0], [state for _, state in found], random_data()


MLPS = ("none", "layer", "batch")
ALL = (
    *MLPS,
    "resnet-group",
    "resnet-batch",
    "resnet18",
    "densenet",
    "residual",
    "vit",
    "untied",
    "tied",
    "mixer",
    "dense",
)
each_network = pytest.mark.parametrize("name", ALL)


def merge(graph: Graph, ends: Sequence[State], weights: Sequence[float]) -> State:
    mixed = {*graph.parameters, *graph.running}
    return {
        name: sum(w * end[name] for w, end in zip(weights, ends, strict=True)) if name in mixed else own
        for name, own in ends[0].items()
    }


def inputs_of(data: Data) -> torch.Tensor:
    return data.prepare(data.train.inputs)


def channels(graph: Graph, state: State, data: Data, name: str, axis: int) -> np.ndarray:
    """All samples of a value, channels last, by numpy in float64."""
    value = record(graph, state, {INPUT: inputs_of(data)}, (name,))[name].double().numpy()
    return np.moveaxis(value, axis, -1).reshape(-1, value.shape[axis])


def differ(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().max() / first.abs().max())


@each_way
@each_network
def test_all_of_the_weight_on_one_end_leaves_its_function(name: str, how: str) -> None:
    graph, ends, data = networks(name, 3)
    found = repaired(graph, ends[1], ends, (0.0, 1.0, 0.0), data, how)
    x = inputs_of(data)
    assert differ(forward(graph, ends[1], x), forward(graph, found, x)) < 1e-4


@each_network
def test_statistics_are_those_of_the_ends_on_average(name: str) -> None:
    """Of the network with biases, by numpy on stored values; batch norms' running ones describe their inputs."""
    graph, ends, data = networks(name, 3)
    graph = biased(graph)
    ends, weights = [completed(graph, end) for end in ends], (0.5, 0.2, 0.3)
    merged = merge(graph, ends, weights)
    found = repaired(graph, merged, ends, weights, data, "exact")
    own = preactivations(graph)
    assert own.all and not own.left_out and not own.without_shift
    off = 0
    for point in own.all:
        [(value, axis)] = point.measured
        each = [channels(graph, end, data, value, axis) for end in ends]
        sd = sum(w * x.std(0) for w, x in zip(weights, each, strict=True))
        mean = sum(w * x.mean(0) for w, x in zip(weights, each, strict=True))
        seen, before = (channels(graph, state, data, value, axis) for state in (found, merged))
        if point.norm is not None:
            running_mean, running_var = (found[part.name].numpy() for part in point.norm.args[3:5])
            np.testing.assert_allclose(running_mean, seen.mean(0), atol=1e-4 * seen.std(0).max())
            np.testing.assert_allclose(running_var, seen.var(0, ddof=1), rtol=1e-4, atol=1e-9)
            continue
        np.testing.assert_allclose(seen.std(0), sd, rtol=1e-4)
        assert (np.abs(seen.mean(0) - mean) <= 1e-4 * sd).all()
        off += int((np.abs(before.std(0) - sd) > 1e-2 * sd).any())
    assert off or all(point.norm is not None for point in own.all)


def slow(
    graph: Graph, ends: Sequence[State], weights: Sequence[float], data: Data, how: str, norm: str
) -> torch.Tensor:
    """The outputs of a repaired MLP, in float64: its pre-activations themselves are moved, nothing is folded."""
    wide = [{name: own.double() for name, own in end.items()} for end in ends]
    merged = merge(graph, wide, weights)
    x, each = inputs_of(data).double(), [inputs_of(data).double() for _ in ends]

    def normed(i: int, z: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, mean: object, sd: object):
        if norm == "layer":
            return F.layer_norm(z, z.shape[1:], gamma, beta)
        return z if norm == "none" else gamma * (z - mean) / sd + beta

    for i in range(3):
        z = x @ merged[f"linear.{i}.weight"].T + merged[f"linear.{i}.bias"]
        zs = [x_i @ s[f"linear.{i}.weight"].T + s[f"linear.{i}.bias"] for x_i, s in zip(each, wide, strict=True)]
        taken = z if how == "exact" else sum(w * z_i for w, z_i in zip(weights, zs, strict=True))
        for c in range(z.shape[1]):
            mean = sum(w * z_i[:, c].mean() for w, z_i in zip(weights, zs, strict=True))
            sd = sum(w * z_i[:, c].std(correction=0) for w, z_i in zip(weights, zs, strict=True))
            z[:, c] = (z[:, c] - taken[:, c].mean()) / taken[:, c].std(correction=0) * sd + mean
        affine = [[s.get(f"norm.{i}.{part}") for part in ("weight", "bias")] for s in (merged, *wide)]
        running = [
            (s[f"norm.{i}.running_mean"], (s[f"norm.{i}.running_var"] + 1e-5).sqrt()) if norm == "batch" else (0, 1)
            for s in wide
        ]
        center = sum(w * mean for w, (mean, _) in zip(weights, running, strict=True))
        spread = sum(w * sd for w, (_, sd) in zip(weights, running, strict=True))
        x = F.gelu(normed(i, z, *affine[0], center, spread))
        each = [F.gelu(normed(i, z_i, *a, *r)) for z_i, a, r in zip(zs, affine[1:], running, strict=True)]
    return x @ merged["linear.3.weight"].T + merged["linear.3.bias"]


@each_way
@pytest.mark.parametrize("norm", MLPS)
def test_outputs_are_those_of_pre_activations_that_are_moved_one_by_one(norm: str, how: str) -> None:
    graph, ends, data = networks(norm, 3)
    weights = (0.2, 0.5, 0.3)
    found = repaired(graph, merge(graph, ends, weights), ends, weights, data, how)
    outputs = forward(graph, found, inputs_of(data)).double()
    assert differ(slow(graph, ends, weights, data, how, norm), outputs) < 1e-4


@pytest.mark.parametrize("norm", MLPS)
def test_ways_agree_for_one_hidden_layer(norm: str) -> None:
    """Its pre-activations are linear in the weights, so that those of the merged network are the sums themselves."""
    graph = mlp(Measures((6,), 3, "classes"), width=8, depth=2, norm=norm, activation="relu", gated=False)
    generator = torch.Generator().manual_seed(0)
    shapes = graph.parameters | graph.buffers
    ends = [{name: torch.rand(s, generator=generator) + 0.1 for name, s in shapes.items()} for _ in range(3)]
    weights, data = (0.5, 0.2, 0.3), random_data()
    merged = merge(graph, ends, weights)
    exact, closed = (repaired(graph, merged, ends, weights, data, how) for how in HOWS)
    for name in exact:
        torch.testing.assert_close(exact[name], closed[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(exact["linear.0.weight"], merged["linear.0.weight"], rtol=1e-3) or norm == "batch"


@each_way
@pytest.mark.parametrize("name", ["layer", "resnet-group", "resnet18", "vit", "tied"])
def test_permuted_copies_are_repaired_alike(name: str, how: str) -> None:
    graph, ends, data = networks(name, 2)
    axes = graph.symmetries.axes
    moved, copy = exported.planted(graph, ends[0], 5)
    other = permute(axes, ends[1], moved)
    found = repaired(graph, merge(graph, ends, (0.6, 0.4)), ends, (0.6, 0.4), data, how)
    again = repaired(graph, merge(graph, (copy, other), (0.6, 0.4)), (copy, other), (0.6, 0.4), data, how)
    x = inputs_of(data)
    assert differ(forward(graph, found, x), forward(graph, again, x)) < 1e-3
    twice = repaired(graph, copy, (copy, dict(copy)), (0.5, 0.5), data, how)
    assert differ(forward(graph, ends[0], x), forward(graph, twice, x)) < 1e-4


@each_way
def test_constant_channels_stay_as_they_are(how: str) -> None:
    for norm in ("none", "batch"):
        graph, ends, data = networks(norm, 2)
        ends = [dict(end) | {"linear.1.weight": end["linear.1.weight"].clone()} for end in ends]
        for end in ends:
            end["linear.1.weight"][3] = 0
        merged = merge(graph, ends, (0.5, 0.5))
        found = repaired(graph, merged, ends, (0.5, 0.5), data, how)
        for name in (n for n in found if n.startswith(("linear.1", "norm.1"))):
            assert torch.equal(found[name][3], merged[name][3])
            assert found[name].isfinite().all()
        changed = "norm.1.weight" if norm == "batch" else "linear.1.weight"
        assert not torch.equal(found[changed][2], merged[changed][2])


@pytest.mark.parametrize("name", ["resnet-group", "vit", "tied", "densenet"])
def test_batches_and_what_is_kept_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, ends, data = networks(name, 2)
    merged = merge(graph, ends, (0.5, 0.5))
    found = repaired(graph, merged, ends, (0.5, 0.5), data, "exact")
    monkeypatch.setattr(repairs, "BATCH", 17)
    monkeypatch.setattr(repairs, "ROWS", 29)
    parts = repaired(graph, merged, ends, (0.5, 0.5), data, "exact")
    monkeypatch.setattr(repairs, "KEPT_BYTES", 0)
    anew = repaired(graph, merged, ends, (0.5, 0.5), data, "exact")
    x = inputs_of(data)
    assert differ(forward(graph, found, x), forward(graph, parts, x)) < 1e-4
    assert all(torch.equal(parts[key], anew[key]) for key in parts)


def test_moments_serve_a_whole_curve_and_nothing_given_is_changed() -> None:
    graph, ends, data = networks("batch", 2)
    before = [{name: own.clone() for name, own in end.items()} for end in ends]
    known = moments_of(graph, ends, data)
    for how in HOWS:
        merged = merge(graph, ends, (0.75, 0.25))
        kept = {name: own.clone() for name, own in merged.items()}
        anew, served = (repaired(graph, merged, ends, (0.75, 0.25), data, how, own) for own in (None, known))
        assert all(torch.equal(anew[name], served[name]) and torch.equal(kept[name], merged[name]) for name in merged)
    assert all(torch.equal(end[n], old[n]) for end, old in zip(ends, before, strict=True) for n in end)


@each_way
@pytest.mark.parametrize("stacked", [False, True])
def test_segments_evaluate_the_repaired_networks(how: str, stacked: bool) -> None:
    """Of layers without a bias too: the network that has one."""
    graph, (a, b), data = networks("resnet-group", 2)
    moved, c = exported.planted(graph, b, 1)
    ends = [Endpoint(b), Endpoint(c, moved)]
    found = segments(graph, a, b, ends, [0.25, 0.5], data, repair=how, stacked=stacked)
    wide = biased(graph)
    for end, metrics in zip((b, c), found, strict=True):
        both = [completed(wide, a), completed(wide, end)]
        for weight, own in zip((0.25, 0.5), metrics, strict=True):
            state = repaired(wide, interpolate(wide, *both, weight), both, (1 - weight, weight), data, how)
            expected = evaluate(wide, state, data, "test")
            assert own["test"].loss == pytest.approx(expected.loss, rel=1e-5)
            plain = evaluate(graph, interpolate(graph, a, end, weight), data, "test")
            assert own["test"].loss != pytest.approx(plain.loss, rel=1e-4)


def test_a_network_with_biases_computes_the_same() -> None:
    graph, [state], data = networks("resnet-group", 1)
    wide = biased(graph)
    assert set(wide.parameters) - set(graph.parameters) == {f"{n}.bias" for n in graph.layers if n != "linear"}
    x = inputs_of(data)
    assert torch.equal(forward(graph, state, x), forward(wide, completed(wide, state), x))
    full, _, _ = networks("batch", 1)
    assert biased(full) is full


@each_way
def test_without_a_bias_deviations_alone_are_corrected(how: str) -> None:
    graph, ends, data = networks("resnet-group", 2)
    assert preactivations(graph).without_shift == tuple(name for name in graph.layers if name != "linear")
    found = repaired(graph, merge(graph, ends, (0.5, 0.5)), ends, (0.5, 0.5), data, how)
    assert found.keys() == ends[0].keys()
    first = [channels(graph, own, data, "stem.conv", 1) for own in (found, *ends)]
    np.testing.assert_allclose(first[0].std(0), (first[1].std(0) + first[2].std(0)) / 2, rtol=1e-4)


class Odd(nn.Module):
    """A layer whose weight is made by other calls, a transposed one, a product without a place for a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.plain = weight_norm(nn.Linear(6, 8)), nn.Linear(8, 8)
        self.product, self.wide = nn.Parameter(torch.randn(8, 4)), nn.ConvTranspose1d(1, 2, 3)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.plain(torch.relu(self.made(x))))
        x = torch.relu(x @ self.product)
        return self.head(torch.relu(self.wide(x[:, None])).flatten(1))


class Norms(nn.Module):
    """Batch norms without an affine part, of several calls, and an instance norm with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.bare, self.instance = nn.BatchNorm2d(4, affine=False), nn.InstanceNorm2d(4, True, track_running_stats=True)
        self.shared = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bare(self.first(x)))
        x = torch.relu(self.instance(self.second(x)))
        return torch.relu(self.shared(self.third(self.shared(x)))).mean((2, 3))


def taken_in(module: type[nn.Module], shape: tuple[int, ...], seed: int) -> tuple[Graph, State, Data]:
    torch.manual_seed(seed)
    found = export(module(), [Input("x", (Batch(), *shape))])
    graph = Graph(found.description)
    state = dict(found.state) | {
        name: torch.rand(found.state[name].shape) + 0.5
        for name in (*graph.buffers, *graph.parameters)
        if "running" in name or found.state[name].ndim == 1
    }
    x = torch.randn(80, *shape, generator=torch.Generator().manual_seed(0))
    part = Split(x, torch.zeros(80, dtype=torch.int64))
    return graph, state, Data(part, part, part)


def test_what_cannot_be_corrected_is_named() -> None:
    graph, a, data = taken_in(Odd, (6,), 0)
    _, b, _ = taken_in(Odd, (6,), 1)
    own = preactivations(biased(graph))
    assert [point.name for point in own.all] == ["plain", "product"]
    assert own.left_out == ("made.bias", "wide") and own.without_shift == ("product",)
    for how in HOWS:
        found = repaired(graph, merge(graph, (a, b), (0.5, 0.5)), (a, b), (0.5, 0.5), data, how)
        changed = {n for n, own in merge(graph, (a, b), (0.5, 0.5)).items() if not torch.equal(own, found[n])}
        assert changed == {"plain.weight", "plain.bias", "product"}


@each_way
def test_norms_without_an_affine_part_of_their_own_and_shared_ones_keep_an_ends_function(how: str) -> None:
    graph, a, data = taken_in(Norms, (3, 8, 8), 0)
    _, b, _ = taken_in(Norms, (3, 8, 8), 1)
    found = repaired(graph, b, (a, b), (0.0, 1.0), data, how)
    assert differ(forward(graph, b, inputs_of(data)), forward(graph, found, inputs_of(data))) < 1e-4
    # What is moved to the ends' mean and deviation, and normalized by theirs.
    bare = preactivations(graph).all[0]
    assert bare.fold == STATISTICS
    mixed = merge(graph, (a, b), (0.5, 0.5))
    x, first, second = (channels(graph, own, data, "first", 1) for own in (mixed, a, b))
    mean, sd = (first.mean(0) + second.mean(0)) / 2, (first.std(0) + second.std(0)) / 2
    center = (a["bare.running_mean"] + b["bare.running_mean"]).numpy() / 2
    spread = sum(np.sqrt(end["bare.running_var"].double().numpy() + 1e-5) for end in (a, b)) / 2
    expected = ((x - x.mean(0)) / x.std(0) * sd + mean - center) / spread
    found = repaired(graph, mixed, (a, b), (0.5, 0.5), data, how)
    np.testing.assert_allclose(channels(graph, found, data, bare.name, 1), expected, rtol=1e-3, atol=1e-4)


def test_bad_requests_are_one_sentence() -> None:
    graph, ends, data = networks("none", 2)
    with pytest.raises(UsageError, match="closest"):
        repaired(graph, ends[0], ends, (0.5, 0.5), data, "closest")
    with pytest.raises(UsageError, match="sum to one"):
        repaired(graph, ends[0], ends, (0.5, 0.6), data, "exact")
    empty = Data(data.train.take(slice(0, 0)), data.val, data.test)
    with pytest.raises(UsageError, match="no training samples"):
        repaired(graph, ends[0], ends, (0.5, 0.5), empty, "exact")
