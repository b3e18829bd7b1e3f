"""The one table of architectures: from the values of a specification to a graph, and the values it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.resnet import resnet
from nid_cli.specs import NetworkSpec


@dataclass(frozen=True)
class Architecture:
    """``build(input_shape, width, depth, outputs, norm, activation, gated)`` makes the graph, which accepts ``norms``
    and depths from ``min_depth`` on."""

    build: Callable[..., Graph]
    norms: tuple[str, ...]
    min_depth: int


ARCHITECTURES = {
    "mlp": Architecture(mlp, norms=("layer", "batch", "none"), min_depth=2),
    "resnet": Architecture(resnet, norms=("group", "batch"), min_depth=8),
}


def build(network: NetworkSpec, input_shape: tuple[int, ...], outputs: int, *, gated: bool = False) -> Graph:
    """The graph of an architecture for inputs of this shape; ``gated``: with gates in the place of activations.

    Raises:
        UsageError: an architecture, norm or depth that does not exist.
    """
    if network.arch not in ARCHITECTURES:
        raise unknown("architecture", network.arch, ARCHITECTURES)
    architecture = ARCHITECTURES[network.arch]
    assert network.width is not None and network.depth is not None
    if network.norm not in architecture.norms:
        raise unknown(f"norm for {network.arch}", network.norm, architecture.norms)
    if network.depth < architecture.min_depth or network.width < 1:
        raise UsageError(f"{network.arch} needs depth >= {architecture.min_depth} and width >= 1")
    own = {name: value for name, value in vars(network).items() if name not in ("arch", "graph")}
    return architecture.build(input_shape=input_shape, outputs=outputs, gated=gated, **own)
