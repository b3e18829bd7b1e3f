"""Who runs: the identity of a process, and whether the process behind an identity is still there."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

HEARTBEAT_S = 30
# A process on another machine that has been silent for this long is taken for gone.
SILENT_S = 300


@cache
def place() -> str:
    """Where process numbers mean what they mean here: the machine, its boot and the namespace of its processes."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _started(pid: int) -> str | None:
    """When a process began, in the system's own words; None where it is gone (or a zombie)."""
    try:
        # The name may hold spaces and parentheses; state and start time are the 1st and 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def identity() -> str:
    """This process: its place, number and start time, so that a number used again is not taken for it."""
    return f"{place()} {os.getpid()} {_started(os.getpid())}"


def is_here(process: str | None) -> bool:
    """Whether a process is one of this machine, so that the machine itself can say whether it runs."""
    return process is not None and process.startswith(place() + " ")


def is_alive(process: str | None, last_sign: str) -> bool:
    """Whether the process behind an :func:`identity` runs.

    Args:
        last_sign: ISO time of its last heartbeat, which decides for processes of other machines (and of registries
            from before identities were recorded).
    """
    if process is None or not is_here(process):
        return (datetime.now(UTC) - datetime.fromisoformat(last_sign)).total_seconds() < SILENT_S
    pid, started = process.removeprefix(place() + " ").split(" ", 1)
    found = _started(int(pid))
    if found is not None:
        return found == started
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return not Path(f"/proc/{pid}").exists()  # another user's process that /proc hides
    except OSError:
        return False
    return False
