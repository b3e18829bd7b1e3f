"""Similarity against its definitions, in loops over samples; and what permutations change of it, and what not."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nid_cli.analysis import cka as estimates
from nid_cli.analysis import moments as streams
from nid_cli.analysis.cka import LayerPair, RowSample, cka, unbiased
from nid_cli.analysis.parameters import SimilarityParameters
from nid_cli.analysis.predictions import PredictionTally
from nid_cli.analysis.similarity import Measured, layers_at, measure, place
from nid_cli.analysis.updates import update_cosines
from nid_cli.data.file import UNCOUNTED
from nid_cli.data.tensors import Data
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT, SITES, Graph
from nid_cli.nets.permutation import inverse, permute, random
from nid_cli.records.similarity import Predicted
from tests.analysis.conv_networks import image_data, trained_resnet
from tests.analysis.exported import data_of
from tests.analysis.exported import network as exported
from tests.analysis.test_match import network, random_data
from tests.analysis.test_native import NETWORKS
from tests.analysis.test_native import network as native

SPLITS = ("train", "val", "test")


def rows(x: Tensor) -> list[list[float]]:
    return x.double().tolist()


def softmax(z: list[float]) -> list[float]:
    top = max(z)
    total = sum(math.exp(v - top) for v in z)
    return [math.exp(v - top) / total for v in z]


def divergence(p: list[float], q: list[float]) -> float:
    """Jensen-Shannon, term by term."""
    found = 0.0
    for one, other in zip(p, q, strict=True):
        middle = (one + other) / 2
        found += sum(0.5 * share * math.log(share / middle) for share in (one, other) if share)
    return found


def cosine(u: list[float], v: list[float]) -> float:
    u, v = ([value - sum(z) / len(z) for value in z] for z in (u, v))
    return sum(x * y for x, y in zip(u, v, strict=True)) / (math.hypot(*u) * math.hypot(*v))


def predicted_by_loops(a: Tensor, b: Tensor, targets: Tensor) -> dict[str, float]:
    """Sample by sample; of labels label by label."""
    labels = targets.is_floating_point()
    alike, divergences, cosines, overlap = [], [], [], []
    for u, v, y in zip(rows(a), rows(b), targets.tolist(), strict=True):
        cosines.append(cosine(u, v))
        if not labels:
            one, other = u.index(max(u)), v.index(max(v))
            alike.append(one == other)
            divergences.append(divergence(softmax(u), softmax(v)))
            if one != y or other != y:
                overlap.append(one == other)
            continue
        for s, t, wanted in zip(u, v, y, strict=True):
            alike.append((s > 0) == (t > 0))
            p, q = (1 / (1 + math.exp(-z)) for z in (s, t))
            divergences.append(divergence([p, 1 - p], [q, 1 - q]))
            if (s > 0) != bool(wanted) or (t > 0) != bool(wanted):
                overlap.append((s > 0) == (t > 0))
    values = {"agreement": alike, "jensen_shannon": divergences, "logit_cosine": cosines, "error_overlap": overlap}
    return {name: sum(own) / len(own) for name, own in values.items()}


def tallied(a: Tensor, b: Tensor, targets: Tensor, size: int = 7) -> Predicted:
    tally = PredictionTally()
    for parts in zip(a.split(size), b.split(size), targets.split(size), strict=True):
        tally.add(*parts)
    return tally.result()


def targets_of(kind: str, count: int, generator: torch.Generator) -> Tensor:
    if kind == "labels":
        return torch.randint(2, (count, 4), generator=generator).float()
    return torch.randint(4, (count,), generator=generator)


@pytest.mark.parametrize("kind", ["classes", "labels"])
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_predictions_are_compared_as_they_are_defined(kind: str, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = scale * torch.randn(2, 30, 4, generator=generator)
    targets = targets_of(kind, 30, generator)
    found = tallied(a, b, targets)
    for name, value in predicted_by_loops(a, b, targets).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert found == tallied(b, a, targets)
    assert 0 <= found.jensen_shannon <= math.log(2)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_a_network_agrees_with_itself(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    a, targets = torch.randn(50, 4, generator=generator), targets_of(kind, 50, generator)
    found = tallied(a, a, targets)
    assert (found.agreement, found.error_overlap) == (1, 1) and found.jensen_shannon == pytest.approx(0, abs=1e-12)
    assert found.logit_cosine == pytest.approx(1)


def test_certain_and_opposed_networks_diverge_by_ln_2() -> None:
    a = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    found = tallied(a, a.flip(1), torch.tensor([0, 1]))
    assert (found.agreement, found.error_overlap) == (0, 0) and found.jensen_shannon == pytest.approx(math.log(2))
    assert found.logit_cosine == pytest.approx(-1)


def test_what_is_over_nothing_is_none() -> None:
    right = torch.eye(3)
    assert tallied(right, 2 * right, torch.arange(3)).error_overlap is None
    level = tallied(
        torch.cat([right, torch.ones(1, 3)]), torch.cat([right, torch.eye(3)[:1]]), torch.tensor([0, 1, 2, 1])
    )
    assert level.logit_cosine == pytest.approx(1)  # the sample of equal logits has no direction
    assert tallied(torch.ones(2, 1), torch.ones(2, 1), torch.ones(2, 1)).logit_cosine is None


def test_positions_that_do_not_count_are_left_out() -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 12, 5, 4, generator=generator)
    targets = torch.randint(4, (12, 5), generator=generator)
    targets[torch.rand(12, 5, generator=generator) < 0.4] = UNCOUNTED
    counted = targets != UNCOUNTED
    found = tallied(a, b, targets)
    for name, value in predicted_by_loops(a[counted], b[counted], targets[counted]).items():
        assert getattr(found, name) == pytest.approx(value)
    a[~counted] += 100
    assert tallied(a, b, targets) == found


def covariance(x: list[list[float]], y: list[list[float]]) -> list[list[float]]:
    n = len(x)
    means = [[sum(row[i] for row in own) / n for i in range(len(own[0]))] for own in (x, y)]
    return [
        [
            sum((r[i] - means[0][i]) * (s[j] - means[1][j]) for r, s in zip(x, y, strict=True)) / n
            for j in range(len(y[0]))
        ]
        for i in range(len(x[0]))
    ]


def linear_cka_by_loops(x: Tensor, y: Tensor) -> float:
    """|C_xy|^2 / (|C_xx| |C_yy|), entry by entry."""
    norms = [sum(v * v for row in covariance(rows(u), rows(v)) for v in row) for u, v in ((x, y), (x, x), (y, y))]
    return norms[0] / math.sqrt(norms[1] * norms[2])


def hsic_by_tuples(x: Tensor, y: Tensor) -> float:
    """The U-statistic itself: the mean over all ordered tuples of distinct i, j, q, r of
    k_ij (l_ij + l_qr - 2 l_iq), of which Song et al. give the closed form."""
    k, l = (own.double() @ own.double().T for own in (x, y))  # noqa: E741
    terms = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(len(x)), 4)]
    return float(sum(terms) / len(terms))


@pytest.mark.parametrize(("wide", "narrow"), [(3, 2), (9, 12)])
def test_the_debiased_estimate_is_the_u_statistic(wide: int, narrow: int) -> None:
    """Both ways to sum the products: fewer neurons than samples, and more."""
    generator = torch.Generator().manual_seed(wide)
    x, y = torch.randn(7, wide, generator=generator), torch.randn(7, narrow, generator=generator) + 3
    y[:, :2] += x[:, :2]
    for u, v in ((x, y), (x, x), (y, y)):
        assert unbiased(u.double(), v.double()) == pytest.approx(hsic_by_tuples(u, v), rel=1e-9)
    assert unbiased(x[:3].double(), y[:3].double()) is None


def test_independent_features_have_no_debiased_cka_where_the_other_is_far_from_0() -> None:
    found = []
    for seed in range(5):
        x, y = torch.randn(2, 100, 200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found.append(cka(*(unbiased(u, v) for u, v in ((x, y), (x, x), (y, y)))))
        assert linear(x, y) > 0.5
    assert abs(np.mean(found)) < 0.02 and max(map(abs, found)) < 0.05


def linear(x: Tensor, y: Tensor) -> float:
    """CKA by matrices."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def streamed(x: Tensor, y: Tensor, size: int = 50) -> tuple[float | None, float | None]:
    pair = LayerPair("layer", 0)
    for parts in zip(x.split(size), y.split(size), strict=True):
        pair.add(*parts)
    joint, (own_a, own_b) = pair.joint(), pair.own()
    return (
        cka(joint.streamed, own_a.streamed, own_b.streamed),
        cka(joint.debiased, own_a.debiased, own_b.debiased),
    )


