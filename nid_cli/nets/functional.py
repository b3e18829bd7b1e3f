"""Runs a graph on a dictionary of tensors.

A *state* maps names to tensors: effective weights, biases, norm parameters, running statistics and (sigma) gates.
Everything here is a pure function of graph, state and inputs; batch statistics in training are the one exception.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.nets.graph import INPUT, Graph, Op

State = dict[str, Tensor]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "identity": lambda x: x}


def _linear(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    return F.linear(x.flatten(1), state[f"{op.name}.weight"], state[f"{op.name}.bias"])


def _conv(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    return F.conv2d(x, state[f"{op.name}.weight"], stride=op.stride, padding=op.kernel // 2)


def _norm(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    weight, bias = state[f"{op.name}.weight"], state[f"{op.name}.bias"]
    if op.function == "layer":
        return F.layer_norm(x, (op.channels,), weight, bias)
    if op.function == "group":
        return F.group_norm(x, 1, weight, bias)
    mean, var = state[f"{op.name}.running_mean"], state[f"{op.name}.running_var"]
    return F.batch_norm(x, mean, var, weight, bias, training)


def _activation(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    return ACTIVATIONS[op.function](x)


def _gate(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    # C acts on the channels: a matrix product, or a 1 x 1 convolution of a feature map.
    gate = state[f"{op.name}.gate"]
    return x * torch.sigmoid(F.linear(x, gate) if x.ndim == 2 else F.conv2d(x, gate[:, :, None, None]))


def _add(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _pool(op: Op, state: Mapping[str, Tensor], training: bool, x: Tensor) -> Tensor:
    return x.mean((2, 3))


KERNELS: dict[str, Callable[..., Tensor]] = {
    "linear": _linear,
    "conv": _conv,
    "norm": _norm,
    "activation": _activation,
    "gate": _gate,
    "add": _add,
    "pool": _pool,
}


def size_in_bytes(state: Mapping[str, Tensor]) -> int:
    """The memory that a state's tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def apply(graph: Graph, name: str, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The output of the one operation ``name`` (eval mode) for its input ``x``."""
    op = graph.by_name[name]
    return KERNELS[op.kind](op, state, False, x)


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
        values[op.name] = KERNELS[op.kind](op, state, training, *(values[source] for source in op.inputs))
        remaining.discard(op.name)
        for source in op.inputs:
            if source not in kept and graph.last_use[source] == position:
                del values[source]  # memory does not grow with depth
    return {name: values[name] for name in wanted}
