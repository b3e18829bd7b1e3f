"""A registry's database: its connections, transactions and files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from nid_cli import stopping
from nid_cli.errors import IntegrityError, NidError, RegistryError
from nid_cli.registry import backup, location
from nid_cli.registry.tables import VERSION_TABLE

_only_read: ContextVar[bool] = ContextVar("nid_only_read", default=False)


@contextmanager
def only_reading() -> Iterator[None]:
    """Registries that are opened within this block, whatever for, let nothing be written to them."""
    before = _only_read.set(True)
    try:
        yield
    finally:
        _only_read.reset(before)


class Registry:
    """A registry: ``folder`` holds all files, which rows name by paths relative to it; the database lies there too.

    (A copy of a database may stand for it: then ``folder`` is given.)
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path = path
        self.folder = folder or path.parent
        self.on_network = location.is_on_network(self.folder)
        uri = backup.address(path)
        self.can_write = "mode=rw" in uri and not _only_read.get()
        self._engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(uri, uri=True, timeout=backup.BUSY_TIMEOUT_S, isolation_level=None),
            poolclass=NullPool,
        )
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "begin", self._on_begin)

    def _on_connect(self, connection: Any, record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if not self.can_write:
            connection.execute("PRAGMA query_only = ON")

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        # Python's sqlite3 begins deferred; a writer must take its lock at once, or two writers meet half-way.
        write = connection.get_execution_options().get("nid_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        try:
            with (
                stopping.put_off(),  # an interruption would come out in the database's words
                self._engine.connect().execution_options(nid_write=write) as connection,
                connection.begin(),
            ):
                yield connection
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.IntegrityError):
                raise
            raise explain(str(error.orig), self.path) from None

    def read(self) -> AbstractContextManager[Connection]:
        """A context manager: a connection in one consistent read transaction."""
        return self._transaction(write=False)

    def write(self) -> AbstractContextManager[Connection]:
        """A context manager: a connection in one immediate write transaction; keep it short."""
        return self._transaction(write=True)

    def file(self, relative: str) -> Path:
        """The absolute path of one of the registry's files: never outside its folder, nor through a link out of it.

        Raises:
            IntegrityError: it would be.
        """
        path = self.folder / relative
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise IntegrityError(
                f"the registry {self.path} names a file outside its folder: {relative}", "do not trust this registry"
            )
        return path

    def set_journal(self) -> None:
        """The journal that suits the file system: a write-ahead log (a writer blocks no reader), or rollback."""
        wanted = "delete" if self.on_network else "wal"
        if not self.can_write:
            return
        with self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            if raw.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
                raw.execute(f"PRAGMA journal_mode = {wanted}")

    def close(self) -> None:
        """Moves what is in the write-ahead log into the database file, so that the file alone can be copied."""
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def revision(self) -> str | None:
        """The schema revision of the file; None for an empty one."""
        with self.read() as connection:
            present = connection.execute(
                text("SELECT count(*) FROM sqlite_master WHERE name = :name"), {"name": VERSION_TABLE}
            ).scalar()
            if not present:
                return None
            revision: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
            return revision

    def is_empty(self) -> bool:
        """Whether the file holds no table at all."""
        with self.read() as connection:
            return not connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar()


def explain(reason: str, path: Path) -> NidError:
    """The error for a user where SQLite gives ``reason``."""
    if "malformed" in reason:
        return IntegrityError(
            f"the registry {path} is damaged: {reason}",
            "nid db check lists everything; nid db restore FILE brings a backup back",
        )
    if "not a database" in reason:
        return RegistryError(
            f"{path} is not a readable nid registry: {reason}",
            "name the right file with --registry; nid db restore FILE brings a backup back",
        )
    if "locked" in reason or "busy" in reason:
        return RegistryError(
            f"the registry {path} stayed locked by another process for {backup.BUSY_TIMEOUT_S} s",
            "try again when it is done",
        )
    if "full" in reason:
        return NidError(f"cannot write the registry {path}: the disk is full", "free some space; nothing was lost")
    if "I/O" in reason:
        return NidError(
            f"the registry {path} cannot be read or written: {reason}",
            "the disk may be full or failing, or a file-size limit in force; what was recorded is kept",
        )
    if "readonly" in reason or "unable to open" in reason:
        return RegistryError(f"the registry {path} cannot be opened for this: {reason}", "check its permissions")
    return RegistryError(f"the registry {path} cannot be used: {reason}")
