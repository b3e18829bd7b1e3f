"""The learned alignment: against a slow one by hand, never worse than its start, and the same again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nid_cli.analysis.lmc import Endpoint, segments
from nid_cli.analysis.parameters import LmcParameters
from nid_cli.analysis.straight_through import align_by_learning, learn, midpoint_loss
from nid_cli.analysis.weight_matching import match_weights
from nid_cli.data.tensors import Data, Split
from nid_cli.nets.export import export
from nid_cli.nets.functional import State, forward
from nid_cli.nets.graph import Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.permutation import Permutation, identity, inverse, permute, random
from nid_cli.specs import ALIGNMENTS, Measures
from nid_cli.specs.alignments import ByLearning
from tests.analysis.conv_networks import image_data, trained_resnet
from tests.analysis.exported import MODULES, ROWS, data_of, planted
from tests.analysis.exported import network as exported
from tests.analysis.test_match import network, random_data

FEW = ByLearning(learn_steps=12, judged_every=3, restarts=2, batch_size=20)


def labelled(graph: Graph, state: State, data: Data) -> Data:
    """The data with the classes that a network finds in it: its loss is low, as a trained one's is."""
    parts = [
        replace(part, targets=forward(graph, state, data.prepare(part.inputs)).argmax(-1))
        for part in (data.train, data.val, data.test)
    ]
    return replace(data, train=parts[0], val=parts[1], test=parts[2])


def same(one: Permutation, other: Permutation) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def small(seed: int) -> tuple[Graph, State]:
    """6-5-3 with relu, in float64."""
    graph = mlp(Measures((6,), 3, "classes"), width=5, depth=2, norm="none", activation="relu", gated=False)
    generator = torch.Generator().manual_seed(seed)
    return graph, {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in graph.parameters.items()}


def by_hand(a: State, b: State, x: np.ndarray, classes: np.ndarray, start: np.ndarray, parameters: ByLearning):
    """Free weights, permutation and loss after each step on all samples: gradients written out, each permutation
    tried."""
    names = ("linear.0.weight", "linear.0.bias", "linear.1.weight", "linear.1.bias")
    own, other = ([state[name].numpy() for name in names] for state in (a, b))

    def moved(p: np.ndarray) -> list[np.ndarray]:
        return [other[0][p], other[1][p], other[2][:, p], other[3]]

    free, velocity, p = [w.copy() for w in own], [np.zeros_like(w) for w in own], start
    for _ in range(parameters.learn_steps):
        w, c, v, d = ((one + two) / 2 for one, two in zip(own, moved(p), strict=True))
        pre = x @ w.T + c
        hidden = np.maximum(pre, 0)
        logits = hidden @ v.T + d
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        loss = -np.log(shares[np.arange(len(x)), classes]).mean()
        error = (shares - np.eye(3)[classes]) / len(x)
        back = (error @ v) * (pre > 0)
        for i, gradient in enumerate((back.T @ x, back.sum(0), error.T @ hidden, error.sum(0))):
            velocity[i] = parameters.momentum * velocity[i] + gradient / 2
            free[i] = free[i] - parameters.learning_rate * velocity[i]
        products = {
            q: sum((f * m).sum() for f, m in zip(free, moved(np.array(q)), strict=True))
            for q in itertools.permutations(range(5))
        }
        p = np.array(max(products, key=products.__getitem__))
        yield dict(zip(names, free, strict=True)), p, loss


def test_steps_are_those_by_hand() -> None:
    (graph, a), (_, b) = small(1), small(2)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    part = Split(x, torch.randint(3, (40,), generator=generator))
    data = Data(part, part, part, dtype=torch.float64)
    parameters = ByLearning(learn_steps=60, learning_rate=0.3, batch_size=40)
    start = match_weights(graph, a, b).permutation
    slow = by_hand(a, b, x.numpy(), part.targets.numpy(), start[graph.spaces[0].name].numpy(), parameters)
    visited, count = set(), 0
    for found, (free, p, loss) in zip(learn(graph, a, b, data, start, parameters), slow, strict=True):
        assert found.loss == pytest.approx(loss, rel=1e-12)
        assert found.permutation[graph.spaces[0].name].tolist() == p.tolist()
        for name, expected in free.items():
            np.testing.assert_allclose(found.free[name].numpy(), expected, rtol=1e-10, atol=1e-12)
        visited.add(tuple(p))
        count += 1
    assert count == 60 and len(visited) > 1


