"""Opening a registry: where it is, its connections and transactions, and its schema version."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from nid_cli.errors import IntegrityError, NidError, NotFoundError, RegistryError
from nid_cli.registry import backup, invocations, locks, schema
from nid_cli.registry.artifacts import sync_folder
from nid_cli.registry.tables import SCHEMA_REVISION, VERSION_TABLE

FOLDER, FILE = ".nid", "registry.db"
BUSY_TIMEOUT_S = backup.BUSY_TIMEOUT_S
# File systems on which SQLite's WAL is unsafe: its shared-memory index does not span machines.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "lustre", "gpfs", "beegfs", "ceph", "9p", "pvfs2", "orangefs"}
    | {"fuse.ceph", "fuse.sshfs", "fuse.glusterfs"}
)


def locate(given: Path | None) -> Path | None:
    """The database file: ``given``, else ``NID_REGISTRY``, else the nearest ``.nid/registry.db`` here or above."""
    named = given or (Path(os.environ["NID_REGISTRY"]) if os.environ.get("NID_REGISTRY") else None)
    if named:
        # A folder is understood as the .nid folder itself, or the one that holds it.
        for candidate in (named / FILE, named / FOLDER / FILE) if named.is_dir() else ():
            if candidate.exists():
                return candidate.absolute()
        return (named / FILE if named.is_dir() else named).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER / FILE).exists():
            return folder / FOLDER / FILE
    return None


def find(given: Path | None) -> Path:
    """The database file, which is there.

    Raises:
        NotFoundError: there is none.
    """
    path = locate(given)
    if path is None or not path.exists():
        where = f"at {path}" if path else "in this folder or one above it"
        raise NotFoundError(
            f"there is no registry {where}", "nid train or nid register creates one; --registry names another"
        )
    return path


def file_system(path: Path) -> str:
    """The type of the file system that holds ``path``, as Linux names it; empty where that cannot be told."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, mount, fs, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, fs
    return kind


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Puts Ctrl-C off to the end of a transaction, which is short: what it interrupts there fails in its own words."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda signum, frame: came.append(signum))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for signum in dict.fromkeys(came):
            signal.raise_signal(signum)


class Registry:
    """A registry: ``folder`` holds all files, which rows name by paths relative to it; the database lies there too.

    (A copy of a database may stand for it: then ``folder`` is given.)
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path = path
        self.folder = folder or path.parent
        self.on_network = file_system(self.folder) in NETWORK_FILE_SYSTEMS
        uri = backup.address(path)
        self.can_write = "mode=rw" in uri
        self._engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None),
            poolclass=NullPool,
        )
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "begin", self._on_begin)

    def _on_connect(self, connection: Any, record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        # Python's sqlite3 begins deferred; a writer must take its lock at once, or two writers meet half-way.
        write = connection.get_execution_options().get("nid_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        try:
            with (
                _undisturbed(),
                self._engine.connect().execution_options(nid_write=write) as connection,
                connection.begin(),
            ):
                yield connection
        except OperationalError as error:
            raise _explain(error, self.path) from None
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.IntegrityError):
                raise
            raise RegistryError(f"{self.path} is not a readable nid registry: {error.orig}") from None

    def read(self) -> Any:
        """A context manager: a connection in one consistent read transaction."""
        return self._transaction(write=False)

    def write(self) -> Any:
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


def _explain(error: OperationalError, path: Path) -> NidError:
    reason = str(error.orig)
    if "locked" in reason or "busy" in reason:
        return RegistryError(
            f"the registry {path} stayed locked by another process for {BUSY_TIMEOUT_S} s", "try again when it is done"
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


def run_lock(run_hash: str) -> str:
    """The lock that a training of this run holds, within the registry's folder."""
    return f"locks/run-{run_hash[:16]}.lock"


def _not_a_registry(path: Path) -> RegistryError:
    return RegistryError(f"{path} is not a nid registry", "name the right file with --registry")


