"""The anatomy of a barrier against its definitions, in loops over samples and neurons, and by its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from nid_cli.analysis import lmc
from nid_cli.analysis.anatomy import Anatomy
from nid_cli.analysis.calibration import answers, fit_sharpness, losses, truths
from nid_cli.analysis.curves import curve_of
from nid_cli.analysis.lmc import Endpoint, interpolate, segments
from nid_cli.data.file import UNCOUNTED
from nid_cli.data.tensors import Data, Split
from nid_cli.metrics import evaluate
from nid_cli.nets.functional import forward, record, size_in_bytes
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.permutation import permute, random
from nid_cli.records.lmc import Lmc
from tests.analysis.conv_networks import image_data, trained_resnet
from tests.analysis.test_lmc import double
from tests.analysis.test_match import network, random_data
from tests.analysis.test_native import network as native

SPLITS = ("train", "val", "test")
WEIGHTS = [0.0, 0.2, 0.5, 0.7, 1.0]
KINDS = ("classes", "labels", "positions")


def anatomy_of(graph: Graph, a: dict, b: dict, ends: list, data: Data, each: bool = True, **how) -> list[Lmc]:
    """The records of all ends, as ``nid lmc --anatomy`` makes them."""
    own = Anatomy(graph, a, b, ends, each)
    inner = sorted({*WEIGHTS[1:-1], 0.5})
    found = segments(graph, a, b, ends, inner, data, anatomy=own, **how)
    known = [{split: evaluate(graph, state, data, split) for split in SPLITS} for state in (a, b)]
    records = []
    for index, row in enumerate(found):
        metrics = [known[0], *row, known[1]]
        curves = {split: curve_of(split, WEIGHTS, metrics, row[inner.index(0.5)]) for split in SPLITS}
        plain = Lmc(align="none", bn_reset=False, status="ok", lambdas=WEIGHTS, **curves)
        records.append(own.complete(plain, index))
    return records


def of_kind(kind: str) -> tuple[Graph, dict, dict, Data]:
    """Two networks in float64, and few data, with classes, labels or classes by position of which some do not count."""
    if kind == "positions":
        (graph, a, data), (_, b, _) = native("tied", 1), native("tied", 2)
        x, y = data.train.inputs[:14], data.train.targets[:14].clone()
        y[::2, :3] = UNCOUNTED
        parts = [Split(x[i], y[i]) for i in (slice(0, 6), slice(6, 11), slice(11, 14))]
    else:
        (graph, a), (_, b) = network(1), network(2)
        x, y = random_data(40).train.inputs.double(), random_data(40).train.targets
        if kind == "labels":
            y = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)).round().double()
        parts = [Split(x[i], y[i]) for i in (slice(0, 20), slice(20, 33), slice(33, 40))]
    return graph, double(a), double(b), Data(*parts, dtype=torch.float64)


def exact(data: Data, most: int = 1000) -> Data:
    """The first samples of each split, in float64."""
    parts = (data.split(split).take(slice(0, most)) for split in SPLITS)
    numbers = (Split(p.inputs.double() if p.inputs.is_floating_point() else p.inputs, p.targets) for p in parts)
    return Data(*numbers, dtype=torch.float64)


def shuffled(graph: Graph, b: dict, seed: int = 3) -> Endpoint:
    moved = random(graph.spaces, torch.Generator().manual_seed(seed))
    return Endpoint(permute(graph.symmetries.axes, b, moved), moved)


def log_sum(z: list[float]) -> float:
    top = max(z)
    return top + math.log(sum(math.exp(v - top) for v in z))


def cases(logits: Tensor, targets: Tensor, kind: str) -> list[tuple[list[float], int]]:
    """Each answer's logits and what is right, one by one; a label's are those of no and yes."""
    z, y = logits.tolist(), targets.tolist()
    if kind == "classes":
        return list(zip(z, y, strict=True))
    if kind == "labels":
        return [([0.0, v], int(t)) for one, truth in zip(z, y, strict=True) for v, t in zip(one, truth, strict=True)]
    each = [(v, t) for one, truth in zip(z, y, strict=True) for v, t in zip(one, truth, strict=True)]
    return [(v, t) for v, t in each if t != UNCOUNTED]


@pytest.mark.parametrize("kind", KINDS)
def test_gain_and_cost_by_loops_over_answers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmc, "EVALUATION_BATCH", 4)
    graph, a, b, data = of_kind(kind)
    ends = [Endpoint(b), shuffled(graph, b)]
    for end, found in zip(ends, anatomy_of(graph, a, b, ends, data), strict=True):
        for split in SPLITS:
            part = data.split(split)
            of_a, of_b = (cases(forward(graph, own, part.inputs), part.targets, kind) for own in (a, end.state))
            curve = getattr(found, split)
            for at, weight in enumerate(WEIGHTS):
                merged = interpolate(graph, a, end.state, weight)
                of_merged = cases(forward(graph, merged, part.inputs), part.targets, kind)
                gains, costs = [], []
                for (u, y), (v, _), (z, _) in zip(of_a, of_b, of_merged, strict=True):
                    mean = [(1 - weight) * p + weight * q for p, q in zip(u, v, strict=True)]
                    gains.append((1 - weight) * log_sum(u) + weight * log_sum(v) - log_sum(mean))
                    costs.append(log_sum(z) - log_sum(mean) - (z[y] - mean[y]))
                assert curve.ensemble_gain[at] == pytest.approx(np.mean(gains), abs=1e-10)
                assert curve.merging_cost[at] == pytest.approx(np.mean(costs), abs=1e-10)
                np.testing.assert_allclose(found.ensemble_gain_by_sample[split][at], gains, atol=1e-10)
                np.testing.assert_allclose(found.merging_cost_by_sample[split][at], costs, atol=1e-10)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.floats(0.1, 30))
def test_cost_minus_gain_is_the_loss_above_the_chord(seed: int, kind: str, scale: float) -> None:
    """On random networks, however sure they are: the loss as the curve has it, by torch's own cross-entropies."""
    graph, a, b, data = of_kind(kind)
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        {k: torch.randn(v.shape, generator=generator, dtype=v.dtype) * (scale if v.ndim > 1 else 1)
         / v.shape[-1] ** 0.5 if v.is_floating_point() and k not in graph.buffers else v for k, v in own.items()}
        for own in (a, b)
    )  # fmt: skip
    [found] = anatomy_of(graph, a, b, [Endpoint(b)], data)
    for split in SPLITS:
        curve = getattr(found, split)
        first, last = curve.loss[0], curve.loss[-1]
        size = max(1.0, *curve.loss)
        for weight, loss, gain, cost in zip(WEIGHTS, curve.loss, curve.ensemble_gain, curve.merging_cost, strict=True):
            assert abs(loss - ((1 - weight) * first + weight * last) - (cost - gain)) <= 1e-10 * size
            assert gain >= -1e-12 * size
        assert (found.ensemble_gain_by_sample[split] >= -1e-10 * size).all()
        assert curve.ensemble_gain[0] == curve.ensemble_gain[-1] == curve.merging_cost[0] == curve.merging_cost[-1] == 0


