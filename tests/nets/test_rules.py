"""Every function of the table, in a network of its own: any permutation leaves what it computes unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nid_cli.nets.calls import Batch, Named, Value
from nid_cli.nets.rules import FUNCTIONS, Row, constants, elementwise, row_of, statistics, weight_of
from nid_cli.nets.rules.contractions import linear
from tests.nets.building import Net, function_of

C = 6  # Channels, a size that no other axis has.


class Examples(Net):
    """Values to call functions on: hidden neurons (N x 6), maps (N x 6 x 4 x 4), tokens (N x 5 x 6)."""

    @property
    def x(self) -> Value:
        return self.linear(self.input(3), 3, C)

    @property
    def m(self) -> Value:
        return self.conv(self.input(2, 4, 4), 2, C)

    @property
    def t(self) -> Value:
        return self.linear(self.input(5, 3), 3, C)

    @property
    def s(self) -> Value:
        """A map along one axis, N x 6 x 8."""
        return self("conv1d.default", self.input(2, 8), self.weight(C, 2, 1))

    @property
    def v(self) -> Value:
        """A map along three axes, N x 6 x 4 x 4 x 4."""
        return self("conv3d.default", self.input(2, 4, 4, 4), self.weight(C, 2, 1, 1, 1))

    def mask(self) -> Value:
        return self("gt.Scalar", self.x, 0.1)


Example = Callable[[Examples], Any]
EXAMPLES: dict[str, Example] = {}


def example(*functions: str) -> Callable[[Callable[[Examples, str], Any]], None]:
    """The same network for several functions."""

    def add(made: Callable[[Examples, str], Any]) -> None:
        EXAMPLES.update({name: (lambda net, name=name: made(net, name)) for name in functions})

    return add


EXTRA: dict[str, tuple[Any, ...]] = {
    "threshold.default": (0.1, 0.2),
    "dropout.default": (0.5, False),
    "feature_dropout.default": (0.5, False),
    "alpha_dropout.default": (0.5, False),
    "feature_alpha_dropout.default": (0.5, False),
    "clamp.default": (-0.1, 0.1),
    "clip.default": (-0.1, 0.1),
    "clamp_min.default": (0.1,),
    "clamp_max.default": (0.1,),
}
# Defined on positive numbers, or on those between 0 and 1; on truth values.
ON_UNIT = {"logit", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "asin", "acos"}
ON_TRUTH = {"logical_not", "bitwise_not"}


@example(*elementwise.ACTIVATIONS, *elementwise.UNARY)
def _(net: Examples, name: str) -> Value:
    operation = name.partition(".")[0]
    x = net.mask() if operation in ON_TRUTH else net.x
    return net(name, net("sigmoid.default", x) if operation in ON_UNIT else x, *EXTRA.get(name, ()))


@example(*(name for name, row in FUNCTIONS.items() if row.rule is elementwise.elementwise))
def _(net: Examples, name: str) -> Value:
    operation, _, overload = name.partition(".")
    if operation == "where":
        shared = (0.3, 0.4)
        operands = {"self": (net.x, net.x), "ScalarSelf": (0.3, net.x), "ScalarOther": (net.x, 0.3), "Scalar": shared}
        return net(name, net.mask(), *operands[overload])
    if operation.startswith(("bitwise", "__")):
        return net(name, net.mask(), True if overload == "Scalar" else net.mask())
    if operation == "masked_fill":
        return net(name, net.x, net.mask(), net.weight() if overload == "Tensor" else 0.5)
    if operation in ("addcmul", "addcdiv"):
        return net(name, net.x, net.x, net.weight(C, positive=True))
    if operation == "lerp":
        return net(name, net.x, net.x, net.weight(C) if overload == "Tensor" else 0.3)
    if operation == "clamp" and overload == "Tensor":
        return net(name, net.x, None, net.weight(C))
    if operation == "pow":
        positive = net("exp.default", net.x)
        return net(name, *{"Tensor_Scalar": (positive, 2), "Scalar": (2, net.x)}.get(overload, (positive, net.x)))
    if overload == "Scalar_Tensor":
        return net(name, 0.7, net("exp.default", net.x))
    if operation.startswith("logical"):
        return net(name, net.mask(), net.mask())
    keywords = {"rounding_mode": "floor"} if overload.endswith("_mode") else {}
    return net(name, net.x, 0.7 if overload.startswith("Scalar") else net.weight(C, positive=True), **keywords)


@example("softmax.int", "log_softmax.int")
def _(net: Examples, name: str) -> Value:
    return net(name, net.x, -1)


EXAMPLES |= {
    "prelu.default": lambda n: n("prelu.default", n.m, n.weight(C)),
    "round.decimals": lambda n: n("round.decimals", n.x, decimals=1),
    "to.dtype": lambda n: n("to.dtype", n.x, Named("dtype", "float64")),
    "to.dtype_layout": lambda n: n("to.dtype_layout", n.x, dtype=Named("dtype", "float64")),
    "to.device": lambda n: n("to.device", n.x, "cpu", Named("dtype", "float64")),
    "native_dropout.default": lambda n: n("native_dropout.default", n.x, 0.5, False),
    "type_as.default": lambda n: n("type_as.default", n.x, n.x),
    "expand_as.default": lambda n: n("expand_as.default", n("unsqueeze.default", n.x, 1), n.t),
    "copy.default": lambda n: n("copy.default", n.x, n.weight(C)),
    # Contractions
    "linear.default": lambda n: n.linear(n.x, C, 4),
    "bilinear.default": lambda n: n("bilinear.default", n.x, n.x, n.weight(4, C, C), n.weight(4)),
    "matmul.default": lambda n: n("matmul.default", n.t, n("transpose.int", n.t, 1, 2)),
    "mm.default": lambda n: n("mm.default", n.x, n.weight(C, 4)),
    "bmm.default": lambda n: n("bmm.default", n.t, n("transpose.int", n.t, 1, 2)),
    "mv.default": lambda n: n("mv.default", n.x, n.weight(C)),
    "dot.default": lambda n: n("dot.default", n.weight(C), n.weight(C)),
    "addmm.default": lambda n: n("addmm.default", n.weight(4), n.x, n.weight(C, 4)),
    "baddbmm.default": lambda n: n("baddbmm.default", n.weight(5), n.t, n("transpose.int", n.t, 1, 2)),
    "addmv.default": lambda n: n("addmv.default", n.weight(1), n.x, n.weight(C)),
    "outer.default": lambda n: n("outer.default", n.weight(C), n.weight(4)),
    "einsum.default": lambda n: n("einsum.default", "ntc,nsc,cd->ntsd", (n.t, n.t, n.weight(C, 4))),
    "scaled_dot_product_attention.default": lambda n: n("scaled_dot_product_attention.default", n.t, n.t, n.t),
    # Convolutions
    "conv1d.default": lambda n: n("conv1d.default", n.s, n.weight(9, 2, 3), n.weight(9), (2,), (1,), (1,), 3),
    "conv2d.default": lambda n: n.conv(n.m, C, 12, stride=2, groups=C),
    "conv3d.default": lambda n: n("conv3d.default", n.v, n.weight(4, C, 1, 1, 1)),
    "conv1d.padding": lambda n: n("conv1d.padding", n.s, n.weight(4, C, 3), None, (1,), "same"),
    "conv2d.padding": lambda n: n("conv2d.padding", n.m, n.weight(4, C, 3, 3), None, (1, 1), "same"),
    "conv3d.padding": lambda n: n("conv3d.padding", n.v, n.weight(4, C, 1, 1, 1), None, (1, 1, 1), "valid"),
    "conv_transpose1d.default": lambda n: n("conv_transpose1d.default", n.s, n.weight(C, 4, 3), n.weight(4)),
    "conv_transpose2d.input": lambda n: n(
        "conv_transpose2d.input", n.m, n.weight(C, 2, 2, 2), n.weight(6), (2, 2), (0, 0), (0, 0), 3
    ),
    "conv_transpose3d.input": lambda n: n("conv_transpose3d.input", n.v, n.weight(C, 4, 1, 1, 1)),
    "convolution.default": lambda n: n(
        "convolution.default", n.m, n.weight(C, 4, 3, 3), None, (1, 1), (1, 1), (1, 1), True, (0, 0), 1
    ),
    # Norms
    "batch_norm.default": lambda n: n.batch_norm(n.m, C),
    "instance_norm.default": lambda n: n(
        "instance_norm.default", n.m, n.weight(C), n.weight(C), None, None, True, 0.1, 1e-5, False
    ),
    "layer_norm.default": lambda n: n.layer_norm(n.t, C),
    "native_layer_norm.default": lambda n: n("native_layer_norm.default", n.t, (C,), n.weight(C), n.weight(C), 1e-5),
    "rms_norm.default": lambda n: n("rms_norm.default", n.t, (C,), n.weight(C)),
    "group_norm.default": lambda n: n("group_norm.default", n.m, 3, n.weight(C), n.weight(C)),
    "native_group_norm.default": lambda n: n(
        "native_group_norm.default", n.m, n.weight(C), n.weight(C), Batch(), C, 16, 2, 1e-5
    ),
    "_weight_norm.default": lambda n: n(
        "linear.default", n.x, n("_weight_norm.default", n.weight(4, C), n.weight(4, 1), 0)
    ),
    # Layout
    "view.default": lambda n: n("view.default", n.x, (Batch(), 2, 3)),
    "reshape.default": lambda n: n("reshape.default", n.m, (Batch(), 96)),
    "_unsafe_view.default": lambda n: n("_unsafe_view.default", n.t, (Batch(5), 6)),
    "_reshape_alias.default": lambda n: n("_reshape_alias.default", n.x, (Batch(), 6, 1), (6, 1, 1)),
    "flatten.using_ints": lambda n: n("flatten.using_ints", n.m, 1),
    "unflatten.int": lambda n: n("unflatten.int", n.x, 1, (3, 2)),
    "view_as.default": lambda n: n("view_as.default", n.x, n.x),
    "reshape_as.default": lambda n: n("reshape_as.default", n.x, n.x),
    "ravel.default": lambda n: n("ravel.default", n("view.default", n.weight(2, C), (1, 12))),
    "permute.default": lambda n: n("permute.default", n.m, (0, 2, -1, 1)),
    "transpose.int": lambda n: n("transpose.int", n.m, 1, -1),
    "swapaxes.default": lambda n: n("swapaxes.default", n.m, 1, 2),
    "swapdims.default": lambda n: n("swapdims.default", n.m, 1, 2),
    "mT.default": lambda n: n("mT.default", n.t),
    "matrix_H.default": lambda n: n("matrix_H.default", n.x),
    "broadcast_tensors.default": lambda n: n("broadcast_tensors.default", (n.t, n.weight(C))),
    "adjoint.default": lambda n: n("adjoint.default", n.t),
    "t.default": lambda n: n("t.default", n.x),
    "numpy_T.default": lambda n: n("numpy_T.default", n.x),
    "movedim.int": lambda n: n("movedim.int", n.m, 1, -1),
    "movedim.intlist": lambda n: n("movedim.intlist", n.m, (1, 2), (-1, 0)),
    "moveaxis.int": lambda n: n("moveaxis.int", n.m, -1, 1),
    "moveaxis.intlist": lambda n: n("moveaxis.intlist", n.m, (3, 1), (0, 2)),
    "unsqueeze.default": lambda n: n("unsqueeze.default", n.x, -1),
    "squeeze.default": lambda n: n("squeeze.default", n("unsqueeze.default", n.x, 1)),
    "squeeze.dim": lambda n: n("squeeze.dim", n("unsqueeze.default", n.x, 0), 0),
    "squeeze.dims": lambda n: n("squeeze.dims", n("unsqueeze.default", n.x, 0), (0, 2)),
    "expand.default": lambda n: n("expand.default", n.weight(1, C), (Batch(), 4, C)),
    "broadcast_to.default": lambda n: n("broadcast_to.default", n.weight(1, C), (4, C)),
    "repeat.default": lambda n: n("repeat.default", n.x, (1, 2)),
    "tile.default": lambda n: n("tile.default", n.x, (2,)),
    "repeat_interleave.self_int": lambda n: n("repeat_interleave.self_int", n.x, 2, 1),
    "cat.default": lambda n: n("cat.default", (n.x, n.x, n.linear(n.x, C, 2)), 1),
    "concatenate.default": lambda n: n("concatenate.default", (n.x, n.linear(n.x, C, 2)), -1),
    "concat.default": lambda n: n("concat.default", (n.x, n.linear(n.x, C, 2)), -1),
    "stack.default": lambda n: n("stack.default", (n.x, n.x), -1),
    # Taking
    "split.Tensor": lambda n: n("split.Tensor", n.x, 4, 1),
    "split.sizes": lambda n: n("split.sizes", n.x, (1, 5), 1),
    "split_with_sizes.default": lambda n: n("split_with_sizes.default", n.x, (2, 4), -1),
    "chunk.default": lambda n: n("chunk.default", n.x, 2, 1),
    "tensor_split.sections": lambda n: n("tensor_split.sections", n.x, 3, 1),
    "tensor_split.indices": lambda n: n("tensor_split.indices", n.x, (1, 3), 1),
    "glu.default": lambda n: n("glu.default", n.x),
    "unbind.int": lambda n: n("unbind.int", n.t, 1),
    "getitem": lambda n: n("getitem", n("chunk.default", n.x, 2, 1), 0),
    "select.int": lambda n: n("select.int", n.x, 1, -2),
    "slice.Tensor": lambda n: n("slice.Tensor", n.x, 1, -5, 9223372036854775807),
    "narrow.default": lambda n: n("narrow.default", n.x, 1, 2, 3),
    "embedding.default": lambda n: n("embedding.default", n.weight(9, C), n.input(4, below=9)),
    "index_select.default": lambda n: n("index_select.default", n.t, 1, n.indices(1, 3, 3)),
    "index.Tensor": lambda n: n("index.Tensor", n.m, (None, None, n.indices(1, 3), n.indices(0, 1))),
    "_unsafe_index.Tensor": lambda n: n("_unsafe_index.Tensor", n.t, (None, n.indices(1, 3, 1))),
    "slice_scatter.default": lambda n: n("slice_scatter.default", n.t, n.linear(n.input(2, 3), 3, C), 1, 1, 3),
    "select_scatter.default": lambda n: n("select_scatter.default", n.t, n.x, 1, 2),
    "gather.default": lambda n: n(
        "gather.default", n.t, 1, n("expand.default", n.input(2, 1, below=5), (Batch(), 2, C))
    ),
    "index_add.default": lambda n: n("index_add.default", n.t, 1, n.indices(1, 3, 3, 0, 1), n.t),
    "pad.default": lambda n: n("pad.default", n.t, (1, 2, 1, 0), "constant", 2.0),
    "constant_pad_nd.default": lambda n: n("constant_pad_nd.default", n.t, (3, 3), 0.0),
    "reflection_pad1d.default": lambda n: n("reflection_pad1d.default", n.s, (1, 2)),
    "reflection_pad2d.default": lambda n: n("reflection_pad2d.default", n.m, (1, 2, 1, 1)),
    "reflection_pad3d.default": lambda n: n("reflection_pad3d.default", n.v, (1, 1) * 3),
    "replication_pad1d.default": lambda n: n("replication_pad1d.default", n.s, (1, 2)),
    "replication_pad2d.default": lambda n: n("replication_pad2d.default", n.m, (1, 2, 1, 1)),
    "replication_pad3d.default": lambda n: n("replication_pad3d.default", n.v, (1, 1) * 3),
    # Reductions
    "_softmax.default": lambda n: n("_softmax.default", n.x, 1, False),
    "_log_softmax.default": lambda n: n("_log_softmax.default", n.x, 1, False),
    "norm.ScalarOpt_dim": lambda n: n("norm.ScalarOpt_dim", n.t, 2, (2,), True),
    "linalg_vector_norm.default": lambda n: n("linalg_vector_norm.default", n.t, 2, (1,)),
    "norm.Scalar": lambda n: n("norm.Scalar", n.t),
    "max.dim": lambda n: n("max.dim", n.t, 1),
    "min.dim": lambda n: n("min.dim", n.t, 1, True),
    "median.dim": lambda n: n("median.dim", n.t, 1),
    "argmax.default": lambda n: n("argmax.default", n.t, 1),
    "argmin.default": lambda n: n("argmin.default", n.t, 1),
    "sort.stable": lambda n: n("sort.stable", n.t, stable=True, dim=1),
    "argsort.stable": lambda n: n("argsort.stable", n.t, stable=True, dim=1),
    "cosine_similarity.default": lambda n: n("cosine_similarity.default", n.t, n.t, 1),
    "count_nonzero.default": lambda n: n("count_nonzero.default", n.t, 1),
    "sort.default": lambda n: n("sort.default", n.t, 1),
    "topk.default": lambda n: n("topk.default", n.t, 2, 1),
    "argsort.default": lambda n: n("argsort.default", n.t, 1),
    "flip.default": lambda n: n("flip.default", n.t, (1,)),
    "roll.default": lambda n: n("roll.default", n.t, (2,), (1,)),
    "tril.default": lambda n: n("tril.default", n("permute.default", n.t, (2, 0, 1))),
    "triu.default": lambda n: n("triu.default", n("permute.default", n.t, (2, 0, 1)), 1),
    # Pixels
    "pixel_shuffle.default": lambda n: n("pixel_shuffle.default", n.conv(n.m, C, 12), 2),
    "pixel_unshuffle.default": lambda n: n("pixel_unshuffle.default", n.m, 2),
    "channel_shuffle.default": lambda n: n("channel_shuffle.default", n.m, 3),
    "native_channel_shuffle.default": lambda n: n("native_channel_shuffle.default", n.m, 2),
    "im2col.default": lambda n: n("im2col.default", n.m, (2, 2), (1, 1), (0, 0), (1, 1)),
    "unfold.default": lambda n: n("unfold.default", n.t, 1, 2, 1),
    "_adaptive_avg_pool2d.default": lambda n: n("_adaptive_avg_pool2d.default", n.m, (2, 2)),
    "_adaptive_avg_pool3d.default": lambda n: n("_adaptive_avg_pool3d.default", n.v, (2, 2, 2)),
    "max_pool2d_with_indices.default": lambda n: n("max_pool2d_with_indices.default", n.m, (2, 2)),
    "max_pool3d_with_indices.default": lambda n: n("max_pool3d_with_indices.default", n.v, (2, 2, 2)),
}


@example("mean.dim", "sum.dim_IntList", "amax.default", "amin.default", "logsumexp.default")
def _(net: Examples, name: str) -> Value:
    return net("cat.default", (net(name, net.t, (1,)), net(name, net.t, (-1,))), 1)


@example("var.correction", "std.correction", "var_mean.correction", "std_mean.correction")
def _(net: Examples, name: str) -> Value:
    return net(name, net.t, (1,), correction=0, keepdim=True)


@example("var.dim", "std.dim", "var_mean.dim", "std_mean.dim")
def _(net: Examples, name: str) -> Value:
    return net(name, net.t, (1, 2), False, True)


@example("prod.dim_int", "any.dim", "all.dim", "cumsum.default", "cumprod.default", "logcumsumexp.default")
def _(net: Examples, name: str) -> Value:
    return net(name, net.t, 1)


@example("any.dims", "all.dims")
def _(net: Examples, name: str) -> Value:
    return net(name, net.t, (1,), True)


@example("mean.default", "sum.default", "max.default", "min.default", "prod.default", "var.default", "std.default")
def _(net: Examples, name: str) -> Value:
    return net(name, net.t)


@example("any.default", "all.default")
def _(net: Examples, name: str) -> Value:
    return net(name, net.mask())


@example(*(f"{kind}{d}d.default" for kind in ("max_pool", "avg_pool") for d in (1, 2, 3)))
def _(net: Examples, name: str) -> Value:
    dimensions = int(name[8])
    return net(name, (net.s, net.m, net.v)[dimensions - 1], (2,) * dimensions)


@example(*(f"adaptive_{kind}_pool{d}d.default" for kind in ("max", "avg") for d in (1, 2, 3)))
def _(net: Examples, name: str) -> Value:
    dimensions = int(name[17])
    return net(name, (net.s, net.m, net.v)[dimensions - 1], (2,) * dimensions)


@example(*(name for name in FUNCTIONS if "upsample_" in name))
def _(net: Examples, name: str) -> Value:
    dimensions = int(name[name.index("d.") - 1 : name.index("d.")] if "d." in name else name[name.index("d_aa") - 1])
    x, corners = (net.s, net.m, net.v)[dimensions - 1], () if "nearest" in name else (False,)
    if name.endswith(".vec"):
        return net(name, x, None, *corners, (2.0,) * dimensions)
    return net(name, x, (8, 8, 8)[:dimensions], *corners)


@example("max_pool1d_with_indices.default")
def _(net: Examples, name: str) -> Value:
    return net(name, net.s, (2,))


@example(*(name for name, row in FUNCTIONS.items() if row.rule is constants.filled))
def _(net: Examples, name: str) -> Value:
    operation = name.partition(".")[0]
    shape = () if operation.endswith("like") or operation in ("scalar_tensor", "fill", "zero") else ((4, C),)
    number = (0.5,) if "full" in operation or name in ("scalar_tensor.default", "fill.Scalar") else ()
    number = (net.weight(),) if name == "fill.Tensor" else number
    read = (
        (net.x,) if operation.endswith("like") or operation.startswith(("new", "fill")) or operation == "zero" else ()
    )
    wide = net("expand.default", net("unsqueeze.default", net.x, 1), (Batch(), 4, C))
    return net("add.Tensor", net.x if shape == () else wide, net(name, *read, *shape, *number))


@example("arange.default", "arange.start", "arange.start_step", "linspace.default", "eye.default", "eye.m")
def _(net: Examples, name: str) -> Value:
    first = {"arange.start": (0,), "arange.start_step": (0,), "linspace.default": (0, 1)}.get(name, ())
    last = {"arange.start_step": (1,), "eye.m": (C,)}.get(name, ())
    return net("mul.Tensor", net.linear(net.x, C, 5), net("sum.default", net(name, *first, C, *last)))


WITHOUT = {name for name, row in FUNCTIONS.items() if row.rule is None or row.rule is constants.number}


def network(made: Example) -> tuple[Examples, Value]:
    """All of the values that an example makes, each weighed by numbers of its own at each place, in one sum."""
    net = Examples()
    value = made(net)
    shape = net.shape(value)
    values = [value]
    if shape and isinstance(shape[0], tuple):
        values = [net("getitem", value, at) for at in range(len(shape))]
    total: Value | None = None
    for value in values:
        shape = net.shape(value)
        weights = net.weight(*(1 if isinstance(size, Batch) else size for size in shape))
        weighed = net("sum.default", net("mul.Tensor", value, weights))
        total = weighed if total is None else net("add.Tensor", total, weighed)
    assert total is not None
    return net, total


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_permutations_leave_what_a_function_computes_unchanged(name: str) -> None:
    torch.manual_seed(0)
    net, output = network(EXAMPLES[name])
    assert name in {call.function for call in net.calls}
    found = net.derived(output)
    assert found.unruled == ()
    assert any(space.size > 1 for space in found.spaces), "all pinned"
    assert max(net.error(output, found, seed) for seed in range(3)) < 1e-9


def test_every_rule_has_an_example() -> None:
    assert set(FUNCTIONS) - WITHOUT - set(EXAMPLES) == {"one_hot.default"}


def test_the_table_has_each_function_once_and_torch_has_it() -> None:
    from nid_cli.nets import functions, rules

    assert sum(len(family.ROWS) for family in rules.FAMILIES) + len(rules.UNRULED) == len(FUNCTIONS)
    assert FUNCTIONS.keys() >= functions.FUNCTIONS and set(rules.UNRULED) <= functions.FUNCTIONS
    for name in FUNCTIONS:
        if "." in name:
            function_of(name)


def test_a_rule_that_is_broken_changes_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trace: Any, call: Any) -> Any:
        weight = trace.tensor(call, 1, "weight")
        return (*trace.tensor(call, 0)[:-1], weight[0])  # The weight's columns are not joined to the input.

    monkeypatch.setitem(FUNCTIONS, "linear.default", Row(rule=broken))
    net, output = network(EXAMPLES["linear.default"])
    assert net.error(output, net.derived(output)) > 1e-3
    monkeypatch.setitem(FUNCTIONS, "linear.default", Row(rule=linear))
    assert net.error(output, net.derived(output)) < 1e-9


def test_a_function_without_a_rule_pins_and_is_reported() -> None:
    net = Net()
    x = net.linear(net.input(3), 3, C)
    y = net("diag_embed.default", x)
    output = net.linear(net("sum.dim_IntList", y, (1,)), C, 2)
    found = net.derived(output)
    assert found.spaces == ()
    assert found.unruled == (("diag_embed.default", 1),)
    assert ("no rule for diag_embed.default", 3) in found.pinned


def test_roles() -> None:
    assert [FUNCTIONS[f].site for f in ("linear.default", "conv2d.default", "addmm.default")] == ["post_linear"] * 3
    assert [FUNCTIONS[f].site for f in ("batch_norm.default", "layer_norm.default")] == ["post_norm"] * 2
    assert [FUNCTIONS[f].site for f in ("relu.default", "gelu.default", "sigmoid.default")] == [
        "post_activation",
        "post_activation",
        None,
    ]
    net = Net()
    x = net.input(3)
    net("addmm.default", net.weight(4), x, net.weight(3, 4, name="w"))
    assert (weight_of(net.calls[0]), row_of(net.calls[0]).rows) == ("w", 1)
    held = [net.weight(4, name=name) for name in ("g", "b", "m", "v")]
    net("batch_norm.default", net.linear(x, 3, 4), *held, True, 0.1, 1e-5, False)
    assert statistics(net.calls[-1]) == ("m", "v")
    net("matmul.default", x, net("t.default", net.linear(x, 3, 3)))
    assert weight_of(net.calls[-1]) is None
