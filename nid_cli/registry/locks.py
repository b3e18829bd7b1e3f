"""Locks between processes: held by the operating system, so that they end with their holder, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nid_cli.errors import NidError

# The locks' files, within the registry's folder. All who write files before their rows hold the first; `nid db gc` and
# `nid db restore` need it for themselves.
FILES = "locks/files.lock"
REGISTER = "locks/register.lock"
SCHEMA = "locks/schema.lock"


def of_run(run_hash: str) -> str:
    """The lock that a training of this run holds."""
    return f"locks/run-{run_hash[:16]}.lock"


def _try(descriptor: int, shared: bool = False) -> bool:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: no protection against two equal trainings at once
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise NidError(f"cannot lock {path}: {error.strerror}", "check permissions") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # a full disk: the name is for the user alone
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"


@contextmanager
def hold(path: Path, on_wait: Callable[[str], None], *, shared: bool = False) -> Iterator[None]:
    """Holds the lock ``path``; where another process does, says so through ``on_wait(holder)`` once, and waits.

    Args:
        shared: any number may hold it so at once, but nobody alone meanwhile.

    Raises:
        NidError: the lock file cannot be made.
    """
    with _opened(path) as descriptor:
        if not _try(descriptor, shared):
            on_wait(_holder(descriptor))
            while not _try(descriptor, shared):
                time.sleep(0.2)
        if not shared:
            _sign(descriptor)
        yield


@contextmanager
def hold_now(path: Path) -> Iterator[bool]:
    """Holds the lock ``path`` alone if nobody has it at this moment; the value says whether.

    Raises:
        NidError: the lock file cannot be made.
    """
    with _opened(path) as descriptor:
        free = _try(descriptor)
        if free:
            _sign(descriptor)
        yield free
