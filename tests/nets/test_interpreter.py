"""The interpreter: only what leads from given values to wanted ones runs, and nothing is kept or changed beside."""

from __future__ import annotations

import weakref
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from nid_cli.errors import IntegrityError
from nid_cli.nets.bounds import plan_of
from nid_cli.nets.calls import Batch, Call, Value
from nid_cli.nets.example import example
from nid_cli.nets.export import Exported, export
from nid_cli.nets.interpreter import run
from nid_cli.nets.plan import Plan
from tests.nets.modules import MODULES, ROWS, Constants


@cache
def taken(name: str) -> Exported:
    torch.manual_seed(0)
    return export(MODULES[name][0](), MODULES[name][1])


@pytest.mark.parametrize("name", ["norms", "encoder", "view read"])
def test_a_run_starts_from_any_value(name: str) -> None:
    described, state, *_ = taken(name)
    plan, given = plan_of(described), {"input": example(described.inputs, 4)[0]}
    names = tuple(call.name for call in described.calls if call.shape is not None)
    values = run(plan, state, given, names)
    cut = names[len(names) // 2]
    later = run(plan, state, {"input": given["input"], cut: values[cut]}, (described.output,))
    assert torch.equal(later[described.output], values[described.output])


def test_sizes_need_no_input() -> None:
    """A run that starts behind the input knows the number of samples by the value that it starts from."""
    described, state, *_ = taken("view read")
    plan, x = plan_of(described), example(described.inputs, 4)[0]
    values = run(plan, state, {"input": x}, ("a", described.output))
    again = run(plan, state, {"a": values["a"]}, (described.output,))
    assert torch.equal(again[described.output], values[described.output])


def test_only_what_is_needed_runs() -> None:
    described, state, *_ = taken("norms")
    plan, x = plan_of(described), example(described.inputs, 4)[0]
    seen: list[str] = []
    run(plan, state, {"input": x}, ("relu",), observe=lambda call, _: seen.append(call.name))
    assert seen == ["layers.0", "batch_norm", "relu"]
    assert run(plan, state, {"input": x}, ("input",)) == {"input": x}


def test_what_cannot_be_reached_is_an_error() -> None:
    described, state, *_ = taken("norms")
    given = {"relu": torch.zeros(4, 6, 30, 30)}
    with pytest.raises(ValueError, match="neither given nor made"):
        run(plan_of(described), state, given, ("batch_norm",))


def test_values_are_let_go_after_their_last_reader() -> None:
    described, state, *_ = taken("norms")
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def observe(_: Call, x: Tensor) -> None:
        nonlocal most
        alive.append(weakref.ref(x))
        most = max(most, len({id(found) for ref in alive if (found := ref()) is not None}))

    with torch.no_grad():
        run(plan_of(described), state, {"input": example(described.inputs, 4)[0]}, (described.output,), observe=observe)
    assert most <= 3  # the input, what is read, and what was just made


def test_statistics_change_in_training_alone() -> None:
    described, state, *_ = taken("norms")
    plan, given = plan_of(described), {"input": example(described.inputs, 4)[0]}
    before = {name: value.clone() for name, value in state.items()}
    run(plan, state, given, (described.output,))
    assert all(torch.equal(value, before[name]) for name, value in state.items())
    trained = {name: value.clone() for name, value in state.items()}
    run(plan, trained, given, (described.output,), training=True)
    changed = {name for name, value in trained.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in trained if "running" in name}


def test_gradients_are_those_of_the_module() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))
    described, state, *_ = export(module, ROWS)
    x = example(described.inputs, 4)[0]
    module(x).square().sum().backward()
    own = {name: value.clone().requires_grad_() for name, value in state.items()}
    run(plan_of(described), own, {"input": x}, (described.output,))[described.output].square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(own[name].grad, parameter.grad)


def test_networks_run_in_float64_from_end_to_end() -> None:
    described, state, *_ = export(Constants(), ROWS)
    double = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    x = example(described.inputs, 4)[0]
    found = run(plan_of(described, torch.float64), double, {"input": x.double()}, (described.output,))
    assert found[described.output].dtype == torch.float64
    single = run(plan_of(described), state, {"input": x}, (described.output,))
    torch.testing.assert_close(found[described.output].float(), single[described.output])


def test_any_number_of_samples() -> None:
    for name in ("encoder", "resnet18", "gpt"):
        described, state, *_ = taken(name)
        plan = plan_of(described)
        name_of = described.inputs[0].name
        x = example(described.inputs, 7)[0]
        whole = run(plan, state, {name_of: x}, (described.output,))[described.output]
        parts = [run(plan, state, {name_of: part}, (described.output,))[described.output] for part in (x[:1], x[1:])]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)


def test_nothing_outside_the_list_runs() -> None:
    call = Call(name="x", function="rand_like.default", args=(Value("input"),), shape=(Batch(), 3))
    with pytest.raises(IntegrityError, match="no function"):
        run(Plan((call,), {"input": (Batch(), 3)}), {}, {"input": torch.zeros(2, 3)}, ("x",))
