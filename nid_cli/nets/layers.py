"""Weighted layers: affine maps by a matrix of n neurons x d inputs, whatever the call that computes them. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nid_cli.nets.calls import Call, Stored, Value
from nid_cli.nets.description import Description
from nid_cli.nets.rules import row_of, weight_of

if TYPE_CHECKING:
    from torch import Tensor

# Where functions that have one keep their bias.
BIAS = {"linear": 2, "conv1d": 2, "conv2d": 2, "conv3d": 2, "addmm": 0}


@dataclass(frozen=True)
class Layer:
    """One weighted layer.

    ``weight`` and ``bias`` name its tensors; ``source`` is the value that it reads. ``channels`` is n, ``fan_in`` d.
    ``patches``: its neurons see many patches of one sample, as those of a convolution do; those of ``groups`` see
    different channels of them; ``kernel`` is the size of a patch. ``by_columns``: its weight is stored d x n.
    ``again``: the further calls by the same weight, each as if it were a layer of its own.
    """

    call: Call
    label: int | str
    weight: str
    bias: str | None
    source: str
    channels: int
    fan_in: int
    patches: bool
    groups: int
    kernel: tuple[int, ...]
    by_columns: bool
    again: tuple[Layer, ...] = ()

    @property
    def uses(self) -> tuple[Layer, ...]:
        """All calls by its weight; what its neurons see is what they see in all of them."""
        return (self, *self.again)

    @property
    def name(self) -> str:
        """The name of its call."""
        return self.call.name

    def matrix(self, weight: Tensor) -> Tensor:
        """Its weight, or what has its shape, as n x d."""
        return weight.T if self.by_columns else weight.flatten(1)

    def stored(self, matrix: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What :meth:`matrix` is of, for a weight of this ``shape``."""
        return matrix.T.contiguous() if self.by_columns else matrix.reshape(shape)

    def argument(self, position: int, default: object) -> object:
        """An argument of its call."""
        return self.call.args[position] if position < len(self.call.args) else default


def layers_of(description: Description, labels: Mapping[str, int | str]) -> tuple[Layer, ...]:
    """The weighted layers in the order in which they run; a weight that several calls share comes once."""
    found: dict[str, Layer] = {}
    for call in description.calls:
        weight = weight_of(call)
        if weight is None or weight not in description.parameters:
            continue
        row, shape = row_of(call), description.parameters[weight]
        patches, base = row.neurons == 1, call.function.partition(".")[0]
        sources = [part.name for part in call.args if isinstance(part, Value)]
        if len(sources) != 1 or (patches and row.rows == 1) or len(shape) < 2 or (row.rows == 1 and len(shape) > 2):
            continue  # a transposed convolution, what the value adds to, or a matrix for each of several heads
        bias = call.args[BIAS[base]] if base in BIAS and len(call.args) > BIAS[base] else None
        groups = call.args[6] if patches and len(call.args) > 6 else 1
        sizes = [size for size in shape if isinstance(size, int)]
        channels = sizes[row.rows]
        layer = Layer(
            call=call,
            label=labels.get(call.name, call.name),
            weight=weight,
            bias=bias.name if isinstance(bias, Stored) else None,
            source=sources[0],
            channels=channels,
            fan_in=math.prod(sizes) // channels,
            patches=patches,
            groups=groups,
            kernel=tuple(sizes[2:]) if patches else (),
            by_columns=row.rows == 1,
        )
        known = found.setdefault(weight, layer)
        if known is not layer:
            found[weight] = replace(known, again=(*known.again, layer))
    return tuple(found.values())
