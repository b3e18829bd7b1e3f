"""Stacked training is one-by-one training: in float64, where rounding is small, the numbers are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from nid_cli.data.catalog import resolve_parameters
from nid_cli.data.load import load
from nid_cli.data.tensors import Data, Split
from nid_cli.graphs import graph_of
from nid_cli.nets.export import export
from nid_cli.nets.graph import Graph
from nid_cli.nets.stackable import stackable
from nid_cli.nets.stacking import stack, unstack
from nid_cli.nets.storage import from_bytes, to_bytes
from nid_cli.nets.symmetry import Constraint, constants_of, constraint, draw_fixed, initial_state, rule_of
from nid_cli.recipes import resolve
from nid_cli.specs import RunSpec
from nid_cli.training.loop import Diverged, Epoch, Snapshot, train_model
from nid_cli.training.memory import how_many
from nid_cli.training.optimizer import stack_moments
from nid_cli.training.stacked import train_stacked
from tests.training.test_own_networks import PICTURES, Varied

SAME = 1e-10


class Group(NamedTuple):
    """All that the models of a group have in common, and where each starts, in float64."""

    graph: Graph
    spec: RunSpec
    data: Data
    constraint: Constraint
    constants: dict[str, Tensor]
    starts: list[Snapshot]


def double(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: _double(tensor) for name, tensor in tensors.items()}


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def group(models: int = 3, samples: int = 61, augmented: bool = False, **options: Any) -> Group:
    options = {"epochs": 3, "batch_size": 12, "weight_decay": 0.1} | options
    dataset = options.setdefault("dataset", "digits")
    if dataset == "digits":
        options["data"] = {"train_size": samples}
    spec, _ = resolve(options)
    data = load(dataset, resolve_parameters(dataset, options.get("data", {})), Path("/nonexistent"))
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    labels = {name: replace(own, targets=_double(own.targets)) for name, own in splits.items()}
    data = replace(data, augmented=augmented, dtype=torch.float64, **labels)
    graph, rule, kappa = graph_of(spec), rule_of(spec.symmetry.name), spec.symmetry.kappa
    fixed = double(draw_fixed(rule, graph, spec.symmetry.num_fixed, 1) | dict(data.constants))
    starts = [
        Snapshot(0, double(initial_state(rule, graph, double_free(fixed), kappa, seed))) for seed in range(models)
    ]
    return Group(graph, spec, data, constraint(rule, graph, fixed, kappa), constants_of(graph, fixed), starts)


def double_free(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As networks are drawn: in float32."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def kept(event: Epoch) -> Epoch:
    """A copy that later epochs do not change, through the bytes that files hold."""
    found = event.snapshot
    return replace(
        event,
        snapshot=Snapshot(found.epoch, from_bytes(to_bytes(found.state)), from_bytes(to_bytes(found.optimizer))),
    )


def alone(own: Group, place: int, start: Snapshot | None = None) -> list[Epoch]:
    start = start or own.starts[place]
    events = train_model(own.graph, own.spec, own.data, own.constraint, own.constants, start, 100 + place)
    return [kept(event) for event in events]


def together(own: Group, places: Sequence[int], starts: Sequence[Snapshot] | None = None) -> list[list[Any]]:
    """For each model what became of it, epoch by epoch."""
    starts = starts or [own.starts[place] for place in places]
    seeds = [100 + place for place in places]
    steps = train_stacked(own.graph, own.spec, own.data, own.constraint, own.constants, starts, seeds)
    found = [[kept(one) if isinstance(one, Epoch) else one for one in step] for step in steps]
    return [list(own) for own in zip(*found, strict=True)]


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The greatest, relative to the tensor's magnitude (or to 1e-3, where that is less)."""
    assert found.keys() == expected.keys()
    worst = 0.0
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape and found[name].dtype == tensor.dtype, name
        scale = max(float(tensor.double().abs().max()), 1e-3)
        worst = max(worst, float((found[name] - tensor).abs().max()) / scale)
    return worst


