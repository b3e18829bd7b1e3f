"""Building networks call by call, and an interpreter of a few lines to run them: independent of any exporter."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nid_cli.nets.calls import Batch, Call, Named, Stored, Value
from nid_cli.nets.permutation import permute, random
from nid_cli.nets.spaces import Symmetries, derive

BATCHES = (3, 5)  # Every call is run with both: what differs between their shapes is a multiple of the batch.


def function_of(name: str) -> Any:
    operation, _, overload = name.partition(".")
    if not overload:
        return getattr(operator, operation)
    return getattr(getattr(torch.ops.aten, operation), overload)


def resolved(argument: Any, values: Mapping[str, Any], stored: Mapping[str, Tensor], batch: int) -> Any:
    match argument:
        case tuple():
            return [resolved(part, values, stored, batch) for part in argument]
        case Value(name):
            return values[name]
        case Stored(name):
            return stored[name]
        case Batch(times):
            return times * batch
        case Named(_, name):
            return getattr(torch, name)
    return argument


def run_call(call: Call, values: Mapping[str, Any], stored: Mapping[str, Tensor], batch: int) -> Any:
    arguments = [resolved(argument, values, stored, batch) for argument in call.args]
    keywords = {name: resolved(argument, values, stored, batch) for name, argument in call.kwargs}
    return function_of(call.function)(*arguments, **keywords)


def shape_between(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor):
        return tuple(m if m == n else Batch(m // BATCHES[0]) for m, n in zip(a.shape, b.shape, strict=True))
    return tuple(shape_between(x, y) for x, y in zip(a, b, strict=True)) if isinstance(a, tuple | list) else None


class Net:
    """A network that grows by calls: ``net("relu.default", x)``."""

    def __init__(self, seed: int = 0) -> None:
        self.calls: list[Call] = []
        self.stored: dict[str, Tensor] = {}
        self.inputs: dict[str, tuple[Any, ...]] = {}
        self.values: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self.constant: list[str] = []
        self.generator = torch.Generator().manual_seed(seed)

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def input(self, *shape: int, below: int = 0) -> Value:
        name = f"input{len(self.inputs)}"
        self.inputs[name] = (Batch(), *shape)
        for values, batch in zip(self.values, BATCHES, strict=True):
            values[name] = torch.randint(below, (batch, *shape)) if below else self.randn(batch, *shape)
        return Value(name)

    def weight(self, *shape: int, name: str = "", positive: bool = False) -> Stored:
        name = name or f"w{len(self.stored)}"
        self.stored[name] = self.randn(*shape).abs() + 0.5 if positive else self.randn(*shape) / max(shape[-1:] or (1,))
        return Stored(name)

    def indices(self, *numbers: int) -> Stored:
        name = f"constant{len(self.stored)}"
        self.stored[name] = torch.tensor(numbers)
        self.constant.append(name)
        return Stored(name)

    def __call__(self, function: str, *args: Any, name: str = "", **kwargs: Any) -> Value:
        call = Call(
            name=name or f"{function.partition('.')[0]}{len(self.calls)}",
            function=function,
            args=args,
            kwargs=tuple(kwargs.items()),
            shape=None,
        )
        made = [run_call(call, values, self.stored, batch) for values, batch in zip(self.values, BATCHES, strict=True)]
        shape = shape_between(*made)
        call = Call(name=call.name, function=function, args=args, kwargs=call.kwargs, shape=shape)
        for values, value in zip(self.values, made, strict=True):
            values[call.name] = value
        self.calls.append(call)
        return Value(call.name)

    def shape(self, value: Value) -> tuple[Any, ...]:
        return next(call.shape for call in self.calls if call.name == value.name)  # type: ignore[return-value]

    def linear(self, x: Value, before: int, after: int, name: str = "") -> Value:
        weight = self.weight(after, before, name=name and f"{name}.weight")
        bias = self.weight(after, name=name and f"{name}.bias", positive=True)
        return self("linear.default", x, weight, bias, name=name)

    def conv(self, x: Value, before: int, after: int, name: str = "", stride: int = 1, groups: int = 1) -> Value:
        weight = self.weight(after, before // groups, 3, 3, name=name and f"{name}.weight")
        return self("conv2d.default", x, weight, None, (stride,) * 2, (1, 1), (1, 1), groups, name=name)

    def batch_norm(self, x: Value, size: int) -> Value:
        held = [self.weight(size, positive=True) for _ in range(4)]
        return self("batch_norm.default", x, *held, False, 0.1, 1e-5, False)

    def layer_norm(self, x: Value, size: int) -> Value:
        held = [self.weight(size, positive=True) for _ in range(2)]
        return self("layer_norm.default", x, (size,), *held, 1e-5)

    def derived(self, output: Value) -> Symmetries:
        shapes = {name: tuple(tensor.shape) for name, tensor in self.stored.items()}
        return derive(self.calls, shapes, self.inputs, output.name, constant=self.constant)

    def output(self, output: Value, stored: Mapping[str, Tensor]) -> Tensor:
        values = {name: self.values[0][name] for name in self.inputs}
        for call in self.calls:
            values[call.name] = run_call(call, values, stored, BATCHES[0])
        found: Tensor = values[output.name]
        return found

    def error(self, output: Value, found: Symmetries, seed: int = 0) -> float:
        """How far the output is off after a random permutation, relative to its greatest number."""
        permutation = random(found.spaces, torch.Generator().manual_seed(seed))
        before = self.output(output, self.stored)
        after = self.output(output, permute(found.axes, self.stored, permutation))
        return float((before - after).abs().max() / before.abs().max().clamp_min(1e-6))

    def sizes(self, output: Value) -> list[tuple[int, bool]]:
        """Sizes of the spaces in order, and whether each depends on another; after a check that they are sound."""
        found = self.derived(output)
        assert found.unruled == ()
        assert self.error(output, found) < 1e-9
        return [(space.size, space.depends_on is not None) for space in found.spaces]
