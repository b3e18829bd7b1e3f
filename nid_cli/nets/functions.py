"""The functions that a network's calls may name: pure ATen operations, as ``name.overload``. No torch.

Each returns new values and does nothing else: no ``out`` variants, no in-place ones, no randomness but dropout, nothing
that reads or writes outside of its arguments. Whatever runs a network runs these and no others.
"""

from __future__ import annotations


def _names(*rows: str) -> frozenset[str]:
    """``name: overload overload`` rows as full names; a row of plain names has the overload ``default``."""
    found: list[str] = []
    for row in rows:
        head, colon, overloads = row.partition(":")
        if colon:
            found += (f"{head}.{overload}" for overload in overloads.split())
        else:
            found += (f"{name}.default" for name in head.split())
    return frozenset(found)


# Sizes are whole numbers times the samples N; ``getitem`` takes apart the values of a call with several.
SIZES = frozenset({"sym_size.int", "mul"})
PICK = "getitem"

# Dropout, off unless the caller trains; the third argument is that flag.
DROPOUTS = _names("dropout feature_dropout alpha_dropout feature_alpha_dropout")
# Attention drops too: argument 4 is the share.
ATTENTION = "scaled_dot_product_attention.default"
# Recurrent layers drop between their layers: argument 6 is the flag.
RECURRENT = _names("lstm: input", "gru: input", "rnn_tanh: input", "rnn_relu: input")
# Norms with running statistics (arguments 3 and 4), which argument 5 says whether to take from the batch.
STATISTICS = _names("batch_norm instance_norm")

WEIGHTED = _names(
    "linear conv1d conv2d conv3d addmm mm matmul bmm baddbmm",
    "conv2d: padding",
    "conv1d: padding",
    "conv3d: padding",
    "conv_transpose1d",
    "conv_transpose2d: input",
    "conv_transpose3d: input",
)

# Values made of constants alone.
FACTORIES = _names("zeros ones eye arange full scalar_tensor linspace", "arange: start start_step", "eye: m")

_ELEMENTWISE = _names(
    "relu relu6 gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh elu celu selu leaky_relu prelu softplus",
    "hardshrink softshrink log_sigmoid glu neg abs exp exp2 expm1 log log2 log10 log1p sqrt rsqrt",
    "reciprocal square sin cos tan asin acos atan sinh cosh erf erfc floor ceil round trunc frac sign sgn sinc",
    "clamp clamp_min clamp_max nan_to_num isnan isinf isfinite atan2 maximum minimum",
    "logical_and logical_or logical_xor logical_not bitwise_not logaddexp hypot threshold rad2deg deg2rad",
    "fmax fmin positive clip isneginf isposinf logit log_sigmoid_forward",
    "clamp: Tensor",
    "clamp_min: Tensor",
    "clamp_max: Tensor",
    "round: decimals",
    "pow: Tensor_Scalar Tensor_Tensor Scalar",
    "remainder: Tensor Scalar Scalar_Tensor",
    "fmod: Tensor Scalar",
    "div: Tensor Scalar Tensor_mode Scalar_mode",
    "floor_divide: default Scalar",
    "true_divide: Tensor Scalar",
    "divide: Tensor Scalar",
    "multiply: Tensor Scalar",
    "subtract: Tensor Scalar",
    *(f"{name}: Tensor Scalar" for name in ("add", "sub", "mul", "rsub", "eq", "ne", "lt", "le", "gt", "ge")),
    *(f"bitwise_{name}: Tensor Scalar" for name in ("and", "or", "xor")),
    *(f"__{name}__: Tensor Scalar" for name in ("and", "or", "xor")),
    "where: self ScalarSelf ScalarOther Scalar",
    "masked_fill: Scalar Tensor",
    "addcmul addcdiv",
    "lerp: Scalar Tensor",
    "fill: Scalar Tensor",
    "zero copy _to_copy",
)
_SHAPES = _names(
    "reshape view _unsafe_view permute t numpy_T matrix_H mT adjoint flip rot90 roll unsqueeze squeeze expand",
    "expand_as view_as reshape_as repeat tile stack cat concat concatenate hstack vstack dstack tril triu",
    "split_with_sizes chunk unfold constant_pad_nd pixel_shuffle pixel_unshuffle channel_shuffle",
    "native_channel_shuffle",
    "broadcast_to swapaxes swapdims contiguous clone alias narrow diagonal diag_embed ravel block_diag",
    "transpose: int",
    "movedim: int intlist",
    "moveaxis: int intlist",
    "flatten: using_ints",
    "unflatten: int",
    "squeeze: dim dims",
    "split: Tensor sizes",
    "tensor_split: sections indices",
    "unbind: int",
    "select: int",
    "slice: Tensor",
    "index: Tensor",
    "index_select gather embedding one_hot take_along_dim",
    "index_put index_add index_copy scatter_add",
    "scatter: src value",
    "index_fill: int_Scalar int_Tensor",
    "select_scatter slice_scatter diagonal_scatter masked_scatter",
    "repeat_interleave: self_int",
    "pad im2col col2im unfold_copy",
    "meshgrid: default indexing",
    "broadcast_tensors",
    "zeros_like ones_like full_like new_zeros new_ones new_full",
)
_REDUCTIONS = _names(
    "mean sum amax amin prod all any logsumexp std var argmax argmin cumsum cumprod _softmax",
    "_log_softmax linalg_vector_norm cosine_similarity count_nonzero max min aminmax",
    "mean: dim",
    "sum: dim_IntList",
    "prod: dim_int",
    "all: dim",
    "any: dim",
    "max: dim other",
    "min: dim other",
    "std: dim correction",
    "var: dim correction",
    "var_mean: dim correction",
    "std_mean: dim correction",
    "norm: Scalar ScalarOpt_dim",
    "softmax: int",
    "log_softmax: int",
    "sort: default stable",
    "topk",
    "argsort: default stable",
)
_LAYERS = _names(
    "_weight_norm tensordot cross linalg_cross kron trace logcumsumexp",
    "median: dim",
    "searchsorted: Tensor",
    "bucketize: Tensor",
    "max_pool1d_with_indices max_pool3d_with_indices",
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d",
    "layer_norm group_norm rms_norm native_layer_norm native_group_norm einsum bilinear dot mv",
    "outer scaled_dot_product_attention cdist addmv addbmm linalg_norm",
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d",
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices",
    "_adaptive_avg_pool2d _adaptive_avg_pool3d grid_sampler grid_sampler_2d affine_grid_generator",
    "upsample_nearest1d: default vec",
    "upsample_nearest2d: default vec",
    "upsample_nearest3d: default vec",
    "upsample_linear1d: default vec",
    "upsample_bilinear2d: default vec",
    "upsample_bicubic2d: default vec",
    "upsample_trilinear3d: default vec",
    "_upsample_bilinear2d_aa: default vec",
    "_upsample_bicubic2d_aa: default vec",
)

_LAYERS_AND_SWITCHED = DROPOUTS | STATISTICS | RECURRENT | WEIGHTED | _LAYERS
FUNCTIONS = SIZES | {PICK} | FACTORIES | _LAYERS_AND_SWITCHED | _ELEMENTWISE | _SHAPES | _REDUCTIONS