def test_streams_of_any_length_give_the_same_cka() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(230, 6, generator=generator)
    y = torch.cat([x[:, :3], torch.randn(230, 5, generator=generator)], 1) + 1000
    biased, debiased = streamed(x, y)
    assert biased == pytest.approx(linear_cka_by_loops(x, y), rel=1e-5)
    x64, y64 = x.double(), y.double()
    assert debiased == pytest.approx(cka(*(unbiased(u, v) for u, v in ((x64, y64), (x64, x64), (y64, y64)))))
    for size in (7, 230):
        assert streamed(x, y, size) == pytest.approx((biased, debiased), rel=1e-5)


def test_constant_neurons_count_for_nothing_and_constant_layers_have_no_cka() -> None:
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    flat = torch.full((40, 3), 0.1)
    assert streamed(flat, x) == (None, None) == streamed(x, flat)
    assert streamed(torch.cat([x, flat], 1), x) == pytest.approx((1, 1)) == streamed(x, x)
    few = streamed(x[:3], x[:3])
    assert few == (pytest.approx(1), None)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 9))
def test_a_sample_depends_on_no_batches_and_pairs_its_rows(sizes: list[int], seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "SAMPLE", 25)
        total = sum(sizes)
        x = torch.arange(total, dtype=torch.float32)[:, None]
        whole, parts = RowSample(seed), RowSample(seed)
        whole.add(x, -x)
        for part in x.split(sizes):
            parts.add(part, -part)
        kept, mirrored = parts.rows()
    assert len(kept) == min(25, total) and len(set(kept.flatten().tolist())) == len(kept)
    assert torch.equal(kept, -mirrored) and sorted(kept.tolist()) == sorted(whole.rows()[0].tolist())