def layers_by_loops(graph: Graph, a: dict, b: dict, weight: float, data: Data, by_position: bool = False) -> list:
    """For each space its connectivity and variance ratio; ``b`` is the end itself, run as a network of its own."""
    merged = interpolate(graph, a, b, weight)
    found = []
    for space in graph.spaces:
        if not space.sites:
            continue
        sites = list(space.sites)
        after = space.sites["post_activation" if "post_activation" in sites else sites[-1]]
        before = space.sites["post_linear" if "post_linear" in sites else sites[-1]]
        names = {r.call for r in (*after, *before)}
        values = [record(graph, state, {INPUT: data.train.inputs}, names) for state in (merged, a, b)]
        cosines = []
        for r in after:
            rows = [v[r.call].movedim(r.axis, -1) for v in values]
            rows = [v.flatten(0, -2) if by_position else v.flatten(1) for v in rows]
            for z, u, v in zip(*(own.tolist() for own in rows), strict=True):
                chord = [(1 - weight) * p + weight * q for p, q in zip(u, v, strict=True)]
                lengths = math.hypot(*z) * math.hypot(*chord)
                if lengths:
                    cosines.append(sum(p * q for p, q in zip(z, chord, strict=True)) / lengths)
        ratios = []
        for neuron in range(space.size):
            pooled = [[v[r.call].select(r.axis, neuron).flatten() for r in before] for v in values]
            z, u, v = (np.concatenate([one.numpy() for one in own]).std() for own in pooled)
            if (chord := (1 - weight) * u + weight * v) > 1e-12:
                ratios.append(z / chord)
        found.append((1 - np.mean(cosines), np.mean(ratios)))
    return found


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_layers_by_loops_over_samples_and_neurons(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmc, "EVALUATION_BATCH", 7)
    (graph, a), (_, b) = network(1, norm), network(2, norm)
    for own in (a, b):  # a neuron that no input moves, in both networks
        weight = next(name for name, shape in graph.parameters.items() if len(shape) == 2)
        own[weight][1] = 0
    a, b, data = double(a), double(b), exact(random_data(100), 20)
    ends = [Endpoint(b)]
    for end, found in zip(ends, anatomy_of(graph, a, b, ends, data), strict=True):
        assert found.layers == [space.label for space in graph.spaces]
        for at, weight in enumerate(WEIGHTS):
            expected = layers_by_loops(graph, a, end.state, weight, data)
            np.testing.assert_allclose(
                [own[at] for own in found.feature_connectivity], [e[0] for e in expected], atol=1e-9
            )
            np.testing.assert_allclose([own[at] for own in found.variance_ratio], [e[1] for e in expected], rtol=1e-9)
        assert found.feature_connectivity_mid == [own[2] for own in found.feature_connectivity]
        assert found.variance_ratio_mid == [own[2] for own in found.variance_ratio]


