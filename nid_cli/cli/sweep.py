"""``nid sweep``: all trainings of a file, then its analyses, then its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.cli import options, output, render
from nid_cli.cli.placing import Placing, Stack, placing
from nid_cli.cli.planning import part_of
from nid_cli.errors import UsageError
from nid_cli.pipeline.sweeps import file, shards
from nid_cli.pipeline.sweeps.file import Sweep
from nid_cli.pipeline.sweeps.parts import Engines, Part
from nid_cli.records.sweep import ShippedSweep, SweepPart

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
    parts = _parts(chosen, given) if share is None else []
    if share is not None and registry is None:
        registry = Path("shards") / str(share[0]) / ".nid" / "registry.db"
    with options.context(registry, data_dir, device) as context:
        from nid_cli.pipeline.sweeps import trainings
        from nid_cli.pipeline.sweeps.run import planned, run

        wanted = trainings.wanted(context, chosen.trainings)
        if share is not None:
            wanted = trainings.of_share(wanted, *share)
        engines = Engines(where.engine, where.place(device))
        if dry_run:
            found, plan = planned(context, chosen, wanted, parts, engines)
            summary = plan.summary()
        else:
            found, summary = run(context, chosen, wanted, parts, engines, stack), None
    records = [part.values() for part in found]
    output.show(SweepPart, records, as_json=as_json, export=None, human=lambda: _table(records), summary=summary)
    problems = [part for part in found if part.problem]
    for part in problems:
        render.say(f"error: {part.part} {part.name}: {part.problem}")
    if summary is not None:
        render.say(summary["sentence"])
        return
    if share is not None and (chosen.measures or chosen.plots):
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


def _parts(sweep: Sweep, given: str) -> list[Part]:
    """The analyses, then the figures, as their commands understand them."""
    found = []
    for number, table in enumerate(sweep.measures, 1):
        own = {name: value for name, value in table.items() if name != "command"}
        found.append(part_of(table["command"], own, f"{given}, [[measure]] {number}"))
    for number, table in enumerate(sweep.plots, 1):
        own = {name: value for name, value in table.items() if name != "figure"}
        found.append(part_of(f"plot {table['figure']}", own, f"{given}, [[plot]] {number}"))
    written: set[Path] = set()
    for target in (part.target for part in found if part.target is not None):
        if str(target) == "-":
            raise UsageError(
                f"{given}: an export of a sweep is a file, not stdout", "name a file: export = 'FILE.json'"
            )
        if target.resolve() in written:
            raise UsageError(f"{given}: two tables write {target}", "give each a file of its own")
        written.add(target.resolve())
    return found


def _table(records: Sequence[Mapping[str, Any]]) -> None:
    columns = ("part", "name", "status", "asked", "there", "new", "seconds")
    shown = [name for name in columns if any(record.get(name) is not None for record in records)]
    render.table(shown, [[record.get(name) for name in shown] for record in records])
