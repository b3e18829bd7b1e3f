"""Groups as a list shows them: models by state, and the epochs that they share, by aggregated queries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, literal, or_, select, true

from nid_cli.records.group import GroupSummary
from nid_cli.registry import invocations
from nid_cli.registry.groups import matching
from nid_cli.registry.tables import checkpoints, epochs, groups, models
from nid_cli.specs import Selection

# So many groups are named in a query; more of them, and all rows are read.
FEW = 500


def summaries(connection: Connection, selection: Selection) -> Iterator[dict[str, Any]]:
    """``nid.group/1`` of the selected groups, in the order they were made.

    Models whose training process is gone count as interrupted.
    """
    rows = connection.execute(matching(_ROWS, selection)).all()
    yield from _summaries(connection, rows)


# What groups are sorted by: the names of columns, as a table of groups has them.
SORTS: Mapping[str, ColumnElement[Any]] = {
    name: groups.c[name] for name in ("name", "arch", "dataset", "symmetry", "kappa", "created_at")
}


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a listing: the groups whose names or notes hold ``search``, sorted, ``size`` of them from ``start``."""

    search: str = ""
    sort: str = "created_at"
    descending: bool = True
    start: int = 0
    size: int = 50


def page(connection: Connection, selection: Selection, window: Window) -> tuple[int, list[dict[str, Any]]]:
    """How many groups there are in all, and ``nid.group/1`` of those in the window."""
    total = connection.execute(_searched(select(func.count()).select_from(groups), selection, window.search)).scalar()
    column = SORTS[window.sort]
    if window.sort == "kappa":  # a number, or a list whose first it is
        column = func.coalesce(func.json_extract(column, "$[0]"), func.json_extract(column, "$"))
    order = (column.desc(), groups.c.id.desc()) if window.descending else (column, groups.c.id)
    query = _searched(_ROWS, selection, window.search).order_by(None).order_by(*order)
    rows = connection.execute(query.limit(window.size).offset(window.start)).all()
    return int(total or 0), list(_summaries(connection, rows))


def _searched(query: Select[Any], selection: Selection, search: str) -> Select[Any]:
    query = matching(query, selection)
    for word in search.split():
        query = query.where(or_(*(c.contains(word, autoescape=True) for c in (groups.c.name, groups.c.note))))
    return query


FACETS = ("arch", "dataset", "symmetry", "kappa")


def values(connection: Connection, selection: Selection, search: str = "") -> dict[str, dict[str, int]]:
    """By selector of ``FACETS`` the values that there are, the most frequent first, and how many groups have each.

    A selector's own choice does not narrow its values: one sees what else could be chosen.
    """
    columns = [groups.c[name] for name in FACETS]
    wanted = {
        name: {value.column if name == "kappa" else value for value in getattr(selection, name)} for name in FACETS
    }
    query = _searched(select(*columns, func.count()), Selection(group=selection.group, sweep=selection.sweep), search)
    found: dict[str, Counter[str]] = {name: Counter() for name in FACETS}
    for *own, count in connection.execute(query.order_by(None).group_by(*columns)):
        row = dict(zip(FACETS, own, strict=True))
        without = [name for name in FACETS if wanted[name] and row[name] not in wanted[name]]
        for name in FACETS:
            found[name][row[name]] += count if set(without) <= {name} else 0
    return {name: dict(counter.most_common()) for name, counter in found.items()}


def test_accuracies(connection: Connection, names: Collection[str]) -> dict[str, list[float]]:
    """By group the test accuracy of each complete model after its last recorded epoch, in percent."""
    later = epochs.alias()
    last = select(func.max(later.c.epoch)).where(later.c.model_id == models.c.id).scalar_subquery()
    query = (
        select(groups.c.name, epochs.c.test_accuracy)
        .join(models, models.c.group_id == groups.c.id)
        .join(epochs, epochs.c.model_id == models.c.id)
        .where(groups.c.name.in_(names), models.c.status == "complete", epochs.c.epoch == last)
        .where(epochs.c.test_accuracy.is_not(None))
        .order_by(models.c.id)
    )
    found: dict[str, list[float]] = {}
    for name, accuracy in connection.execute(query):
        found.setdefault(name, []).append(accuracy)
    return found


_ROWS = select(
    *(groups.c[name] for name in ("id", "name", "arch", "dataset", "symmetry", "kappa")),
    *(groups.c[name] for name in ("fixed_hash", "note", "created_at")),
)


def _summaries(connection: Connection, rows: Collection[Row[Any]]) -> Iterator[dict[str, Any]]:
    chosen = {row.id for row in rows} if len(rows) <= FEW else None
    states = _states(connection, chosen)
    shared = _epochs(connection, chosen)
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
            epochs=shared.get(row.id, []),
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
