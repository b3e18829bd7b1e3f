"""The files of a registry: which its rows name, which lie in its folder, and what those are that no row names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from nid_cli.registry.artifacts import RESUME, START, data_path
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import original_name, removed
from nid_cli.registry.runs import TRUNK, model_folder
from nid_cli.registry.tables import checkpoints, groups, invocations, models, results, runs

FOLDERS = ("runs", "fixed", "results", "data")
# States of models whose files are still needed.
UNFINISHED = ("training", "interrupted")
# How long before its first row a command may have begun to write files.
LEAD_S = 120


@dataclass(frozen=True)
class Recorded:
    """A file that a row names: its path in the registry, SHA-256, whose it is, and whether that group is removed."""

    path: str
    sha256: str
    what: str
    group: str | None
    removed: bool


@dataclass(frozen=True)
class Found:
    """A file in the registry's folder that no row names.

    ``kind``: ``superseded`` (what resuming a training that has ended would need), ``in use`` (of an unfinished
    training or a running command, or what a user's code drew for a trunk), ``trunk`` (what further copies of a network
    would start from, and can be made again), ``leftover`` (of a command that was cut off) or ``orphan``.
    """

    path: str
    kind: str
    bytes: int


def recorded(connection: Connection) -> list[Recorded]:
    """Every file that rows name, those of removed groups among them."""
    gone = {group.name: f"{original_name(group)} (removed)" for group in removed(connection)}
    found: list[Recorded] = []

    def add(path: str, sha256: str, what: str, group: str | None) -> None:
        whose = f" of {gone.get(group, group)}" if group else ""
        found.append(Recorded(path, sha256, what + whose, group, group in gone))

    weights = (
        select(checkpoints.c.path, checkpoints.c.sha256, checkpoints.c.epoch, models.c.number, groups.c.name)
        .join(models, models.c.id == checkpoints.c.model_id)
        .join(groups, groups.c.id == models.c.group_id)
        .order_by(checkpoints.c.path)
    )
    for row in connection.execute(weights):
        add(row.path, row.sha256, f"epoch {row.epoch} of model {row.number}", row.name)
    # Groups that differ in settings alone (epochs, say) share one file.
    fixed = select(groups.c.name, groups.c.fixed_path, groups.c.fixed_sha256).where(groups.c.fixed_path.is_not(None))
    for one in connection.execute(fixed.group_by(groups.c.fixed_path)):
        add(one.fixed_path, one.fixed_sha256, "the file of the fixed tensors", one.name)
    for content, name in _contents(connection).items():
        add(data_path(content), content, "the file of the data", name)
    matrices = (
        select(results.c.artifact_path, results.c.artifact_sha256, results.c.result_id, results.c.kind, groups.c.name)
        .outerjoin(groups, groups.c.id == results.c.group_id)
        .where(results.c.artifact_path.is_not(None))
    )
    for row in connection.execute(matrices):
        add(row.artifact_path, row.artifact_sha256, f"the file of {row.kind} result {row.result_id}", row.name)
    return found


def _contents(connection: Connection) -> dict[str, str]:
    """The SHA-256 of every data set that was a file of tensors, with a group of it."""
    query = select(groups.c.settings, groups.c.name).where(groups.c.settings.contains('"content":"'))
    found = {json.loads(row.settings).get("content"): row.name for row in connection.execute(query)}
    return {content: name for content, name in found.items() if content}


def files(registry: Registry) -> Iterator[tuple[str, os.stat_result]]:
    """Paths within the folder, with what the file system says: all of ``FOLDERS``, and unfinished files beside them.

    Links are not followed.
    """
    for own in FOLDERS:
        top = registry.file(own)
        for folder, below, names in os.walk(top):
            links = [name for name in below if Path(folder, name).is_symlink()]
            for name in sorted([*names, *links]):
                path = Path(folder, name)
                yield path.relative_to(registry.folder).as_posix(), path.lstat()
    for path in sorted(registry.folder.glob(".*.tmp*")):
        yield path.name, path.lstat()


def unrecorded(
    connection: Connection, registry: Registry, present: list[tuple[str, os.stat_result]]
) -> Iterator[Found]:
    """Which of the files ``present`` (listed before this transaction began) no row names, and what they are."""
    named = {file.path for file in recorded(connection)}
    query = select(runs.c.hash, models.c.member, models.c.status).join(runs, runs.c.id == models.c.run_id)
    states: dict[str, str] = {}
    for row in connection.execute(query):
        folder = model_folder(row.hash, row.member)
        states[folder] = row.status
        trunk = f"{folder.rpartition('/')[0]}/{TRUNK}"
        # One unfinished copy keeps the trunk in use.
        states[trunk] = row.status if row.status in UNFINISHED else states.get(trunk, TRUNK)
    spans = list(_spans(connection))
    for path, stat in present:
        if path in named:
            continue
        folder, _, name = path.rpartition("/")
        state = states.get(folder)
        span = next((end for begin, end in spans if begin <= stat.st_mtime <= end), None)
        if span == float("inf"):
            kind = "in use"
        elif name.startswith(".") and ".tmp" in name:
            kind = "leftover"
        elif state in UNFINISHED or (state == TRUNK and name == START):  # a trunk can be made again from its start
            kind = "in use"
        elif state == TRUNK:
            kind = TRUNK
        elif name in (RESUME, START):
            kind = "superseded"
        else:
            kind = "orphan" if span is None else "leftover"
        yield Found(path, kind, stat.st_size)


def _spans(connection: Connection) -> Iterator[tuple[float, float]]:
    """(begin, end) in seconds of the commands that may have left files without rows; without end while they run."""
    query = select(invocations.c.started_at, invocations.c.ended_at, invocations.c.status)
    query = query.where(invocations.c.status != "done").order_by(invocations.c.status.desc())  # running ones first
    for row in connection.execute(query):
        begin = datetime.fromisoformat(row.started_at).timestamp() - LEAD_S
        end = datetime.fromisoformat(row.ended_at).timestamp() if row.ended_at else float("inf")
        yield begin, float("inf") if row.status == "running" else end
