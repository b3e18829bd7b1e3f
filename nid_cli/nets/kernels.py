"""What the neurons of weighted layers see, and activations alone: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.nets.calls import Call, Stored
from nid_cli.nets.layers import Layer


def inputs_of_neurons(layer: Layer, x: Tensor) -> Tensor:
    """The inputs that a layer's neurons see in the value that it reads: a row a sample, token or patch (rows x d).

    Of a convolution with groups, the patches of every group are rows.
    """
    if not layer.patches:
        return x.flatten(0, -2)
    found = unfolded(layer, x)
    if layer.groups == 1:
        return found.transpose(1, 2).flatten(0, 1)
    grouped = found.view(len(x), layer.groups, layer.fan_in, -1)
    return grouped.permute(0, 3, 1, 2).flatten(0, 2)


def unfolded(layer: Layer, x: Tensor) -> Tensor:
    """The patches that a convolution reads: N x channels kernel x places, the channels of a group together."""
    pixels = x.ndim - 2
    kernel = layer.kernel
    stride, dilation = (_each(layer.argument(position, 1), pixels) for position in (3, 5))
    given = layer.argument(4, 0)
    if given == "same":  # an odd number is padded behind
        widths = [size * (width - 1) for size, width in zip(dilation, kernel, strict=True)]
        x = F.pad(x, [side for width in reversed(widths) for side in (width // 2, width - width // 2)])
    padding = _each(0 if isinstance(given, str) else given, pixels)
    if pixels == 2:
        return F.unfold(x, kernel, dilation=dilation, padding=padding, stride=stride)
    return _unfold(x, kernel, stride, padding, dilation)


def _each(value: object, pixels: int) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, tuple) else (value,)
    return sizes * pixels if len(sizes) == 1 else sizes


def _unfold(x: Tensor, kernel: tuple[int, ...], *where: tuple[int, ...]) -> Tensor:
    """Patches as ``F.unfold`` gives them (N x channels kernel x places), of any number of dimensions."""
    stride, padding, dilation = where
    x = F.pad(x, [side for size in reversed(padding) for side in (size, size)])
    for at, size in enumerate(kernel):
        reach = dilation[at] * (size - 1) + 1
        x = x.unfold(2 + at, reach, stride[at])[..., :: dilation[at]]
    places = x.shape[2 : 2 + len(kernel)]
    inner = x.movedim(tuple(range(2, 2 + len(kernel))), tuple(range(-len(kernel), 0)))
    return inner.reshape(len(x), -1, reduce(int.__mul__, places, 1))


def activation(call: Call | None, state: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """An element-wise activation as a function, its slope (PReLU) from ``state``; of no call, the identity."""
    if call is None:
        return lambda x: x
    base, _, overload = call.function.partition(".")
    function = getattr(getattr(torch.ops.aten, base), overload)
    rest = [state[part.name] if isinstance(part, Stored) else part for part in call.args[1:]]
    named = dict(call.kwargs)

    def apply(x: Tensor) -> Tensor:
        own = [part.to(x.dtype) if isinstance(part, Tensor) else part for part in rest]
        found: Tensor = function(x, *own, **named)
        return found

    return apply
