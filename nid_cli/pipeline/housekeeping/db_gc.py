"""``nid db gc``: deletes what can go: removed groups, files without rows, states of ended optimizers. No torch."""

from __future__ import annotations

from contextlib import suppress

from nid_cli.pipeline.context import Context
from nid_cli.pipeline.housekeeping.alone import alone
from nid_cli.records.housekeeping import Tidied
from nid_cli.registry import groups, inventory, invocations
from nid_cli.registry.database import Registry
from nid_cli.registry.inventory import Found
from nid_cli.registry.opening import open_for_writing


def tidy(context: Context, dry_run: bool) -> list[Tidied]:
    """Deletes removed groups, files without rows and optimizer states of ended trainings; returns what went.

    Args:
        dry_run: only says what would go.

    Raises:
        RegistryError: other commands work on this registry.
    """
    registry = open_for_writing(context.registry)
    with alone(registry):
        origin = invocations.describe("db gc", context.argv)
        kept = _Undone()
        names: list[str] = []
        doomed: list[Found] = []
        with suppress(_Undone), registry.write() as connection:
            names = groups.delete_removed(connection)
            present = list(inventory.files(registry))
            doomed = [file for file in inventory.unrecorded(connection, registry, present) if file.kind != "in use"]
            if dry_run or not (names or doomed):
                raise kept
            invocations.finish(connection, invocations.begin(connection, origin), "done")
        if not dry_run:
            # Files go after the rows: a kill in between leaves files without rows, never rows without their files.
            for file in doomed:
                (registry.folder / file.path).unlink(missing_ok=True)
            _prune(registry)
    gone = [Tidied("group", name, 0, not dry_run) for name in names]
    return gone + [Tidied(file.kind, file.path, file.bytes, not dry_run) for file in doomed]


class _Undone(Exception):
    """Takes a transaction back."""


def _prune(registry: Registry) -> None:
    """Removes empty folders below those of ``FOLDERS``."""
    for top in inventory.FOLDERS:
        for folder in sorted(registry.file(top).rglob("*"), reverse=True):
            if folder.is_dir() and not folder.is_symlink():
                with suppress(OSError):
                    folder.rmdir()
