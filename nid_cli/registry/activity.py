"""What is at work on a registry, and what was cut off: commands with their trainings and results. Reads alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from nid_cli.registry import processes
from nid_cli.registry.tables import epochs, groups, invocations, models, results, sweep_groups, sweeps

# So many commands that were cut off are looked at, the last ones.
LAST = 50
# So many epochs of a model say how fast it is trained now.
RECENT = 5


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the registry. ``machine``: as :func:`nid_cli.registry.invocations.describe` has it."""

    id: int
    command: str
    argv: tuple[str, ...]
    machine: dict[str, Any]
    device: str | None
    pid: int
    started_at: str
    ended_at: str | None
    last_sign: str
    status: str
    sweep_id: int | None
    sweep: str | None


@dataclass(frozen=True, kw_only=True)
class Training:
    """One model at work, or cut off. ``length``: the epochs that its training has; ``done``: those recorded.

    ``seconds``: what its last epochs took each, on the mean; ``spent``: what all of them took together. None: no epoch
    is recorded yet.
    """

    invocation: int
    group: str
    model: int
    status: str
    done: int
    length: int
    seconds: float | None
    spent: float
    train_loss: float | None
    train_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The models of a command that are not in training any more: how many, their epochs, and the seconds of these."""

    models: int
    epochs: int
    spent: float


def _command(row: Row[Any]) -> Command:
    return Command(
        id=row.id,
        command=row.command,
        argv=tuple(json.loads(row.argv)),
        machine=json.loads(row.machine),
        device=row.device,
        pid=row.pid,
        started_at=row.started_at,
        ended_at=row.ended_at,
        last_sign=row.heartbeat_at or row.started_at,
        status=row.status,
        sweep_id=row.sweep_id,
        sweep=row.sweep,
    )


_commands = select(invocations, sweeps.c.name.label("sweep")).outerjoin(sweeps, sweeps.c.id == invocations.c.sweep_id)


def commands_at_work(connection: Connection) -> tuple[list[Command], list[Command]]:
    """The commands that have not said that they ended, oldest first: those whose processes live, and those gone."""
    rows = connection.execute(_commands.where(invocations.c.status == "running").order_by(invocations.c.id)).all()
    alive: list[Command] = []
    gone: list[Command] = []
    for row in rows:
        lives = processes.is_alive(row.process, row.heartbeat_at or row.started_at)
        (alive if lives else gone).append(_command(row))
    return alive, gone


def cut_off(connection: Connection) -> list[Command]:
    """The last commands that were interrupted or failed, the latest first, and have not been run to the end since."""
    query = _commands.where(invocations.c.status.in_(("interrupted", "failed"))).order_by(invocations.c.id.desc())
    rows = connection.execute(query.limit(LAST)).all()
    ended = select(invocations.c.argv, func.max(invocations.c.id)).where(
        invocations.c.argv.in_({row.argv for row in rows}), invocations.c.status.in_(("done", "running"))
    )
    since = {row[0]: row[1] for row in connection.execute(ended.group_by(invocations.c.argv))}
    latest: dict[str, Command] = {}
    for row in rows:
        if since.get(row.argv, 0) < row.id:
            latest.setdefault(row.argv, _command(row))
    return list(latest.values())


def trainings(connection: Connection, invocation_ids: Collection[int], states: Sequence[str]) -> list[Training]:
    """The models that these commands worked on last, in these states, by group and number."""
    if not invocation_ids:  # to SQLite an empty list is no reason not to look at every model
        return []
    chosen = models.c.invocation_id.in_(list(invocation_ids)) & models.c.status.in_(states)
    rows = connection.execute(
        select(models.c.id, models.c.number, models.c.status, models.c.invocation_id, groups.c.name, groups.c.settings)
        .join(groups, groups.c.id == models.c.group_id)
        .where(chosen, groups.c.deleted_at.is_(None))
        .order_by(groups.c.id, models.c.number)
    ).all()
    sums = (
        select(
            epochs.c.model_id,
            func.max(epochs.c.epoch).label("done"),
            func.coalesce(func.sum(epochs.c.seconds), 0.0).label("spent"),
        )
        .join(models, models.c.id == epochs.c.model_id)
        .where(chosen, epochs.c.epoch > 0)
        .group_by(epochs.c.model_id)
        .subquery()
    )
    query = select(epochs, sums.c.spent).join(sums, sums.c.model_id == epochs.c.model_id)
    query = query.where(epochs.c.epoch > sums.c.done - RECENT).order_by(epochs.c.model_id, epochs.c.epoch)
    recent: dict[int, list[Any]] = {}
    for epoch in connection.execute(query):
        recent.setdefault(epoch.model_id, []).append(epoch)
    return [_training(row, recent.get(row.id, [])) for row in rows]


def ended(connection: Connection, invocation_ids: Collection[int]) -> dict[int, Ended]:
    """What each of these commands has trained to an end."""
    if not invocation_ids:
        return {}
    query = (
        select(
            models.c.invocation_id,
            func.count(models.c.id.distinct()),
            func.count(epochs.c.epoch),
            func.coalesce(func.sum(epochs.c.seconds), 0.0),
        )
        .outerjoin(epochs, (epochs.c.model_id == models.c.id) & (epochs.c.epoch > 0))
        .where(models.c.invocation_id.in_(list(invocation_ids)), models.c.status != "training")
        .group_by(models.c.invocation_id)
    )
    return {row[0]: Ended(models=row[1], epochs=row[2], spent=row[3]) for row in connection.execute(query)}


def _training(row: Any, recent: Sequence[Any]) -> Training:
    """A model, of its row and those of its last epochs."""
    seconds = [epoch.seconds for epoch in recent if epoch.seconds is not None]
    return Training(
        invocation=row.invocation_id,
        group=row.name,
        model=row.number,
        status=row.status,
        done=recent[-1].epoch if recent else 0,
        length=_length(row.settings),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        spent=recent[-1].spent if recent else 0.0,
        train_loss=recent[-1].train_loss if recent else None,
        train_accuracy=recent[-1].train_accuracy if recent else None,
    )


def _length(settings: str) -> int:
    return int(json.loads(settings).get("epochs") or 0)


def of_sweep(connection: Connection, sweep_id: int) -> tuple[str, int, int]:
    """The text of a sweep, how many models its groups have so far, and how many of them are at their end."""
    text = connection.execute(select(sweeps.c.text).where(sweeps.c.id == sweep_id)).scalar_one()
    over = func.coalesce(func.sum(models.c.status.in_(("complete", "failed"))), 0)
    query = select(func.count(), over).select_from(models)
    query = query.join(sweep_groups, sweep_groups.c.group_id == models.c.group_id)
    there, at_end = connection.execute(query.where(sweep_groups.c.sweep_id == sweep_id)).one()
    return str(text), int(there), int(at_end)


def results_since(connection: Connection, command: Command) -> int:
    """How many results a command has recorded so far."""
    query = select(func.count()).select_from(results)
    query = query.where(results.c.created_at >= command.started_at, results.c.invocation_id == command.id)
    return int(connection.execute(query).scalar_one())
