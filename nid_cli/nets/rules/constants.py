"""Functions that make tensors of numbers, and numbers of tensors; and those that may run without a rule."""

from __future__ import annotations

from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import rows
from nid_cli.nets.tracing import Trace, Traced, fresh, shape_of


def filled(trace: Trace, call: Call) -> Traced:
    """The same number everywhere, in any order."""
    return fresh(shape_of(call))


def counted(trace: Trace, call: Call) -> Traced:
    """Numbers that tell positions."""
    return fresh(shape_of(call), "numbered")


def number(trace: Trace, call: Call) -> Traced:
    """No axes."""
    return None


FILLED = [
    "full",
    "zeros",
    "ones",
    "scalar_tensor",
    "full_like",
    "zeros_like",
    "ones_like",
    "new_zeros",
    "new_ones",
    "new_full",
]
COUNTED = [
    "arange.default",
    "arange.start",
    "arange.start_step",
    "linspace.default",
    "eye.default",
    "eye.m",
    "one_hot.default",
]
NUMBERS = ["sym_size.int", "add", "sub", "mul", "floordiv", "mod", "neg", "sym_min", "sym_max"]
UNRULED = [
    "scatter.src",
    "scatter.value",
    "scatter_add.default",
    "cdist.default",
    "grid_sampler.default",
    "grid_sampler_2d.default",
    "affine_grid_generator.default",
    "lstm.input",
    "gru.input",
    "rnn_tanh.input",
    "rnn_relu.input",
    "col2im.default",
    "kthvalue.default",
    "diagonal.default",
    "diag_embed.default",
    "searchsorted.Tensor",
    "bucketize.Tensor",
    "max_unpool2d.default",
    "fractional_max_pool2d.default",
    "cross.default",
    "linalg_cross.default",
    "embedding_bag.padding_idx",
    "trace.default",
    "kron.default",
    "tensordot.default",
    "unsafe_chunk.default",
]
ROWS = (
    rows(filled, *(f"{name}.default" for name in FILLED))
    | rows(counted, *COUNTED)
    | rows(number, *NUMBERS)
    | rows(None, *UNRULED)
)
