"""Runs a graph on a dictionary of tensors.

A *state* maps names to tensors: effective weights, biases, norm parameters, running statistics and (sigma) gates.
Everything here is a pure function of graph, state and inputs; batch statistics in training are the one exception.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache

from torch import Tensor

from nid_cli.nets import bounds
from nid_cli.nets.calls import Call
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.interpreter import Plan, run
from nid_cli.nets.layers import Layer

State = dict[str, Tensor]


@lru_cache(maxsize=64)
def plan_of(graph: Graph) -> Plan:
    """The network, ready to run."""
    return bounds.plan_of(graph.description)


def neurons_last(values: Tensor, axis: int) -> Tensor:
    """Values as samples x neurons, which are on ``axis``: every pixel, or token, of every sample is one sample."""
    if axis == values.ndim - 1:
        return values.flatten(0, -2)
    return values.movedim(axis, 0).flatten(1).T


def size_in_bytes(state: Mapping[str, Tensor]) -> int:
    """The memory that a state's tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def completed(graph: Graph, state: Mapping[str, Tensor]) -> State:
    """The state with zeros for the parameters that it lacks: the biases that ``nets.biased`` adds."""
    like = next(state[name] for name in graph.parameters if name in state)
    added = {name: like.new_zeros(shape) for name, shape in graph.parameters.items() if name not in state}
    return dict(state) | added


def apply(graph: Graph, layer: Layer, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The output of the first layer (eval mode) for the network's input ``x``."""
    return record(graph, state, {INPUT: x}, (layer.name,))[layer.name]


def forward(graph: Graph, state: Mapping[str, Tensor], x: Tensor, training: bool = False) -> Tensor:
    """The network's outputs (N x outputs, or N x positions x outputs) for prepared inputs ``x`` (N x \\*shape)."""
    return record(graph, state, {INPUT: x}, (graph.output,), training)[graph.output]


def record(
    graph: Graph,
    state: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    wanted: Collection[str],
    training: bool = False,
    observe: Callable[[Call, Tensor], None] | None = None,
) -> dict[str, Tensor]:
    """The values of the calls in ``wanted``, starting from ``given`` values (of the input or of calls).

    Only what leads from the given values to the wanted ones is run.

    Args:
        observe: shown each call with the (first) value that it reads before it runs; nothing is kept for it.
    """
    return run(plan_of(graph), state, given, wanted, training, observe)
