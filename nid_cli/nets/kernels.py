"""How each operation computes: pure functions of the operation, a state, whether in training, and the inputs.

Batch statistics in training are the one exception: they update the running statistics of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.nets.operations import Op

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "identity": lambda x: x}


def linear(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    """x W^T + b; images are flattened."""
    return F.linear(x.flatten(1), state[f"{op.name}.weight"], state[f"{op.name}.bias"])


def conv(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    """A padded convolution without bias."""
    return F.conv2d(x, state[f"{op.name}.weight"], stride=op.stride, padding=op.kernel // 2)


def norm(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    """LayerNorm, GroupNorm of one group, or BatchNorm, each with weight and bias."""
    weight, bias = state[f"{op.name}.weight"], state[f"{op.name}.bias"]
    if op.function == "layer":
        return F.layer_norm(x, (op.channels,), weight, bias)
    if op.function == "group":
        return F.group_norm(x, 1, weight, bias)
    mean, var = state[f"{op.name}.running_mean"], state[f"{op.name}.running_var"]
    return F.batch_norm(x, mean, var, weight, bias, training)


def activation(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    """An element-wise activation."""
    return ACTIVATIONS[op.function](x)


def gate(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    """x * sigmoid(C x); C acts on the channels: a matrix product, or a 1 x 1 convolution of a feature map."""
    fixed = state[f"{op.name}.gate"]
    return x * torch.sigmoid(F.linear(x, fixed) if x.ndim == 2 else F.conv2d(x, fixed[:, :, None, None]))


def add(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor, y: Tensor) -> Tensor:
    """The sum of two values."""
    return x + y


def pool(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    """The mean over all pixels."""
    return x.mean((2, 3))


def rows(op: Op, x: Tensor) -> Tensor:
    """The inputs of a linear layer's neurons: one row for each sample (N x d)."""
    return x.flatten(1)


def patches(op: Op, x: Tensor) -> Tensor:
    """The inputs of a convolution's neurons: one row for each patch (N * pixels x d)."""
    found = F.unfold(x, op.kernel, padding=op.kernel // 2, stride=op.stride)
    return found.transpose(1, 2).flatten(0, 1)
