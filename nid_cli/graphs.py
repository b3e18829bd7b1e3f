"""The network of a specification: what the shape of its data makes of its architecture. No torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from nid_cli.data.catalog import CATALOG, measures_of
from nid_cli.errors import IntegrityError, UsageError
from nid_cli.fitting import refuse_unfit
from nid_cli.nets import ARCHITECTURES, Graph, build
from nid_cli.nets.description import Description
from nid_cli.nets.validation import validate, validate_answer
from nid_cli.specs import SYMMETRIES, DataSpec, NetworkSpec, RunSpec

# What nid itself can make, by selector; registries hold other architectures and data sets beside.
KNOWN: dict[str, tuple[str, ...]] = {"arch": tuple(ARCHITECTURES), "dataset": tuple(CATALOG)}


def network_of(network: NetworkSpec, data: DataSpec, symmetry: str, description: str | None = None) -> Graph:
    """The graph of an architecture for a data set, gated where the symmetry type asks for it.

    Args:
        description: the text that ``network.graph`` is the hash of, where the network was taken in.

    Raises:
        UsageError: the architecture cannot be so, or not for these data.
        IntegrityError: the description is not the one that was recorded, or may not run.
    """
    if network.graph is not None:
        if description is None:
            raise IntegrityError(f"the description of the network {network.arch} is not there")
        graph = _described(description, network.graph)
        try:
            refuse_unfit(graph, data)
        except UsageError as error:
            raise IntegrityError(error.message) from None
        return graph
    return build(network, measures_of(data), gated=SYMMETRIES[symmetry].gated)


@lru_cache(maxsize=16)
def _described(text: str, expected: str) -> Graph:
    described = Description.from_json(text, expected)
    validate(described)
    validate_answer(described)
    return Graph(described)


def graph_of(spec: RunSpec, description: str | None = None) -> Graph:
    """The network of a specification; see :func:`network_of`."""
    return network_of(spec.network, spec.data, spec.symmetry.name, description)


def architecture_of(spec: RunSpec) -> dict[str, Any]:
    """A native network as the registry's table of architectures describes it."""
    needed = measures_of(spec.data)
    own = spec.network.canonical() | {"input_shape": list(needed.shape), "outputs": needed.outputs}
    return own | {name: size for name in ("vocabulary", "links") if (size := getattr(needed, name)) is not None}


def fixed_share(spec: RunSpec, description: str | None = None) -> float | None:
    """The share of a network's weights (not biases) that is fixed; None where the symmetry type fixes none."""
    if spec.symmetry.num_fixed is None:
        return None
    graph = graph_of(spec, description)
    trained = [op.weight in graph.trained for op in graph.weighted]
    counts = zip(graph.weighted, spec.symmetry.num_fixed, trained, strict=True)
    fixed = sum(op.channels * count for op, count, moves in counts if moves)
    return fixed / sum(op.channels * op.fan_in for op in graph.weighted)