def test_the_layers_of_a_permuted_end_are_those_of_the_permuted_network() -> None:
    (graph, a), (_, b) = network(1), network(2)
    a, b, data = double(a), double(b), exact(random_data(100), 20)
    end = shuffled(graph, b)
    [found] = anatomy_of(graph, a, b, [end], data)
    expected = layers_by_loops(graph, a, end.state, 0.5, data)
    np.testing.assert_allclose(found.feature_connectivity_mid, [e[0] for e in expected], atol=1e-9)
    np.testing.assert_allclose(found.variance_ratio_mid, [e[1] for e in expected], rtol=1e-9)


@pytest.mark.parametrize("name", ["resnet", "vit", "tied", "sparse", "dense"])
def test_every_kind_of_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "resnet":
        data = image_data()
        (graph, a), (_, b) = trained_resnet("batch", 1), trained_resnet("batch", 2)
    else:
        (graph, a, data), (_, b, _) = native(name, 1), native(name, 2)
    a, b, data = double(a), double(b), exact(data, 12)
    ends = [Endpoint(b), shuffled(graph, b)]
    for end, found in zip(ends, anatomy_of(graph, a, b, ends, data), strict=True):
        expected = layers_by_loops(graph, a, end.state, 0.5, data, graph.by_position)
        if name in ("resnet", "sparse", "dense"):  # the others have values whose neurons are of two spaces
            np.testing.assert_allclose(found.feature_connectivity_mid, [e[0] for e in expected], atol=1e-9)
            np.testing.assert_allclose(found.variance_ratio_mid, [e[1] for e in expected], rtol=1e-6)
        assert all(0 < value < 2 for value in found.feature_connectivity_mid)
        assert all(value > 0 for value in found.variance_ratio_mid)
        for own in found.feature_connectivity:
            assert own[0] == own[-1] == 0
        for own in found.variance_ratio:
            assert own[0] == own[-1] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_passes_and_networks_that_run_together_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, a, b, data = of_kind(kind)
    ends = [Endpoint(b), shuffled(graph, b)]
    expected = anatomy_of(graph, a, b, ends, data)
    monkeypatch.setattr(lmc, "EVALUATION_BATCH", 3)
    for stacked in (False, True):
        for size in (1, 2**28):
            monkeypatch.setattr(lmc, "STATE_BYTES", 2 * size_in_bytes(a) if size == 1 else size)
            for found, own in zip(anatomy_of(graph, a, b, ends, data, stacked=stacked), expected, strict=True):
                values, others = found.values(), own.values()
                assert values.keys() == others.keys()
                for name, value in values.items():
                    if isinstance(value, dict):
                        for split in SPLITS:
                            np.testing.assert_allclose(value[split], others[name][split], atol=1e-9)
                    elif isinstance(value, list) and name != "layers":
                        np.testing.assert_allclose(value, others[name], rtol=1e-8, atol=1e-9)
                    elif isinstance(value, float):
                        assert value == pytest.approx(others[name], rel=1e-8, abs=1e-9), name
                    else:
                        assert value == others[name]


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_repaired_networks_are_measured_as_they_are_repaired(norm: str) -> None:
    """Cost and gain are of the repaired network's losses; the gain is that of the ends, the variances are whole."""
    (graph, a), (_, b) = network(1, norm), network(2, norm)
    a, b, data = double(a), double(b), exact(random_data(300))
    ends = [Endpoint(b), shuffled(graph, b)]
    plain = anatomy_of(graph, a, b, ends, data)
    for found, other in zip(anatomy_of(graph, a, b, ends, data, repair="exact"), plain, strict=True):
        for split in SPLITS:
            curve, unrepaired = getattr(found, split), getattr(other, split)
            assert curve.ensemble_gain == pytest.approx(unrepaired.ensemble_gain, abs=1e-12)
            assert curve.merging_cost[2] != pytest.approx(unrepaired.merging_cost[2], abs=1e-3)
            chords = [(1 - w) * curve.loss[0] + w * curve.loss[-1] for w in WEIGHTS]
            for loss, chord, gain, cost in zip(
                curve.loss, chords, curve.ensemble_gain, curve.merging_cost, strict=True
            ):
                assert cost - gain == pytest.approx(loss - chord, abs=1e-9)
        np.testing.assert_allclose(found.variance_ratio, 1, rtol=1e-6)
        assert min(other.variance_ratio_mid) < 0.95


