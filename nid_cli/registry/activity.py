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
    query = (
        select(models.c.id, models.c.number, models.c.status, models.c.invocation_id, groups.c.name, groups.c.settings)
        .join(groups, groups.c.id == models.c.group_id)
        .where(models.c.invocation_id.in_(list(invocation_ids)), models.c.status.in_(states))
        .where(groups.c.deleted_at.is_(None))
        .order_by(groups.c.id, models.c.number)
    )
    rows = connection.execute(query).all()
    own = models.c.id.in_([row.id for row in rows])
    spent = func.coalesce(func.sum(epochs.c.seconds), 0.0)
    done = select(epochs.c.model_id, func.max(epochs.c.epoch), spent)
    done = done.join(models, models.c.id == epochs.c.model_id).where(own, epochs.c.epoch > 0)
    sums = {row[0]: (row[1], row[2]) for row in connection.execute(done.group_by(epochs.c.model_id))}
    return [_training(connection, row, *sums.get(row.id, (0, 0.0))) for row in rows]


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


def _training(connection: Connection, row: Any, done: int, spent: float) -> Training:
    query = select(epochs).where(epochs.c.model_id == row.id, epochs.c.epoch > max(0, done - 5))
    last = connection.execute(query.order_by(epochs.c.epoch)).all()
    seconds = [epoch.seconds for epoch in last if epoch.seconds is not None]
    return Training(
        invocation=row.invocation_id,
        group=row.name,
        model=row.number,
        status=row.status,
        done=done,
        length=_length(row.settings),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        spent=spent,
        train_loss=last[-1].train_loss if last else None,
        train_accuracy=last[-1].train_accuracy if last else None,
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
