"""Modules taken in: what runs is what the module computes, and what cannot be taken in says why."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn

from nid_cli.errors import UsageError
from nid_cli.nets.agreement import agree
from nid_cli.nets.bounds import check, plan_of
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Description, Input
from nid_cli.nets.example import example
from nid_cli.nets.export import Exported, export
from nid_cli.nets.interpreter import run
from nid_cli.nets.proof import prove, symmetries_of
from tests.nets.modules import IN_PLACE, MODULES, ROWS, Of


@cache
def taken(name: str) -> tuple[nn.Module, Exported]:
    torch.manual_seed(0)
    module = MODULES[name][0]()
    if name == "vit":
        nn.init.normal_(module.heads.head.weight)  # torchvision starts with zeros
    return module, export(module, MODULES[name][1])


@pytest.mark.parametrize("name", MODULES)
def test_a_network_computes_what_its_module_does(name: str) -> None:
    module, (described, state, *_) = taken(name)
    inputs = example(described.inputs, samples=4, seed=1)
    if name == "gpt":
        module = copy.deepcopy(module)
        module.register_forward_hook(lambda _module, _inputs, output: output["logits"])
    found = agree(module, described, state, inputs)
    assert max(found.evaluation, found.training, found.statistics) < 1e-6


@pytest.mark.parametrize("name", MODULES)
def test_a_description_is_one_text_and_passes_every_check(name: str) -> None:
    _, (described, state, *_) = taken(name)
    check(described)
    assert Description.from_json(described.text, described.hash) == described
    assert state.keys() == described.parameters.keys() | described.buffers.keys()
    assert all(tuple(state[name].shape) == shape for name, shape in described.parameters.items())


@pytest.mark.parametrize("name", ["mobilenet", "gpt", "constants", "view changed"])
def test_the_same_module_is_the_same_text(name: str) -> None:
    assert export(MODULES[name][0](), MODULES[name][1]).description.hash == taken(name)[1].description.hash


@pytest.mark.parametrize("name", MODULES)
def test_derived_symmetries_are_proven(name: str) -> None:
    _, (described, state, *_) = taken(name)
    found = prove(described, state, symmetries_of(described))
    assert found.error <= 1e-9 and not found.at_fault


def test_weighted_calls_bear_the_path_of_their_module() -> None:
    _, (described, *_) = taken("resnet18")
    assert {"conv1", "layer1.0.conv2", "layer4.0.downsample.0", "fc"} <= described.by_name.keys()
    assert described.output == "fc"


def test_tied_tensors_are_one() -> None:
    _, (described, state, notes, *_) = taken("gpt")
    assert described.tied == {"lm_head.weight": "wte.weight"}
    assert "lm_head.weight" not in state and any("logits" in note for note in notes)
    assert sum("wte.weight" in call.stored for call in described.calls) == 2
    assert "lm_head" in described.by_name and "wte" not in described.by_name


def test_constants_of_the_code_are_stored() -> None:
    module, (described, state, *_) = taken("constants")
    own = {name for name, buffer in described.buffers.items() if not buffer.persistent}
    assert "mask" in own and len(own) == 2 and described.buffers["scale"].persistent
    assert own.isdisjoint(module.state_dict())
    assert own <= state.keys()


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    for name in ("encoder", "norms", "vit", "lstm", "entangled"):
        _, (described, state, *_) = taken(name)
        plan, given = plan_of(described), {"input": example(described.inputs, 4)[0]}
        stored = {key: value.clone() for key, value in state.items()}

        def twice(training: bool) -> list[torch.Tensor]:
            return [run(plan, stored, given, (described.output,), training)[described.output] for _ in range(2)]  # noqa: B023

        assert torch.equal(*twice(False))
        assert not torch.equal(*twice(True))


def test_attention_drops_too() -> None:
    _, (described, *_) = taken("encoder")
    (attention,) = (call for call in described.calls if call.function.startswith("scaled_dot"))
    assert 0.1 in attention.args or dict(attention.kwargs).get("dropout_p") == 0.1


def test_a_module_is_left_as_it_was() -> None:
    module = MODULES["norms"][0]().train()
    module.layers[3].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    export(module, MODULES["norms"][1])
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not module._forward_hooks


def test_half_precision_becomes_float32() -> None:
    _, state, notes, *_ = export(nn.Linear(16, 4).half(), ROWS)
    assert state["weight"].dtype == torch.float32 and "float32" in notes[0]


def test_several_inputs_have_names() -> None:
    inputs = (Input("x", (Batch(), 16)), Input("t", (Batch(), 1)))
    described = export(Of(lambda own, x, t: own.a(x) * t), inputs).description
    assert [given.name for given in described.inputs] == ["x", "t"]
    assert described.by_name[described.output].reads == ("a", "t")


def test_what_training_draws_beside_dropout_is_said() -> None:
    module = Of(lambda own, x: own.a(x) * torch.rand(1) if own.training else own.a(x))
    assert any("at random" in note for note in export(module, ROWS).notes)
    assert not export(Of(lambda own, x: own.a(x)), ROWS).notes


class _Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        return x * self.steps


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "a fixed number of samples": (Of(lambda own, x: own.a(x.reshape(3, 80)[:, :16])), "number of samples"),
    "a tuple": (Of(lambda own, x: (own.a(x), x)), "tuple"),
    "several names": (Of(lambda own, x: {"a": own.a(x), "b": x}), "dict"),
    "choice by data": (Of(lambda own, x: own.a(x) if x.sum() > 0 else x * 2), "by its data"),
    "sizes by data": (Of(lambda own, x: own.a(x)[x.sum((1, 2)) > 0]), "samples"),
    "random": (Of(lambda own, x: own.a(x) + torch.rand_like(x)), "random in evaluation"),
    "an operation outside": (Of(lambda own, x: own.a(x) + torch.linalg.inv(x[:, :3, :3]).sum()), "linalg_inv"),
    "other inputs": (Of(lambda own, x: own.a(x[..., :3])), "does not run on inputs of 5x16"),
    "samples compared": (Of(lambda own, x: own.a(x).flatten(1) @ x.flatten(1).T), "compares its samples"),
    "NumPy": (Of(lambda own, x: own.a(x) * float(x.detach().numpy().mean())), "torch says"),
    "nothing to run": (Of(lambda own, x: x), "nothing to run"),
    "no samples in the output": (Of(lambda own, x: own.a(x).mean()), "samples first"),
    "averages over all batches": (nn.BatchNorm1d(5, momentum=None), "momentum"),
    "a counter": (_Counter(), "changes its own tensor"),
    "a cast": (Of(lambda own, x: own.a(x).argmax(-1)), "int64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_in_says_why(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    module, word = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        export(module, ROWS)
    assert word in caught.value.message and "\n" not in caught.value.message
    assert capfd.readouterr() == ("", "")


def test_in_place_calls_leave_no_trace() -> None:
    for name in (*IN_PLACE, "mobilenet", "norms"):
        functions = [call.function.partition(".")[0] for call in taken(name)[1].description.calls]
        assert not [function for function in functions if function.endswith("_")]
