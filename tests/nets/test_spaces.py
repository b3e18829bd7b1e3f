"""The spaces of whole networks: sound on random ones, complete on those whose symmetries are known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nid_cli.nets import dependence
from nid_cli.nets.axes import Leaf, Pinned, Product, Sum
from nid_cli.nets.calls import Batch, Stored, Value
from nid_cli.nets.spaces import derive
from tests.nets.building import Net

LAYOUTS = ("apart", "split", "thirds", "heads first", "heads last", "merged", "indexed")


def mlp(net: Net, x: Value, sizes: tuple[int, ...]) -> Value:
    for at, (before, after) in enumerate(pairwise(sizes)):
        x = net.linear(net("relu.default", x) if at else x, before, after, name=f"layers.{at}")
    return x


def attend(net: Net, x: Value, tokens: int, size: int, heads: int, layout: str, name: str = "attn") -> Value:
    """Self-attention, as its authors lay it out. ``x``: N x tokens x size."""
    own = size // heads
    if layout == "apart":
        q, k, v = (net.linear(x, size, size, name=f"{name}.{key}") for key in "qkv")
    else:
        packed = net.linear(x, size, 3 * size, name=f"{name}.qkv")
    if layout in ("split", "heads last", "merged"):
        parts = net("split.Tensor", packed, size, 2)
        q, k, v = (net("getitem", parts, at) for at in range(3))
    if layout in ("apart", "split"):
        q, k, v = (net("transpose.int", net("view.default", y, (Batch(), tokens, heads, own)), 1, 2) for y in (q, k, v))
    if layout in ("thirds", "indexed"):
        cut = net("view.default", packed, (Batch(), tokens, 3, heads, own))
        cut = net("permute.default", cut, (2, 0, 3, 1, 4))
        parts = net("unbind.int", cut)
        by_index = layout == "indexed"
        q, k, v = (net("select.int", cut, 0, at) if by_index else net("getitem", parts, at) for at in range(3))
    if layout == "heads first":
        cut = net("transpose.int", net("view.default", packed, (Batch(), tokens, heads, 3, own)), 1, 2)
        parts = net("unbind.int", net("clone.default", cut), -2)
        q, k, v = (net("getitem", parts, at) for at in range(3))
    if layout == "heads last":
        views = (net("view.default", y, (Batch(), tokens, own, heads)) for y in (q, k, v))
        q, k, v = (net("permute.default", y, (0, 3, 1, 2)) for y in views)
    if layout == "merged":  # Heads are one axis with the batch.
        q, k, v = (net("transpose.int", y, 0, 1) for y in (q, k, v))
        q, k, v = (net("reshape.default", y, (tokens, Batch(heads), own)) for y in (q, k, v))
        q, k, v = (net("transpose.int", y, 0, 1) for y in (q, k, v))
        scores = net("softmax.int", net("bmm.default", q, net("transpose.int", k, 1, 2)), -1)
        out = net("transpose.int", net("bmm.default", scores, v), 0, 1)
        out = net("_unsafe_view.default", net("contiguous.default", out), (Batch(tokens), size))
        out = net.linear(out, size, size, name=f"{name}.out")
        return net("transpose.int", net("view.default", out, (tokens, Batch(), size)), 0, 1)
    out = net("scaled_dot_product_attention.default", q, k, v)
    out = net("permute.default", out, (0, 2, 3, 1) if layout == "heads last" else (0, 2, 1, 3))
    return net.linear(net("reshape.default", out, (Batch(), tokens, size)), size, size, name=f"{name}.out")


def transformer(net: Net, layout: str, layers: int = 1) -> Value:
    x = net.linear(net.input(5, 3), 3, 12, name="embed")
    for at in range(layers):
        mixed = attend(net, net.layer_norm(x, 12), 5, 12, 3, layout, f"blocks.{at}.attn")
        x = net("add.Tensor", x, mixed)
        hidden = net("gelu.default", net.linear(net.layer_norm(x, 12), 12, 20, name=f"blocks.{at}.mlp.fc1"))
        x = net("add.Tensor", x, net.linear(hidden, 20, 12, name=f"blocks.{at}.mlp.fc2"))
    return net.linear(net("mean.dim", net.layer_norm(x, 12), (1,)), 12, 2, name="head")


# ---------------------------------------------------------------- what is known


def test_mlp() -> None:
    net = Net()
    output = mlp(net, net.input(5), (5, 7, 6, 3))
    assert net.sizes(output) == [(7, False), (6, False)]
    found = net.derived(output)
    assert [(space.name, space.label) for space in found.spaces] == [("layers.0", "layers.0"), ("layers.1", "layers.1")]
    assert found.spaces[0].places == (("layers.0.weight", 0), ("layers.0.bias", 0), ("layers.1.weight", 1))
    assert found.axes["layers.1.weight"] == (Leaf("layers.1", 6), Leaf("layers.0", 7))
    assert found.value_axes["layers.1"] == (Pinned(1_000_003), Leaf("layers.1", 6))
    assert dict(found.pinned) == {"input": 1, "output": 2}


def test_residual_blocks() -> None:
    net = Net()
    x = net("relu.default", net.batch_norm(net.conv(net.input(2, 6, 6), 2, 4, "stem"), 4))
    for at in range(2):
        hidden = net("relu.default", net.batch_norm(net.conv(x, 4, 4, f"layer.{at}.conv1"), 4))
        x = net("relu.default", net("add.Tensor", x, net.batch_norm(net.conv(hidden, 4, 4, f"layer.{at}.conv2"), 4)))
    x = net("relu.default", net("add.Tensor", net.conv(x, 4, 8, "next", 2), net.conv(x, 4, 8, "shortcut", 2)))
    output = net.linear(net("flatten.using_ints", x, 1), 8 * 9, 3, "head")
    assert net.sizes(output) == [(4, False), (4, False), (4, False), (8, False)]
    found = net.derived(output)
    assert [space.label for space in found.spaces] == ["stream.1", "layer.0.conv1", "layer.1.conv1", "stream.2"]
    assert found.axes[net.calls[-1].stored[0]][1] == Product((Leaf("next", 8), Pinned(9)))


def test_concatenations() -> None:
    net = Net()
    parts = [net.conv(net.input(2, 4, 4), 2, 4)]
    for _ in range(3):
        size = 4 + 3 * (len(parts) - 1)
        x = net("cat.default", tuple(parts), 1) if len(parts) > 1 else parts[0]
        parts.append(net.conv(net("relu.default", net.batch_norm(x, size)), size, 3))
    output = net.linear(net("mean.dim", net("cat.default", tuple(parts), 1), (2, 3)), 13, 2)
    assert net.sizes(output) == [(4, False), (3, False), (3, False), (3, False)]
    names = [space.name for space in net.derived(output).spaces]
    parts_of = Sum((Leaf(names[0], 4), *(Leaf(name, 3) for name in names[1:])))
    assert net.derived(output).axes[net.calls[-1].stored[0]] == (Pinned(2), parts_of)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention(layout: str) -> None:
    net = Net()
    output = transformer(net, layout, layers=2)
    inside = [(3, False), (4, True), (4, True), (20, False)]
    assert sorted(net.sizes(output)) == sorted([(12, False), *inside, *inside])
    found = {space.label: space for space in net.derived(output).spaces}
    heads = {f"blocks.{at}.attn.{part}" for at in range(2) for part in ("heads", "qk", "vo")}
    assert found.keys() == {"stream.1", "blocks.0.mlp.fc1", "blocks.1.mlp.fc1", *heads}
    assert (
        found["blocks.1.attn.qk"].depends_on
        == found["blocks.1.attn.vo"].depends_on
        == found["blocks.1.attn.heads"].name
    )


def test_queries_that_share_keys() -> None:
    """Two heads of keys and values, each for three heads of queries."""
    net = Net()
    x = net.linear(net.input(5, 3), 3, 8)
    q, k, v = (net.linear(x, 8, size) for size in (24, 8, 8))
    q, k, v = (
        net("transpose.int", net("view.default", y, (Batch(), 5, heads, 4)), 1, 2)
        for y, heads in ((q, 6), (k, 2), (v, 2))
    )
    out = net("scaled_dot_product_attention.default", q, k, v, None, 0.0, False, enable_gqa=True)
    out = net("reshape.default", net("transpose.int", out, 1, 2), (Batch(), 5, 24))
    assert net.sizes(net.linear(out, 24, 2)) == [(8, False), (2, False), (3, True), (4, True), (4, True)]


def test_groups() -> None:
    net = Net()
    x = net("relu.default", net.conv(net.input(2, 4, 4), 2, 12, "reduce"))
    x = net("relu.default", net.conv(x, 12, 24, "grouped", groups=3))
    x = net("group_norm.default", net.conv(x, 24, 8, "expand"), 2, net.weight(8), net.weight(8))
    x = net.conv(x, 8, 8, "depthwise", groups=8)
    output = net.linear(net("mean.dim", x, (2, 3)), 8, 2)
    assert net.sizes(output) == [(3, False), (4, True), (8, True), (2, False), (4, True)]


def test_groups_that_a_concatenation_cuts_keep_their_places() -> None:
    net = Net()
    a, b = (net.conv(net.input(2, 4, 4), 2, size) for size in (4, 8))
    x = net("group_norm.default", net("cat.default", (a, b), 1), 2, net.weight(12), net.weight(12))
    assert net.sizes(net.linear(net("mean.dim", x, (2, 3)), 12, 2)) == [(4, False), (2, False), (6, False)]


def test_gates_and_shared_weights() -> None:
    net = Net()
    x = net.linear(net.input(3), 3, 6)
    square = net.weight(6, 6, name="shared")
    for _ in range(2):
        x = net("add.Tensor", x, net("tanh.default", net("linear.default", x, square)))
    gated = net("glu.default", net.linear(x, 6, 8), 1)
    output = net.linear(gated, 4, 2)
    assert net.sizes(output) == [(6, False), (4, False)]
    assert [place for place in net.derived(output).spaces[0].places if place[0] == "shared"] == [
        ("shared", 0),
        ("shared", 1),
    ]


def test_fixed_tensors_join_but_stay_and_constants_pin() -> None:
    net = Net()
    x = net.linear(net.input(3), 3, 6, "layers.0")
    gated = net("mul.Tensor", x, net("sigmoid.default", net("linear.default", x, net.weight(6, 6, name="gate"))))
    output = net.linear(gated, 6, 2, "layers.1")
    shapes = {name: tuple(tensor.shape) for name, tensor in net.stored.items()}
    found = derive(net.calls, shapes, net.inputs, output.name, fixed=["gate"])
    assert [space.label for space in found.spaces] == ["layers.0"]
    assert found.axes["gate"] == (Pinned(6), Pinned(6))
    assert found.value_axes["layers.0"][1] == Leaf("layers.0", 6)
    assert derive(net.calls, shapes, net.inputs, output.name, constant=["gate"]).spaces == ()


def test_tied_tensors_are_one() -> None:
    net = Net()
    table = net.weight(9, 6, name="embed.weight")
    x = net("embedding.default", table, net.input(4, below=9))
    hidden = net("relu.default", net.linear(x, 6, 5))
    x = net("add.Tensor", x, net.linear(hidden, 5, 6))
    output = net("linear.default", x, Stored("head.weight") if "head.weight" in net.stored else table)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.stored.items()}
    found = derive(net.calls, shapes, net.inputs, output.name, tied={"head.weight": "embed.weight"})
    assert found.axes["head.weight"] == found.axes["embed.weight"]
    assert [space.size for space in found.spaces] == [6, 5]
    assert ("vocabulary", 2) in found.pinned
    assert net.error(output, found) < 1e-9


# ---------------------------------------------------------------- no more than is sound


@pytest.mark.parametrize("norm", ["over heads", "within heads", "over both", "softmax over heads"])
def test_heads_have_permutations_of_their_own_only_where_no_call_mixes_them(norm: str) -> None:
    net = Net()
    x = net("view.default", net.linear(net.input(3), 3, 12), (Batch(), 3, 4))
    if norm == "over heads":
        x = net("transpose.int", net("layer_norm.default", net("transpose.int", x, 1, 2), (3,), None, None, 1e-5), 1, 2)
    elif norm == "within heads":
        x = net("layer_norm.default", x, (4,), None, None, 1e-5)
    elif norm == "over both":
        x = net("layer_norm.default", x, (3, 4), None, None, 1e-5)
    else:
        x = net("softmax.int", x, 1)
    output = net.linear(net("reshape.default", x, (Batch(), 12)), 12, 2)
    mixed = norm in ("over heads", "softmax over heads")
    assert net.sizes(output) == [(3, mixed), (4, False)] if mixed else [(3, False), (4, True)]


def test_a_weight_that_all_heads_share_holds_their_insides_together() -> None:
    net = Net()
    x = net("view.default", net.linear(net.input(3), 3, 12), (Batch(), 3, 4))
    x = net("linear.default", x, net.weight(5, 4))
    assert net.sizes(net.linear(net("view.default", x, (Batch(), 15)), 15, 2)) == [(3, False), (4, False), (5, False)]


def test_products_between_heads_hold_their_insides_together() -> None:
    net = Net()
    x = net("view.default", net.linear(net.input(3), 3, 12), (Batch(), 3, 4))
    scores = net("bmm.default", x, net("transpose.int", x, 1, 2))  # Each head with each.
    output = net.linear(net("view.default", scores, (Batch(), 9)), 9, 2)
    assert net.sizes(output) == [(3, False), (4, False)]


def test_dependence_that_is_claimed_wrongly_changes_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    x = net("view.default", net.linear(net.input(3), 3, 12), (Batch(), 3, 4))
    scores = net("bmm.default", x, net("transpose.int", x, 1, 2))
    output = net.linear(net("view.default", scores, (Batch(), 9)), 9, 2)
    monkeypatch.setattr(dependence, "_may_mix", lambda *_: True)
    assert net.error(output, net.derived(output)) > 1e-3


# ---------------------------------------------------------------- random networks


PIXELS = ("conv", "grouped", "batch_norm", "group_norm", "squeeze")
TOKENS = ("linear", "layer_norm", "heads", "view", "move", "shared", "pool", "product")
BOTH = ("sum", "cat", "split", "activation", "gate", "scale", "part")


class Grower:
    """Draws calls for a network; values are N x anything, and each may be read again."""

    def __init__(self, data: st.DataObject, pixels: bool) -> None:
        self.draw, self.pixels = data.draw, pixels
        self.net = Net(self.draw(st.integers(0, 99)))
        self.values = [
            self.net.conv(self.net.input(2, 4, 4), 2, 8) if pixels else self.net.linear(self.net.input(4, 3), 3, 8)
        ]

    def size(self, x: Value, dim: int) -> int:
        return self.net.shape(x)[dim]

    def step(self) -> None:
        x = self.draw(st.sampled_from(self.values))
        kinds = (
            ("conv", "grouped", "batch_norm", "group_norm", "squeeze")
            if self.pixels
            else ("linear", "layer_norm", "heads")
        )
        both = (
            "sum",
            "cat",
            "split",
            "activation",
            "gate",
            "scale",
            "view",
            "move",
            "shared",
            "part",
            "pool",
            "product",
        )
        made = getattr(self, self.draw(st.sampled_from((*kinds, *both))))(x)
        self.values += [made] if isinstance(made, Value) else made or []

    @property
    def channel(self) -> int:
        return 1 if self.pixels else -1

    def conv(self, x: Value) -> Any:
        if len(self.net.shape(x)) == 4:
            return self.net.conv(
                x, self.size(x, 1), self.draw(st.sampled_from([4, 6, 8])), stride=self.draw(st.sampled_from([1, 2]))
            )
        return None

    def grouped(self, x: Value) -> Any:
        groups = [n for n in (2, 3, 4, 8) if self.size(x, 1) % n == 0]
        if len(self.net.shape(x)) == 4 and groups:
            n = self.draw(st.sampled_from(groups))
            return self.net.conv(x, self.size(x, 1), n * self.draw(st.sampled_from([1, 2])), groups=n)
        return None

    def batch_norm(self, x: Value) -> Any:
        return self.net.batch_norm(x, self.size(x, 1)) if isinstance(self.size(x, 1), int) else None

    def group_norm(self, x: Value) -> Any:
        groups = [n for n in (1, 2, 3, 4) if self.size(x, 1) % n == 0 and self.size(x, 1) > n]
        if len(self.net.shape(x)) != 4 or not groups:
            return None
        size = self.size(x, 1)
        return self.net(
            "group_norm.default", x, self.draw(st.sampled_from(groups)), self.net.weight(size), self.net.weight(size)
        )

    def squeeze(self, x: Value) -> Any:
        if len(self.net.shape(x)) != 4:
            return None
        pooled = self.net("mean.dim", x, (2, 3), True)
        gate = self.net(
            "sigmoid.default",
            self.net.conv(self.net("relu.default", self.net.conv(pooled, self.size(x, 1), 4)), 4, self.size(x, 1)),
        )
        return self.net("mul.Tensor", x, gate)

    def linear(self, x: Value) -> Any:
        return self.net.linear(x, self.size(x, -1), self.draw(st.sampled_from([4, 6, 8])))

    def layer_norm(self, x: Value) -> Any:
        return self.net.layer_norm(x, self.size(x, -1))

    def heads(self, x: Value) -> Any:
        if len(self.net.shape(x)) != 3 or not isinstance(self.size(x, 1), int) or self.size(x, -1) not in (4, 6, 8):
            return None
        layout = self.draw(st.sampled_from(LAYOUTS))
        return attend(self.net, x, self.size(x, 1), self.size(x, -1), 2, layout, f"attn{len(self.net.calls)}")

    def sum(self, x: Value) -> Any:
        alike = [y for y in self.values if self.net.shape(y) == self.net.shape(x)]
        return self.net("add.Tensor", x, self.draw(st.sampled_from(alike)))

    def cat(self, x: Value) -> Any:
        def rest(y: Value) -> list[Any]:
            shape = list(self.net.shape(y))
            del shape[self.channel]
            return shape

        y = self.draw(st.sampled_from([y for y in self.values if rest(y) == rest(x)]))
        return self.net("cat.default", (x, y), self.channel)

    def split(self, x: Value) -> Any:
        size = self.size(x, self.channel)
        if size < 3:
            return None
        sizes = self.draw(st.sampled_from([(1, size - 1), (size - 2, 2)]))
        parts = self.net("split_with_sizes.default", x, sizes, self.channel)
        return [self.net("getitem", parts, at) for at in range(2)]

    def activation(self, x: Value) -> Any:
        return self.net(self.draw(st.sampled_from(["relu.default", "tanh.default", "gelu.default"])), x)

    def gate(self, x: Value) -> Any:
        return self.net("glu.default", x, self.channel) if self.size(x, self.channel) % 2 == 0 else None

    def scale(self, x: Value) -> Any:
        own = [1 if isinstance(n, Batch) else n for n in self.net.shape(x)[1:]]
        return self.net("mul.Tensor", x, self.net.weight(*own))

    def view(self, x: Value) -> Any:
        shape = self.net.shape(x)
        at = self.draw(st.sampled_from(range(1, len(shape))))
        cut = [n for n in (2, 3, 4) if shape[at] % n == 0]
        if len(shape) < 4 and cut:
            n = self.draw(st.sampled_from(cut))
            return self.net("reshape.default", x, (*shape[:at], n, shape[at] // n, *shape[at + 1 :]))
        return self.net("flatten.using_ints", x, 1)

    def move(self, x: Value) -> Any:
        rank = len(self.net.shape(x))
        if rank < 3:
            return None
        return self.net("permute.default", x, (0, *self.draw(st.permutations(range(1, rank)))))

    def shared(self, x: Value) -> Any:
        square = self.net.weight(self.size(x, -1), self.size(x, -1))
        return self.net("linear.default", self.net("tanh.default", self.net("linear.default", x, square)), square)

    def part(self, x: Value) -> Any:
        size = self.size(x, self.channel)
        first = self.draw(st.integers(0, size - 1))
        return self.net("slice.Tensor", x, self.channel, first, self.draw(st.integers(first + 1, size)))

    def pool(self, x: Value) -> Any:
        rank = len(self.net.shape(x))
        if rank < 3:
            return None
        return self.net(
            self.draw(st.sampled_from(["mean.dim", "amax.default"])), x, (self.draw(st.integers(1, rank - 1)),)
        )

    def product(self, x: Value) -> Any:
        shape = self.net.shape(x)
        if len(shape) < 3:
            return None
        alike = [y for y in self.values if self.net.shape(y) == shape]
        other = self.net("transpose.int", self.draw(st.sampled_from(alike)), -1, -2)
        return self.net("matmul.default", self.net("softmax.int", x, self.draw(st.integers(1, len(shape) - 1))), other)

    def output(self) -> Value:
        total: Value | None = None
        for x in self.values[-4:]:
            weights = self.net.weight(*(1 if isinstance(n, Batch) else n for n in self.net.shape(x)))
            weighed = self.net("sum.default", self.net("tanh.default", self.net("mul.Tensor", x, weights)))
            total = weighed if total is None else self.net("add.Tensor", total, weighed)
        assert total is not None
        return total


@pytest.mark.parametrize("pixels", [False, True], ids=["tokens", "pixels"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_permutation_leaves_a_random_network_unchanged(pixels: bool, data: st.DataObject) -> None:
    torch.manual_seed(0)
    grower = Grower(data, pixels)
    for _ in range(data.draw(st.integers(2, 9))):
        grower.step()
    output = grower.output()
    found = grower.net.derived(output)
    assert found.unruled == ()
    assert grower.net.error(output, found, data.draw(st.integers(0, 9))) < 1e-9
    assert (
        len({space.name for space in found.spaces}) == len({space.label for space in found.spaces}) == len(found.spaces)
    )
