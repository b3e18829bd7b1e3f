"""Stacked models, function by function: each model's values are what it computes alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nid_cli.nets import stacking
from nid_cli.nets.calls import INPUT, Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.functional import forward, plan_of
from nid_cli.nets.graph import Graph
from nid_cli.nets.stackable import stackable
from nid_cli.nets.together import stacked_plan

MODELS = 3


class Mixed(nn.Module):
    """Functions with a rule beside others: of tokens and single vectors, of values, weights, numbers and constants."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.plain = nn.Linear(6, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 5)
        self.norm, self.bare = nn.LayerNorm(8), nn.LayerNorm((4, 8), elementwise_affine=False)
        self.rows, self.scale = nn.LayerNorm((4, 8)), nn.Parameter(torch.randn(8))
        self.register_buffer("shift", torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        x = F.gelu(x + self.second(torch.relu(x * 2.0))) * self.scale - self.shift
        x = self.bare(x).transpose(1, 2).softmax(-1).transpose(1, 2) + x
        mean = self.rows(x).mean(1)
        return self.plain(torch.tanh(mean)) / (1 + self.plain(mean).sigmoid())


def _graph() -> tuple[Graph, dict[str, Tensor]]:
    found = export(Mixed(), [Input(INPUT, (Batch(), 4, 6))])
    return Graph(found.description), {name: tensor.double() for name, tensor in found.state.items()}


@pytest.mark.parametrize("own", [True, False])
def test_each_model_has_the_values_and_gradients_that_it_has_alone(own: bool) -> None:
    graph, state = _graph()
    generator = torch.Generator().manual_seed(1)
    states = [
        {n: t + torch.randn(t.shape, generator=generator, dtype=torch.float64) / 9 for n, t in state.items()}
        for _ in range(MODELS)
    ]
    inputs = torch.randn((MODELS, 5, 4, 6), generator=generator, dtype=torch.float64)
    stacked = stacking.stack(states)
    for name in graph.trained:
        stacked[name].requires_grad_()
    values = stacking.forward(graph, stacked, {}, inputs if own else inputs[0], training=True, own=own)
    values.square().sum().backward()
    for place, alone in enumerate(states):
        for name in graph.trained:
            alone[name].requires_grad_()
        expected = forward(graph, alone, inputs[place if own else 0], training=True)
        expected.square().sum().backward()
        torch.testing.assert_close(values[place], expected, rtol=1e-12, atol=1e-13)
        for name in graph.trained:
            torch.testing.assert_close(stacked[name].grad[place], alone[name].grad, rtol=1e-10, atol=1e-12)


def test_what_models_share_has_no_axis_of_models() -> None:
    graph, state = _graph()
    shift = {"shift": state.pop("shift")}
    inputs = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    values = stacking.forward(graph, stacking.stack([state, state]), shift, inputs)
    for found, x in zip(values, inputs, strict=True):
        torch.testing.assert_close(found, forward(graph, state | shift, x), rtol=1e-12, atol=1e-13)


def test_functions_with_a_rule_run_without_vmap_and_few_calls_remain() -> None:
    graph, _ = _graph()
    program = stacked_plan(plan_of(graph), frozenset(), True).program((INPUT,), (graph.output,))
    alone = plan_of(graph).program((INPUT,), (graph.output,))
    names = [step.function.__name__ for step in program.steps if hasattr(step.function, "__name__")]
    weighted = sum(step.call.function == "linear.default" for step in alone.steps)
    assert weighted == 4 and names.count("_linear") == 4
    assert 1 <= names.count("each") <= 4


def test_infinities_stay_with_their_model() -> None:
    graph, state = _graph()
    broken = {name: torch.full_like(tensor, float("inf")) for name, tensor in state.items()}
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    values = stacking.forward(graph, stacking.stack([state, broken]), {}, x)
    torch.testing.assert_close(values[0], forward(graph, state, x[0]), rtol=1e-12, atol=1e-13)
    assert not values[1].isfinite().any()


def test_the_trial_notices_a_rule_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from nid_cli.nets import together

    graph, _ = _graph()
    assert stackable(graph) is None
    right = together._RULES["layer_norm.default"]
    monkeypatch.setitem(together._RULES, "layer_norm.default", lambda *given: right(*given) * 1.001)
    reason = stackable(_graph()[0])
    assert reason is not None and "is another" in reason
