"""Opening a registry: where it is, its connections and transactions, and its schema version."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

import nid_cli
from nid_cli.errors import IntegrityError, NidError, NotFoundError, RegistryError
from nid_cli.registry.tables import SCHEMA_REVISION, VERSION_TABLE

FOLDER, FILE = ".nid", "registry.db"
BUSY_TIMEOUT_S = 30
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


class Registry:
    """A registry: ``folder`` holds the database and all files, which rows name by paths relative to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent
        self.on_network = file_system(self.folder) in NETWORK_FILE_SYSTEMS
        # A URI with mode=rw: a read must never create a database.
        uri = f"file:{quote(str(path))}?mode=rw"
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
            with self._engine.connect().execution_options(nid_write=write) as connection, connection.begin():
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
        """Write-ahead logging, so that a writer blocks no reader; a rollback journal on network file systems."""
        wanted = "delete" if self.on_network else "wal"
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

    Raises:
        NotFoundError: there is none.
        RegistryError: its schema is newer than this program, or older than it can read.
    """
    path = locate(given)
    if path is None or not path.exists():
        where = f"at {path}" if path else "in this folder or one above it"
        raise NotFoundError(
            f"there is no registry {where}", "nid train or nid register creates one; --registry names another"
        )
    registry = Registry(path)
    revision = registry.revision()
    if revision is None:
        raise _not_a_registry(path)
    if revision != SCHEMA_REVISION:
        _refuse_newer(path, revision)
        raise RegistryError(
            f"the registry {path} has the older schema {revision}", "nid train or nid register upgrades it"
        )
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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise NidError(f"cannot create the registry {path}: {error.strerror}", "check permissions") from None
    registry = Registry(path)
    revision = registry.revision()
    if revision != SCHEMA_REVISION:
        if revision is not None:
            _refuse_newer(path, revision)
        elif not registry.is_empty():
            raise _not_a_registry(path)
        _upgrade(registry, revision)
    registry.set_journal()
    return registry


def migrations_folder() -> Path:
    """The Alembic folder: inside the installed package, or beside it in a checkout."""
    package = Path(nid_cli.__file__).parent
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"


def _alembic_config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def _refuse_newer(path: Path, revision: str) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()}
    if revision not in known:
        raise RegistryError(
            f"the registry {path} was written by a newer nid (schema {revision}; this one knows {SCHEMA_REVISION})",
            "upgrade nid",
        )


def _upgrade(registry: Registry, revision: str | None) -> None:
    """Brings the schema to this program's revision, in one transaction; an existing file is copied aside before."""
    from alembic import command

    if revision is not None:
        aside = registry.path.with_name(f"{registry.path.name}.before-{SCHEMA_REVISION}")
        with sqlite3.connect(registry.path) as source, sqlite3.connect(aside) as target:
            source.backup(target)
        shutil.copystat(registry.path, aside)
    config = _alembic_config()
    with registry.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
