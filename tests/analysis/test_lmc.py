"""Interpolation by its properties and against a plain re-implementation."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nid_cli.analysis import curves, lmc
from nid_cli.analysis.lmc import (
    Endpoint,
    FunctionChanged,
    check_function,
    distances,
    interpolate,
    segments,
)  # fmt: skip
from nid_cli.data.tensors import Data, Split
from nid_cli.graphs import graph_of
from nid_cli.metrics import Metrics, evaluate
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.functional import forward, size_in_bytes
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import permute, random
from nid_cli.nets.symmetry import constants_of, draw_fixed, initial_state, rule_of
from nid_cli.recipes import resolve
from nid_cli.records.lmc import Lmc
from nid_cli.specs import SPLITS
from tests.analysis.test_match import network, random_data

WEIGHTS = [0.0, 0.25, 0.5, 0.75, 1.0]


def curve(graph, a, b, data, end=None):
    inner = segments(graph, a, b, [end or Endpoint(b)], WEIGHTS[1:-1], data)[0]
    ends = [{s: evaluate(graph, state, data, s) for s in SPLITS} for state in (a, b)]
    metrics = [ends[0], *inner, ends[1]]
    found = {split: curves.curve_of(split, WEIGHTS, metrics, inner[1]) for split in SPLITS}
    return Lmc(align="none", bn_reset=False, status="ok", **found).values()


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_curves_equal_a_plain_evaluation_of_each_interpolated_network(norm: str, monkeypatch) -> None:
    monkeypatch.setattr(lmc, "EVALUATION_BATCH", 29)
    (graph, a), (_, b) = network(1, norm), network(2, norm)
    data = random_data()
    generator = torch.Generator().manual_seed(4)
    shuffle = {s.name: torch.randperm(s.size, generator=generator) for s in graph.spaces}
    ends = [Endpoint(b), Endpoint(permute(graph.symmetries.axes, b, shuffle), shuffle)]
    found = segments(graph, a, b, ends, WEIGHTS[1:-1], data)
    for end, row in zip(ends, found, strict=True):
        for weight, metrics in zip(WEIGHTS[1:-1], row, strict=True):
            state = {name: (1 - weight) * a[name] + weight * end.state[name] for name in a}
            for split in SPLITS:
                part = data.split(split)
                logits = forward(graph, state, part.inputs)
                assert metrics[split].loss == pytest.approx(F.cross_entropy(logits, part.targets).item(), rel=1e-5)
                right = (logits.argmax(1) == part.targets).float().mean().item()
                assert metrics[split].accuracy == pytest.approx(100 * right)


STACKED = {
    "mlp": {"width": 12, "depth": 3},
    "sigma": {"width": 12, "depth": 3, "symmetry": "sigma"},
    "resnet": {"arch": "resnet", "depth": 8, "width": 1},
    "vit": {"arch": "vit", "width": 16, "heads": 2, "depth": 1},
    "gpt": {"arch": "gpt", "dataset": "grammar", "width": 16, "heads": 2, "depth": 1},
}


@pytest.mark.parametrize("at_once", [2, 100])
@pytest.mark.parametrize("case", STACKED)
def test_networks_that_run_together_have_the_metrics_of_each(case: str, at_once: int, monkeypatch) -> None:
    """In float64, where rounding is small, on 59 samples in batches of 25, in passes of two networks and in one."""
    monkeypatch.setattr(lmc, "EVALUATION_BATCH", 25)
    spec, _ = resolve({"epochs": 1, **STACKED[case]})
    graph, rule = graph_of(spec), rule_of(spec.symmetry.name)
    fixed = draw_fixed(rule, graph, spec.symmetry.num_fixed, 1)
    constants = constants_of(graph, fixed)
    a, b = (double(initial_state(rule, graph, fixed, None, seed) | constants) for seed in (1, 2))
    for name in graph.running:
        a[name], b[name] = a[name] + 0.1, b[name] + 0.3
    vocabulary = graph.description.inputs[0].vocabulary
    shape, generator = (59, *graph.input_shape), torch.Generator().manual_seed(3)
    inputs = torch.randint(vocabulary, shape, generator=generator) if vocabulary else torch.randn(shape)
    answers = torch.randint(graph.outputs, shape if vocabulary else (59,), generator=generator)
    part = Split(inputs, answers)
    data = Data(part, part, part, dtype=torch.float64)
    ends = [Endpoint(b)]
    if not graph.gated:
        shuffle = random(graph.spaces, generator)
        ends.append(Endpoint(permute(graph.symmetries.axes, b, shuffle), shuffle))
    told: list[float] = []
    one_by_one = segments(graph, a, b, ends, WEIGHTS[1:-1], data, reset=bool(graph.running))
    size = max(size_in_bytes(a), 4 * graph.batch(25) * max(graph.sizes.values()))
    monkeypatch.setattr(lmc, "STATE_BYTES", at_once * size)
    found = segments(graph, a, b, ends, WEIGHTS[1:-1], data, told.append, reset=bool(graph.running), stacked=True)
    assert sum(told) == pytest.approx(3 * 59)
    for row, expected in zip(found, one_by_one, strict=True):
        for metrics, alone in zip(row, expected, strict=True):
            for split in SPLITS:
                assert metrics[split].loss == pytest.approx(alone[split].loss, rel=1e-10)
                assert metrics[split].accuracy == alone[split].accuracy
    losses = {round(metrics["train"].loss, 6) for row in found for metrics in row}
    assert len(losses) == 3 * len(ends)


def double(state: dict) -> dict:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def test_barrier_of_a_model_with_itself_is_zero() -> None:
    graph, a = network(1)
    found = curve(graph, a, a, random_data())
    for split in SPLITS:
        for name in ("loss_barrier", "loss_barrier_max", "loss_barrier_mid", "error_barrier", "relative_accuracy_drop"):
            assert found[f"{split}_{name}"] == pytest.approx(0, abs=1e-6)


def test_barrier_is_symmetric() -> None:
    (graph, a), (_, b) = network(1), network(2)
    there, back = curve(graph, a, b, random_data()), curve(graph, b, a, random_data())
    for split in SPLITS:
        assert there[f"{split}_loss"] == pytest.approx(list(reversed(back[f"{split}_loss"])), rel=1e-5)
        for name in ("loss_barrier", "loss_barrier_max", "loss_barrier_mid", "error_barrier", "error_barrier_max"):
            assert there[f"{split}_{name}"] == pytest.approx(back[f"{split}_{name}"], rel=1e-5, abs=1e-6)


CURVES = st.lists(st.floats(0, 100), min_size=5, max_size=5)


@given(CURVES, CURVES)
def test_barriers_by_definition(losses: list[float], accuracies: list[float]) -> None:
    found = curves.curve(WEIGHTS, losses, accuracies, Metrics(losses[2], accuracies[2]))
    errors = [100 - a for a in accuracies]
    for name, values in (("loss", losses), ("error", errors)):
        chords = [v - ((1 - w) * values[0] + w * values[-1]) for w, v in zip(WEIGHTS, values, strict=True)]
        barrier, above_max, mid = (getattr(found, f"{name}_barrier{kind}") for kind in ("", "_max", "_mid"))
        assert barrier == pytest.approx(max(chords), abs=1e-9)
        assert above_max == pytest.approx(max(values) - max(values[0], values[-1]), abs=1e-9)
        assert mid == pytest.approx(chords[2], abs=1e-9)
        assert barrier >= -1e-9 and above_max >= 0
    assert found.accuracy_mid == accuracies[2] and (found.loss, found.accuracy) == (losses, accuracies)
    best, worst = max(accuracies[0], accuracies[-1]), min(accuracies)
    assert found.relative_accuracy_drop == pytest.approx(100 * (worst / best - 1) if best else 0, abs=1e-9)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=7),
    st.floats(0, 9),
    st.floats(0, 100),
)
def test_the_midpoint_is_measured_whether_or_not_it_is_on_the_grid(
    points: list[tuple[float, float]], loss: float, accuracy: float
) -> None:
    losses, accuracies = (list(values) for values in zip(*points, strict=True))
    weights = torch.linspace(0, 1, len(points), dtype=torch.float64).tolist()
    found = curves.curve(weights, losses, accuracies, Metrics(loss, accuracy))
    assert found.accuracy_mid == accuracy
    assert found.loss_barrier_mid == pytest.approx(loss - (losses[0] + losses[-1]) / 2, abs=1e-9)
    assert found.error_barrier_mid == pytest.approx((accuracies[0] + accuracies[-1]) / 2 - accuracy, abs=1e-9)


@pytest.mark.parametrize("accuracies", [[50.0, 40.0, 80.0], [80.0, 40.0, 50.0]])
def test_the_relative_drop_refers_to_the_better_end(accuracies: list[float]) -> None:
    found = curves.curve([0, 0.5, 1], [1.0, 1.0, 1.0], accuracies, Metrics(1.0, 40.0))
    assert found.relative_accuracy_drop == -50.0


def test_distance_counts_only_what_is_trained() -> None:
    graph, a = network(1, "batch")
    b = {name: tensor + 2 for name, tensor in a.items()}
    count = graph.parameter_count
    assert distances(graph, a, b, {}) == pytest.approx(((4 * count) ** 0.5, 2))
    mask = torch.zeros(8, 6, dtype=torch.bool)
    mask[:, 2:] = True
    found = distances(graph, a, b, {"linear.0.weight": mask})
    assert found == pytest.approx(((4 * (count - 16)) ** 0.5, 2))


def test_interpolation_reproduces_its_ends() -> None:
    (graph, a), (_, b) = network(1, "batch"), network(2, "batch")
    assert all(torch.equal(interpolate(graph, a, b, 0.0)[name], a[name]) for name in a)
    assert all(torch.equal(interpolate(graph, a, b, 1.0)[name], b[name]) for name in a)


def test_a_permutation_that_changes_the_function_is_refused() -> None:
    graph, a = network(1)
    broken = a | {"linear.1.weight": a["linear.1.weight"].flip(0)}
    flipped = {s.name: torch.arange(s.size).flip(0) for s in graph.spaces}
    check_function(graph, a, permute(graph.symmetries.axes, a, flipped), random_data())
    with pytest.raises(FunctionChanged):
        check_function(graph, a, broken, random_data())


class Masked(nn.Module):
    """Causal attention of one head: a constant of its code is minus infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.head = nn.Linear(4, 9), nn.Linear(3, 5)
        self.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))

    def forward(self, x):
        q, k, v = self.rows(x.unflatten(1, (2, -1))[..., :4]).chunk(3, -1)
        return self.head(((q @ k.transpose(1, 2) + self.mask).softmax(-1) @ v).mean(1))