def loss_on_the_segment(graph: Graph, a: State, b: State, data: Data, permutation: Permutation) -> float:
    end = Endpoint(permute(graph.symmetries.axes, b, permutation), permutation)
    [[metrics]] = segments(graph, a, b, [end], [0.5], data)
    return metrics["train"].loss


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_an_mlp_is_never_worse_than_matched_by_weights(norm: str, seed: int) -> None:
    (graph, a), (_, b) = network(2 * seed, norm), network(2 * seed + 1, norm)
    data, fast = labelled(graph, a, random_data()), replace(FEW, learning_rate=0.3)
    start = match_weights(graph, a, b, FEW.restarts, FEW.seed).permutation
    found = align_by_learning(graph, a, b, data, fast)
    before, after = (loss_on_the_segment(graph, a, b, data, own) for own in (start, found))
    assert same(found, start) or after < before
    assert midpoint_loss(graph, a, b, data, found) == pytest.approx(after, rel=1e-5)


def test_it_finds_better_ones() -> None:
    better = 0
    for seed in range(4):
        (graph, a), (_, b) = network(2 * seed), network(2 * seed + 1)
        data = labelled(graph, a, random_data())
        start = match_weights(graph, a, b, FEW.restarts, FEW.seed).permutation
        found = align_by_learning(graph, a, b, data, replace(FEW, learn_steps=60, learning_rate=0.3))
        better += midpoint_loss(graph, a, b, data, found) < 0.95 * midpoint_loss(graph, a, b, data, start)
    assert better >= 2


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("resnet18", "densenet", "resnext")])
def test_any_network_is_never_worse_than_matched_by_weights(name: str) -> None:
    (graph, a), (_, b) = exported(name, 0), exported(name, 1)
    data = labelled(graph, a, data_of(graph))
    few = replace(FEW, learn_steps=4, judged_every=2, restarts=1, learning_rate=0.1)
    start = match_weights(graph, a, b, few.restarts, few.seed).permutation
    found = align_by_learning(graph, a, b, data, few)
    assert midpoint_loss(graph, a, b, data, found) <= midpoint_loss(graph, a, b, data, start)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_resnet_is_never_worse_than_matched_by_weights(norm: str) -> None:
    (graph, a), (_, b), data = trained_resnet(norm, 0), trained_resnet(norm, 1), image_data()
    for reset in (False, True):
        few = replace(FEW, learn_steps=6, judged_every=2, restarts=1, learning_rate=0.1, bn_reset=reset)
        start = match_weights(graph, a, b, few.restarts, few.seed).permutation
        found = align_by_learning(graph, a, b, data, few)
        before, after = (midpoint_loss(graph, a, b, data, own, reset) for own in (start, found))
        assert same(found, start) or after < before


def test_permutations_are_judged_as_the_curve_is_measured() -> None:
    (graph, _), learned = network(1, "batch"), ALIGNMENTS["learned"]
    for reset in (False, True):
        [key] = LmcParameters(align=("learned",), bn_reset=reset, learn_steps=7).of_each(graph)
        assert learned.parameters_of(key) == ByLearning(learn_steps=7, bn_reset=reset)
        assert ("bn_reset" in key) == reset


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_a_planted_permutation_comes_back(norm: str, noise: float) -> None:
    graph, a = network(5, norm)
    data = labelled(graph, a, random_data())
    permutation, b = planted(graph, a, 6, noise)
    assert same(align_by_learning(graph, a, b, data, FEW), inverse(graph.spaces, permutation))


