"""``nid group``: listing, naming and removing groups. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection

from nid_cli.errors import UsageError
from nid_cli.pipeline.context import Context
from nid_cli.registry import groups, invocations, listing, runs, sweeps
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.registry.runs import Model
from nid_cli.registry.selection import check
from nid_cli.specs import Selection


def _members(connection: Connection, group: Group) -> list[Model]:
    """The models of a group; those whose training process is gone read as interrupted."""
    gone = {call.id for call in invocations.running(connection) if not call.is_alive}
    members = runs.models_of(connection, group_id=group.id)
    return [
        replace(m, status="interrupted") if m.status == "training" and m.invocation_id in gone else m for m in members
    ]


def list_groups(context: Context, selection: Selection) -> list[dict[str, Any]]:
    """Records of the selected groups, oldest first; an empty list where none matches."""
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        check(connection, selection)  # what was named must be there
        return list(listing.summaries(connection, selection))


def group_names(context: Context) -> list[str]:
    """All names, for shell completion."""
    with open_for_reading(context.registry).read() as connection:
        return groups.names(connection)


def sweep_names(context: Context) -> list[str]:
    """The names of the sweeps that were run, for shell completion."""
    with open_for_reading(context.registry).read() as connection:
        return list(dict.fromkeys(sweep.name for sweep in sweeps.listing(connection)))


def layer_names(context: Context) -> list[str]:
    """The names of the weighted layers of all networks, for shell completion."""
    with open_for_reading(context.registry).read() as connection:
        graphs = [groups.by_id(connection, own).graph for own in listing.one_of_each_architecture(connection)]
    return list(dict.fromkeys(op.name for graph in graphs for op in graph.weighted))


def show_group(context: Context, name: str) -> dict[str, Any]:
    """One group in full: settings, members with seeds, status, last metrics and lineage."""
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        group = groups.by_name(connection, name)
        members = _members(connection, group)
        metrics = runs.metrics_of(connection, [m.id for m in members])
        lineage = runs.lineage_of(connection, [m.id for m in members])
        [summary] = listing.summaries(connection, Selection(group=(name,)))
        return summary | {
            "settings": group.spec.settings(),
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
    """Removes groups from sight, with all that hangs on them, until ``nid db gc``; returns their names.

    Raises:
        NotFoundError: one does not exist (nothing is removed then).
        UsageError: results hang on one, and ``yes`` was not said; or one is being trained.
    """
    registry = open_for_writing(context.registry)
    origin = invocations.describe("group rm", context.argv)
    with registry.write() as connection:
        chosen = [groups.by_name(connection, name) for name in dict.fromkeys(names)]
        for group in chosen:
            if any(m.status == "training" for m in _members(connection, group)):
                raise UsageError(f"{group.name} is being trained", "stop its training first")
            count = groups.count_results(connection, group)
            if count and not yes:
                raise UsageError(f"{count} results hang on {group.name}", "--yes removes them with it")
        invocation = invocations.begin(connection, origin)
        for group in chosen:
            groups.remove(connection, group)
        invocations.finish(connection, invocation, "done")
    return [group.name for group in chosen]


def restore_group(context: Context, name: str) -> str:
    """Brings back the group that was last removed under ``name``; returns its name, which has a suffix where it must.

    Raises:
        NotFoundError: none was, or ``nid db gc`` deleted it.
    """
    registry = open_for_writing(context.registry)
    origin = invocations.describe("group restore", context.argv)
    with registry.write() as connection:
        group = groups.restore(connection, name)
        invocations.finish(connection, invocations.begin(connection, origin), "done")
    return group.name


def removed_names(context: Context) -> list[str]:
    """The names of removed groups, for shell completion."""
    with open_for_reading(context.registry).read() as connection:
        return [groups.original_name(group) for group in groups.removed(connection)]
