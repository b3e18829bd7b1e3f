"""Plans with taps: a given value is added to the value of a call, so that its gradient is that of the call's value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch

from nid_cli.nets.plan import Plan, Program, Step


def tap(call: str) -> str:
    """What the given value is called that is added to the value of ``call``."""
    return f"{call}+"


@dataclass(frozen=True, eq=False)
class TappedPlan(Plan):
    """A plan for runs that are given, beside the inputs, ``tap(name)`` for each name in ``taps``."""

    taps: tuple[str, ...] = ()
    _tapped: dict[Any, Program] = field(default_factory=dict)

    def program(self, given: Any, wanted: tuple[str, ...]) -> Program:
        """What must run from ``given`` values, taps among them, to ``wanted`` ones."""
        key = (tuple(given), wanted)
        if key not in self._tapped:
            names = {tap(call) for call in self.taps}
            own = tuple(name for name in key[0] if name not in names)
            self._tapped[key] = _tapped(super().program(own, wanted), self.taps)
        return self._tapped[key]


@lru_cache(maxsize=64)
def tapped_plan(plan: Plan, taps: tuple[str, ...]) -> TappedPlan:
    """The plan with these calls tapped. See :class:`TappedPlan`."""
    return TappedPlan(plan.calls, plan.inputs, plan.dtype, taps=taps)


def _tapped(program: Program, taps: tuple[str, ...]) -> Program:
    slots = {call: program.slots + place for place, call in enumerate(taps)}
    steps: list[Step] = []
    for step in program.steps:
        steps.append(step)
        if (slot := slots.get(step.call.name)) is not None:
            fills = ((0, step.target), (1, slot))
            steps.append(
                Step(step.call, torch.add, (None, None), fills, (), {}, step.target, frees=(slot,), observed=None)
            )
    return replace(
        program,
        slots=program.slots + len(taps),
        given=(*program.given, *((tap(call), slot) for call, slot in slots.items())),
        steps=tuple(steps),
    )
