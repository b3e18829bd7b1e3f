"""Where rows come from: each command is an invocation, with versions, machine, and state of the working folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import Connection, func, select

from nid_cli.registry import processes
from nid_cli.registry.tables import inserted_id, invocations, models
from nid_cli.version import __version__


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@cache
def versions() -> dict[str, str]:
    """Versions of nid, Python and the packages that numbers depend on (read without importing them)."""
    found = {"nid": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def describe(
    command: str, argv: Sequence[str], device: str | None = None, sweep_id: int | None = None
) -> dict[str, Any]:
    """What a command is and where it runs. Asks git, so it belongs before a transaction, not inside.

    Args:
        sweep_id: of the sweep that it is a part of.
    """
    commit = _git("rev-parse", "HEAD")
    machine = {"host": platform.node(), "system": platform.platform(), "cpus": os.cpu_count()}
    return {
        "command": command,
        "argv": json.dumps(list(argv)),
        "versions": json.dumps(versions()),
        "machine": json.dumps(machine),
        "device": device,
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "pid": os.getpid(),
        "process": processes.identity(),
        "sweep_id": sweep_id,
    }


def begin(connection: Connection, origin: Mapping[str, Any]) -> int:
    """Records the start of what :func:`describe` described; returns its id."""
    moment = now()
    row = {**origin, "started_at": moment, "heartbeat_at": moment, "status": "running"}
    return inserted_id(connection.execute(invocations.insert().values(row)))


def beat(connection: Connection, invocation_id: int) -> None:
    """A sign of life."""
    connection.execute(invocations.update().where(invocations.c.id == invocation_id).values(heartbeat_at=now()))


def finish(connection: Connection, invocation_id: int, status: str) -> None:
    """Records the end of this process's command, ``done``, ``failed`` or ``interrupted``, and of its trainings."""
    # Where a transaction was rolled back its id may be another command's by now.
    own = invocations.update().where(invocations.c.id == invocation_id, invocations.c.process == processes.identity())
    connection.execute(own.values(ended_at=now(), status=status))
    _interrupt_trainings(connection)


@dataclass(frozen=True)
class Running:
    """A command that has not said that it ended. ``last_sign``: its last heartbeat."""

    id: int
    command: str
    pid: int
    host: str
    process: str | None
    started_at: str
    last_sign: str

    @property
    def is_alive(self) -> bool:
        """Whether its process is still there."""
        return processes.is_alive(self.process, self.last_sign)

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this machine."""
        return processes.is_here(self.process)

    def __str__(self) -> str:
        return f"nid {self.command} (process {self.pid} on {self.host})"


def running(connection: Connection) -> list[Running]:
    """The commands that have not ended, oldest first, whether or not their processes are alive."""
    query = select(invocations).where(invocations.c.status == "running").order_by(invocations.c.id)
    return [
        Running(
            row.id, row.command, row.pid, json.loads(row.machine)["host"], row.process, row.started_at,
            row.heartbeat_at or row.started_at,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def abandon(connection: Connection, invocation_ids: Collection[int]) -> None:
    """Closes invocations whose process is gone and recorded no end (now is as good as any), and their trainings."""
    query = invocations.update().where(invocations.c.id.in_(invocation_ids), invocations.c.status == "running")
    connection.execute(query.values(status="interrupted", ended_at=func.coalesce(invocations.c.ended_at, now())))
    _interrupt_trainings(connection)


def _interrupt_trainings(connection: Connection) -> None:
    """Marks what commands that are over have left in training."""
    over = select(invocations.c.id).where(invocations.c.status != "running")
    left = models.update().where(models.c.status == "training", models.c.invocation_id.in_(over))
    connection.execute(left.values(status="interrupted"))
