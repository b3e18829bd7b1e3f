"""``nid db``: check, back up, restore and tidy the registry. Never imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nid_cli.cli import options, output, render
from nid_cli.cli.commands import COMMANDS, App, CommandGroup
from nid_cli.errors import IntegrityError
from nid_cli.pipeline.context import Context
from nid_cli.records import Record
from nid_cli.records.housekeeping import Finding, RegistryPath, Tidied

app = App(
    cls=CommandGroup,
    help=COMMANDS["db"].summary,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog=options.examples("nid db check", "nid db check --json"))
def check(registry: options.RegistryOption = None, as_json: options.Json = False) -> None:
    """Check the database and the SHA-256 of every file; say what is wrong and what to do about it (exit 5)."""
    from nid_cli.pipeline.housekeeping import db_check

    with options.context(registry, None, "cpu") as context:
        checked = db_check.check(context)
    found = checked.findings

    def human() -> None:
        if found:
            columns = ("problem", "file", "what", "what to do")
            render.table(columns, [(f.problem, f.path, f.what, f.advice) for f in found])

    output.show(Finding, [f.values() for f in found], as_json=as_json, export=None, human=human)
    looked = f"{checked.files} files ({checked.bytes / 1e6:.1f} MB) and the database"
    if checked.leftovers:
        render.say(f"{checked.leftovers} files were left by commands that were cut off; nid db gc removes them")
    if found:
        raise IntegrityError(f"{len(found)} findings in {looked}")
    render.say(f"{looked} are sound")


@app.command(epilog=options.examples("nid db backup registry-backup.db", "nid db restore registry-backup.db"))
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it is there.")] = False,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Write the database into one file, checked, while others may go on writing.

    Checkpoints are not in it: they never change, and any copy of the .nid folder's runs, fixed and results holds them.
    """
    from nid_cli.pipeline.housekeeping import db

    record = db.back_up(Context(registry=registry), file, force)
    _done(record, as_json, f"wrote {record.groups} groups to {file} ({record.bytes} bytes)")


@app.command(epilog=options.examples("nid db restore registry-backup.db", "nid db check"))
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Put a backup in the place of the database; the present one is kept beside it."""
    from nid_cli.pipeline.housekeeping import db

    record = db.restore(Context(registry=registry), file)
    kept = f"; what was there is kept as {record.kept}" if record.kept else ""
    _done(record, as_json, f"restored {record.groups} groups{kept}; nid db check tells whether their files are here")


@app.command(epilog=options.examples("nid db gc --dry-run", "nid db gc"))
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Delete removed groups for good, files that no row names, and optimizer states of trainings that have ended."""
    from nid_cli.pipeline.housekeeping import db_gc

    records = db_gc.tidy(Context(registry=registry, argv=options.command_line()), dry_run)

    def human() -> None:
        if records:
            render.table(("kind", "what", "bytes"), [(r.kind, r.what, r.bytes) for r in records])

    output.show(Tidied, [r.values() for r in records], as_json=as_json, export=None, human=human)
    size = sum(r.bytes for r in records) / 1e6
    render.say(f"{'would remove' if dry_run else 'removed'} {len(records)} things ({size:.1f} MB of files)")


@app.command(epilog=options.examples("nid db path"))
def path(registry: options.RegistryOption = None, as_json: options.Json = False) -> None:
    """Print where the registry is."""
    from nid_cli.pipeline.housekeeping import db

    found = db.path_of(Context(registry=registry))
    record = RegistryPath(str(found))
    output.show(RegistryPath, [record.values()], as_json=as_json, export=None, human=lambda: render.emit(str(found)))


@app.command(epilog=options.examples("nid db upgrade"))
def upgrade(registry: options.RegistryOption = None, as_json: options.Json = False) -> None:
    """Bring the registry to this program's schema; the old file is kept beside it."""
    from nid_cli.pipeline.housekeeping import db

    record = db.upgrade(Context(registry=registry))
    kept = f" (the old one is kept as {record.kept})" if record.kept else "; nothing to do"
    _done(record, as_json, f"{record.path} has schema {record.to}{kept}")


def _done(record: Record, as_json: bool, sentence: str) -> None:
    output.show(type(record), [record.values()], as_json=as_json, export=None, human=lambda: render.say(sentence))
