"""The network of a specification: what the shape of its data makes of its architecture. No torch."""

from __future__ import annotations

from typing import Any

from nid_cli.data.catalog import entry
from nid_cli.nets import Graph, build
from nid_cli.specs import SYMMETRIES, DataSpec, NetworkSpec, RunSpec


def network_of(network: NetworkSpec, data: DataSpec, symmetry: str) -> Graph:
    """The graph of an architecture for a data set, gated where the symmetry type asks for it.

    Raises:
        UsageError: the architecture cannot be so, or not for these data.
    """
    known = entry(data.name)
    shape, outputs = known.shape(data.parameters), known.outputs(data.parameters)
    return build(network, shape, outputs, gated=SYMMETRIES[symmetry].gated)


def graph_of(spec: RunSpec) -> Graph:
    """The network of a specification."""
    return network_of(spec.network, spec.data, spec.symmetry.name)


def architecture_of(spec: RunSpec) -> dict[str, Any]:
    """The network of a specification as the registry's table of architectures describes it."""
    known = entry(spec.data.name)
    shape, outputs = known.shape(spec.data.parameters), known.outputs(spec.data.parameters)
    return spec.network.canonical() | {"input_shape": list(shape), "outputs": outputs}


def fixed_share(spec: RunSpec) -> float | None:
    """The share of a network's weights (not biases) that is fixed; None where the symmetry type fixes none."""
    if spec.symmetry.num_fixed is None:
        return None
    layers = graph_of(spec).weighted
    fixed = sum(op.channels * count for op, count in zip(layers, spec.symmetry.num_fixed, strict=True))
    return fixed / sum(op.channels * op.fan_in for op in layers)
