"""How much memory a model of a stack takes, estimated without training it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from nid_cli.data.tensors import Data
from nid_cli.metrics import EVALUATION_BATCH, losses_of
from nid_cli.nets.bounds import most_held
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.stacking import forward
from nid_cli.specs import RunSpec

# What allocators and libraries need beside the tensors, as a share of the memory.
_RESERVE = 0.2

# Tensors of the size of its parameters that an optimizer keeps for a model.
_MOMENTS = {"adamw": 2, "adam": 2, "sgd": 1}


def how_many(graph: Graph, data: Data, spec: RunSpec, free_bytes: int) -> int:
    """How many models can train stacked (``training.stacked``) in so much memory beside the data; one at least."""
    return max(1, int((1 - _RESERVE) * free_bytes / bytes_of(graph, data, spec)))


def bytes_of(graph: Graph, data: Data, spec: RunSpec) -> int:
    """What each model of a stack takes, about.

    That is its tensors, gradients and moments, its fixed entries and the order of its samples; and what a step keeps
    for the way back, or the values that its evaluation holds at one time, if these are more.
    """
    width = _width(data.dtype)
    stored = width * sum(map(math.prod, (*graph.parameters.values(), *graph.buffers.values())))
    trained = width * sum(math.prod(graph.parameters[name]) for name in graph.trained)
    counts = zip(spec.symmetry.num_fixed or (), graph.weighted, strict=False)
    fixed = (8 + width) * sum(count * layer.channels for count, layer in counts)
    lasting = stored + (1 + _MOMENTS[spec.optimizer.name]) * trained + fixed + 8 * len(data.train)
    evaluated = min(graph.batch(EVALUATION_BATCH), max(map(len, (data.train, data.val, data.test))))
    evaluation = 2 * width * most_held(graph.description) * evaluated
    return lasting + max(_step_bytes(graph, data, spec), evaluation)


def _step_bytes(graph: Graph, data: Data, spec: RunSpec) -> int:
    """What one model's step holds: a batch, all that torch keeps for the way back, and three of the widest values,
    which come and go. Seen on torch's ``meta`` device, which knows shapes and holds no numbers."""
    assert spec.batch_size is not None
    samples = min(spec.batch_size, len(data.train))
    raw, targets = (_empty((samples, *own.shape[1:]), own.dtype) for own in (data.train.inputs, data.train.targets))
    inputs = data.prepare(raw)
    state = {name: _empty((1, *shape), data.dtype) for name, shape in graph.parameters.items()}
    constants: State = {}
    for name, buffer in graph.description.buffers.items():
        kind = getattr(torch, buffer.dtype)
        shape = tuple(size for size in buffer.shape if isinstance(size, int))
        tensor = _empty(shape, data.dtype if kind == torch.float32 else kind)
        if name in graph.constants:
            constants[name] = tensor
        else:
            state[name] = tensor[None]
    for name in graph.trained:
        state[name].requires_grad_()
    own_already = {_place(tensor) for tensor in (*state.values(), *constants.values())}
    kept = {_place(inputs): inputs}

    def keep(tensor: Tensor) -> Tensor:
        kept[_place(tensor)] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        losses_of(forward(graph, state, constants, inputs[None], training=True), targets[None])
    held = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own_already)
    return held + 3 * _width(data.dtype) * max(graph.sizes.values()) * samples


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _width(dtype: torch.dtype) -> int:
    """Bytes of one number."""
    return torch.finfo(dtype).bits // 8


def _place(tensor: Tensor) -> int:
    """Names the memory that a tensor lies in."""
    return int(tensor.untyped_storage()._cdata)
