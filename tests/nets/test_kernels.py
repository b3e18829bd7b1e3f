"""What neurons see, against torch's own convolutions; and where the neurons of known networks are recorded."""

from __future__ import annotations

import pytest
import torch
import torchvision.models as zoo
from torch import nn

from nid_cli.nets.calls import INPUT, Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.functional import record
from nid_cli.nets.graph import Graph
from nid_cli.nets.kernels import inputs_of_neurons
from tests.nets.modules import PICTURES, ROWS

CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3), (4, 7, 8)),
    "strided": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (4, 9, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, stride=2), (4, 7, 7)),
    "1d": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 11)),
    "3d": (nn.Conv3d(2, 6, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 0)), (2, 4, 6, 3)),
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
