"""Compiles lists of calls into steps over numbered slots, each once.

A *plan* knows the functions and constants of a network; a *program* of it is what must run to get from given values to
wanted ones. Nothing but the functions of ``nets.functions`` is ever called, and nothing changes but the running
statistics of norms in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import torch

from nid_cli.errors import IntegrityError
from nid_cli.nets.calls import Argument, Batch, Call, Named, Shape, Stored, Value, parts
from nid_cli.nets.functions import ATTENTION, DROPOUTS, FACTORIES, FUNCTIONS, PICK, RECURRENT, SIZES, STATISTICS

# The slots that each run fills first: where it computes, and whether it trains.
DEVICE, TRAINING = 0, 1


@dataclass(frozen=True)
class Slot:
    """An argument that a run has at the place ``number``."""

    number: int


@dataclass(frozen=True)
class Step:
    """``fills`` says which arguments come from which slots; ``nested`` ones are tuples of such."""

    call: Call
    function: Callable[..., Any]
    args: tuple[Any, ...]
    fills: tuple[tuple[int, int], ...]
    nested: tuple[tuple[int, Any], ...]
    kwargs: dict[str, Any]
    target: int
    frees: tuple[int, ...]
    observed: int | None


@dataclass(frozen=True)
class Program:
    """Steps from given values to wanted ones, and which slots hold what before them."""

    slots: int
    given: tuple[tuple[str, int], ...]
    stored: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[int, int], ...]  # times N, slot
    drops: tuple[tuple[float, int], ...]  # what attention drops in training, slot
    samples: tuple[str, int, int]  # N = a given value's size on an axis, over a number
    steps: tuple[Step, ...]
    wanted: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A network ready to run. ``inputs`` maps the names of its inputs to their shapes, the samples first.

    ``dtype`` is the floating type that takes the place of float32: a network runs in float64 from end to end.
    """

    calls: tuple[Call, ...]
    inputs: Mapping[str, Shape]
    dtype: torch.dtype = torch.float32
    _programs: dict[Any, Program] = field(default_factory=dict)

    def program(self, given: Iterable[str], wanted: tuple[str, ...]) -> Program:
        """What must run from ``given`` values to ``wanted`` ones."""
        key = (tuple(given), wanted)
        if key not in self._programs:
            self._programs[key] = _compiled(self, *key)
        return self._programs[key]


@cache
def _function(name: str) -> Callable[..., Any]:
    if name not in FUNCTIONS:
        raise IntegrityError(f"{name[:60]!r} is no function that networks may call")
    if name == PICK:
        return lambda values, index: values[index]
    base, _, overload = name.partition(".")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, base), overload)
    return found


def _pruned(calls: tuple[Call, ...], given: tuple[str, ...], wanted: tuple[str, ...]) -> list[Call]:
    needed, kept = set(wanted), []
    for call in reversed(calls):
        if call.name in needed and call.name not in given and call.function not in SIZES:
            needed.update(call.reads)
            kept.append(call)
    return kept[::-1]


def _sizes(calls: tuple[Call, ...], shapes: Mapping[str, Any]) -> dict[str, int | Batch]:
    """What each size is: a number, or a multiple of the samples; known without running anything."""
    found: dict[str, int | Batch] = {}
    for call in calls:
        if call.function == "sym_size.int":
            value, axis = call.args
            found[call.name] = shapes[value.name][axis]
        elif call.function == "mul":
            one, two = (found[part.name] if isinstance(part, Value) else part for part in call.args)
            times = [part.times if isinstance(part, Batch) else part for part in (one, two)]
            product = times[0] * times[1]
            found[call.name] = Batch(product) if Batch in map(type, (one, two)) else product
    return found


