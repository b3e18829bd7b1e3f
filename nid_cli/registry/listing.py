"""Groups as a list shows them: models by state, and the epochs that they share, by aggregated queries."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, select, true

from nid_cli.records.group import GroupSummary
from nid_cli.registry import invocations
from nid_cli.registry.groups import matching
from nid_cli.registry.tables import checkpoints, groups, models
from nid_cli.specs import Selection

# So many groups are named in a query; more of them, and all rows are read.
FEW = 500


def summaries(connection: Connection, selection: Selection) -> Iterator[dict[str, Any]]:
    """``nid.group/1`` of the selected groups, in the order they were made.

    Models whose training process is gone count as interrupted.
    """
    columns = (groups.c.id, groups.c.name, groups.c.arch, groups.c.dataset, groups.c.symmetry, groups.c.kappa)
    query = select(*columns, groups.c.fixed_hash, groups.c.note, groups.c.created_at)
    rows = connection.execute(matching(query, selection)).all()
    chosen = {row.id for row in rows} if len(rows) <= FEW else None
    states = _states(connection, chosen)
    epochs = _epochs(connection, chosen)
    for row in rows:
        status = states.get(row.id, {})
        yield {
            "name": row.name,
            "arch": row.arch,
            "dataset": row.dataset,
            "symmetry": row.symmetry,
            "kappa": json.loads(row.kappa),
        } | GroupSummary(
            models=sum(status.values()),
            complete=status.get("complete", 0),
            status=dict(sorted(status.items())),
            epochs=epochs.get(row.id, []),
            fixed_hash=row.fixed_hash,
            note=row.note,
            created_at=row.created_at,
        ).values()


def _among(chosen: Collection[int] | None) -> ColumnElement[bool]:
    return true() if chosen is None else models.c.group_id.in_(chosen)


def _states(connection: Connection, chosen: Collection[int] | None) -> dict[int, dict[str, int]]:
    """How many models of each group are in each state."""
    gone = [call.id for call in invocations.running(connection) if not call.is_alive]
    left = (models.c.status == "training") & models.c.invocation_id.in_(gone)
    state = case((left, literal("interrupted")), else_=models.c.status).label("state")
    query = select(models.c.group_id, state, func.count().label("count")).where(_among(chosen))
    found: dict[int, dict[str, int]] = {}
    for row in connection.execute(query.group_by(models.c.group_id, state)):
        found.setdefault(row.group_id, {})[row.state] = row[2]
    return found


def _epochs(connection: Connection, chosen: Collection[int] | None) -> dict[int, list[int]]:
    """The epochs of which all complete models of a group have checkpoints."""
    complete = (_among(chosen)) & (models.c.status == "complete")
    size = select(models.c.group_id, func.count().label("size")).where(complete).group_by(models.c.group_id).subquery()
    shared = (
        select(models.c.group_id, checkpoints.c.epoch)
        .join(checkpoints, checkpoints.c.model_id == models.c.id)
        .join(size, size.c.group_id == models.c.group_id)
        .where(complete)
        .group_by(models.c.group_id, checkpoints.c.epoch)
        .having(func.count() == size.c.size)
        .subquery()
    )
    query = select(shared.c.group_id, func.group_concat(shared.c.epoch)).group_by(shared.c.group_id)
    return {row[0]: sorted(map(int, row[1].split(","))) for row in connection.execute(query)}


def one_of_each_architecture(connection: Connection) -> list[int]:
    """The id of the first group of each architecture."""
    first = select(func.min(groups.c.id)).where(groups.c.deleted_at.is_(None)).group_by(groups.c.architecture_id)
    return list(connection.execute(first).scalars())
