"""Shares of a sweep, and what its trainings cost: partitions, bounds, estimates against slow ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_cli.data.catalog import CATALOG, samples_of
from nid_cli.data.load import load
from nid_cli.errors import UsageError
from nid_cli.graphs import graph_of
from nid_cli.pipeline.sweeps import costs, shards
from nid_cli.recipes import resolve
from nid_cli.registry import groups, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.tables import epochs
from nid_cli.specs import DataSpec, RunSpec
from tests.conftest import Terminal, small_spec

HASHES = st.text(alphabet="0123456789abcdef", min_size=4, max_size=4)
COSTS = st.one_of(st.floats(0, 1e12), st.integers(0, 5).map(float))


@given(st.dictionaries(HASHES, COSTS), st.integers(1, 8))
def test_each_run_is_in_one_share(own: dict[str, float], count: int) -> None:
    shares = [shards.share(own, index, count) for index in range(count)]
    assert sum(map(len, shares)) == len(own) and set[str]().union(*shares) == set(own)


@given(st.dictionaries(HASHES, COSTS), st.integers(1, 8), st.randoms())
def test_shares_are_the_same_in_any_order(own: dict[str, float], count: int, random: Any) -> None:
    shuffled = list(own.items())
    random.shuffle(shuffled)
    for index in range(count):
        assert shards.share(dict(shuffled), index, count) == shards.share(own, index, count)


@given(st.lists(st.integers(0, 20), max_size=7), st.integers(1, 3))
def test_the_most_costly_share_is_at_most_four_thirds_of_the_best(own: list[int], count: int) -> None:
    named = {f"{place:04}": float(cost) for place, cost in enumerate(own)}
    shared = [shards.share(named, index, count) for index in range(count)]
    ours = max(sum(named[run] for run in share) for share in shared)
    best = min(
        max(sum(cost for cost, at in zip(own, places, strict=True) if at == index) for index in range(count))
        for places in product(range(count), repeat=len(own))
    )
    assert ours <= (4 / 3 - 1 / (3 * count)) * best + 1e-9


def test_runs_that_cost_nothing_are_shared_too() -> None:
    own = {f"{place:04}": 0.0 for place in range(8)}
    assert [len(shards.share(own, index, 4)) for index in range(4)] == [2, 2, 2, 2]


def test_shares_are_read() -> None:
    assert shards.parse("0/4") == (0, 4) and shards.parse(" 3 / 4 ") == (3, 4) and shards.parse("0/1") == (0, 1)
    for text in ("4/4", "5/4"):
        with pytest.raises(UsageError) as error:
            shards.parse(text)
        assert "the first is 0/4, the last 3/4" in error.value.message and "--array=0-3" in (error.value.hint or "")
    for text in ("", "/", "1", "1/", "-1/4", "1/0", "1.5/4", "a/b", "1/4/2", "1/99999999999"):
        with pytest.raises(UsageError):
            shards.parse(text)


def cost_of(**given: Any) -> float:
    return costs.relative_cost(resolve(given)[0])


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"epochs": 1}, {"epochs": 2}),
        ({"width": 16}, {"width": 512}),
        ({"depth": 3}, {"depth": 4}),
        ({"batch_size": 64}, {"batch_size": 8}),
        ({"data": {"train_size": 100}}, {}),
        ({"data": {"val_share": 0.5}}, {}),
        ({"dataset": "digits", "width": 512}, {"dataset": "mnist", "width": 512}),
        ({"arch": "resnet", "width": 1}, {"arch": "resnet", "width": 2}),
        ({}, {"symmetry": "sigma"}),
        ({"dataset": "mnist", "arch": "mlp"}, {"dataset": "cifar10", "arch": "resnet"}),
    ],
)
def test_more_work_costs_more(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert 0 < cost_of(**less) < cost_of(**more)


def test_what_training_does_not_change_changes_no_cost() -> None:
    assert cost_of() == cost_of(seed=3) == cost_of(lr=0.1) == cost_of(symmetry="w", kappa=2) == cost_of(seeds=9)
    assert cost_of(epochs=0) > 0


def test_the_products_are_those_of_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls aside, an MLP multiplies each sample with each weight once, a convolution at each of its pixels."""
    monkeypatch.setattr(costs, "CALL", 0)
    samples = 1295
    mlp = resolve({"width": 20, "depth": 3})[0]
    assert costs.cost_an_epoch(mlp) == samples * (64 * 20 + 20 * 20 + 20 * 10)
    resnet = resolve({"arch": "resnet", "depth": 8, "width": 1})[0]
    convolutions = [(8, 1, 16), (8, 16, 16), (8, 16, 16), (4, 16, 32), (4, 32, 32), (4, 16, 32 / 9)]
    convolutions += [(2, 32, 64), (2, 64, 64), (2, 32, 64 / 9)]
    expected = sum(side**2 * channels * 9 * outputs for side, channels, outputs in convolutions) + 64 * 10
    assert costs.cost_an_epoch(resnet) == pytest.approx(samples * expected, rel=1e-12)


def test_a_file_of_unknown_length_has_a_cost() -> None:
    spec = resolve({"width": 4, "depth": 2})[0]
    values = spec.to_dict() | {"dataset": "own", "data": {}, "content": "0" * 64}
    own = RunSpec.from_dict(values | {"input_shape": [8], "outputs": 3, "targets": "classes"})
    assert samples_of(own.data) is None and costs.relative_cost(own) > 0