def test_free_weights_lead_to_it_from_anywhere() -> None:
    """One hidden layer: the nearest permutation is one assignment, whatever the last one was."""
    graph, a = small(7)
    permutation = random(graph.spaces, torch.Generator().manual_seed(8))
    b = permute(graph.symmetries.axes, a, permutation)
    x = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    part = Split(x, torch.zeros(30, dtype=torch.int64))
    data = labelled(graph, a, Data(part, part, part, dtype=torch.float64))
    [found] = learn(graph, a, b, data, identity(graph.spaces), replace(FEW, learn_steps=1))
    assert same(found.permutation, inverse(graph.spaces, permutation))


@dataclass(frozen=True)
class Watched(Split):
    """Remembers which samples were taken."""

    taken: list[list[int]] = field(default_factory=list)

    def take(self, index: Tensor | slice) -> Split:
        assert isinstance(index, Tensor)
        self.taken.append(index.tolist())
        return super().take(index)


def test_batches_are_whole_and_an_epoch_has_no_sample_twice() -> None:
    (graph, a), (_, b) = network(1), network(2)
    data = random_data(50)

    def taken(seed: int) -> list[list[int]]:
        watched = Watched(data.train.inputs, data.train.targets)
        parameters = replace(FEW, learn_steps=5, seed=seed)
        assert len([*learn(graph, a, b, replace(data, train=watched), identity(graph.spaces), parameters)]) == 5
        return watched.taken

    found = taken(0)
    assert [len(own) for own in found] == [20] * 5
    assert len({*found[0], *found[1]}) == 40 and len({*found[2], *found[3]}) == 40
    assert found[:2] != found[2:4] and found == taken(0) and found != taken(1)


class Dropping(nn.Module):
    """Batch norm and dropout: training differs from evaluation in both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 3)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def test_it_is_the_same_again_and_touches_nothing() -> None:
    states = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            exports = export(Dropping(), ROWS)
        states.append(exports.state)
    graph, (a, b) = Graph(exports.description), states
    assert graph.drops and graph.running
    data, before = data_of(graph), [{name: own.clone() for name, own in state.items()} for state in states]
    start = match_weights(graph, a, b).permutation
    torch.manual_seed(0)
    dice = torch.random.get_rng_state()

    def run() -> list[tuple[float, Permutation, dict[str, Tensor]]]:
        found = learn(graph, a, b, data, start, FEW)
        return [(own.loss, own.permutation, {n: w.clone() for n, w in own.free.items()}) for own in found]

    for (loss, permutation, free), (loss_again, again, free_again) in zip(run(), run(), strict=True):
        assert loss == loss_again and same(permutation, again)
        assert all(torch.equal(free[name], free_again[name]) for name in free)
    assert torch.equal(torch.random.get_rng_state(), dice)
    assert all(torch.equal(old[n], now[n]) for old, now in zip(before, states, strict=True) for n in old)


def test_norms_take_the_statistics_of_the_batch() -> None:
    """Nonsense in the running statistics changes no step, but the loss by which permutations are judged."""
    (graph, a), (_, b) = network(1, "batch"), network(2, "batch")
    wrong = [{n: own + 5 if n in graph.running else own for n, own in state.items()} for state in (a, b)]
    data, start = random_data(), match_weights(graph, a, b).permutation
    assert [s.loss for s in learn(graph, a, b, data, start, FEW)] == [
        s.loss for s in learn(graph, *wrong, data, start, FEW)
    ]
    assert midpoint_loss(graph, *wrong, data, start) != pytest.approx(midpoint_loss(graph, a, b, data, start), rel=0.01)
    assert midpoint_loss(graph, *wrong, data, start, reset=True) == pytest.approx(
        midpoint_loss(graph, a, b, data, start, reset=True)
    )


def test_free_weights_that_overflow_end_it() -> None:
    (graph, a), (_, b) = network(1), network(2)
    data, far = random_data(), replace(FEW, learning_rate=1e38)
    start = match_weights(graph, a, b, FEW.restarts, FEW.seed).permutation
    assert len([*learn(graph, a, b, data, start, far)]) < FEW.learn_steps
    found = align_by_learning(graph, a, b, data, far)
    assert midpoint_loss(graph, a, b, data, found) <= midpoint_loss(graph, a, b, data, start)