def test_the_way_back_is_the_reverse() -> None:
    graph, a, b, data = of_kind("classes")
    [there], [back] = ([f.values() for f in anatomy_of(graph, p, q, [Endpoint(q)], data)] for p, q in ((a, b), (b, a)))
    swapped = [0.0, 0.3, 0.5, 0.8, 1.0]
    assert swapped == pytest.approx([1 - w for w in reversed(WEIGHTS)])
    for name in ("val_ensemble_gain", "test_merging_cost", "inverse_temperature", "train_calibrated_loss"):
        for place in (0, 2, 4):  # the weights that both have
            assert there[name][place] == pytest.approx(back[name][4 - place], rel=1e-8, abs=1e-9)
    assert there["feature_connectivity_mid"] == pytest.approx(back["feature_connectivity_mid"])
    assert there["variance_ratio_mid"] == pytest.approx(back["variance_ratio_mid"])


def test_a_network_and_itself_have_no_anatomy() -> None:
    graph, a, _, data = of_kind("classes")
    [found] = anatomy_of(graph, a, a, [Endpoint(a)], data)
    for split in SPLITS:
        curve = getattr(found, split)
        np.testing.assert_allclose([*curve.ensemble_gain, *curve.merging_cost], 0, atol=1e-12)
        assert curve.calibrated_loss_barrier == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(found.feature_connectivity, 0, atol=1e-12)
    np.testing.assert_allclose(found.variance_ratio, 1, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_calibrated_losses_are_those_of_the_temperature_that_scipy_finds(kind: str) -> None:
    graph, a, b, data = of_kind(kind)
    [found] = anatomy_of(graph, a, b, [Endpoint(b)], data)
    merged = [interpolate(graph, a, b, weight) for weight in WEIGHTS]
    parts = {split: data.split(split) for split in SPLITS}
    logits = {s: [cases(forward(graph, own, p.inputs), p.targets, kind) for own in merged] for s, p in parts.items()}

    def loss(split: str, at: int, sharpness: float) -> float:
        return float(np.mean([log_sum([sharpness * v for v in z]) - sharpness * z[y] for z, y in logits[split][at]]))

    for at in range(len(WEIGHTS)):
        assert any(z[y] < max(z) for z, y in logits["val"][at])  # some answer is wrong: a best temperature exists
        best = minimize_scalar(
            lambda s, at=at: loss("val", at, s), bounds=(0, 50), method="bounded", options={"xatol": 1e-10}
        )
        assert found.inverse_temperature[at] == pytest.approx(best.x, abs=1e-5)
        for split in SPLITS:
            expected = loss(split, at, found.inverse_temperature[at])
            assert getattr(found, split).calibrated_loss[at] == pytest.approx(expected, abs=1e-10)
    for split in SPLITS:
        curve = getattr(found, split)
        own = curve.calibrated_loss
        rises = [v - ((1 - w) * own[0] + w * own[-1]) for w, v in zip(WEIGHTS, own, strict=True)]
        assert curve.calibrated_loss_barrier == pytest.approx(max(rises), abs=1e-12)
        if split == "val":
            assert all(c <= raw + 1e-12 for c, raw in zip(own, curve.loss, strict=True))


numbers = st.integers(-80, 80).map(lambda n: n / 4)


@given(
    st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=2, max_size=12),
    st.integers(0, 99),
    st.floats(0.01, 50),
)
def test_a_temperature_is_the_best_and_undoes_a_scale(rows: list[list[float]], seed: int, scale: float) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    truth = torch.randint(3, (len(rows),), generator=torch.Generator().manual_seed(seed))
    found, scaled = (float(fit_sharpness(s * logits.unsqueeze(0), truth)[0]) for s in (1.0, scale))
    assert found >= 0
    if found and logits.amax(1).sub(logits.amin(1)).max() > 1e-3:
        assert scaled == pytest.approx(found / scale, rel=1e-4)
    wrong = (logits.gather(1, truth.unsqueeze(1)).squeeze(1) < logits.amax(1)).any()
    if wrong:
        least = losses(logits, truth, found).mean()
        for other in (0.0, 0.5 * found, 0.99 * found, 1.01 * found + 1e-3, 2 * found + 0.1):
            assert least <= losses(logits, truth, other).mean() + 1e-9


