"""The graph convolutional network (Kipf & Welling 2017): a class for each node of one graph."""

from __future__ import annotations

from collections.abc import Callable

from nid_cli.errors import UsageError
from nid_cli.nets.builder import Builder
from nid_cli.nets.calls import INPUT, Batch, Value
from nid_cli.nets.graph import Graph
from nid_cli.specs import Measures
from nid_cli.specs.measures import ADJACENCY, DENSE_NODES, SOURCE, TARGET, WEIGHT


def gcn(measures: Measures, *, width: int, depth: int, norm: str, activation: str, gated: bool) -> Graph:
    """``depth`` graph convolutions X -> A X W^T + b, the last one to the outputs; A is the normalized adjacency.

    A sample is the whole graph: nodes x features, with an answer for each node. A is a constant of the data: a matrix
    ``adjacency`` (nodes x nodes), or beyond 2,048 nodes ``edges.source``, ``edges.target`` (int64) and
    ``edges.weight``, an entry of A each.

    Args:
        measures: of one graph, with ``links`` entries of A.
        norm: ``layer``, ``batch`` (over the nodes) or ``none``, after each but the last convolution.
        activation: after that; replaced by x * sigmoid(C x) where ``gated``.

    Raises:
        UsageError: the data are no graph.
    """
    if len(measures.shape) != 2 or measures.links is None:
        raise UsageError(
            "a gcn needs the nodes of a graph, and this data set has none", "choose another with --dataset"
        )
    build = Builder(measures.shape)
    gather = _dense(build) if measures.shape[0] <= DENSE_NODES else _sparse(build, measures.links)
    last = INPUT
    for i in range(depth - 1):
        last = build.linear(f"conv.{i}", gather(f"neighbors.{i}", last), width)
        if norm != "none":
            last = build.norm(f"norm.{i}", last, norm)
        last = build.activate(f"activation.{i}", last, activation, gated)
    build.linear(f"conv.{depth - 1}", gather(f"neighbors.{depth - 1}", last), measures.outputs)
    return build.graph()


def _dense(build: Builder) -> Callable[[str, str], str]:
    """A X as a matrix product."""
    nodes = build.input_shape[0]
    adjacency = build.constant(ADJACENCY, nodes, nodes)

    def gather(name: str, source: str) -> str:
        return build.call(name, "matmul.default", adjacency, Value(source), shape=build.shapes[source], site="")

    return gather


def _sparse(build: Builder, links: int) -> Callable[[str, str], str]:
    """A X entry by entry of A: rows of X, weighted, and added up at their targets."""
    source, target = (build.constant(name, links, dtype="int64") for name in (SOURCE, TARGET))
    weight = build.constant(WEIGHT, links)

    def gather(name: str, read: str) -> str:
        shape, channels = build.shapes[read], build.channels(read)
        along = (Batch(), links, channels)
        sent = build.call(f"{name}.sent", "index_select.default", Value(read), 1, source, shape=along)
        column = build.call(f"{name}.weight", "unsqueeze.default", weight, -1, shape=(links, 1))
        weighed = build.call(f"{name}.weighed", "mul.Tensor", Value(sent), Value(column), shape=along)
        empty = build.call(f"{name}.empty", "zeros_like.default", Value(read), shape=shape)
        return build.call(name, "index_add.default", Value(empty), 1, target, Value(weighed), shape=shape)

    return gather
