import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nid_cli.errors import UsageError
from nid_cli.graphs import graph_of
from nid_cli.metrics import loss_of
from nid_cli.nets.functional import forward
from nid_cli.nets.symmetry import Rule, constants_of, constraint, draw_fixed, initial_state, rule_of
from nid_cli.recipes import resolve
from nid_cli.specs import SYMMETRIES, Kappa, NetworkSpec, RunSpec, canonical_json, derive_seed
from nid_cli.training.optimizer import ConstrainedOptimizer, learning_rate
from tests.conftest import small_spec


def test_json_round_trip_keeps_the_value_and_its_hash() -> None:
    for symmetry in SYMMETRIES:
        spec = small_spec(symmetry=symmetry)
        again = RunSpec.from_dict(json.loads(canonical_json(spec.to_dict())))
        assert again == spec and again.hash == spec.hash


def test_hash_is_the_same_in_another_process() -> None:
    code = "from tests.conftest import small_spec; print(small_spec(symmetry='w').hash)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "7"})
    assert other.stdout.strip() == small_spec(symmetry="w").hash, other.stderr


def test_equal_settings_written_differently_hash_alike() -> None:
    assert small_spec(symmetry="w", kappa=1).hash == small_spec(symmetry=1, kappa=[1.0, 1.0, 1]).hash
    assert small_spec(symmetry="w", kappa=1).hash != small_spec(symmetry="w", kappa=2).hash
    assert small_spec(width=16.0, lr=1, momentum=0.3).hash == small_spec(width=16, lr=1.0, gamma=0.5).hash
    assert small_spec(symmetry="w", kappa=-0.0).hash == small_spec(symmetry="w", kappa=0).hash
    assert small_spec(seed=1).settings() == small_spec(seed=2).settings()


@given(st.integers(0, 2**40), st.integers(0, 1000))
def test_derived_seeds_are_distinct_and_fit_torch(base: int, member: int) -> None:
    seeds = [derive_seed(base, "mask"), derive_seed(base, "init", member), derive_seed(base, "order", member)]
    assert len(set(seeds)) == 3 and all(0 <= s < 2**63 for s in seeds)


def test_every_symmetry_type_has_its_rule() -> None:
    assert list(SYMMETRIES) == ["standard", "w", "sigma", "syre"]
    assert all(isinstance(rule_of(name), Rule) for name in SYMMETRIES)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_papers_cifar_recipe(dataset: str) -> None:
    spec, _ = resolve({"arch": "resnet", "dataset": dataset, "symmetry": "w"})
    assert spec.network == NetworkSpec(arch="resnet", width=8, depth=20, norm="group", activation="relu")
    optimizer = spec.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("adamw", 1e-4, 0.01)
    assert (spec.batch_size, spec.epochs) == (128, 100)
    assert optimizer.milestones == tuple(range(1, 21)) and optimizer.gamma == 1.259
    assert set(spec.symmetry.kappa) == {2.0}
    assert spec.data.parameters == {"augment": 1}
    counts = dict(zip((op.name for op in graph_of(spec).weighted), spec.symmetry.num_fixed, strict=True))
    assert (counts["stem.conv"], counts["linear"]) == (12, 24)
    for stage, conv, shortcut in ((1, 108, None), (2, 162, 18), (3, 216, 24)):
        own = {n: c for n, c in counts.items() if n.startswith(f"stage{stage}")}
        assert {c for n, c in own.items() if "shortcut" not in n} == {conv}
        assert [c for n, c in own.items() if "shortcut" in n] == ([shortcut] if shortcut else [])
    assert learning_rate(optimizer, 100, 1) == 1e-4 and learning_rate(optimizer, 100, 21) == pytest.approx(
        1e-4 * 1.259**20
    )


def test_small_resnets_fix_as_many_weights_as_the_table_says() -> None:
    spec, _ = resolve({"arch": "resnet", "symmetry": "w"})
    assert spec.symmetry.num_fixed == (4, 36, 36, 54, 54, 6, 72, 72, 8, 8)


@pytest.mark.parametrize("symmetry", list(SYMMETRIES))
def test_the_papers_resnet_takes_a_step(symmetry: str) -> None:
    spec, _ = resolve({"arch": "resnet", "dataset": "cifar10", "symmetry": symmetry})
    kind, graph = rule_of(symmetry), graph_of(spec)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 0)
    state = initial_state(kind, graph, fixed, spec.symmetry.kappa, 1)
    before = {name: tensor.clone() for name, tensor in state.items()}
    parameters = {name: state[name].requires_grad_() for name in graph.parameters}
    optimizer = ConstrainedOptimizer(spec.optimizer, parameters, constraint(kind, graph, fixed, spec.symmetry.kappa))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, 32, 32, generator=generator), torch.randint(10, (8,), generator=generator)
    loss = loss_of(forward(graph, state | constants_of(graph, fixed), x, training=True), y)
    optimizer.step(loss)
    assert torch.isfinite(loss)
    for op in graph.weighted:
        weight, old = (s[f"{op.name}.weight"].detach().flatten(1) for s in (state, before))
        mask = fixed.get(f"{op.name}.mask", torch.ones_like(old, dtype=torch.bool))
        # Dead channels get no gradient, and there are more of them the larger the noise.
        assert torch.equal(weight[~mask], old[~mask]) and (weight != old)[mask].double().mean() > 0.5