def test_several_networks_are_fitted_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 40, 4, generator=generator, dtype=torch.float64) * torch.logspace(-2, 2, 5).view(5, 1, 1)
    truth = torch.where(torch.rand(40, generator=generator) < 0.7, logits[2].argmax(1), 1)
    together = fit_sharpness(logits, truth)
    alone = torch.cat([fit_sharpness(own.unsqueeze(0), truth) for own in logits])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


def test_temperatures_at_the_edges() -> None:
    truth = torch.tensor([0, 1, 1, 0])
    right = torch.tensor([[2.0, 0], [0, 3], [1, 2], [1, 0]], dtype=torch.float64)
    worse = -right
    constant = torch.full((4, 2), 7.0, dtype=torch.float64)
    broken = right.clone()
    broken[0, 0] = torch.nan
    found = fit_sharpness(torch.stack([right, worse, constant, broken]), truth)
    assert found[1] == 0 and found[2] == 1 and found[3].isnan()

    def with_one_more(sharpness: float) -> float:  # an answer of which both options are right, as sure as the mean one
        further = torch.logsumexp(sharpness * right, 1) - sharpness * right.mean(1)
        return float(losses(right, truth, sharpness).sum() + further.mean())

    best = minimize_scalar(with_one_more, bounds=(0, 100), method="bounded", options={"xatol": 1e-10})
    assert 0 < float(found[0]) < 20 and float(found[0]) == pytest.approx(best.x, rel=1e-5)
    loud = fit_sharpness(1e6 * worse.flip(1).unsqueeze(0), truth)  # nothing overflows
    assert float(loud[0]) == pytest.approx(float(found[0]) / 1e6, rel=1e-9)


def test_labels_are_answers_with_two_options() -> None:
    logits, targets = torch.randn(6, 4), torch.randint(2, (6, 4)).float()
    own = losses(answers(logits, targets), truths(targets))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits.double(), targets.double(), reduction="none")
    torch.testing.assert_close(own, expected.flatten())
