"""What neurons see, against torch's own convolutions; and where the neurons of known networks are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn

from nid_cli.analysis.parameters import CostParameters
from nid_cli.analysis.subspace import sample_inputs, stream_input_moments
from nid_cli.data.tensors import Data, Split
from nid_cli.errors import UsageError
from nid_cli.nets.calls import INPUT, Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.functional import record
from nid_cli.nets.graph import Graph
from nid_cli.nets.kernels import activation, inputs_of_neurons
from tests.nets.modules import PICTURES, ROWS

CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3), (4, 7, 8)),
    "strided": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (4, 9, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, stride=2), (4, 7, 7)),
    "1d": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 11)),
    "3d": (nn.Conv3d(2, 6, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 0)), (2, 4, 6, 3)),
    "same": (nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2)), (4, 7, 8)),
    "valid": (nn.Conv1d(4, 6, 3, padding="valid"), (4, 7)),
    "linear": (nn.Linear(4, 6), (5, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_outputs_are_products_with_the_inputs_that_neurons_see(name: str) -> None:
    module, shape = CONVOLUTIONS[name]
    found = export(nn.Sequential(module), [Input("x", (Batch(), *shape))])
    graph = Graph(found.description)
    [layer], x = graph.weighted, torch.randn(3, *shape)
    seen = inputs_of_neurons(layer, x)
    weight, bias = layer.matrix(found.state[layer.weight]), found.state[str(layer.bias)]
    expected = record(graph, found.state, {INPUT: x}, (layer.name,))[layer.name]
    expected = expected.movedim(1, -1) if layer.patches else expected
    assert seen.shape == (3 * graph.rows_of(layer), layer.fan_in) and weight.shape == (layer.channels, layer.fan_in)
    groups, each = layer.groups, layer.channels // layer.groups
    rows = seen.view(-1, groups, layer.fan_in)
    product = torch.einsum("rgd,gnd->rgn", rows, weight.view(groups, each, -1)).flatten(1) + bias
    torch.testing.assert_close(product, expected.reshape(-1, layer.channels), rtol=1e-4, atol=1e-5)


def sites(module: nn.Module, inputs: tuple[Input, ...]) -> dict[str, dict[str, int]]:
    """How many recordings each space has at each site."""
    graph = Graph(export(module, inputs).description)
    return {str(space.label): {site: len(own) for site, own in space.sites.items()} for space in graph.spaces}


class Transformer(nn.Module):
    def __init__(self, pre: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=pre)
        self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 3)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(self.first(x)).mean(1))


@pytest.mark.parametrize("pre", [True, False])
def test_streams_of_transformers_are_recorded_at_their_norms(pre: bool) -> None:
    """The first norm before anything is added reads one summand alone: what the first layer writes."""
    found = sites(Transformer(pre), ROWS)
    assert [own for name, own in found.items() if name.startswith("stream")] == [{"post_norm": 3 if pre else 4}]


def test_every_space_of_known_networks_is_recorded() -> None:
    for module in (
        zoo.mobilenet_v3_small(weights=None),
        zoo.densenet.DenseNet(4, (2, 2), 8, bn_size=2),
        zoo.convnext.ConvNeXt([zoo.convnext.CNBlockConfig(8, 16, 2), zoo.convnext.CNBlockConfig(16, None, 1)]),
    ):
        found = sites(module, PICTURES)
        assert all(own for own in found.values()), found


class Through(nn.Module):
    """A hidden layer of 8 neurons and what they go through."""

    def __init__(self, function: Callable[[Tensor], Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.first, self.last = function, layer or nn.Linear(12, 8), nn.LazyLinear(3)
        self.forward(torch.zeros(2, 12))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)).flatten(1))


def through(function: Callable[[Tensor], Tensor], layer: nn.Module | None = None) -> tuple[Graph, dict[str, Tensor]]:
    found = export(Through(function, layer), (Input("x", (Batch(), 12)),))
    return Graph(found.description), found.state


WRITTEN_OUT: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda h: 0.5 * h * (1 + torch.tanh(0.8 * (h + 0.044715 * h**3))),
    "erf": lambda h: h * 0.5 * (1 + torch.erf(h / 2**0.5)),
    "swish": lambda h: h * torch.sigmoid(1.5 * h),
    "hardswish": lambda h: h * F.relu6(h + 3) / 6,
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_activations_that_are_written_out_are_recorded_where_they_are_read(name: str) -> None:
    graph, state = through(WRITTEN_OUT[name])
    [space] = graph.spaces
    assert {site: len(own) for site, own in space.sites.items()} == {"post_linear": 1, "post_activation": 1}
    x = torch.randn(5, 12)
    calls = [space.sites[site][0].call for site in ("post_linear", "post_activation")]
    values = record(graph, state, {INPUT: x}, calls)
    torch.testing.assert_close(values[calls[1]], WRITTEN_OUT[name](values[calls[0]]))


@pytest.mark.parametrize(
    "function, expected",
    [
        (torch.sigmoid, "sigmoid"),
        (F.hardsigmoid, "hardsigmoid"),
        (lambda h: torch.relu(h.view(-1, 2, 4)), "relu"),
        (lambda h: torch.relu(F.max_pool1d(h.unsqueeze(1), 2)), "relu"),
        (lambda h: torch.tanh(F.dropout(h, training=False)), "tanh"),
        (lambda h: h * 2, None),
    ],
)
def test_the_activation_after_a_layer_is_found(function: Callable[[Tensor], Tensor], expected: str | None) -> None:
    graph, _ = through(function)
    call = graph.activation_after["first"]
    assert (call and call.function.partition(".")[0]) == expected and not graph.not_followed


@pytest.mark.parametrize(
    "function",
    [
        *WRITTEN_OUT.values(),
        torch.exp,
        F.glu,
        lambda h: F.silu(h.chunk(2, 1)[0]) * h.chunk(2, 1)[1],
        nn.PReLU(8),
    ],
)
def test_ridge_refuses_what_is_no_activation_of_one_call(function: Callable[[Tensor], Tensor]) -> None:
    graph, _ = through(function)
    ridge = CostParameters(method="ridge")
    with pytest.raises(UsageError, match=r"first") as refused:
        ridge.check([graph])
    assert refused.value.hint == "--layers last"
    replace(ridge, layers=("last",)).check([graph])
    CostParameters().check([graph])


def test_one_slope_for_all_neurons_is_taken_from_the_state() -> None:
    graph, state = through(nn.PReLU())
    h = torch.linspace(-2, 2, 6, dtype=torch.float64)[:, None]
    assert torch.allclose(activation(graph.activation_after["first"], state)(h), F.leaky_relu(h, 0.25))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(torch.relu(self.first(x)))))


def test_a_layer_that_is_used_twice_is_measured_on_both_uses() -> None:
    torch.manual_seed(0)
    module = Twice()
    found = export(module, (Input("x", (Batch(), 12)),))
    graph = Graph(found.description)
    x, y = torch.randn(9, 12), torch.zeros(9, dtype=torch.long)
    data = Data(*[Split(x, y)] * 3)
    seen = torch.cat([x, torch.relu(module.first(x))]).detach().double()
    layer = graph.layers["first"]
    assert graph.rows_of(layer) == 2 and graph.activation_after["first"] is not None
    moments = stream_input_moments(graph, found.state, data)
    torch.testing.assert_close(moments["first"].covariance(), torch.cov(seen.T, correction=0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sample_inputs(graph, found.state, data, layer, None, 0).double(), seen)


class Heads(nn.Module):
    """A matrix for each of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.last = nn.Parameter(torch.randn(2, 12, 4)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.matmul(x, self.each).transpose(0, 1).flatten(1))


def test_stacked_matrices_are_no_layer() -> None:
    assert list(Graph(export(Heads(), (Input("x", (Batch(), 12)),)).description).layers) == ["last"]
