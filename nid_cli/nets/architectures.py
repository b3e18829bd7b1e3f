"""The one table of architectures: from the values of a specification to a graph, and the values it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.resnet import resnet


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


def build(spec: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Graph:
    """The graph of a specification's architecture (its fields arch, width, depth, norm, activation, symmetry).

    Raises:
        UsageError: an architecture, norm or depth that does not exist.
    """
    if spec["arch"] not in ARCHITECTURES:
        raise unknown("architecture", spec["arch"], ARCHITECTURES)
    architecture = ARCHITECTURES[spec["arch"]]
    if spec["norm"] not in architecture.norms:
        raise unknown(f"norm for {spec['arch']}", spec["norm"], architecture.norms)
    if spec["depth"] < architecture.min_depth or spec["width"] < 1:
        raise UsageError(f"{spec['arch']} needs depth >= {architecture.min_depth} and width >= 1")
    own = {name: spec[name] for name in ("width", "depth", "norm", "activation")}
    return architecture.build(input_shape=input_shape, outputs=outputs, gated=spec["symmetry"] == "sigma", **own)
