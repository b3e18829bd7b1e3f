"""A network in which every layer that is repaired has a bias: a shift of its values needs one. No torch."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from nid_cli.nets.calls import Call, Stored
from nid_cli.nets.graph import Graph
from nid_cli.nets.layers import BIAS, Layer
from nid_cli.nets.preactivations import preactivations

# Functions with a place for a bias, which may be empty.
FREE = BIAS.keys() - {"addmm"}


@lru_cache(maxsize=64)
def biased(graph: Graph) -> Graph:
    """The network with a bias for each layer that ``preactivations`` says to lack one, where its function takes one.

    With biases of zero (``nets.functional.completed``) it computes what ``graph`` computes. A network that needs none
    is returned as it is.
    """
    lacking = set(preactivations(graph).without_shift)
    added = {layer.name: _name(graph, layer) for layer in graph.weighted if layer.name in lacking and _free(layer)}
    if not added:
        return graph
    by_call = {use.name: added[layer.name] for layer in graph.weighted if layer.name in added for use in layer.uses}
    description = graph.description
    calls = tuple(_with_bias(call, by_call[call.name]) if call.name in by_call else call for call in graph.calls)
    shapes = {added[layer.name]: (layer.channels,) for layer in graph.weighted if layer.name in added}
    return graph.with_description(replace(description, calls=calls, parameters={**description.parameters, **shapes}))


def _free(layer: Layer) -> bool:
    """Whether all its calls have an empty place for a bias."""
    return all(
        use.call.function.partition(".")[0] in FREE and use.argument(2, None) is None and not use.call.kwargs
        for use in layer.uses
    )


def _name(graph: Graph, layer: Layer) -> str:
    name = f"{layer.name}.bias"
    while name in graph.description.parameters or name in graph.description.buffers:
        name += "_"
    return name


def _with_bias(call: Call, bias: str) -> Call:
    return replace(call, args=(*call.args[:2], Stored(bias), *call.args[3:]))
