"""Programs for stacked models (``nets.stacking``): the same steps on values that have a first axis of models.

The functions that small networks spend their time on have a row in ``_RULES``, which says how the same is had for all
models in about as many calls as for one. What stands between such steps runs under ``torch.vmap``, several steps at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from operator import getitem
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.nets.calls import Value, parts
from nid_cli.nets.interpreter import execute
from nid_cli.nets.plan import Plan, Program, Slot, Step


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rows, turned = x.flatten(1, -2), weight.transpose(1, 2)
    found = torch.bmm(rows, turned) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, turned)
    return found if x.ndim == 3 else found.unflatten(1, x.shape[1:-1])


def _layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    _: Any = 0,
) -> Tensor:
    normed = F.layer_norm(x, shape, None, None, eps)
    own = [
        None if part is None else part.view(len(x), *(1 for _ in x.shape[1 : -len(shape)]), *shape)
        for part in (weight, bias)
    ]
    if own[0] is not None and own[1] is not None:
        return torch.addcmul(own[1], normed, own[0])
    normed = normed if own[0] is None else normed * own[0]
    return normed if own[1] is None else normed + own[1]


# What stands in the place of a call's own function, where all tensors that it reads are stacked.
_RULES: dict[str, Callable[..., Tensor]] = {"linear.default": _linear, "layer_norm.default": _layer_norm}

# Functions of single numbers, which serve stacked tensors as they are; those of two tensors if both have equally many
# axes.
_POINTWISE = frozenset(
    f"{name}.default" for name in ("relu", "gelu", "silu", "sigmoid", "tanh", "elu", "leaky_relu", "hardswish", "neg")
)
_OF_TWO = frozenset(f"{name}.Tensor" for name in ("add", "sub", "mul", "div"))


@dataclass(frozen=True, eq=False)
class StackedPlan(Plan):
    """A plan for stacked models: ``constants`` names what they share; ``own``: whether given values are each one's."""

    constants: frozenset[str] = frozenset()
    own: bool = True
    _stacked: dict[Any, Program] = field(default_factory=dict)

    def program(self, given: Any, wanted: tuple[str, ...]) -> Program:
        """What must run from ``given`` values to ``wanted`` ones."""
        key = (tuple(given), wanted)
        if key not in self._stacked:
            self._stacked[key] = _stacked(self, super().program(*key), self.constants, self.own)
        return self._stacked[key]


@lru_cache(maxsize=64)
def stacked_plan(plan: Plan, constants: frozenset[str], own: bool) -> StackedPlan:
    """The plan for stacked models. See :class:`StackedPlan`."""
    return StackedPlan(plan.calls, plan.inputs, plan.dtype, constants=constants, own=own)


def _stacked(plan: Plan, program: Program, constants: frozenset[str], own: bool) -> Program:
    stacked = {slot for name, slot in program.stored if name not in constants}
    stacked |= {slot for _, slot in program.given} if own else set()
    runs = _runs(plan, program, set(stacked))
    steps: list[Step] = []
    slots = program.slots
    for place, (alone, part) in enumerate(runs):
        if alone:
            steps += part
            stacked |= {step.target for step in part}
            continue
        later = {slot for _, others in runs[place + 1 :] for step in others for slot in _reads(step)}
        made = [step.target for step in part]
        outside = tuple(dict.fromkeys(slot for step in part for slot in _reads(step) if slot not in made))
        kept = tuple(slot for slot in made if slot in later or slot in {slot for _, slot in program.wanted})
        steps += _vmapped(part, outside, tuple(0 if slot in stacked else None for slot in outside), kept, slots)
        stacked |= set(kept)
        slots += 1
    name, axis, divisor = program.samples
    return replace(program, slots=slots, steps=tuple(steps), samples=(name, axis + own, divisor))


def _runs(plan: Plan, program: Program, stacked: set[int]) -> list[tuple[bool, list[Step]]]:
    """The steps, in runs of those that have a rule and those that have none.

    A run of functions of single numbers alone is none of its own: to leave vmap for it takes more than it saves.
    """
    shapes = {**plan.inputs, **{call.name: call.shape for call in plan.calls}}
    ruled = []
    for step in program.steps:
        found = _by_rule(step, stacked, shapes)
        ruled.append((found is not None, found or step))
        if stacked.intersection(_reads(step)):
            stacked.add(step.target)
    runs = [(by_rule, [step for _, step in own]) for by_rule, own in groupby(ruled, key=lambda one: one[0])]
    worth = [(by_rule and any(step.call.function in _RULES for step in part), part) for by_rule, part in runs]
    return [
        (by_rule, [step for _, part in own for step in part]) for by_rule, own in groupby(worth, key=lambda one: one[0])
    ]


def _by_rule(step: Step, stacked: set[int], shapes: Mapping[str, Any]) -> Step | None:
    """The step for stacked values without vmap, where there is a rule."""
    call, reads = step.call, set(_reads(step))
    if not reads or not reads <= stacked or len(step.fills) != len(reads):
        return None
    ranks = [len(shapes[part.name]) if isinstance(part, Value) else None for part in call.args[:2]]
    if call.function in _RULES:
        # Samples come first, so that there are two axes at least.
        fits = ranks[0] is not None and ranks[0] >= 2 and call.shape is not None and len(call.shape) == ranks[0]
        return replace(step, function=_RULES[call.function]) if fits else None
    alike = call.function in _OF_TWO and (len(reads) == 1 or (None not in ranks and len(set(ranks)) == 1))
    return step if alike or call.function in _POINTWISE else None


def _vmapped(
    part: list[Step], outside: tuple[int, ...], axes: tuple[int | None, ...], kept: tuple[int, ...], target: int
) -> Iterator[Step]:
    """Steps that run under vmap: one that gives all values that are needed later, one for each that takes it out."""

    def one(*values: Any) -> tuple[Any, ...]:
        slots: dict[int, Any] = dict(zip(outside, values, strict=True))
        execute(part, slots)
        return tuple(slots[slot] for slot in kept)

    def each(*values: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = torch.vmap(one, axes)(*values)
        return found

    first = Step(
        call=part[0].call,
        function=each,
        args=(None,) * len(outside),
        fills=tuple(enumerate(outside)),
        nested=(),
        kwargs={},
        target=target,
        frees=tuple(slot for step in part for slot in step.frees if slot in outside),
        observed=outside[0],
    )
    yield first
    for place, slot in enumerate(kept):
        frees = (target,) if place == len(kept) - 1 else ()
        yield replace(
            first, function=getitem, args=(None, place), fills=((0, target),), target=slot, frees=frees, observed=None
        )


def _reads(step: Step) -> list[int]:
    """The slots that a step reads."""
    inside = (part.number for part in parts((step.nested, tuple(step.kwargs.values()))) if isinstance(part, Slot))
    return [*(slot for _, slot in step.fills), *inside]