def without(tensors: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """Without parameters of these names, and their moments."""
    return {name: t for name, t in tensors.items() if name not in names and name.rpartition("/")[0] not in names}


def assert_same(found: Sequence[Epoch], expected: Sequence[Epoch]) -> None:
    assert [event.snapshot.epoch for event in found] == [event.snapshot.epoch for event in expected]
    for one, other in zip(found, expected, strict=True):
        # Adam makes steps of what is rounding alone: the gradient of a key's bias is zero, and its moments nothing.
        moments = other.snapshot.optimizer
        idle = {name.rpartition("/")[0] for name, v in moments.items() if name.endswith("_sq") and v.max() < 1e-24}
        assert difference(without(one.snapshot.state, idle), without(other.snapshot.state, idle)) < SAME
        assert difference(without(one.snapshot.optimizer, idle), without(moments, idle)) < SAME
        for name in idle:
            assert (one.snapshot.state[name] - other.snapshot.state[name]).abs().max() < 1e-8
        for split, metrics in other.metrics.items():
            assert one.metrics[split].loss == pytest.approx(metrics.loss, rel=SAME)
            assert one.metrics[split].accuracy == metrics.accuracy


MLP = {"width": 12, "depth": 3}
GPT = {"arch": "gpt", "dataset": "grammar", "data": {"samples": 50, "test_samples": 9, "length": 8}}
SGD = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "milestones": [1, 2], "gamma": 0.3}
COSINE = {"schedule": "cosine", "warmup": 0.7, "clip": 0.2, "lr": 0.01}
CASES: dict[str, dict[str, Any]] = {
    "mlp": {**MLP, "symmetry": "w"},
    "mlp, batch norm": {**MLP, "norm": "batch", "symmetry": "w", **SGD},
    "mlp, syre, cosine": {**MLP, "symmetry": "syre", **COSINE},
    "mlp, syre, sgd": {**MLP, "symmetry": "syre", **SGD, "clip": 0.1},
    "mlp, sigma": {**MLP, "symmetry": "sigma"},
    "mlp, adam": {**MLP, "symmetry": "syre", "optimizer": "adam"},
    "mlp, labels": {
        **MLP,
        "dataset": "multilabel-subspace",
        "data": {"samples": 90, "test_samples": 20, "d": 9, "k": 5},
    },
    "resnet, sigma": {"arch": "resnet", "depth": 8, "width": 1, "symmetry": "sigma", "epochs": 2, **SGD},
    "resnet": {"arch": "resnet", "depth": 8, "width": 1, "symmetry": "w", "epochs": 2, **SGD},
    "resnet, augmented": {"arch": "resnet", "depth": 8, "width": 1, "symmetry": "syre", "epochs": 2, "augmented": True},
    "vit": {"arch": "vit", "width": 16, "heads": 2, "depth": 2, "symmetry": "syre", **COSINE},
    "gpt": {**GPT, "width": 16, "heads": 2, "depth": 1, "symmetry": "w", **COSINE},
    "gcn": {"arch": "gcn", "dataset": "sbm", "data": {"nodes": 60, "links": 200}, "width": 6, "symmetry": "w"},
}


@pytest.mark.parametrize("case", CASES)
def test_stacked_is_one_by_one(case: str) -> None:
    """61 samples in batches of 12: the last batch is of one sample, which batch norms leave out."""
    own = group(**CASES[case])
    assert stackable(own.graph) is None
    for place, found in enumerate(together(own, range(3))):
        expected = alone(own, place)
        assert_same(found, expected)
        moved = [name for name in own.graph.trained if own.starts[place].state[name].numel()]
        assert difference(found[-1].snapshot.state, own.starts[place].state) > 1e-3 and moved
    for name, (index, values) in own.constraint.pinned.items():
        assert torch.equal(found[-1].snapshot.state[name].flatten()[index], values)


def test_each_model_has_its_own_order_start_and_noise() -> None:
    own = group(**CASES["resnet, augmented"])
    same_start = [own.starts[0]] * 3
    one, two, three = (events[-1].snapshot.state for events in together(own, (0, 1, 1), same_start))
    assert difference(two, three) < SAME < 1e-3 < difference(one, two)


def test_who_is_stacked_beside_a_model_does_not_matter() -> None:
    own = group(**CASES["mlp, batch norm"], models=4)
    assert_same(together(own, (2, 0))[0], together(own, (1, 3, 2))[2])


@pytest.mark.parametrize("case", ["mlp, batch norm", "vit"])
def test_a_training_goes_on_stacked_and_one_by_one_again(case: str) -> None:
    own = group(**CASES[case] | {"epochs": 4})
    whole = [alone(own, place) for place in range(2)]
    stacked = together(own, (0, 1), [events[1].snapshot for events in whole])
    for place in range(2):
        assert_same(stacked[place], whole[place][2:])
        assert_same(alone(own, place, stacked[place][1].snapshot), whole[place][4:])


def test_in_float32_it_is_the_same_but_for_rounding() -> None:
    own = group(**CASES["mlp"])
    single = own._replace(
        data=replace(own.data, dtype=torch.float32),
        constraint=Constraint({name: (at, values.float()) for name, (at, values) in own.constraint.pinned.items()}),
        starts=[Snapshot(0, double_free(start.state)) for start in own.starts],
    )
    for place, found in enumerate(together(single, range(3))):
        state = found[-1].snapshot.state
        assert all(tensor.dtype == torch.float32 for tensor in state.values())
        assert difference(double(state), alone(own, place)[-1].snapshot.state) < 1e-4


