"""The rows of one group, taken from one registry and put into another under new ids."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects.sqlite import insert as insert_or_not

from nid_cli.errors import IntegrityError
from nid_cli.registry import artifacts
from nid_cli.registry import groups as group_rows
from nid_cli.registry import sweeps as sweep_rows
from nid_cli.registry.tables import (
    architectures,
    checkpoints,
    epochs,
    groups,
    inserted_id,
    invocations,
    models,
    result_models,
    results,
    runs,
    sweep_groups,
    sweeps,
)
from nid_cli.specs import stable_hash

Row = dict[str, Any]


@dataclass(frozen=True)
class GroupRows:
    """Everything in a registry that belongs to one group, as plain rows by table.

    ``sweeps``: those that it is in (``sweep_ids``), and those that its commands were a part of.
    """

    group: Row
    architecture: Row
    runs: list[Row]
    models: list[Row]
    epochs: list[Row]
    checkpoints: list[Row]
    results: list[Row]
    result_models: list[Row]
    invocations: list[Row]
    sweeps: list[Row]
    sweep_ids: list[int]


@dataclass(frozen=True)
class Plan:
    """The rows as they will stand in the target, and the files to copy: (path there, path here, SHA-256)."""

    rows: GroupRows
    files: list[tuple[str, str, str]] = field(default_factory=list)


def _rows(connection: Connection, table: Table, column: Any, values: Sequence[int]) -> list[Row]:
    found: list[Row] = []
    for start in range(0, len(values), 500):
        query = select(table).where(column.in_(values[start : start + 500]))
        found += [dict(row) for row in connection.execute(query).mappings()]
    return found


def collect(connection: Connection, group_id: int) -> GroupRows:
    """All rows of a group; results of other groups are not among them.

    Raises:
        IntegrityError: its identity, or a sweep's, is not that of what it holds.
    """
    [group] = _rows(connection, groups, groups.c.id, [group_id])
    [architecture] = _rows(connection, architectures, architectures.c.id, [group["architecture_id"]])
    _refuse_untrue(group, architecture)
    own_runs = _rows(connection, runs, runs.c.group_id, [group_id])
    own_models = sorted(_rows(connection, models, models.c.group_id, [group_id]), key=lambda m: m["number"])
    ids = [m["id"] for m in own_models]
    own_results = _rows(connection, results, results.c.group_id, [group_id])
    used = {row["invocation_id"] for row in (*own_runs, *own_models, *own_results)}
    calls = _rows(connection, invocations, invocations.c.id, sorted(used))
    links = _rows(connection, sweep_groups, sweep_groups.c.group_id, [group_id])
    sweep_ids = [link["sweep_id"] for link in links]
    of_calls = {call["sweep_id"] for call in calls if call["sweep_id"] is not None}
    own_sweeps = _rows(connection, sweeps, sweeps.c.id, sorted(of_calls.union(sweep_ids)))
    for sweep in own_sweeps:
        if sweep_rows.hash_of(sweep["text"]) != sweep["hash"]:
            raise IntegrityError(f"the text of the sweep {sweep['name']} is not the recorded one: its SHA-256 differs")
    return GroupRows(
        group,
        architecture,
        own_runs,
        own_models,
        _rows(connection, epochs, epochs.c.model_id, ids),
        _rows(connection, checkpoints, checkpoints.c.model_id, ids),
        own_results,
        _rows(connection, result_models, result_models.c.result_id, [row["id"] for row in own_results]),
        calls,
        own_sweeps,
        sweep_ids,
    )


def _refuse_untrue(group: Row, architecture: Row) -> None:
    """What rows are found by must follow from what they hold: else a stranger's row would stand for another's."""
    if hashlib.sha256(architecture["specification"].encode()).hexdigest() != architecture["hash"]:
        raise IntegrityError(f"the architecture of {group['name']} is not the one recorded: its SHA-256 differs")
    identity = {"settings": json.loads(group["settings"]), "fixed": group["fixed_hash"]}
    if stable_hash(identity) != group["key"]:
        raise IntegrityError(f"the settings of {group['name']} are not the recorded ones: its key differs")


def plan(connection: Connection, rows: GroupRows) -> Plan:
    """How a group's rows will stand in this registry.

    A run that is here already, with other bytes for one of its models' epochs (the same training on another machine),
    becomes a run of its own: nothing here is overwritten.
    """
    renamed = {run["hash"]: _other_hash(rows, run) for run in rows.runs if _conflicts(connection, rows, run)}
    moved = {old[:16]: new[:16] for old, new in renamed.items()}
    own_runs = [run | {"hash": renamed.get(run["hash"], run["hash"])} for run in rows.runs]
    own_checkpoints, files = [], []
    for row in rows.checkpoints:
        path = _moved(row["path"], moved)
        files.append((row["path"], path, row["sha256"]))
        own_checkpoints.append(row | {"path": path})
    for row in rows.results:
        if row["artifact_path"]:
            files.append((row["artifact_path"], row["artifact_path"], row["artifact_sha256"]))
    group = rows.group
    if group["fixed_path"]:
        files.append((group["fixed_path"], group["fixed_path"], group["fixed_sha256"]))
    if content := json.loads(group["settings"]).get("content"):
        files.append((artifacts.data_path(content), artifacts.data_path(content), content))
    return Plan(replace(rows, runs=own_runs, checkpoints=own_checkpoints), files)


def _moved(path: str, moved: Mapping[str, str]) -> str:
    parts = path.split("/")
    return "/".join(moved.get(part, part) for part in parts)


def _conflicts(connection: Connection, rows: GroupRows, run: Row) -> bool:
    members = {m["id"]: m["member"] for m in rows.models if m["run_id"] == run["id"]}
    query = (
        select(models.c.member, checkpoints.c.epoch, checkpoints.c.sha256)
        .join(models, models.c.id == checkpoints.c.model_id)
        .join(runs, runs.c.id == models.c.run_id)
        .where(runs.c.hash == run["hash"])
    )
    here = {(row.member, row.epoch): row.sha256 for row in connection.execute(query)}
    there = {(members[c["model_id"]], c["epoch"]): c["sha256"] for c in rows.checkpoints if c["model_id"] in members}
    return any(here[key] != there[key] for key in here.keys() & there.keys())


def _other_hash(rows: GroupRows, run: Row) -> str:
    members = {m["id"] for m in rows.models if m["run_id"] == run["id"]}
    contents = sorted(c["sha256"] for c in rows.checkpoints if c["model_id"] in members)
    return stable_hash({"run": run["hash"], "checkpoints": contents})


class _Insertion:
    """Puts rows into tables, giving old ids their new ones; a row whose identity is there already is kept as it is."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.new: Counter[str] = Counter()

    def put(self, table: Table, row: Row, identity: Mapping[str, Any], **changes: Any) -> int:
        """The id of ``row`` in ``table``, found by ``identity`` or inserted with ``changes``."""
        query = select(table.c.id).where(*(table.c[name] == value for name, value in identity.items()))
        found: int | None = self.connection.execute(query).scalar() if identity else None
        if found is not None:
            return found
        self.new[table.name] += 1
        values = {name: value for name, value in row.items() if name != "id"} | changes
        return inserted_id(self.connection.execute(table.insert().values(values)))


