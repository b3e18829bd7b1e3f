"""Statistics of batch norms after interpolation, against torch's own running averages and explicit values."""

import pytest
import torch
from torch import nn

from nid_cli.analysis import batch_norm
from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.analysis.lmc import Endpoint, interpolate, segments
from nid_cli.errors import UsageError
from nid_cli.metrics import evaluate
from nid_cli.nets import graph as graphs
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT, Graph
from tests.analysis.conv_networks import image_data, trained_resnet
from tests.analysis.test_match import network, random_data


def test_the_first_norms_statistics_are_those_of_its_inputs() -> None:
    graph, state = trained_resnet("batch", 1)
    data = image_data()
    found = reset_statistics(graph, state, data)
    x = torch.cat([x for x, _ in data.batches("train", 1000)])
    values = record(graph, state, {INPUT: x}, ("stem.conv",))["stem.conv"].transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(found["stem.norm.running_mean"].double(), values.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["stem.norm.running_var"].double(), values.var(1), rtol=1e-5, atol=1e-6)
    for name in graph.parameters:
        assert found[name] is state[name]


def test_one_batch_agrees_with_torchs_cumulative_average(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, state = network(1, "batch")
    data = random_data()
    monkeypatch.setattr(batch_norm, "BATCH", len(data.train))
    found = reset_statistics(graph, state, data)
    layers: list[nn.Module] = []
    for i in range(3):
        linear, norm = nn.Linear(*state[f"linear.{i}.weight"].T.shape), nn.BatchNorm1d(8, momentum=None)
        linear.load_state_dict({k: state[f"linear.{i}.{k}"] for k in ("weight", "bias")})
        norm.load_state_dict({k: state[f"norm.{i}.{k}"] for k in ("weight", "bias")}, strict=False)
        layers += [linear, norm, nn.GELU()]
    nn.Sequential(*layers).train()(data.train.inputs)
    for i in range(3):
        norm = layers[3 * i + 1]
        torch.testing.assert_close(found[f"norm.{i}.running_mean"], norm.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[f"norm.{i}.running_var"], norm.running_var, rtol=1e-4, atol=1e-5)


def test_neither_the_given_statistics_nor_the_memory_bound_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, state = trained_resnet("batch", 1)
    found = reset_statistics(graph, state, image_data())
    other = dict(state) | {name: torch.full_like(state[name], 7.0) for name in graph.buffers}
    monkeypatch.setattr(graphs, "BATCH_ENTRIES", 1)
    again = reset_statistics(graph, other, image_data())
    assert all(torch.equal(found[name], again[name]) for name in graph.buffers)
    assert all((other[name] == 7).all() for name in graph.buffers)


def test_batches_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, state = trained_resnet("batch", 1)
    whole = reset_statistics(graph, state, image_data())
    monkeypatch.setattr(batch_norm, "BATCH", 17)
    parts = reset_statistics(graph, state, image_data())
    # Exact for the first norm; later ones see inputs that were normalized in smaller batches.
    torch.testing.assert_close(parts["stem.norm.running_var"], whole["stem.norm.running_var"], rtol=1e-5, atol=1e-6)
    last = "stage3.0.norm2.running_mean"
    assert not torch.equal(parts[last], whole[last])
    torch.testing.assert_close(parts[last], whole[last], rtol=0.3, atol=0.1)


def test_one_sample_has_no_statistics() -> None:
    graph, state = trained_resnet("batch", 1)
    with pytest.raises(UsageError, match="one training sample"):
        reset_statistics(graph, state, image_data(1))


def test_segments_evaluate_the_reset_networks() -> None:
    (graph, a), (_, b) = trained_resnet("batch", 1), trained_resnet("batch", 2)
    data = image_data()
    [[found]] = segments(graph, a, b, [Endpoint(b)], [0.5], data, reset=True)
    expected = evaluate(graph, reset_statistics(graph, interpolate(graph, a, b, 0.5), data), data, "train")
    assert found["train"].loss == pytest.approx(expected.loss, rel=1e-5)
    [[plain]] = segments(graph, a, b, [Endpoint(b)], [0.5], data)
    assert plain["train"].loss != pytest.approx(expected.loss, rel=1e-3)


def test_networks_without_batch_norms_are_returned_as_they_are() -> None:
    graph, state = trained_resnet("group", 1)
    assert reset_statistics(graph, state, image_data()) == state


class Shared(nn.Module):
    """One batch norm that two calls share, and an instance norm with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
        self.batch, self.instance = nn.BatchNorm2d(4), nn.InstanceNorm2d(4, track_running_stats=True)

    def forward(self, x):
        return self.instance(self.batch(self.second(self.batch(self.first(x))))).mean((2, 3))


def test_shared_and_instance_norms_agree_with_torchs_averages(monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = Shared(), image_data()
    shape = tuple(data.prepare(data.train.inputs).shape[1:])
    module.first = nn.Conv2d(shape[0], 4, 3)
    found = export(module, [Input("x", (Batch(), *shape))])
    monkeypatch.setattr(batch_norm, "BATCH", len(data.train))
    fresh = reset_statistics(Graph(found.description), found.state, data)
    seen: list[torch.Tensor] = []
    for norm in (module.batch, module.instance):
        norm.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().double()))
        norm.momentum = 1.0
    module.train()(data.prepare(data.train.inputs))
    shared = torch.cat([x.transpose(0, 1).flatten(1) for x in seen[:2]], 1)
    torch.testing.assert_close(fresh["batch.running_mean"].double(), shared.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fresh["batch.running_var"].double(), shared.var(1), rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var"):
        own = getattr(module.instance, name)
        torch.testing.assert_close(fresh[f"instance.{name}"], own, rtol=1e-4, atol=1e-5)