@pytest.mark.parametrize("case", ["mlp, batch norm", "mlp, syre, cosine", "resnet"])
def test_a_diverging_model_is_reported_once_and_disturbs_no_other(case: str) -> None:
    own = group(**CASES[case] | {"epochs": 4})
    broken = {name: tensor.clone() for name, tensor in own.starts[1].state.items()}
    broken[own.graph.trained[0]].flatten()[-1] = float("nan")
    first, second, third = together(own, (0, 1, 2), [own.starts[0], Snapshot(0, broken), own.starts[2]])
    assert isinstance(second[0], Epoch)
    assert isinstance(second[1], Diverged) and second[1].epoch == 1
    assert second[2:] == [None] * 3
    assert_same(first, alone(own, 0))
    assert_same(third, alone(own, 2))
    with pytest.raises(Diverged):
        alone(own, 1, Snapshot(0, broken))


def test_a_stack_whose_models_all_diverged_ends() -> None:
    own = group(**CASES["mlp"] | {"epochs": 9, "optimizer": "sgd", "lr": 1e200, "momentum": 0.0})
    for events in together(own, (0, 1)):
        assert isinstance(events[-1], Diverged) and len(events) < 9


def test_models_at_different_epochs_or_steps_are_refused() -> None:
    own = group(**CASES["mlp"])
    one, other = (alone(own, place) for place in (0, 1))
    with pytest.raises(ValueError, match="one epoch"):
        together(own, (0, 1), [one[1].snapshot, other[2].snapshot])
    with pytest.raises(ValueError, match="numbers of steps"):
        together(own, (0, 1), [one[1].snapshot, replace(other[2].snapshot, epoch=1)])
    with pytest.raises(ValueError, match="moments"):
        stack_moments([one[1].snapshot.optimizer, {}])


def test_a_parameter_that_is_one_number_has_moments_of_its_own() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.scale = nn.Linear(64, 10), nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.flatten(1)) * self.scale

    own, found = group(**MLP, symmetry="standard"), export(Scaled(), PICTURES)
    start = double(found.state)
    own = own._replace(
        graph=Graph(found.description),
        starts=[Snapshot(0, {name: tensor * (1 + i) for name, tensor in start.items()}) for i in range(2)],
    )
    assert start["scale"].ndim == 0 and stackable(own.graph) is None
    for place, events in enumerate(together(own, (0, 1))):
        assert_same(events, alone(own, place))


def test_stacks_come_apart_as_they_were() -> None:
    states = [{"a": torch.rand(2, 3), "b": torch.rand(())} for _ in range(3)]
    for state, again in zip(states, unstack(stack(states)), strict=True):
        assert all(torch.equal(state[name], again[name]) for name in state)


class Scattered(nn.Module):
    """A function that torch has no batched form of."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x.flatten(1))
        return x.masked_scatter(x > 0, 2 * x)


def test_what_cannot_be_stacked_says_why() -> None:
    assert "drops" in (stackable(Graph(export(Varied(), PICTURES).description)) or "")
    reason = stackable(Graph(export(Scattered(), PICTURES).description)) or ""
    assert "masked_scatter" in reason


def test_how_many_grows_with_memory_and_falls_with_the_model() -> None:
    own = group(**CASES["mlp"])
    counts = [how_many(own.graph, own.data, own.spec, size) for size in (0, 2**22, 2**24, 2**26)]
    assert counts == sorted(counts) and counts[0] == 1 < counts[-2] < counts[-1]
    wide = group(**MLP | {"width": 48}, symmetry="w", models=1)
    assert how_many(wide.graph, wide.data, wide.spec, 2**26) < counts[-1]
    deep = group(**CASES["vit"], models=1)
    data = replace(deep.data, val=deep.data.train, test=deep.data.train)
    few, many = (replace(deep.spec, batch_size=size) for size in (12, 48))
    assert how_many(deep.graph, data, many, 2**26) < how_many(deep.graph, data, few, 2**26)


def test_a_split_of_data_keeps_its_type() -> None:
    inputs = torch.arange(6, dtype=torch.uint8).view(2, 3)
    part = Split(inputs, torch.tensor([0, 1]))
    assert Data(part, part, part).prepare(inputs).dtype == torch.float32
    assert Data(part, part, part, dtype=torch.float64).prepare(inputs).dtype == torch.float64
