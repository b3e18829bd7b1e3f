"""Sweeps that were run: what their files said, when, and the groups that they are about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select
from sqlalchemy.dialects.sqlite import insert

from nid_cli.errors import NotFoundError, unknown
from nid_cli.registry.invocations import now
from nid_cli.registry.tables import groups, inserted_id, sweep_groups, sweeps


@dataclass(frozen=True)
class Sweep:
    """One text of a sweep's file. ``hash``: SHA-256 of the text; ``groups``: how many it has, removed ones aside.

    ``replaces``: the hash of the other text that was run last under this name; None where this one was, or no other.
    """

    id: int
    name: str
    text: str
    hash: str
    created_at: str
    last_run_at: str
    groups: int
    replaces: str | None = None


def hash_of(text: str) -> str:
    """The SHA-256 of a sweep's text."""
    return hashlib.sha256(text.encode()).hexdigest()


_count = (
    select(func.count())
    .select_from(sweep_groups.join(groups, groups.c.id == sweep_groups.c.group_id))
    .where(sweep_groups.c.sweep_id == sweeps.c.id, groups.c.deleted_at.is_(None))
    .scalar_subquery()
)
# The one that was run last comes first.
_newest = (sweeps.c.last_run_at.desc(), sweeps.c.id.desc())
_everything = select(sweeps, _count.label("groups")).order_by(*_newest)


def find_or_create(connection: Connection, name: str, text: str) -> Sweep:
    """The sweep of this name and text, made where there is none; :func:`touch` then says that it is run."""
    digest = hash_of(text)
    rows = connection.execute(_everything.where(sweeps.c.name == name)).all()
    last = rows[0].hash if rows else digest
    replaces = last if last != digest else None
    for row in rows:
        if row.hash == digest:
            return Sweep(**row._mapping, replaces=replaces)
    values = {"name": name, "text": text, "hash": digest, "created_at": (moment := now()), "last_run_at": moment}
    made = inserted_id(connection.execute(sweeps.insert().values(values)))
    return Sweep(id=made, **values, groups=0, replaces=replaces)


def find(connection: Connection, name: str, text: str) -> int | None:
    """The id of the sweep of this name and text; None where it was never run."""
    query = select(sweeps.c.id).where(sweeps.c.name == name, sweeps.c.hash == hash_of(text))
    found: int | None = connection.execute(query).scalar()
    return found


def touch(connection: Connection, sweep_id: int) -> None:
    """Records that a sweep is run now."""
    connection.execute(sweeps.update().where(sweeps.c.id == sweep_id).values(last_run_at=now()))


def add_group(connection: Connection, sweep_id: int, group_id: int) -> bool:
    """Makes a group one of a sweep's; returns whether it was none yet."""
    row = {"sweep_id": sweep_id, "group_id": group_id}
    return connection.execute(insert(sweep_groups).values(row).on_conflict_do_nothing()).rowcount > 0


def listing(connection: Connection) -> list[Sweep]:
    """All sweeps, the one that was run last first."""
    return [Sweep(**row._mapping) for row in connection.execute(_everything)]


def named(connection: Connection, name: str) -> Sweep:
    """The sweep of this name; of several texts the one that was run last.

    Raises:
        NotFoundError: there is none; the hint names the nearest, or all.
    """
    row = connection.execute(_everything.where(sweeps.c.name == name).limit(1)).one_or_none()
    if row is not None:
        return Sweep(**row._mapping)
    known = list(dict.fromkeys(sweep.name for sweep in listing(connection)))
    hint = unknown("sweep", name, known).hint
    raise NotFoundError(
        f"no sweep {name!r} was run here",
        hint or (f"sweeps here: {', '.join(known[:12])}" if known else "nid sweep FILE.toml runs one"),
    )


def group_ids(names: Sequence[str]) -> Select[Any]:
    """The query of the ids of the groups of the sweeps of these names; of several texts the one that was run last."""
    other = sweeps.alias()
    last = select(other.c.id).where(other.c.name == sweeps.c.name)
    last = last.order_by(other.c.last_run_at.desc(), other.c.id.desc()).limit(1)
    query = select(sweep_groups.c.group_id).join(sweeps, sweeps.c.id == sweep_groups.c.sweep_id)
    return query.where(sweeps.c.name.in_(names), sweeps.c.id == last.scalar_subquery())


def said_of(row: Row[Any]) -> dict[str, str] | None:
    """What lineages say of a sweep: name and hash, of a row's ``sweep`` and ``sweep_hash``."""
    return {"name": row.sweep, "hash": row.sweep_hash} if row.sweep is not None else None
