"""Element-wise functions: a number of the value comes from the numbers at its place in the operands, broadcast."""

from __future__ import annotations

from nid_cli.nets.atoms import join
from nid_cli.nets.calls import Call, Stored, Value, parts
from nid_cli.nets.rules.row import overloads, rows
from nid_cli.nets.tracing import NoRule, Trace, Traced, broadcast, shape_of


def elementwise(trace: Trace, call: Call) -> Traced:
    """All tensors that it reads are operands."""
    operands = [trace.axes(part) for part in parts((call.args, call.kwargs)) if isinstance(part, Value | Stored)]
    operands = [axes for axes in operands if axes is not None]
    if not operands:
        raise NoRule
    return broadcast(*operands)


def same(trace: Trace, call: Call) -> Traced:
    """The axes of its first argument; all else is numbers."""
    return trace.tensor(call, 0)


def with_mask(trace: Trace, call: Call) -> Traced:
    """Two values, the second marks which numbers of the first were kept."""
    axes = trace.tensor(call, 0)
    return (axes, axes)


def prelu(trace: Trace, call: Call) -> Traced:
    """A slope for each channel, or one for all."""
    axes, (slope,) = trace.tensor(call, 0), trace.tensor(call, 1, "weight")
    if slope.size > 1:
        join(axes[1], slope)
    return axes


def alike(trace: Trace, call: Call) -> Traced:
    """Of the first argument's shape, once spread to the second's."""
    axes = broadcast(trace.tensor(call, 0), trace.tensor(call, 1, "other"))
    if tuple(axis.size for axis in axes) != shape_of(call):
        raise NoRule
    return axes


def spread(trace: Trace, call: Call) -> Traced:
    """All tensors spread to one shape."""
    tensors = [trace.axes(read) for read in call.args[0]]
    return (broadcast(*tensors),) * len(tensors)


ACTIVATIONS = overloads(
    "relu gelu silu tanh hardswish elu selu celu leaky_relu relu6 hardtanh mish softplus softshrink hardshrink "
    "log_sigmoid rrelu threshold"
)
UNARY = overloads(
    "sigmoid hardsigmoid logit exp exp2 expm1 log log1p log2 log10 sqrt rsqrt neg abs sign sgn square reciprocal sin "
    "cos tan asin acos atan sinh cosh erf erfc floor ceil round trunc frac isnan isinf isfinite logical_not "
    "bitwise_not clone contiguous _to_copy alias detach lift_fresh_copy nan_to_num dropout feature_dropout "
    "alpha_dropout feature_alpha_dropout positive clamp clamp_min clamp_max "
    "clip deg2rad rad2deg isneginf isposinf sinc"
)
OPERATORS = (
    "add sub mul div rsub fmod remainder eq ne lt le gt ge bitwise_and bitwise_or bitwise_xor multiply subtract divide "
    "true_divide __and__ __or__ __xor__"
)
PAIRS = overloads(
    "maximum minimum fmax fmin logical_and logical_or logical_xor atan2 logaddexp logaddexp2 hypot floor_divide "
    "addcmul addcdiv"
)
OTHERS = (
    overloads("max min", "other")
    + overloads("clamp clamp_min clamp_max lerp masked_fill", "Tensor")
    + overloads("div", "Tensor_mode")
    + overloads("div", "Scalar_mode")
    + overloads("lerp masked_fill pow where floor_divide", "Scalar")
    + overloads("remainder", "Scalar_Tensor")
)

ROWS = (
    rows(same, *ACTIVATIONS, role="activation", pure=True)
    | rows(prelu, "prelu.default", role="activation")
    | rows(same, *UNARY, "round.decimals", "to.dtype", "to.dtype_layout", "to.device", pure=True)
    | rows(with_mask, "native_dropout.default")
    | rows(elementwise, *overloads(OPERATORS, "Tensor"), *overloads(OPERATORS, "Scalar"), *PAIRS, *OTHERS, pure=True)
    | rows(elementwise, "pow.Tensor_Scalar", "pow.Tensor_Tensor", pure=True)
    | rows(elementwise, "where.self", "where.ScalarSelf", "where.ScalarOther", pure=True)
    | rows(spread, "broadcast_tensors.default")
    | rows(alike, "type_as.default", "expand_as.default", "copy.default")
)