def _put_sweep(put: _Insertion, row: Row) -> int:
    """The id of a sweep here; it was run last where it was last run."""
    found = put.put(sweeps, row, {"name": row["name"], "hash": row["hash"]})
    latest = func.max(sweeps.c.last_run_at, row["last_run_at"])
    put.connection.execute(sweeps.update().where(sweeps.c.id == found).values(last_run_at=latest))
    return found


def insert(connection: Connection, planned: Plan, name: str) -> tuple[str, list[int], Counter[str]]:
    """Inserts what is not there yet, in the caller's transaction.

    Returns:
        the group's name here, the numbers of its models here, how many rows of each table were new.
    """
    rows, put = planned.rows, _Insertion(connection)
    architecture = put.put(architectures, rows.architecture, {"hash": rows.architecture["hash"]})
    group_id = put.put(
        groups,
        rows.group,
        {"key": rows.group["key"]},
        architecture_id=architecture,
        name=group_rows.free_name(connection, name),
    )
    if (there := group_rows.by_id(connection, group_id)).deleted_at:
        group_rows.revive(connection, there)
    own_sweeps = {row["id"]: _put_sweep(put, row) for row in rows.sweeps}
    for sweep_id in rows.sweep_ids:
        if sweep_rows.add_group(connection, own_sweeps[sweep_id], group_id):
            put.new[sweep_groups.name] += 1
    calls = {
        row["id"]: put.put(
            invocations,
            row,
            {k: row[k] for k in ("started_at", "pid", "argv", "machine")},
            sweep_id=own_sweeps.get(row["sweep_id"]),
        )
        for row in rows.invocations
    }
    run_ids = {
        row["id"]: put.put(
            runs, row, {"hash": row["hash"]}, group_id=group_id, invocation_id=calls[row["invocation_id"]]
        )
        for row in rows.runs
    }
    model_ids = {}
    for row in rows.models:
        run_id = run_ids[row["run_id"]]
        model_ids[row["id"]] = put.put(
            models,
            row,
            {"run_id": run_id, "member": row["member"]},
            group_id=group_id,
            run_id=run_id,
            number=group_rows.next_number(connection, group_id),
            invocation_id=calls[row["invocation_id"]],
            # A training that runs elsewhere does not run here.
            status="interrupted" if row["status"] == "training" else row["status"],
        )
    present = {tuple(row) for row in connection.execute(select(epochs.c.model_id, epochs.c.epoch))}
    for row in rows.epochs:
        if (model_ids[row["model_id"]], row["epoch"]) not in present:
            connection.execute(epochs.insert().values(row | {"model_id": model_ids[row["model_id"]]}))
    for row in rows.checkpoints:
        model_id = model_ids[row["model_id"]]
        put.put(checkpoints, row, {"model_id": model_id, "epoch": row["epoch"]}, model_id=model_id)
    result_ids = {}
    for row in rows.results:
        changes = {side: row[side] and model_ids[row[side]] for side in ("model_a", "model_b")}
        call = calls[row["invocation_id"]]
        result_ids[row["id"]] = put.put(
            results, row, {"key": row["key"]}, group_id=group_id, invocation_id=call, **changes
        )
    for row in rows.result_models:
        link = row | {"result_id": result_ids[row["result_id"]], "model_id": model_ids[row["model_id"]]}
        connection.execute(insert_or_not(result_models).values(link).on_conflict_do_nothing())
    group = group_rows.by_id(connection, group_id)
    query = select(models.c.number).where(models.c.id.in_(model_ids.values())).order_by(models.c.number)
    return group.name, list(connection.execute(query).scalars()), put.new
