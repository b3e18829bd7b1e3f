"""Where rows come from: one invocation a command, with versions, machine, and the state of the working folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import Connection

import nid_cli
from nid_cli.registry.tables import inserted_id, invocations


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@cache
def versions() -> dict[str, str]:
    """Versions of nid, Python and the packages that numbers depend on (read without importing them)."""
    found = {"nid": nid_cli.__version__, "python": platform.python_version()}
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


def describe(command: str, argv: Sequence[str], device: str | None = None) -> dict[str, Any]:
    """What a command is and where it runs. Asks git, so it belongs before a transaction, not inside."""
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
    }


def begin(connection: Connection, origin: Mapping[str, Any]) -> int:
    """Records the start of what :func:`describe` described; returns its id."""
    return inserted_id(connection.execute(invocations.insert().values(**origin, started_at=now(), status="running")))


def finish(connection: Connection, invocation_id: int, status: str) -> None:
    """Records the end of a command: ``done``, ``failed`` or ``interrupted``."""
    connection.execute(
        invocations.update().where(invocations.c.id == invocation_id).values(ended_at=now(), status=status)
    )


def abandon(connection: Connection, invocation_ids: Collection[int]) -> None:
    """Closes invocations whose process ended without a word."""
    query = invocations.update().where(invocations.c.id.in_(invocation_ids), invocations.c.status == "running")
    connection.execute(query.values(status="interrupted"))
