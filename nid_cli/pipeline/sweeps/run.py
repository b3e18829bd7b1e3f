"""A sweep from its trainings to its figures: what there is of it, and what is missing, as records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nid_cli.errors import Interrupted, NidError, UsageError
from nid_cli.pipeline import pool
from nid_cli.pipeline.analyses.run import known
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines import choose
from nid_cli.pipeline.sweeps import trainings
from nid_cli.pipeline.sweeps.file import Sweep
from nid_cli.pipeline.sweeps.parts import Engines, Part
from nid_cli.pipeline.sweeps.plan import Plan, longest_first, plan
from nid_cli.pipeline.sweeps.trainings import Done, Wanted
from nid_cli.records.sweep import SweepPart
from nid_cli.registry import results
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_reading
from nid_cli.specs import Selection


def planned(
    context: Context, sweep: Sweep, wanted: Sequence[Wanted], parts: Sequence[Part], engines: Engines
) -> tuple[list[SweepPart], Plan]:
    """What there is of a sweep and what is missing, and how long that takes. Nothing is written."""
    found = plan(context, wanted, engines.name, engines.place)
    records = [
        SweepPart(
            part="train",
            name=own.name,
            status="missing" if own.missing else "there",
            asked=own.asked,
            there=own.ended,
            seconds=own.seconds * own.missing,
            problem=own.problem,
        )
        for own in found.runs
    ]
    waits, own_context = any(own.missing for own in found.runs), trainings.recorded(context, sweep.name, sweep.text)
    groups = [own.name for own in found.runs]
    for part in parts:
        asked, there = (None, None) if waits else _counted(context, _narrowed(part, groups), part)
        is_there = asked == there if asked is not None else own_context.sweep is not None and part.is_there(own_context)
        status = "waiting" if waits else "there" if is_there else "missing"
        records.append(SweepPart(part=part.kind, name=part.name, status=status, asked=asked, there=there))
    return records, found


def run(
    context: Context,
    sweep: Sweep,
    wanted: Sequence[Wanted],
    parts: Sequence[Part],
    engines: Engines,
    stack: int | None = None,
) -> list[SweepPart]:
    """Does all of a sweep that is missing, its trainings first; what fails keeps nothing else from being done.

    Args:
        stack: how many models of a run a worker trains side by side (None: what suits the device).

    Raises:
        Interrupted: the user stopped it; the same call goes on.
        UsageError: a figure's file is another sweep's.
        NidError: there is nothing to train on, or the registry refuses.
    """
    _refuse_others_figures(context, sweep, parts)
    # Before a registry is made: what there is nothing to train on for leaves nothing.
    chosen = choose(engines.name, engines.place)
    if engines.name != "local":
        with pool.ready(chosen):
            pass
    own, recorded = trainings.begin(context, sweep.name, sweep.text)
    if recorded.replaces is not None:
        context.say(f"{sweep.name} has changed since it was run last; only what is missing is done")
    places = {one.request.spec.hash: place for place, one in enumerate(wanted)}
    done = trainings.train(own, longest_first(own, wanted), engines.name, engines.place, stack)
    done.sort(key=lambda one: places[one.wanted.request.spec.hash])
    groups = [one.outcome.group.name for one in done if one.outcome is not None and one.outcome.is_usable]
    if wanted and not groups:
        return [*map(_trained, done), *(_waiting(part) for part in parts)]
    return [*map(_trained, done), *(_done(own, _narrowed(part, groups), part, engines) for part in parts)]


def _refuse_others_figures(context: Context, sweep: Sweep, parts: Sequence[Part]) -> None:
    """Two sweeps that draw into one file would each undo the other's figure."""
    path = locate(context.registry)
    if path is None or not path.exists():
        return
    with open_for_reading(context.registry).read() as connection:
        for target in (part.target for part in parts if part.target is not None and part.target.exists()):
            other = results.drawn_by(connection, str(target.absolute()))
            if other is not None and other != sweep.name:
                raise UsageError(
                    f"{target} is a figure of the sweep {other}, and {sweep.name} would draw over it",
                    "give it another out, or remove the file",
                )


def _trained(done: Done) -> SweepPart:
    """The record of a run."""
    outcome, error, asked = done.outcome, done.error, done.wanted.request.seeds
    if outcome is None:
        problem = error.message if error else "it was not trained"
        return SweepPart(part="train", name=done.wanted.shown, status="failed", asked=asked, there=0, problem=problem)
    return SweepPart(
        part="train",
        name=outcome.group.name,
        status="failed" if outcome.problems else "done" if outcome.trained else "there",
        asked=asked,
        there=sum(model.status in ("complete", "failed") for model in outcome.models),
        new=len(outcome.trained),
        problem="; ".join(outcome.problems) or None,
    )


def _waiting(part: Part) -> SweepPart:
    """An analysis or figure that has nothing to be about."""
    return SweepPart(part=part.kind, name=part.name, status="waiting", problem="no training of the sweep has a model")


def _done(context: Context, chosen: Selection | None, part: Part, engines: Engines) -> SweepPart:
    """Does an analysis or a figure, where it is not there; its record."""
    asked, before = _counted(context, chosen, part)
    status, problem = "there", None
    if not part.is_there(context) and (asked is None or asked != before or part.leaves_file):
        try:
            part.run(context, chosen, engines)
            status = "done"
        except Interrupted:
            raise
        except NidError as error:
            status, problem = "failed", f"{error.message}{f' ({error.hint})' if error.hint else ''}"
    asked, there = _counted(context, chosen, part)
    new = None if there is None else there - (before or 0)
    return SweepPart(part=part.kind, name=part.name, status=status, asked=asked, there=there, new=new, problem=problem)


def _narrowed(part: Part, groups: Sequence[str]) -> Selection | None:
    """A part of a sweep that trains is about the groups of its trainings as they are now, unless it names others."""
    chosen = part.selection
    if chosen is None or chosen.group or chosen.sweep:
        return chosen
    return replace(chosen, group=tuple(groups))


def _counted(context: Context, selection: Selection | None, part: Part) -> tuple[int | None, int | None]:
    """How many results an analysis asks for, and how many are there; None of figures, and where nothing is selected."""
    if part.request is None:
        return None, None
    try:
        return known(context, part.request(selection))
    except NidError:
        return None, None
