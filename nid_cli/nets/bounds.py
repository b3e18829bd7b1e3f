"""Holds what a network really computes against what its description declares, before memory is taken for it.

Values are made on torch's ``meta`` device, which knows shapes and holds no numbers; everything that a function makes on
its way is seen too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nid_cli.errors import IntegrityError
from nid_cli.nets.calls import Batch, Call
from nid_cli.nets.description import Description
from nid_cli.nets.interpreter import run
from nid_cli.nets.plan import Plan
from nid_cli.nets.sizes import numbers
from nid_cli.nets.validation import LARGEST_TOGETHER, LARGEST_VALUE, validate

_SAMPLES = 5


class _TooLarge(Exception):
    pass


class _Bounded(TorchDispatchMode):
    """Refuses a value of more numbers a sample than any may have, whoever makes it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value = func(*args, **(kwargs or {}))
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Tensor) and part.numel() > _SAMPLES * LARGEST_VALUE:
                raise _TooLarge
        return value


def plan_of(description: Description, dtype: torch.dtype = torch.float32) -> Plan:
    """The plan of a description that was checked."""
    return Plan(description.calls, {given.name: given.shape for given in description.inputs}, dtype)


def check(description: Description) -> None:
    """Refuses a description that must not run, in form (``validation.validate``) and in what its calls would make.

    Raises:
        IntegrityError: one sentence that names the call at fault.
    """
    validate(description)
    plan = plan_of(description)
    tensors = {name: (shape, "float32") for name, shape in description.parameters.items()}
    tensors |= {name: (buffer.shape, buffer.dtype) for name, buffer in description.buffers.items()}
    stored = {
        name: torch.empty(_sizes(shape), dtype=getattr(torch, dtype), device="meta")
        for name, (shape, dtype) in tensors.items()
    }
    given = {
        own.name: torch.empty(_sizes(own.shape), dtype=getattr(torch, own.dtype), device="meta")
        for own in description.inputs
    }
    at = ""

    def observe(call: Call, _: Tensor) -> None:
        nonlocal at
        at = call.name

    wanted = tuple(call.name for call in description.calls if call.shape is not None)
    try:
        with torch.no_grad(), _Bounded():
            values = run(plan, stored, given, wanted, observe=observe)
    except _TooLarge:
        raise IntegrityError(
            f"the network makes a value of more than {LARGEST_VALUE} numbers a sample, at or after call {at}"
        ) from None
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise IntegrityError(f"the network cannot run, at or after call {at}: {said}") from error
    for name in wanted:
        if _shapes(values[name]) != _declared(description.by_name[name].shape):
            raise IntegrityError(f"call {name} of the network is not of the shape that it declares")
    _together(plan, description)


def _together(plan: Plan, description: Description) -> None:
    """Refuses values that fit one by one but not together."""
    for call, total in _held(plan, description):
        if total > LARGEST_TOGETHER:
            raise IntegrityError(
                f"the network holds more than {LARGEST_TOGETHER} numbers a sample at one time, at call {call.name}"
            )


def most_held(description: Description) -> int:
    """The most numbers a sample that a network holds at one time in evaluation."""
    return max((total for _, total in _held(plan_of(description), description)), default=0)


def _held(plan: Plan, description: Description) -> Iterator[tuple[Call, int]]:
    """The numbers a sample that are there after each call, each value until its last reader ran."""
    sizes = {given.name: numbers(given.shape) for given in description.inputs}
    program = plan.program(tuple(sizes), (description.output,))
    held = {slot: sizes[name] for name, slot in program.given}
    total = sum(held.values())
    for step in program.steps:
        held[step.target] = numbers(step.call.shape)
        total += held[step.target]
        yield step.call, total
        total -= sum(held.pop(slot, 0) for slot in step.frees)


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(size.times * _SAMPLES if isinstance(size, Batch) else size for size in shape)


def _declared(shape: Any) -> Any:
    if shape and isinstance(shape[0], tuple):
        return [_sizes(part) for part in shape]
    return _sizes(shape)


def _shapes(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else [tuple(part.shape) for part in value]
