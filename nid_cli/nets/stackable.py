"""Whether models of a graph can run together (``nets.stacking``): tried out, on two tiny batches of random numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nid_cli.nets.bounds import plan_of
from nid_cli.nets.calls import Call
from nid_cli.nets.description import Buffer
from nid_cli.nets.example import example
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.interpreter import run
from nid_cli.nets.proof import floating
from nid_cli.nets.stacking import run_stacked, stack, unstack

# Networks with more parameters are work enough for a GPU one by one, and two of them in float64 may be too much here.
LARGEST = 2**25

# What two ways to the same numbers may differ by in float64, relative to the greatest of them.
_ROUNDING, _ZERO = 1e-8, 1e-12

_MODELS = 2


@lru_cache(maxsize=64)
def stackable(graph: Graph) -> str | None:
    """Why models of this graph cannot be trained together, in words; None if they can.

    It is tried on the CPU in float64: a step of two models together must give the outputs, gradients and running
    statistics that each has alone.
    """
    if graph.drops:
        return "it drops values at random in training, and each model's own must not depend on the others"
    if graph.parameter_count > LARGEST:
        return f"it has {graph.parameter_count} parameters, which is work enough for one at a time"
    calls: list[Call] = []
    try:
        with floating(torch.float64), _no_loops():
            together = _step_together(graph, calls)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        at = f", at or after its call {calls[-1].name} ({calls[-1].function})" if calls else ""
        return f"torch cannot run several of it at once{at}: {said}"
    with floating(torch.float64):
        expected = list(_steps_alone(graph))
    for alone, found in zip(expected, together, strict=True):
        # What is no more than the rounding of the greatest number is zero: the gradient of a key's bias.
        zero = _ZERO * max(map(_scale, alone.values()))
        for name, value in alone.items():
            bound = max(_ROUNDING * _scale(value), zero)
            if not torch.allclose(found[name], value, rtol=0.0, atol=bound, equal_nan=True):
                return f"{name} is another where several of it run at once"
    return None


def _drawn(graph: Graph) -> tuple[list[State], State, list[State]]:
    """States of two models, the constants that they share, and the inputs of each."""
    generator = torch.Generator().manual_seed(0)

    def parameter(shape: tuple[int, ...]) -> Tensor:
        scale = max(math.prod(shape[1:]), 1) ** -0.5
        return torch.randn(shape, generator=generator, dtype=torch.float64) * scale

    buffers = {name: _buffer(own) for name, own in graph.description.buffers.items()}
    constants = {name: buffers[name] for name in graph.constants}
    own = {name: buffers[name] for name in graph.buffers}
    states = [
        {name: parameter(shape) for name, shape in graph.parameters.items()} | {n: t.clone() for n, t in own.items()}
        for _ in range(_MODELS)
    ]
    given = graph.description.inputs
    inputs = [
        {one.name: _double(x) for one, x in zip(given, example(given, seed=seed), strict=True)}
        for seed in range(_MODELS)
    ]
    return states, constants, inputs


def _buffer(own: Buffer) -> Tensor:
    """Ones; whole numbers may be places, of which 0 is always one."""
    shape, kind = tuple(size for size in own.shape if isinstance(size, int)), getattr(torch, own.dtype)
    whole = not kind.is_floating_point and kind != torch.bool
    return torch.zeros(shape, dtype=kind) if whole else _double(torch.ones(shape, dtype=kind))


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _step_together(graph: Graph, calls: list[Call]) -> list[State]:
    states, constants, inputs = _drawn(graph)
    stacked, plan = stack(states), plan_of(graph.description, torch.float64)
    leaves = [stacked[name].requires_grad_() for name in graph.trained]
    values = run_stacked(
        plan,
        stacked,
        constants,
        stack(inputs),
        (graph.output,),
        training=True,
        observe=lambda call, _: calls.append(call),
    )
    calls.clear()
    return unstack(_results(graph, stacked, leaves, values[graph.output]))


def _steps_alone(graph: Graph) -> Iterator[State]:
    states, constants, inputs = _drawn(graph)
    for state, given in zip(states, inputs, strict=True):
        leaves = [state[name].requires_grad_() for name in graph.trained]
        plan = plan_of(graph.description, torch.float64)
        values = run(plan, state | constants, given, (graph.output,), training=True)
        yield _results(graph, state, leaves, values[graph.output])


def _results(graph: Graph, state: State, leaves: list[Tensor], output: Tensor) -> State:
    """Outputs, gradients of the sum of their squares, and running statistics."""
    gradients = torch.autograd.grad(output.square().sum(), leaves, allow_unused=True) if leaves else ()
    named = {
        f"the gradient of {name}": torch.zeros_like(state[name]) if gradient is None else gradient
        for name, gradient in zip(graph.trained, gradients, strict=True)
    }
    running = {f"the running statistic {name}": state[name] for name in sorted(graph.running)}
    return {"its output": output.detach()} | named | running


def _scale(tensor: Tensor) -> float:
    """The greatest finite magnitude."""
    return float(tensor.nan_to_num(0.0, 0.0, 0.0).abs().max()) if tensor.numel() else 0.0


@contextmanager
def _no_loops() -> Iterator[None]:
    """Refuses functions that torch would run model by model, with a warning: nothing is gained by them."""
    functorch: Any = torch._C._functorch  # torch has no public switch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(before)
