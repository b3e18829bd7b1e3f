"""Runs networks by their plans: only the functions of ``nets.functions`` are called.

Nothing changes but the running statistics of norms in training.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from torch import Tensor

from nid_cli.nets.calls import Call
from nid_cli.nets.plan import DEVICE, TRAINING, Plan, Slot, Step

Observe = Callable[[Call, Tensor], None]


def run(
    plan: Plan,
    stored: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    wanted: Collection[str],
    training: bool = False,
    observe: Observe | None = None,
) -> dict[str, Tensor]:
    """The values of the calls in ``wanted``, starting from ``given`` values (of inputs or of calls).

    Only what leads from the given values to the wanted ones runs, and each value is let go after its last reader.

    Args:
        training: dropout drops, and norms take the batch's statistics and update ``stored`` running ones in place.
        observe: shown each call that reads a value, with the first of them, before it runs; nothing is kept for it.
    """
    program = plan.program(given, tuple(wanted))
    slots: list[Any] = [None] * program.slots
    name, axis, divisor = program.samples
    slots[DEVICE], slots[TRAINING] = given[name].device, training
    for own, slot in program.given:
        slots[slot] = given[own]
    for own, slot in program.stored:
        slots[slot] = stored[own]
    for share, slot in program.drops:
        slots[slot] = share if training else 0.0
    if program.sizes:
        samples = given[name].shape[axis] // divisor
        for times, slot in program.sizes:
            slots[slot] = times * samples
    execute(program.steps, slots, observe)
    return {own: slots[slot] for own, slot in program.wanted}


def execute(steps: Iterable[Step], slots: Any, observe: Observe | None = None) -> None:
    """Runs steps on the slots (by number) that they read and write."""
    for step in steps:
        args = [*step.args]
        for place, slot in step.fills:
            args[place] = slots[slot]
        if step.nested:
            for place, template in step.nested:
                args[place] = _filled(template, slots)
        if observe is not None and step.observed is not None:
            observe(step.call, slots[step.observed])
        if step.kwargs:
            slots[step.target] = step.function(*args, **_filled_keywords(step.kwargs, slots))
        else:
            slots[step.target] = step.function(*args)
        del args
        for slot in step.frees:
            slots[slot] = None


def _filled(template: Any, slots: list[Any]) -> Any:
    if isinstance(template, Slot):
        return slots[template.number]
    return [_filled(part, slots) for part in template] if isinstance(template, tuple) else template


def _filled_keywords(kwargs: dict[str, Any], slots: list[Any]) -> dict[str, Any]:
    return {name: _filled(value, slots) for name, value in kwargs.items()}
