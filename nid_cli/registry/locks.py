"""Locks between processes: held by the operating system, so that they end with their holder, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nid_cli.errors import NidError


def _try(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: no protection against two equal trainings at once
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether a process holds the lock ``path`` at this moment."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def hold(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock ``path``; where another process does, says so through ``on_wait(holder)`` once, and waits.

    Raises:
        NidError: the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise NidError(f"cannot lock {path}: {error.strerror}", "check permissions") from None
    try:
        if not _try(descriptor):
            on_wait(os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process")
            while not _try(descriptor):
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
