"""Training networks that were taken in: what holds for our own holds for any."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nid_cli.data.tensors import Data, Split
from nid_cli.graphs import graph_of
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Description, Input
from nid_cli.nets.export import export
from nid_cli.nets.graph import Graph
from nid_cli.nets.symmetry import constraint, draw_fixed, initial_state, lay_over, rule_of
from nid_cli.training.loop import Snapshot, train_model
from tests.conftest import small_spec

PICTURES = (Input("x", (Batch(), 1, 8, 8)),)


class Plain(nn.Module):
    """The MLP of 64-12-12-10, as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in ((64, 12), (12, 12), (12, 10)))
        self.norm = nn.ModuleList(nn.LayerNorm(12) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for linear, norm in zip(self.linear, self.norm, strict=False):
            x = F.gelu(norm(linear(x)))
        return self.linear[2](x)


class Varied(nn.Module):
    """A convolution, packed attention, an embedding of positions, dropout, batch norms; one layer is frozen."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 4, stride=4)
        self.bn = nn.BatchNorm2d(width)
        self.positions = nn.Embedding(4, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 12, dropout=0.2, batch_first=True)
        self.frozen = nn.Linear(width, width).requires_grad_(False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x))).flatten(2).transpose(1, 2)
        x = self.layer(x + self.positions(torch.arange(4, device=x.device)))
        return self.head(self.frozen(x.mean(1)))


def pictures(count: int = 96) -> Data:
    generator = torch.Generator().manual_seed(0)
    part = Split(torch.randn(count, 1, 8, 8, generator=generator), torch.randint(10, (count,), generator=generator))
    return Data(part, part, part)


def trained(graph: Graph, spec: Any, fixed: dict, start: dict, until: int | None = None, after: Any = None) -> Any:
    """The snapshot at the last epoch (or ``until``), from the start or ``after`` another."""
    rule = constraint(rule_of(spec.symmetry.name), graph, fixed, spec.symmetry.kappa)
    for event in train_model(graph, spec, pictures(), rule, {}, after or Snapshot(0, start), 5):
        kept = Snapshot(
            event.snapshot.epoch,
            {name: tensor.clone() for name, tensor in event.snapshot.state.items()},
            {name: tensor.clone() for name, tensor in event.snapshot.optimizer.items()},
        )
        if event.snapshot.epoch == until:
            return kept
    return kept


@pytest.mark.parametrize("symmetry", ["standard", "w", "syre"])
def test_an_exported_mlp_trains_as_the_native_one(symmetry: str) -> None:
    spec = small_spec(symmetry=symmetry, epochs=3, batch_size=16, lr=0.01, weight_decay=0.1)
    native, own = graph_of(spec), Graph(export(Plain(), PICTURES).description)
    rule = rule_of(symmetry)
    fixed = draw_fixed(rule, native, spec.symmetry.num_fixed, 1)
    again = draw_fixed(rule, own, spec.symmetry.num_fixed, 1)
    assert fixed.keys() == again.keys() and all(torch.equal(fixed[name], again[name]) for name in fixed)
    start = initial_state(rule, native, fixed, spec.symmetry.kappa, 2)
    one, other = (trained(graph, spec, fixed, start).state for graph in (native, own))
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-5, atol=1e-6)
        assert not torch.equal(start[name], tensor)


def _varied(symmetry: str, **options: Any) -> tuple[Graph, Any, dict, dict]:
    found = export(Varied(), PICTURES)
    graph = Graph(found.description)
    spec = small_spec(symmetry="standard", epochs=4, batch_size=16, lr=0.01, weight_decay=0.3, **options)
    layers = len(graph.weighted)
    object.__setattr__(spec.symmetry, "name", symmetry)
    object.__setattr__(spec.symmetry, "kappa", (0.7,) * layers if symmetry != "standard" else None)
    object.__setattr__(spec.symmetry, "num_fixed", tuple(op.fan_in // 4 for op in graph.weighted))
    rule = rule_of(symmetry)
    fixed = draw_fixed(rule, graph, spec.symmetry.num_fixed, 1)
    return graph, spec, fixed, lay_over(rule, graph, fixed, spec.symmetry.kappa, found.state)


def test_fixed_entries_never_move_and_free_ones_do() -> None:
    graph, spec, fixed, start = _varied("w")
    kinds = {layer.call.function for layer in graph.weighted}
    assert "conv2d.default" in kinds and "layer.self_attn.in_proj_weight" in {layer.weight for layer in graph.weighted}
    end = trained(graph, spec, fixed, start).state
    for layer in graph.weighted:
        before, after = layer.matrix(start[layer.weight]), layer.matrix(end[layer.weight])
        if layer.weight == "frozen.weight":
            assert torch.equal(before, after) and f"{layer.name}.mask" not in fixed
            continue
        mask = fixed[f"{layer.name}.mask"]
        assert torch.equal(after[~mask], 0.7 * fixed[f"{layer.name}.fixed"][~mask])
        assert (before[mask] != after[mask]).all(), layer.name
    # A table that is no layer's weight has nothing fixed.
    assert "positions.weight" not in {layer.weight for layer in graph.weighted}
    assert (start["positions.weight"] != end["positions.weight"]).all()
    assert torch.equal(start["frozen.bias"], end["frozen.bias"])


def test_decay_alone_pulls_to_the_anchor() -> None:
    """Without a gradient: with a learning rate of 1 and a decay of 1/2, half of the way remains after each step."""
    from nid_cli.training.optimizer import ConstrainedOptimizer

    graph, spec, fixed, start = _varied("syre")
    object.__setattr__(spec.optimizer, "lr", 1.0)
    object.__setattr__(spec.optimizer, "weight_decay", 0.5)
    state = {name: tensor.clone() for name, tensor in start.items()}
    parameters = {name: state[name].requires_grad_() for name in graph.trained}
    anchored = constraint(rule_of("syre"), graph, fixed, spec.symmetry.kappa)
    assert len(anchored.anchor) == len(graph.weighted) - 1 >= 5
    optimizer = ConstrainedOptimizer(spec.optimizer, parameters, anchored)
    optimizer.step(sum(tensor.sum() * 0 for tensor in parameters.values()))
    for layer in graph.weighted:
        if layer.weight != "frozen.weight":
            anchor = 0.7 * fixed[f"{layer.name}.noise"]
            before, after = layer.matrix(start[layer.weight]), layer.matrix(state[layer.weight].detach())
            torch.testing.assert_close(after - anchor, 0.5 * (before - anchor), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["positions.weight"].detach(), 0.5 * start["positions.weight"])


@pytest.mark.parametrize("cut", [1, 3])
def test_a_training_with_dropout_goes_on_to_the_same_bits(cut: int) -> None:
    graph, spec, fixed, start = _varied("w", schedule="cosine", warmup=1.5, clip=0.5)
    assert graph.drops and graph.statistics
    whole = trained(graph, spec, fixed, start)
    torch.rand(7)  # whatever else draws in between
    part = trained(graph, spec, fixed, start, until=cut)
    rest = trained(graph, spec, fixed, start, after=part)
    assert all(torch.equal(whole.state[name], rest.state[name]) for name in whole.state)
    other = _varied("w", schedule="cosine", warmup=1.5)
    assert not torch.equal(trained(*other).state["head.weight"], whole.state["head.weight"])


def test_dropout_leaves_what_is_drawn_elsewhere_alone() -> None:
    graph, spec, fixed, start = _varied("standard")
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    trained(graph, spec, fixed, start)
    assert torch.equal(torch.rand(3), expected)


def test_each_epoch_and_each_order_drops_otherwise() -> None:
    """With a learning rate of almost nothing, the loss of training differs by what is dropped alone."""
    graph, spec, fixed, start = _varied("standard")
    object.__setattr__(spec.optimizer, "lr", 1e-12)
    object.__setattr__(spec, "batch_size", 96)
    rule = constraint(rule_of("standard"), graph, fixed, None)
    losses = [
        event.metrics["train"].loss
        for seed in (5, 6)
        for event in train_model(graph, spec, pictures(), rule, {}, Snapshot(0, start), seed)
        if event.snapshot.epoch
    ]
    assert len({round(loss, 6) for loss in losses}) == len(losses) == 8


class Columns(nn.Module):
    """A weight that is stored d x n, as GPT-2's are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(64, 12)), nn.Parameter(torch.zeros(12))
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(torch.addmm(self.bias, x.flatten(1), self.weight)))


