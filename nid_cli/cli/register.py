"""``nid register``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nid_cli.cli import options, output, render
from nid_cli.pipeline.context import Context
from nid_cli.records.housekeeping import Registered

EXAMPLES = options.examples(
    "nid register runs/mlp-w-kappa1 --name baseline",
    "nid register runs --recursive",
    "nid register colleague/.nid",
    "nid register group.tar",
)


def register(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Run directories of the reference code, .nid folders, .tar files."),
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new group (one source only).")] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="All run directories and registries below DIR.")
    ] = False,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Import runs: the reference code's run directories, and the groups of other registries."""
    from nid_cli.pipeline.importing.register import register as run

    with render.progress() as progress:
        context = Context(registry=registry, argv=options.command_line(), progress=progress, say=render.say)
        outcomes = run(context, paths, name=name, recursive=recursive)

    def human() -> None:
        columns = ("source", "status", "group", "models", "epochs", "new checkpoints")
        done = [o for o in outcomes if o.status != "skipped"]
        rows = [(o.source, o.status, o.group, o.models, o.epochs, o.new_checkpoints) for o in done]
        render.table(columns, rows)

    output.show(Registered, [o.values() for o in outcomes], as_json=as_json, export=None, human=human)
    skipped = [o for o in outcomes if o.status == "skipped"]
    for outcome in skipped:
        render.say(f"skipped: {outcome.reason}")
    if skipped:
        raise typer.Exit(1)