def _compiled(plan: Plan, given: tuple[str, ...], wanted: tuple[str, ...]) -> Program:
    shapes = {**plan.inputs, **{call.name: call.shape for call in plan.calls}}
    sizes = _sizes(plan.calls, shapes)
    calls = _pruned(plan.calls, given, wanted)
    numbers: dict[tuple[str, Any], int] = {("", "device"): DEVICE, ("", "training"): TRAINING}

    def slot(kind: str, key: Any) -> int:
        return numbers.setdefault((kind, key), len(numbers))

    def resolve(part: Argument) -> Any:
        if isinstance(part, Value):
            if part.name in sizes:
                return resolve(sizes[part.name])
            return Slot(slot("value", part.name))
        if isinstance(part, Stored):
            return Slot(slot("stored", part.name))
        if isinstance(part, Batch):
            return Slot(slot("size", part.times))
        if isinstance(part, Named):
            return plan.dtype if part == Named("dtype", "float32") else getattr(torch, part.name)
        if isinstance(part, tuple):
            return tuple(resolve(inner) for inner in part)
        return part

    last = {name: place for place, call in enumerate(calls) for name in call.reads}
    kept = {*given, *wanted}
    made = set(given)
    steps = []
    for place, call in enumerate(calls):
        missing = [name for name in call.reads if name not in made and name not in sizes]
        if missing:
            raise ValueError(f"{call.name} reads {missing[0]}, which is neither given nor made")
        made.add(call.name)
        args, kwargs = list(resolve(call.args)), {name: resolve(value) for name, value in call.kwargs}
        _switch(call.function, args, kwargs, plan.dtype, slot)
        holes = [n for n, part in enumerate(args) if isinstance(part, tuple) and any(map(_is_slot, parts(part)))]
        values = [name for name in call.reads if name not in sizes]
        steps.append(
            Step(
                call=call,
                function=_function(call.function),
                args=tuple(None if isinstance(part, Slot) or n in holes else part for n, part in enumerate(args)),
                fills=tuple((n, part.number) for n, part in enumerate(args) if isinstance(part, Slot)),
                nested=tuple((n, args[n]) for n in holes),
                kwargs=kwargs,
                target=slot("value", call.name),
                frees=tuple(slot("value", name) for name in values if name not in kept and last[name] == place),
                observed=slot("value", values[0]) if values else None,
            )
        )
    for name in chain(given, wanted):
        slot("value", name)
    kinds = ("stored", "size", "drop")
    of_kind = {kind: tuple((key, n) for (own, key), n in numbers.items() if own == kind) for kind in kinds}
    return Program(
        slots=len(numbers),
        given=tuple((name, slot("value", name)) for name in given),
        stored=of_kind["stored"],
        sizes=of_kind["size"],
        drops=of_kind["drop"],
        samples=_samples(given, shapes),
        steps=tuple(steps),
        wanted=tuple((name, slot("value", name)) for name in wanted),
    )


def _is_slot(part: Any) -> bool:
    return isinstance(part, Slot)


def _samples(given: tuple[str, ...], shapes: Mapping[str, Any]) -> tuple[str, int, int]:
    for name in given:
        for axis, size in enumerate(shapes[name] or ()):
            if isinstance(size, Batch):
                return name, axis, size.times
    raise ValueError("no given value has an axis of samples")


def _switch(
    function: str, args: list[Any], kwargs: dict[str, Any], dtype: torch.dtype, slot: Callable[[str, Any], int]
) -> None:
    """Puts in what each run decides: training, the device, and the floating type of new values."""
    if function in DROPOUTS:
        args[2] = Slot(TRAINING)
    elif function in RECURRENT:
        args[6] = Slot(TRAINING)
    elif function in STATISTICS:
        if isinstance(args[3], Slot):
            args[5] = Slot(TRAINING)
        args[8] = torch.backends.cudnn.enabled
    elif function == ATTENTION:
        # The share that it drops is an argument of its own.
        if len(args) > 4 and args[4]:
            args[4] = Slot(slot("drop", args[4]))
        elif share := kwargs.get("dropout_p"):
            kwargs["dropout_p"] = Slot(slot("drop", share))
    elif function in FACTORIES:
        kwargs["device"] = Slot(DEVICE)
        if dtype != torch.float32 and "dtype" not in kwargs and not function.startswith("arange"):
            kwargs["dtype"] = dtype
