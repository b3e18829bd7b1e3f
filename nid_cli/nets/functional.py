"""Runs a graph on a dictionary of tensors.

A *state* maps names to tensors: effective weights, biases, norm parameters, running statistics and (sigma) gates.
Everything here is a pure function of graph, state and inputs; batch statistics in training are the one exception.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache

from torch import Tensor

from nid_cli.lazy import resolve
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.operations import Op

State = dict[str, Tensor]


def _run(op: Op, state: Mapping[str, Tensor], training: bool, *inputs: Tensor) -> Tensor:
    value: Tensor = _kernel(op.operation.run)(op, state, training, *inputs)
    return value


# Resolved once: a forward pass runs hundreds of small operations.
_kernel = cache(resolve)


def inputs_of_neurons(op: Op, x: Tensor) -> Tensor:
    """The rows (samples x d) that the neurons of a weighted operation see in its input; see ``Operation.rows``."""
    found: Tensor = _kernel(op.operation.rows)(op, x)
    return found


def neurons_last(values: Tensor) -> Tensor:
    """Values as samples x neurons: of a feature map (N x C x pixels) every pixel is one sample."""
    return values if values.ndim == 2 else values.transpose(0, 1).flatten(1).T


def size_in_bytes(state: Mapping[str, Tensor]) -> int:
    """The memory that a state's tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def apply(graph: Graph, name: str, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The output of the one operation ``name`` (eval mode) for its input ``x``."""
    return _run(graph.by_name[name], state, False, x)


def forward(graph: Graph, state: Mapping[str, Tensor], x: Tensor, training: bool = False) -> Tensor:
    """The network's outputs (N x outputs) for prepared inputs ``x`` (N x *shape)."""
    return record(graph, state, {INPUT: x}, (graph.output.name,), training)[graph.output.name]


def record(
    graph: Graph,
    state: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    wanted: Collection[str],
    training: bool = False,
    observe: Callable[[Op, Tensor], None] = lambda op, x: None,
) -> dict[str, Tensor]:
    """The values of the operations in ``wanted``, starting from ``given`` values (of the input or of operations).

    Operations whose values are given are not run, nor is what only they need or what comes after the last wanted one.

    Args:
        observe: shown each operation with its (first) input before it runs; nothing is kept for it.
    """
    values = dict(given)
    kept = {*wanted, *given}
    remaining = set(wanted) - values.keys()
    for position, op in enumerate(graph.ops):
        if not remaining:
            break
        if op.name in values or any(source not in values for source in op.inputs):
            continue
        observe(op, values[op.inputs[0]])
        values[op.name] = _run(op, state, training, *(values[source] for source in op.inputs))
        remaining.discard(op.name)
        for source in op.inputs:
            if source not in kept and graph.last_use[source] == position:
                del values[source]  # memory does not grow with depth
    return {name: values[name] for name in wanted}
