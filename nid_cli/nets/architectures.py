"""The one table of architectures: from the values of a specification to a graph, and the values it accepts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.resnet import resnet


@dataclass(frozen=True)
class Architecture:
    """``build(spec values, input shape, outputs)`` makes the graph; ``norms`` and ``min_depth`` say what it accepts."""

    build: Callable[[dict[str, Any], tuple[int, ...], int], Graph]
    norms: tuple[str, ...]
    min_depth: int


def _mlp(spec: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Graph:
    return mlp(
        inputs=math.prod(input_shape),
        width=spec["width"],
        depth=spec["depth"],
        outputs=outputs,
        norm=spec["norm"],
        activation=spec["activation"],
        gated=spec["symmetry"] == "sigma",
    )


def _resnet(spec: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Graph:
    return resnet(
        input_shape=input_shape,
        width=spec["width"],
        depth=spec["depth"],
        outputs=outputs,
        norm=spec["norm"],
        activation=spec["activation"],
        gated=spec["symmetry"] == "sigma",
    )


ARCHITECTURES = {
    "mlp": Architecture(_mlp, norms=("layer", "batch", "none"), min_depth=2),
    "resnet": Architecture(_resnet, norms=("group", "batch"), min_depth=8),
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
    return architecture.build(spec, input_shape, outputs)
