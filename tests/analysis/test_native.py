"""What analyses need of transformers and graph networks: planted permutations come back, paths and inputs are right."""

from __future__ import annotations

import pytest
import torch

from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.analysis.lmc import Endpoint, segments
from nid_cli.analysis.match import match_activations
from nid_cli.analysis.subspace import stream_input_moments
from nid_cli.analysis.weight_matching import match_weights
from nid_cli.data.tensors import Data, Split
from nid_cli.nets import gcn
from nid_cli.nets.functional import State, forward, record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.permutation import permute
from nid_cli.specs import Measures
from tests.analysis.exported import data_of, planted
from tests.nets.native import IMAGES, TOKENS, edges, graph_of

NODES = 40
MATRIX, EDGES = edges(NODES)
GRAPH = Measures((NODES, 6), 5, "positions", positions=NODES, links=len(EDGES["edges.weight"]))
NETWORKS = {
    "vit": ("vit", IMAGES, {"heads": 3, "patch": 2}),
    "tied": ("gpt", TOKENS, {"heads": 3, "tied": True}),
    "untied": ("gpt", TOKENS, {"heads": 3, "tied": False}),
    "dense": ("gcn", GRAPH, {"norm": "batch", "depth": 3}),
    "sparse": ("gcn", GRAPH, {"depth": 3}),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def few_nodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sparse network has its edges as a list, though it is small."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("name") == "sparse":
        monkeypatch.setattr(gcn, "DENSE_NODES", 1)


def network(name: str, seed: int = 0) -> tuple[Graph, State, Data]:
    """Random tensors; a data set of a single graph for those that read nodes, and of 60 samples for others."""
    arch, measures, own = NETWORKS[name]
    graph = graph_of(arch, measures, **own)
    generator = torch.Generator().manual_seed(seed)

    def drawn(key: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) > 1:
            return torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        return torch.rand(shape, generator=generator) + 0.5 if "bias" not in key else torch.randn(shape) / 2

    state = {key: drawn(key, shape) for key, shape in (graph.parameters | graph.buffers).items()}
    state |= {key: own for key, own in ({"adjacency": MATRIX} | EDGES).items() if key in graph.constants}
    data = data_of(graph, 1 if arch == "gcn" else 60)
    if measures.targets == "positions":
        places = torch.randint(graph.outputs, (len(data.train), measures.shape[0]), generator=generator)
        part = Split(data.train.inputs, places)
        data = type(data)(part, part, part)
    return graph, reset_statistics(graph, state, data), data


@each_network
def test_planted_permutations_come_back(name: str) -> None:
    graph, a, data = network(name)
    _, b = planted(graph, a, 1)
    for found in (match_weights(graph, a, b).permutation, match_activations(graph, a, b, data)):
        back = permute(graph.symmetries.axes, b, found)
        assert all(torch.equal(back[key], a[key]) for key in a)


@each_network
def test_metrics_inside_a_segment_are_those_of_the_interpolated_network(name: str) -> None:
    """Of the permuted end too, whose first layer is reordered and not run again where all of the input goes by it."""
    (graph, a, data), (_, b, _) = network(name), network(name, 1)
    permutation, moved = planted(graph, b, 2)
    found = segments(graph, a, b, [Endpoint(b), Endpoint(moved, permutation)], [0.25, 0.5], data)
    for end, metrics in zip((b, moved), found, strict=True):
        for weight, own in zip((0.25, 0.5), metrics, strict=True):
            mixed = {key: a[key] if key in graph.constants else (1 - weight) * a[key] + weight * end[key] for key in a}
            logits = forward(graph, mixed, data.train.inputs)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), data.train.targets.flatten())
            assert own["train"].loss == pytest.approx(float(loss), rel=1e-4)


@each_network
def test_moments_of_inputs_are_those_of_all_tokens_or_nodes(name: str) -> None:
    graph, state, data = network(name)
    moments = stream_input_moments(graph, state, data)
    for layer in graph.weighted:
        x = record(graph, state, {INPUT: data.train.inputs}, (layer.source,))[layer.source].double()
        if layer.patches:
            x = torch.stack([x[:, :, i : i + 2, j : j + 2].flatten(1) for i in (0, 2, 4, 6) for j in (0, 2, 4)], 1)
        rows = x.flatten(0, -2)
        assert moments[layer.name].samples == len(rows)
        torch.testing.assert_close(
            moments[layer.name].covariance(), torch.cov(rows.T, correction=0), rtol=1e-4, atol=1e-5
        )


def test_statistics_of_one_graph_are_reset_over_its_nodes() -> None:
    graph, state, data = network("dense")
    found = reset_statistics(graph, {key: own.clone() for key, own in state.items()}, data)
    seen = record(graph, state, {INPUT: data.train.inputs}, ("conv.0",))["conv.0"][0]
    torch.testing.assert_close(found["norm.0.running_mean"], seen.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["norm.0.running_var"], seen.var(0), rtol=1e-5, atol=1e-5)