def test_every_row_is_as_likely_to_be_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "SAMPLE", 10)
    counts = np.zeros(40)
    x = torch.arange(40.0)[:, None]
    for seed in range(400):
        sample = RowSample(seed)
        for part in x.split(15):
            sample.add(part, part)
        counts[sample.rows()[0].flatten().int().numpy()] += 1
    assert counts.sum() == 4000 and np.abs(counts - 100).max() < 4.5 * (100 * 0.75) ** 0.5


def all_of(graph: Graph, a: dict, b: dict, data: Data, at: str = "post_activation") -> Measured:
    return measure(graph, a, b, data, layers_at(graph, at))


def test_a_pair_by_definition_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nid_cli.analysis.similarity.BATCH", 37)
    (graph, a), (_, b) = network(1), network(2)
    data = random_data(90)
    for at in SITES:
        found = all_of(graph, a, b, data, at)
        assert len(found.layers) == 3
        for space in graph.spaces:
            [own] = space.sites[at]
            u, v = (record(graph, s, {INPUT: data.train.inputs}, (own.call,))[own.call] for s in (a, b))
            [(biased, debiased)] = [value for (tree, _), value in found.layers.items() if tree == own.tree]
            assert biased == pytest.approx(linear_cka_by_loops(u, v), rel=1e-5)
            x, y = u.double(), v.double()
            assert debiased == pytest.approx(cka(*(unbiased(p, q) for p, q in ((x, y), (x, x), (y, y)))), rel=1e-5)
        for split in SPLITS:
            part = data.split(split)
            logits = [record(graph, s, {INPUT: part.inputs}, (graph.output,))[graph.output] for s in (a, b)]
            for name, value in predicted_by_loops(*logits, part.targets).items():
                assert getattr(found.predictions[split], name) == pytest.approx(value, rel=1e-6), (split, name)


def test_what_is_known_of_a_network_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (graph, a), (_, b) = network(1), network(2)
    data, units = random_data(), layers_at(graph, "post_linear")
    first = measure(graph, a, b, data, units)
    began: list[int] = []
    start = streams.CrossMoments.start
    monkeypatch.setattr(streams.CrossMoments, "start", lambda u, v: (began.append(1), start(u, v))[1])
    again = measure(graph, a, b, data, units, first.own)
    assert again == first and len(began) == len(units)


def made(name: str, seed: int) -> tuple[Graph, dict, Data]:
    """A network of ours, or one that was taken in, with data."""
    if name in NETWORKS:
        return native(name, seed)
    if name == "resnet":
        return *trained_resnet("batch", seed), image_data()
    graph, state = exported(name, seed)
    return graph, state, data_of(graph)


def moved(graph: Graph, state: dict, seed: int = 3) -> tuple[dict, dict]:
    permutation = random(graph.spaces, torch.Generator().manual_seed(seed))
    return permute(graph.symmetries.axes, state, permutation), permutation


