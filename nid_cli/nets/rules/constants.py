"""Functions that make tensors of numbers, and numbers of tensors; and those that may run without a rule."""

from __future__ import annotations

from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import overloads, rows
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


FILLED = "full zeros ones scalar_tensor full_like zeros_like zero ones_like new_zeros new_ones new_full"
NUMBERS = ["sym_size.int", "add", "sub", "mul", "floordiv", "mod", "neg", "sym_min", "sym_max"]
UNRULED = (
    "scatter_add cdist grid_sampler grid_sampler_2d affine_grid_generator col2im kthvalue diagonal diag_embed "
    "max_unpool2d fractional_max_pool2d cross linalg_cross trace kron tensordot unsafe_chunk index_put"
)
ROWS = (
    rows(filled, *overloads(FILLED), "fill.Scalar", "fill.Tensor")
    | rows(counted, *overloads("arange linspace eye one_hot"), "arange.start", "arange.start_step", "eye.m")
    | rows(number, *NUMBERS)
    | rows(None, *overloads(UNRULED), *overloads("lstm gru rnn_tanh rnn_relu", "input"))
    | rows(None, *overloads("scatter", "src"), *overloads("scatter", "value"), *overloads("searchsorted", "Tensor"))
    | rows(None, *overloads("bucketize", "Tensor"), *overloads("embedding_bag", "padding_idx"))
)
