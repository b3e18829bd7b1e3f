"""Copies of a database while others use it, and what SQLite itself says about a database."""

from __future__ import annotations

import glob
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from nid_cli.errors import IntegrityError, NidError
from nid_cli.files import sync_folder

BUSY_TIMEOUT_S = 30


def address(path: Path) -> str:
    """The URI that opens ``path`` and never creates it.

    Where the folder cannot be written, a write-ahead log has no place for its index: then the database is opened for
    reading, and as one that nobody changes if there is no log.
    """
    uri = f"file:{quote(str(path))}"
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return f"{uri}?mode=rw"
    log = path.with_name(f"{path.name}-wal")
    return f"{uri}?mode=ro" if log.exists() and log.stat().st_size else f"{uri}?mode=ro&immutable=1"


def problems(path: Path) -> list[str]:
    """What SQLite's checks of integrity and of foreign keys find; empty for a sound database.

    Raises:
        sqlite3.OperationalError: it is locked, or cannot be opened.
    """
    try:
        with closing(sqlite3.connect(address(path), uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return found + [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in broken]


@contextmanager
def copied(source: Path, target: Path) -> Iterator[Path]:
    """A consistent copy of the database ``source`` that becomes ``target`` when the block ends well.

    It is made by SQLite's backup, in one step (writers go on in the write-ahead log), checked, and put in place whole;
    the value is its temporary path.

    Raises:
        NidError: the disk is full, the folder cannot be written. IntegrityError: the copy is not sound.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    _sweep(target)
    try:
        with closing(sqlite3.connect(address(source), uri=True, timeout=BUSY_TIMEOUT_S)) as origin:
            temporary.touch()
            with closing(sqlite3.connect(temporary)) as copy:
                origin.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, which needs no log beside it
        if found := problems(temporary):
            raise IntegrityError(f"{source} is damaged: {found[0]}", "nid db check lists everything")
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise NidError(f"cannot write {target}: {error.strerror}", "free some space or check permissions") from None
    except sqlite3.OperationalError as error:
        raise NidError(f"cannot copy {source} to {target}: {error}", "free some space or check permissions") from None
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"{source} is damaged: {error}", "nid db restore FILE brings a backup back") from None
    finally:
        for left in (temporary, temporary.with_name(f"{temporary.name}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Removes what copies to the same target left that were killed on the way, an hour ago or more."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink()


def copy(source: Path, target: Path) -> None:
    """Copies the database ``source`` to ``target``; see :func:`copied`."""
    with copied(source, target):
        pass