def test_constants_are_no_part_of_a_segment() -> None:
    found = [export(Masked(), [Input("x", (Batch(), 12))]) for _ in range(2)]
    graph, (a, b) = Graph(found[0].description), (part.state for part in found)
    part = Split(torch.randn(40, 12), torch.randint(5, (40,)))
    middle = interpolate(graph, a, b, 0.5)
    assert torch.equal(middle["mask"], a["mask"])
    assert evaluate(graph, middle, Data(part, part, part), "train").loss < 10


@pytest.mark.parametrize("at", range(3))
def test_a_loss_that_is_no_number_is_not_hidden(at: int) -> None:
    losses = [1.0, 1.0, 1.0]
    losses[at] = float("nan")
    found = curves.curve([0, 0.5, 1], losses, [50.0] * 3, Metrics(losses[1], 50.0))
    assert math.isnan(found.loss_barrier) and math.isnan(found.loss_barrier_max)
    assert curves.curve([0, 0.5, 1], [1, float("inf"), 1], [50.0] * 3, Metrics(1.0, 50.0)).loss_barrier == float("inf")


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_the_greatest_rise_is_that_of_a_slow_loop_over_all_pairs_of_points(losses: list[float]) -> None:
    slow = max(losses[j] - losses[i] for j in range(len(losses)) for i in range(j + 1))
    assert curves.greatest_rise(losses) == slow >= 0


def test_the_greatest_rise_of_a_quadratic_is_known() -> None:
    """Falling all the way to its minimum: 0; past the minimum at 3/4: what it climbs again, not the chord's barrier."""
    assert curves.greatest_rise([(1 - w) ** 2 for w in WEIGHTS]) == 0
    assert curves.greatest_rise([16 * (0.75 - w) ** 2 for w in WEIGHTS]) == 1.0
    assert curves.greatest_rise([w**2 for w in WEIGHTS]) == 1.0
    assert math.isnan(curves.greatest_rise([1.0, math.nan, 0.5])) and math.isnan(curves.greatest_rise([math.inf, 1.0]))