@pytest.mark.parametrize("symmetry", ["w", "syre"])
def test_of_a_weight_that_is_stored_by_columns_each_neuron_has_its_fixed_entries(symmetry: str) -> None:
    found = export(Columns(), PICTURES)
    graph, rule = Graph(found.description), rule_of(symmetry)
    fixed = draw_fixed(rule, graph, (5, 6), 1)
    start = lay_over(rule, graph, fixed, (0.7, 0.7), found.state)
    layer = graph.weighted[0]
    assert layer.by_columns and start[layer.weight].shape == (64, 12)
    kept = constraint(rule, graph, fixed, (0.7, 0.7))
    if symmetry == "w":
        index, values = kept.pinned[layer.weight]
        held = {(int(i) // 12, int(i) % 12): float(v) for i, v in zip(index, values, strict=True)}
        mask, own = fixed[f"{layer.name}.mask"], 0.7 * fixed[f"{layer.name}.fixed"]
        expected = {(d, n): float(own[n, d]) for n in range(12) for d in range(64) if not mask[n, d]}
        assert held == expected and len(held) == 12 * 5
        assert all(start[layer.weight][at] == value for at, value in held.items())
    else:
        torch.testing.assert_close(kept.anchor[layer.weight], 0.7 * fixed[f"{layer.name}.noise"].T)
        torch.testing.assert_close(start[layer.weight], found.state[layer.weight] + kept.anchor[layer.weight])


def test_what_is_frozen_counts_in_no_distance() -> None:
    from nid_cli.analysis.lmc import distances

    graph, _, _, start = _varied("standard")
    other = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in start.items()}
    free = sum(start[name].numel() for name in graph.parameters if not name.startswith("frozen"))
    assert distances(graph, start, other, {}) == pytest.approx((free**0.5, 1.0))


def test_what_is_frozen_is_part_of_the_description() -> None:
    module = Varied()
    frozen = export(module, PICTURES).description
    assert frozen.frozen == ("frozen.weight", "frozen.bias") and "frozen" in frozen.text
    assert Description.from_json(frozen.text, frozen.hash) == frozen
    free = export(module.requires_grad_(True), PICTURES).description
    assert free.frozen == () and '"frozen":' not in free.text and free.hash != frozen.hash
    graph = Graph(frozen)
    assert set(graph.parameters) - set(graph.trained) == {"frozen.weight", "frozen.bias"}