def same(first: Measured, second: Measured) -> None:
    """All values to rounding."""
    assert first.layers.keys() == second.layers.keys()
    for where, values in first.layers.items():
        assert second.layers[where] == pytest.approx(values, rel=2e-3, abs=1e-4)
    for split in SPLITS:
        own, other = first.predictions[split], second.predictions[split]
        assert (other.agreement, other.error_overlap) == pytest.approx((own.agreement, own.error_overlap), abs=0.02)
        assert other.jensen_shannon == pytest.approx(own.jensen_shannon, rel=1e-3, abs=1e-6)
        assert other.logit_cosine == pytest.approx(own.logit_cosine, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["vit", "tied", "untied", "dense", "resnet", "residual", "mixer"])
def test_permutations_change_nothing_but_updates(name: str) -> None:
    (graph, a, data), (_, b, _) = made(name, 1), made(name, 2)
    other, permutation = moved(graph, b)
    found = all_of(graph, a, b, data)
    assert found.layers and all(0 <= own[0] <= 1 + 1e-9 for own in found.layers.values())
    same(found, all_of(graph, a, other, data))
    (_, before_a, _), (_, before_b, _) = made(name, 3), made(name, 4)
    steps = (before_a, a), (before_b, b)
    usual = update_cosines(graph, *steps)
    turned = permute(graph.symmetries.axes, before_b, permutation), other
    assert update_cosines(graph, steps[0], turned).whole != pytest.approx(usual.whole, rel=1e-3)
    back = update_cosines(graph, steps[0], turned, inverse(graph.spaces, permutation))
    assert back.whole == pytest.approx(usual.whole, rel=1e-6)
    assert back.by_parameter == pytest.approx(usual.by_parameter, rel=1e-6)
    once = update_cosines(graph, steps[0], steps[1], permutation)
    assert once.whole == pytest.approx(update_cosines(graph, steps[0], turned).whole, rel=1e-6)


def test_updates_by_a_loop_over_entries() -> None:
    (graph, a), (_, b), (_, first), (_, second) = (network(seed) for seed in (1, 2, 3, 4))
    b["linear.1.bias"] = second["linear.1.bias"]  # which has not changed
    found = update_cosines(graph, (first, a), (second, b))
    whole = [0.0, 0.0, 0.0]
    for name in graph.parameters:
        u = [x - y for x, y in zip(a[name].flatten().tolist(), first[name].flatten().tolist(), strict=True)]
        v = [x - y for x, y in zip(b[name].flatten().tolist(), second[name].flatten().tolist(), strict=True)]
        own = [sum(x * y for x, y in zip(p, q, strict=True)) for p, q in ((u, v), (u, u), (v, v))]
        whole = [x + y for x, y in zip(whole, own, strict=True)]
        if name == "linear.1.bias":
            assert found.by_parameter[name] is None
        else:
            assert found.by_parameter[name] == pytest.approx(own[0] / math.sqrt(own[1] * own[2]), rel=1e-6)
    assert found.whole == pytest.approx(whole[0] / math.sqrt(whole[1] * whole[2]), rel=1e-6)
    assert set(found.by_parameter) == set(graph.trained)
    assert update_cosines(graph, (first, a), (first, a)).whole == pytest.approx(1)
    assert update_cosines(graph, (a, a), (second, b)).whole is None


def test_layers_whose_samples_do_not_correspond_have_no_cka() -> None:
    (graph, a, data), (_, b, _) = made("mixer", 1), made("mixer", 2)
    units = layers_at(graph, "post_activation")
    beside = [unit for unit in units if unit.beside]
    found = measure(graph, a, b, data, units)
    assert beside and found.layers.keys() == {place(unit) for unit in units} - {place(unit) for unit in beside}


@pytest.mark.parametrize(
    ("since", "epoch", "known", "also"),
    [
        ("init", 5, {0, 2, 5}, (0,)),
        ("init", 5, {2, 5}, ()),
        ("init", 0, {0, 5}, ()),
        ("previous", 5, {0, 2, 5, 9}, (2,)),
        ("previous", 2, {2, 5}, ()),
    ],
)
def test_updates_count_from_a_saved_epoch_before(since: str, epoch: int, known: set, also: tuple) -> None:
    parameters = SimilarityParameters(since=since)
    assert parameters.also(epoch, known) == also
    assert ("--epochs" in parameters.lacking(epoch)) and ("nothing has changed" in parameters.lacking(0))
    assert ("--init" in parameters.lacking(5)) == (since == "init")
