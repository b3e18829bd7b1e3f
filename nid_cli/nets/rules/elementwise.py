"""Element-wise functions: a number of the value comes from the numbers at its place in the operands, broadcast."""

from __future__ import annotations

from nid_cli.nets.atoms import join
from nid_cli.nets.calls import Call, Stored, Value, parts
from nid_cli.nets.rules.row import rows
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


ACTIVATIONS = [
    "relu",
    "gelu",
    "silu",
    "tanh",
    "hardswish",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    "relu6",
    "hardtanh",
    "mish",
    "softplus",
    "softshrink",
    "hardshrink",
    "log_sigmoid",
    "rrelu",
    "threshold",
]
UNARY = [
    "sigmoid",
    "hardsigmoid",
    "logit",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "rsqrt",
    "neg",
    "abs",
    "sign",
    "sgn",
    "square",
    "reciprocal",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "erf",
    "erfc",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "isnan",
    "isinf",
    "isfinite",
    "logical_not",
    "bitwise_not",
    "clone",
    "contiguous",
    "_to_copy",
    "alias",
    "detach",
    "detach_",
    "lift_fresh_copy",
    "nan_to_num",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "feature_alpha_dropout",
    "positive",
]
OPERATORS = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "fmod",
    "remainder",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "bitwise_and",
    "bitwise_or",
]
PAIRS = [
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "logical_and",
    "logical_or",
    "logical_xor",
    "atan2",
    "logaddexp",
    "logaddexp2",
    "hypot",
]

ROWS = (
    rows(same, *(f"{name}.default" for name in ACTIVATIONS), role="activation", pure=True)
    | rows(prelu, "prelu.default", role="activation")
    | rows(same, *(f"{name}.default" for name in UNARY), pure=True)
    | rows(same, "round.decimals", "clamp.default", "clamp_min.default", "clamp_max.default", pure=True)
    | rows(same, "to.dtype", "to.dtype_layout", "to.device", "_to_copy.default", pure=True)
    | rows(with_mask, "native_dropout.default")
    | rows(elementwise, *(f"{name}.Tensor" for name in OPERATORS if name != "pow"), pure=True)
    | rows(elementwise, *(f"{name}.Scalar" for name in OPERATORS if name != "pow"), pure=True)
    | rows(elementwise, "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "rsub.Scalar", "rsub.Tensor", pure=True)
    | rows(
        elementwise, "max.other", "min.other", "div.Tensor_mode", "div.Scalar_mode", "floor_divide.default", pure=True
    )
    | rows(elementwise, *(f"{name}.default" for name in PAIRS), pure=True)
    | rows(elementwise, "where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar", pure=True)
    | rows(elementwise, "masked_fill.Scalar", "masked_fill.Tensor", "clamp.Tensor", pure=True)
    | rows(elementwise, "clamp_min.Tensor", "clamp_max.Tensor", pure=True)
    | rows(elementwise, "addcmul.default", "addcdiv.default", "lerp.Tensor", "lerp.Scalar", pure=True)
    | rows(alike, "type_as.default", "expand_as.default")
)
