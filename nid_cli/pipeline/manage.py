"""``nid group``: listing, naming and removing groups. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from nid_cli.errors import UsageError
from nid_cli.pipeline.context import Context
from nid_cli.registry import groups, invocations, runs
from nid_cli.registry.database import open_for_reading, open_for_writing
from nid_cli.registry.groups import Group
from nid_cli.registry.selection import Selection


def _record(connection: Connection, group: Group) -> dict[str, Any]:
    """One group as a ``nid.group/1`` record."""
    members = runs.models_of(connection, group_id=group.id)
    complete = [m for m in members if m.status == "complete"]
    common = set.intersection(*(set(m.checkpoints) for m in complete)) if complete else set()
    states = [m.status for m in members]
    return {
        "name": group.name,
        **{k: v for k, v in group.identity.items() if k != "group"},
        "models": len(members),
        "complete": len(complete),
        "status": {state: states.count(state) for state in sorted(set(states))},
        "epochs": sorted(common),
        "fixed_hash": group.fixed_hash,
        "note": group.note,
        "created_at": group.created_at,
    }


def list_groups(context: Context, selection: Selection) -> list[dict[str, Any]]:
    """Records of the selected groups, oldest first; an empty list where none matches."""
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        for name in selection.group:
            groups.by_name(connection, name)
        chosen = groups.all_groups(
            connection,
            arch=selection.arch,
            dataset=selection.dataset,
            symmetry=selection.symmetry,
            kappa=selection.kappa,
            name=selection.group,
        )
        return [_record(connection, group) for group in chosen]


def group_names(context: Context) -> list[str]:
    """All names, for shell completion."""
    with open_for_reading(context.registry).read() as connection:
        return groups.names(connection)


def show_group(context: Context, name: str) -> dict[str, Any]:
    """One group in full: settings, members with seeds, status, last metrics and lineage."""
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        group = groups.by_name(connection, name)
        members = runs.models_of(connection, group_id=group.id)
        metrics = runs.metrics_of(connection, [m.id for m in members])
        lineage = runs.lineage_of(connection, [m.id for m in members])
        return _record(connection, group) | {
            "settings": group.settings,
            "data_fingerprint": group.data_fingerprint,
            "results": groups.count_results(connection, group),
            "members": [
                {
                    "model": m.number,
                    "status": m.status,
                    "failed_epoch": m.failed_epoch,
                    "seeds": m.seeds,
                    "source": {"path": m.source_path, "index": m.source_index} if m.source_path else None,
                    "last": metrics[m.id][-1] if metrics[m.id] else None,
                    "checkpoints": [asdict(checkpoint) for checkpoint in m.checkpoints.values()],
                    "lineage": lineage[m.id],
                }
                for m in members
            ],
        }  # fmt: skip


def rename_group(context: Context, old: str, new: str) -> None:
    """Gives a group another name; see :func:`nid_cli.registry.groups.rename`."""
    groups.check_name(new)
    registry = open_for_writing(context.registry)
    with registry.write() as connection:
        groups.rename(connection, old, new)


def note_group(context: Context, name: str, note: str) -> None:
    """Writes a group's note; an empty one clears it."""
    if len(note) > 10_000:
        raise UsageError(f"a note has at most 10000 characters, not {len(note)}")
    registry = open_for_writing(context.registry)
    with registry.write() as connection:
        groups.set_note(connection, name, note)


def remove_groups(context: Context, names: Sequence[str], yes: bool) -> list[str]:
    """Removes groups with their models and files; returns their names.

    Raises:
        NotFoundError: one does not exist (nothing is removed then).
        UsageError: results hang on one, and ``yes`` was not said; or one is being trained.
    """
    registry = open_for_writing(context.registry)
    with registry.write() as connection:
        chosen = [groups.by_name(connection, name) for name in dict.fromkeys(names)]
        for group in chosen:
            count = groups.count_results(connection, group)
            if count and not yes:
                raise UsageError(f"{count} results hang on {group.name}", "--yes removes them with it")
        invocation = invocations.begin(connection, "group rm", context.argv)
        doomed = []
        for group in chosen:
            doomed += groups.files(connection, group)
            groups.remove(connection, group)
        invocations.finish(connection, invocation, "done")
    # Files go after the rows: a kill in between leaves unreferenced files, never rows without their files.
    for path in doomed:
        registry.file(path).unlink(missing_ok=True)
    for folder in sorted({registry.file(path).parent for path in doomed}, reverse=True):
        with suppress(OSError):
            folder.rmdir()
            folder.parent.rmdir()
    return [group.name for group in chosen]
