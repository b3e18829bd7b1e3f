"""The multilayer perceptron: hidden layers of linear, norm, activation; a linear last layer (docs/science.md, 2)."""

from __future__ import annotations

import math

from nid_cli.nets.graph import INPUT, Graph, Op


def mlp(
    *, input_shape: tuple[int, ...], width: int, depth: int, outputs: int, norm: str, activation: str, gated: bool
) -> Graph:
    """An MLP of ``depth`` linear layers: inputs - width - ... - width - outputs; images are flattened.

    Args:
        norm: ``layer`` (affine LayerNorm), ``batch`` or ``none``.
        activation: ``gelu``, ``relu`` or ``identity``; replaced by x * sigmoid(C x) where ``gated`` (sigma).
    """
    inputs = math.prod(input_shape)
    ops: list[Op] = []

    def add(name: str, kind: str, channels: int, fan_in: int = 0, function: str = "") -> None:
        source = ops[-1].name if ops else INPUT
        ops.append(Op(name=name, kind=kind, inputs=(source,), channels=channels, fan_in=fan_in, function=function))

    for i in range(depth - 1):
        add(f"linear.{i}", "linear", width, fan_in=inputs if i == 0 else width)
        if norm != "none":
            add(f"norm.{i}", "norm", width, function=norm)
        if gated:
            add(f"activation.{i}", "gate", width)
        else:
            add(f"activation.{i}", "activation", width, function=activation)
    add(f"linear.{depth - 1}", "linear", outputs, fan_in=inputs if depth == 1 else width)
    return Graph(ops, (inputs,))
