"""The multilayer perceptron: hidden layers of linear, norm, activation; a linear last layer (docs/science.md, 2)."""

from __future__ import annotations

from nid_cli.nets.builder import Builder
from nid_cli.nets.calls import INPUT
from nid_cli.nets.graph import Graph
from nid_cli.specs import Measures


def mlp(measures: Measures, *, width: int, depth: int, norm: str, activation: str, gated: bool) -> Graph:
    """An MLP of ``depth`` linear layers: inputs - width - ... - width - outputs; images are flattened.

    Args:
        norm: ``layer`` (affine LayerNorm), ``batch`` or ``none``.
        activation: ``gelu``, ``relu`` or ``identity``; replaced by x * sigmoid(C x) where ``gated`` (sigma).
    """
    build = Builder(measures.shape)
    last = build.flatten("flatten", INPUT)
    for i in range(depth - 1):
        last = build.linear(f"linear.{i}", last, width)
        if norm != "none":
            last = build.norm(f"norm.{i}", last, norm)
        last = (
            build.gate(f"activation.{i}", last, 1.0) if gated else build.activation(f"activation.{i}", last, activation)
        )
    build.linear(f"linear.{depth - 1}", last, measures.outputs)
    return build.graph(labels={f"linear.{i}": i for i in range(depth)})
