"""``nid sweep``: all trainings of a file, then its analyses, then its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.cli import options, output, render
from nid_cli.cli.placing import Placing, Stack, placing
from nid_cli.cli.planning import Part, part_of
from nid_cli.errors import Interrupted, NidError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.sweeps import file, shards
from nid_cli.pipeline.sweeps.file import Sweep
from nid_cli.records.sweep import ShippedSweep, SweepPart
from nid_cli.specs import Selection

EXAMPLES = options.examples(
    "nid sweep quick",
    "nid sweep kappa-digits --dry-run",
    "nid sweep my.toml --workers 8",
    "nid sweep my.toml --engine ray --address head:6379 --gpus-per-model 0.25",
    "nid sweep my.toml --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT",
    "nid sweep --list",
)


@placing
def sweep(
    where: Placing,
    given: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE.toml|NAME",
            help="A sweep's file, or the name of a shipped one.",
            autocompletion=options.complete_shipped,
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the sweeps that come with nid.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print the sweep's file, to begin one of your own with.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what there is and what is missing, with the time it takes; stop.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Train share I (from 0) of N alone, into a registry of its own [shards/I/.nid].",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also more than 10,000 trainings.")] = False,
    stack: Stack = None,
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Run a sweep: all trainings of a file through one pool, then its analyses and figures; again, what is missing."""
    if listed:
        _list(as_json)
        return
    if given is None:
        raise UsageError("name a sweep's file, or a shipped sweep", "nid sweep --list lists them")
    chosen = file.read(given)
    if show:
        render.emit(chosen.text, end="")
        return
    file.check_size(chosen, yes)
    share = shards.parse(shard) if shard is not None else None
    parts = _parts(chosen, given)
    if share is not None and registry is None:
        registry = Path("shards") / str(share[0]) / ".nid" / "registry.db"
    with options.context(registry, data_dir, device) as context:
        from nid_cli.pipeline.sweeps import trainings

        wanted = trainings.wanted(context, chosen.trainings)
        if share is not None:
            wanted = trainings.of_share(wanted, *share)
        work = _Work(chosen, wanted, parts if share is None else [], where, stack)
        if dry_run:
            records, summary = work.planned(context)
        else:
            records, summary = work.done(context), None
    output.show(SweepPart, records, as_json=as_json, export=None, human=lambda: _table(records), summary=summary)
    if summary is not None:
        render.say(summary["sentence"])
        return
    problems = [record for record in records if record["problem"]]
    for record in problems:
        render.say(f"error: {record['part']} {record['name']}: {record['problem']}")
    if share is not None and parts:
        render.say("analyses and figures are made by the sweep without --shard, in the registry that joins the shards")
    if problems:
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    records = [
        ShippedSweep(name=own.name, trainings=own.count, models=own.models, title=own.title).values()
        for own in file.listing()
    ]
    columns = ("name", "trainings", "models", "title")
    output.show(
        ShippedSweep,
        records,
        as_json=as_json,
        export=None,
        human=lambda: render.table(columns, [[record[name] for name in columns] for record in records]),
    )


def _parts(sweep: Sweep, given: str) -> list[tuple[str, Part]]:
    """The analyses, then the figures, as their commands understand them."""
    found = []
    for number, table in enumerate(sweep.measures, 1):
        own = {name: value for name, value in table.items() if name != "command"}
        found.append(("measure", part_of(table["command"], own, f"{given}, [[measure]] {number}")))
    for number, table in enumerate(sweep.plots, 1):
        own = {name: value for name, value in table.items() if name != "figure"}
        found.append(("plot", part_of(f"plot {table['figure']}", own, f"{given}, [[plot]] {number}")))
    return found