def open_for_reading(given: Path | None) -> Registry:
    """The registry that commands without writing use.

    All that may be written is what became of commands whose processes are gone.

    Raises:
        NotFoundError: there is none.
        RegistryError: its schema is newer than this program, or older than it can read.
    """
    path = find(given)
    registry = Registry(path)
    revision = registry.revision()
    if revision is None:
        raise _not_a_registry(path)
    if revision != SCHEMA_REVISION:
        refuse_newer(path, revision)
        raise RegistryError(f"the registry {path} has the older schema {revision}", "nid db upgrade upgrades it")
    recognize_interrupted(registry)
    return registry


def open_for_writing(given: Path | None, create: bool = False) -> Registry:
    """The registry that commands with results use, upgraded to this program's schema.

    Args:
        create: make ``./.nid`` (or the named file) where there is none.

    Raises:
        NotFoundError: there is none, and ``create`` is not set.
        RegistryError: it is newer than this program, or not a registry.
    """
    path = locate(given)
    if path is None or not path.exists():
        if not create:
            return open_for_reading(given)
        path = path or Path.cwd() / FOLDER / FILE
        _create(path)
    registry = Registry(path)
    if registry.revision() != SCHEMA_REVISION:
        _upgrade(registry)
    registry.set_journal()
    recognize_interrupted(registry)
    return registry


def open_copy(path: Path, scratch: Path) -> Registry:
    """Another's registry, for reading; where its schema is older, a copy of the database is upgraded in ``scratch``.

    Raises:
        RegistryError: it is newer than this program, or not a registry.
    """
    registry = Registry(path)
    if registry.revision() == SCHEMA_REVISION:
        return registry
    _refuse_foreign(registry)
    copy = scratch / "older.db"
    backup.copy(path, copy)
    upgraded = Registry(copy, folder=registry.folder)
    with upgraded.write() as connection:
        schema.upgrade(connection)
    return upgraded


def recognize_interrupted(registry: Registry) -> list[invocations.Running]:
    """Closes the commands whose processes are gone, and the trainings that they left; returns them."""
    with registry.read() as connection:
        gone = [call for call in invocations.running(connection) if not call.is_alive]
    if gone and registry.can_write:
        with registry.write() as connection:
            invocations.abandon(connection, [call.id for call in gone])
    return gone


def refuse_newer(path: Path, revision: str) -> None:
    """Holds a file's revision against those that this program knows.

    Raises:
        RegistryError: it is none of them.
    """
    if revision not in schema.revisions():
        raise RegistryError(
            f"the registry {path} was written by a newer nid (schema {revision}; this one knows {SCHEMA_REVISION})",
            "upgrade nid",
        )


def _refuse_foreign(registry: Registry) -> str | None:
    """The revision of a file that may be upgraded; None for an empty one."""
    revision = registry.revision()
    if revision is not None:
        refuse_newer(registry.path, revision)
    elif not registry.is_empty():
        raise _not_a_registry(registry.path)
    return revision


@contextmanager
def _schema_lock(folder: Path) -> Iterator[None]:
    with locks.hold(folder / "locks/schema.lock", lambda holder: None):
        yield


def _create(path: Path) -> None:
    """A new registry, which appears whole: a kill on the way leaves none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _schema_lock(path.parent):
            if path.exists():
                return
            temporary.touch()
            with Registry(temporary).write() as connection:
                schema.upgrade(connection)
            os.replace(temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        raise NidError(f"cannot create the registry {path}: {error.strerror}", "check permissions") from None
    except NidError as error:
        raise type(error)(error.message.replace(str(temporary), str(path)), error.hint) from None
    finally:
        for left in (temporary, temporary.with_name(f"{temporary.name}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _upgrade(registry: Registry) -> None:
    """Brings the schema to this program's revision, in one transaction; an existing file is copied aside before."""
    _refuse_foreign(registry)
    with _schema_lock(registry.folder):
        revision = registry.revision()
        if revision == SCHEMA_REVISION:  # another process was faster
            return
        if revision is not None:
            aside = registry.path.with_name(f"{registry.path.name}.before-{SCHEMA_REVISION}")
            backup.copy(registry.path, aside)
            shutil.copystat(registry.path, aside)
        with registry.write() as connection:
            schema.upgrade(connection)