SMALL = {"samples": 55, "test_samples": 5}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("digits", {}),
        ("digits", {"train_size": 100}),
        ("digits", {"val_share": 0.33}),
        ("gaussian-subspace", SMALL | {"d": 8, "k": 2}),
        ("parity-subspace", SMALL | {"d": 8, "k": 3}),
        ("multilabel-subspace", SMALL | {"d": 8, "k": 2}),
        ("grammar", SMALL),
        ("sbm", {}),
    ],
)
def test_the_number_of_samples_is_that_of_the_data(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    own = resolve({"dataset": name, "data": parameters, "arch": {"sbm": "gcn", "grammar": "gpt"}.get(name, "mlp")})[0]
    assert samples_of(own.data) == len(load(name, own.data.parameters, tmp_path).train)


def test_the_catalogue_knows_of_all_sets_but_folders_how_long_they_are() -> None:
    usual = {name: samples_of(DataSpec(name=name, parameters=own.parameters)) for name, own in CATALOG.items()}
    assert [name for name, samples in usual.items() if samples is None] == ["image-folder"]
    assert usual["mnist"] == usual["fashion-mnist"] == usual["mnist-coherence"] == 54_000
    assert usual["cifar10"] == usual["cifar100"] == 45_000


Ask = Callable[..., dict[str, float | None]]


@pytest.fixture
def ask(terminal: Terminal) -> Ask:
    """What the registry of the groups baseline and mlp-digits-standard says of specifications."""

    def call(*specs: RunSpec) -> dict[str, float | None]:
        with Registry(terminal.database).read() as connection:
            return costs.seconds_an_epoch(connection, specs)

    return call


def measure(terminal: Terminal, name: str, seconds: list[float]) -> RunSpec:
    """Makes a group's models have taken so long, epoch by epoch; returns its specification."""
    with Registry(terminal.database).write() as connection:
        group = groups.by_name(connection, name)
        members = [model.id for model in runs.models_of(connection, group_id=group.id)]
        connection.execute(epochs.delete().where(epochs.c.model_id.in_(members)))
        for epoch, value in enumerate(seconds):
            connection.execute(epochs.insert().values(model_id=members[0], epoch=epoch, seconds=value))
        return group.spec


def test_seconds_are_the_median_of_what_is_alike(terminal: Terminal, ask: Ask) -> None:
    times = [100.0, 1.0, 5.0, 2.0]  # epoch 0 is none
    spec = measure(terminal, "baseline", times)
    measure(terminal, "mlp-digits-standard", times)
    measure(terminal, "mlp-digits-syre-k1", [])
    same = {"width": spec.network.width, "depth": spec.network.depth}
    alike = [spec, resolve(same | {"lr": 0.5, "epochs": 99})[0], resolve(same | {"symmetry": "syre"})[0]]
    assert {own.hash for own in alike} == ask(*alike).keys()
    assert set(ask(*alike).values()) == {median(times[1:])}


def test_seconds_of_what_is_new_are_scaled_from_the_nearest(terminal: Terminal, ask: Ask) -> None:
    spec = measure(terminal, "baseline", [9.0, 2.0])
    measure(terminal, "mlp-digits-standard", [9.0, 2.0])
    measure(terminal, "mlp-digits-syre-k1", [])
    for other in (resolve({"width": 500})[0], resolve({"arch": "resnet"})[0], resolve({"symmetry": "sigma"})[0]):
        expected = 2.0 * costs.cost_an_epoch(other) / costs.cost_an_epoch(spec)
        assert ask(other) == {other.hash: pytest.approx(expected)}
    # Where two are known, the nearer one serves.
    with Registry(terminal.database).write() as connection:
        wide = resolve({"width": 400, "epochs": 1})[0]
        group = groups.find_or_create(connection, spec=wide, fixed=None, data_fingerprint=None, name="wide")
        call = runs.models_of(connection, group_id=groups.by_name(connection, "baseline").id)[0].invocation_id
        run = runs.create_run(connection, wide, wide.hash, group.id, None, call)
        model = runs.add_model(
            connection, group_id=group.id, run_id=run, member=1, invocation_id=call, status="complete"
        )
        runs.record_epoch(connection, model, 1, {"seconds": 50.0})
    wider = resolve({"width": 500})[0]
    expected = 50.0 * costs.cost_an_epoch(wider) / costs.cost_an_epoch(wide)
    assert ask(wider) == {wider.hash: pytest.approx(expected)}


def test_where_nothing_was_timed_nothing_is_known(terminal: Terminal, ask: Ask) -> None:
    for name in ("baseline", "mlp-digits-standard", "mlp-digits-syre-k1"):
        measure(terminal, name, [3.0])
    spec = small_spec()
    assert ask(spec) == {spec.hash: None} and ask() == {}


def test_networks_of_the_user_are_asked_by_their_description(terminal: Terminal) -> None:
    measure(terminal, "baseline", [9.0, 2.0])
    base = small_spec()
    text = graph_of(base).description.to_json()
    own = resolve({"arch": "mine"}, None, text)[0]
    with Registry(terminal.database).read() as connection:
        assert own.network.graph is not None
        [seconds] = costs.seconds_an_epoch(connection, [own], {own.network.graph: text}).values()
    assert seconds is not None and seconds > 0


@given(st.lists(st.floats(0, 1e6), max_size=12), st.integers(1, 5))
def test_time_left_is_that_of_workers_who_take_the_longest_first(seconds: list[float], workers: int) -> None:
    free = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        free.sort()
        free[0] += one
    found = costs.time_left(seconds, workers)
    assert math.isclose(found, max(free), rel_tol=1e-9)
    assert found >= max(seconds, default=0.0) and found >= sum(seconds) / workers - 1e-6