class _Work:
    """What a sweep is about to do, or has done, as records."""

    def __init__(
        self, sweep: Sweep, wanted: Sequence[Any], parts: Sequence[tuple[str, Part]], where: Placing, stack: int | None
    ) -> None:
        self.sweep, self.wanted, self.parts, self.where, self.stack = sweep, wanted, parts, where, stack

    def planned(self, context: Context) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """What there is and what is missing; nothing is written."""
        from nid_cli.pipeline.sweeps.plan import plan

        found = plan(context, self.wanted, self.where.engine, self.where.place(context.device))
        records = [
            SweepPart(
                part="train",
                name=own.name,
                status="missing" if own.ended < own.asked else "there",
                asked=own.asked,
                there=own.ended,
                seconds=own.seconds,
            ).values()
            for own in found.runs
        ]
        waits = any(own.ended < own.asked for own in found.runs)
        for kind, part in self.parts:
            asked, there = (None, None) if waits else _known(context, self._narrowed(part), part)
            status = "waiting" if waits else "there" if asked is not None and asked == there else "missing"
            records.append(SweepPart(part=kind, name=part.name, status=status, asked=asked, there=there).values())
        return records, found.summary()

    def done(self, context: Context) -> list[dict[str, Any]]:
        """Does all that is missing; what fails keeps nothing else from being done."""
        from nid_cli.pipeline.sweeps import trainings
        from nid_cli.pipeline.sweeps.plan import longest_first

        own, recorded = trainings.begin(context, self.sweep.name, self.sweep.text)
        if recorded.replaces is not None:
            render.say(f"{self.sweep.name} has changed since it was run last; only what is missing is done")
        ordered = longest_first(own, self.wanted)
        done = trainings.train(own, ordered, self.where.engine, self.where.place(context.device), self.stack)
        place = {id(wanted): number for number, wanted in enumerate(self.wanted)}
        done.sort(key=lambda one: place[id(one.wanted)])
        records = [_trained(one) for one in done]
        records += [self._part_done(own, kind, part) for kind, part in self.parts]
        return records

    def _part_done(self, context: Context, kind: str, part: Part) -> dict[str, Any]:
        """Does an analysis or a figure, where it is not there."""
        chosen = self._narrowed(part)
        asked, before = _known(context, chosen, part)
        if part.is_there(context) or (asked is not None and asked == before and not part.leaves_file):
            status, problem = "there", None
        else:
            status, problem = "done", None
            try:
                part.run(context, chosen, self.where)
            except Interrupted:
                raise
            except NidError as error:
                status, problem = "failed", f"{error.message}{f' ({error.hint})' if error.hint else ''}"
        asked, there = _known(context, chosen, part)
        new = None if there is None else there - (before or 0)
        own = SweepPart(part=kind, name=part.name, status=status, asked=asked, there=there, new=new, problem=problem)
        return own.values()

    def _narrowed(self, part: Part) -> Selection | None:
        """A part of a sweep that trains is about the sweep's groups, unless it names others."""
        chosen = part.selection
        if chosen is None or chosen.group or chosen.sweep or not self.wanted:
            return chosen
        return replace(chosen, sweep=(self.sweep.name,))


def _known(context: Context, selection: Selection | None, part: Part) -> tuple[int | None, int | None]:
    """How many results an analysis asks for, and how many are there; nothing of figures."""
    if part.request is None:
        return None, None
    from nid_cli.pipeline.analyses.run import known

    try:
        return known(context, part.request(selection))
    except NidError:
        return None, None


def _trained(done: Any) -> dict[str, Any]:
    """The record of a run."""
    outcome, error, wanted = done.outcome, done.error, done.wanted
    asked = wanted.request.seeds
    if outcome is None:
        problem = error.message if error else "it was not trained"
        return SweepPart(
            part="train", name=wanted.shown, status="failed", asked=asked, there=0, problem=problem
        ).values()
    there = sum(model.status in ("complete", "failed") for model in outcome.models)
    return SweepPart(
        part="train",
        name=outcome.group.name,
        status="failed" if outcome.problems else "done" if outcome.trained else "there",
        asked=asked,
        there=there,
        new=len(outcome.trained),
        problem="; ".join(outcome.problems) or None,
    ).values()


def _table(records: Sequence[Mapping[str, Any]]) -> None:
    columns = ("part", "name", "status", "asked", "there", "new", "seconds")
    shown = [name for name in columns if any(record.get(name) is not None for record in records)]
    render.table(shown, [[record.get(name) for name in shown] for record in records])
