"""Convolutions: channels contracted like a linear layer's, group by group; pixels and kernels are pinned."""

from __future__ import annotations

from nid_cli.nets.atoms import Atom, join, product
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import Rule, rows
from nid_cli.nets.tracing import NoRule, Trace, Traced, argument, fresh, pin_all, shape_of


def _convolve(trace: Trace, call: Call, transposed: bool, groups: int) -> Traced:
    """The weight is (groups x n) x d x kernel, of a transposed one (groups x d) x n x kernel; ``groups`` at hand."""
    x, weight = trace.tensor(call, 0, "input"), trace.tensor(call, 1, "weight")
    bias = trace.optional(call, 2, "bias")
    shape = shape_of(call)
    if len(shape) != len(weight) or groups < 1 or x[1].size % groups or shape[1] % groups:
        raise NoRule
    pin_all(x[2:], "pixels")
    pin_all(weight[2:], "kernel")
    group = Atom(groups)
    if transposed:
        inner, channels = Atom(x[1].size // groups), product([group, weight[1]])
        join(weight[0], product([group, inner]))
    else:
        inner, channels = weight[1], weight[0]
        join(channels, product([group, Atom(shape[1] // groups)]))
    join(x[1], product([group, inner]))
    if bias is not None:
        join(channels, bias[0])
    out = (x[0], channels, *fresh(shape[2:], "pixels"))
    trace.mix([inner, *x[2:], *weight[2:]], x, weight, out)
    if 1 < groups < max(x[1].size, shape[1]):
        trace.call_it([group], "groups")
    return out


def _rule(transposed: bool | None, position: int) -> Rule:
    def convolution(trace: Trace, call: Call) -> Traced:
        """A convolution; see the module."""
        is_transposed = argument(call, 6, "transposed") if transposed is None else transposed
        return _convolve(trace, call, bool(is_transposed), argument(call, position, "groups", 1))

    return convolution


def _names(prefix: str, suffix: str) -> list[str]:
    return [f"{prefix}{dimensions}d.{suffix}" for dimensions in (1, 2, 3)]


WEIGHTED = {"role": "weighted", "neurons": 1, "weight": 1}
TRANSPOSED = ("conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input")
ROWS = (
    rows(_rule(False, 6), *_names("conv", "default"), *_names("conv", "padding"), **WEIGHTED)
    | rows(_rule(True, 6), *TRANSPOSED, rows=1, **WEIGHTED)
    | rows(_rule(None, 8), "convolution.default", **WEIGHTED)
)