def test_the_papers_mnist_recipe() -> None:
    spec, call = resolve({"dataset": "mnist", "symmetry": "w"})
    assert [op.fan_in for op in graph_of(spec).weighted] == [784, 512, 512, 512]
    assert spec.symmetry.num_fixed == (64, 64, 64, 256) and spec.symmetry.kappa == (1.0,) * 4
    assert (spec.network.norm, spec.network.activation, spec.optimizer.name) == ("layer", "gelu", "adamw")
    assert (spec.optimizer.lr, spec.optimizer.weight_decay, spec.batch_size, spec.epochs) == (1e-3, 0.01, 64, 100)
    assert spec.optimizer.milestones == () and call == {"seeds": 2, "save_every": 5}


def test_the_digits_recipe() -> None:
    spec, _ = resolve({"symmetry": "w"})
    graph = graph_of(spec)
    assert [op.fan_in for op in graph.weighted] == [64, 128, 128, 128] and graph.outputs == 10
    assert spec.symmetry.num_fixed == (8, 16, 16, 64) and spec.epochs == 30


def test_shares_scale_with_the_width() -> None:
    assert resolve({"symmetry": "w", "width": 64})[0].symmetry.num_fixed == (8, 8, 8, 32)
    assert resolve({"symmetry": "w", "num_fixed": 0.5})[0].symmetry.num_fixed == (32, 64, 64, 64)
    assert resolve({"symmetry": "w", "num_fixed": [1, 2, 3, 0.25]})[0].symmetry.num_fixed == (1, 2, 3, 32)
    assert resolve({"symmetry": "w", "dataset": "gaussian-subspace"})[0].symmetry.num_fixed == (64, 64, 64, 256)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"arch": "mpl"}, "did you mean mlp"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"symmetry": "syra"}, "did you mean syre"),
        ({"symmetry": "w", "kappa": [1, 2]}, "4 layers"),
        ({"symmetry": "w", "kappa": -1}, "negative"),
        ({"symmetry": "w", "kappa": float("nan")}, "negative"),
        ({"symmetry": "w", "num_fixed": 64}, "64 inputs"),
        ({"symmetry": "w", "num_fixed": [1, 2]}, "4 layers"),
        ({"symmetry": "w", "num_fixed": 1.5}, "whole counts"),
        ({"symmetry": "w", "num_fixed": -0.5}, "whole counts"),
        ({"symmetry": "standard", "kappa": 1}, "no kappa"),
        ({"symmetry": "syre", "num_fixed": 1}, "no num-fixed"),
        ({"norm": "group"}, "layer, batch, none"),
        ({"lr": 0.0}, "above 0"),
        ({"lr": float("inf")}, "above 0"),
        ({"weight_decay": -1}, "negative"),
        ({"epochs": -1}, "at least 0"),
        ({"seeds": 0}, "at least 1"),
        ({"depth": 1}, "depth"),
        ({"width": 0}, "width"),
        ({"optimizer": "adan"}, "did you mean adam"),
        ({"lr": "fast"}, "a number"),
        ({"speed": 1}, "unknown setting"),
        ({"epochs": 2.5}, "whole number"),
        ({"lr": True}, "a number"),
        ({"width": "8"}, "whole number"),
        ({"data": {"k": 3}}, "unknown parameter of digits"),
        ({"dataset": "gaussian-subspace", "data": {"k": 600}}, "between 1 and d"),
        ({"dataset": "gaussian-subspace", "data": {"k": "many"}}, "whole number"),
    ],
)
def test_what_cannot_be_is_a_usage_error_that_says_why(options: dict, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(options)
    assert word in f"{caught.value.message} {caught.value.hint}"


kappas = st.one_of(st.none(), st.floats(0, 1e6), st.lists(st.floats(0, 1e6), min_size=1, max_size=6))


@given(kappas)
def test_a_kappa_survives_its_json_its_column_and_its_text(value: float | list[float] | None) -> None:
    kappa = Kappa.of(value)
    assert Kappa.of(kappa.json).json == kappa.json and Kappa.of(json.loads(kappa.column)).json == kappa.json
    assert Kappa.parse(str(kappa)).json == kappa.json


def test_kappas_that_agree_in_all_layers_are_one_number() -> None:
    assert [Kappa.of(k).json for k in (None, (1.0, 1.0), [1.0, 0.5], 2)] == [None, 1.0, [1.0, 0.5], 2.0]
    assert [str(Kappa.of(k)) for k in (None, (1.0, 1.0), [1.0, 0.5], 2)] == ["null", "1", "1,0.5", "2"]
    assert sorted([Kappa.of([1, 0]), Kappa.of(2), Kappa.of(None), Kappa.of(0.5)], key=lambda k: k.order) == [
        Kappa.of(None), Kappa.of(0.5), Kappa.of(2), Kappa.of([1, 0])
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "1,", "one", "-1", "nan", "1,inf"])
def test_what_is_no_kappa_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="kappa must be a number"):
        Kappa.parse(text)
