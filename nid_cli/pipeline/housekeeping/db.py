"""``nid db backup``, ``restore`` and ``upgrade``: whole databases. No torch."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from nid_cli import files
from nid_cli.errors import IntegrityError, NotFoundError, RegistryError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.housekeeping.alone import alone
from nid_cli.records.housekeeping import BackedUp, Restored, Upgraded
from nid_cli.registry import backup, groups, locks
from nid_cli.registry.database import Registry
from nid_cli.registry.location import FILE, FOLDER, find, locate
from nid_cli.registry.opening import open_for_reading, open_for_writing, recognize_interrupted, refuse_newer
from nid_cli.registry.tables import SCHEMA_REVISION


def back_up(context: Context, target: Path, force: bool) -> BackedUp:
    """Copies the database (not the checkpoints, which never change) into one file, while others may write.

    Raises:
        UsageError: the file is there and ``force`` is not said; it is the registry; its folder is not there.
        IntegrityError: the database is damaged.
    """
    registry = open_for_reading(context.registry)
    target = target.absolute()
    if not target.parent.is_dir():
        raise UsageError(f"the folder of {str(target)!r} does not exist", "make it first")
    if target.exists() and (not target.is_file() or target.samefile(registry.path)):  # a folder, or /dev/null
        raise UsageError(f"{target} cannot be overwritten", "name a file of its own")
    if target.exists() and not force:
        raise UsageError(f"{target} exists already", "--force replaces it")
    with backup.copied(registry.path, target) as copy:
        with Registry(copy).read() as connection:
            names = groups.names(connection)
        sha256, size = files.file_sha256(copy), copy.stat().st_size
    return BackedUp(path=str(target), groups=len(names), bytes=size, sha256=sha256)


def restore(context: Context, source: Path) -> Restored:
    """Puts a backup in the place of the database, which is kept beside it under another name.

    Raises:
        NotFoundError: no such file. RegistryError: it is no backup of a registry; other commands work on this one.
        IntegrityError: the backup is damaged.
    """
    if not source.is_file():
        raise NotFoundError(f"{source} is not a file" if source.exists() else f"{source} does not exist")
    if wrong := backup.problems(source):
        raise IntegrityError(f"{source} is damaged: {wrong[0]}", "restore another backup")
    revision = Registry(source.absolute()).revision()
    if revision is None:
        raise RegistryError(f"{source} is not a backup of a nid registry")
    refuse_newer(source, revision)
    path = locate(context.registry) or Path.cwd() / FOLDER / FILE
    if path.exists() and source.samefile(path):
        raise UsageError(f"{source} is this registry")
    kept = None
    if not path.exists():
        open_for_writing(path, create=True)
        _overwrite(source, path)
    elif backup.problems(path):
        with locks.hold_now(path.parent / locks.FILES) as free:
            if not free:
                raise RegistryError(f"another command works on the registry {path}", "try again when it is done")
            kept = _replace(source, path)
    else:
        registry = Registry(path)
        if registry.revision() == SCHEMA_REVISION:
            recognize_interrupted(registry)
            with alone(registry):
                kept = _aside(path)
                backup.copy(path, kept)
                _overwrite(source, path)
        else:
            raise RegistryError(f"{path} has another schema than this program", "nid db upgrade upgrades it")
    restored = open_for_writing(path)  # upgrades an older backup
    with restored.read() as connection:
        names = groups.names(connection)
    return Restored(path=str(path), backup=str(source), groups=len(names), kept=str(kept) if kept else None)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")


def _overwrite(source: Path, path: Path) -> None:
    """Through SQLite: in one transaction, so that a kill leaves the old content, and others see old or new."""
    with (
        closing(sqlite3.connect(backup.address(source.absolute()), uri=True)) as origin,
        closing(sqlite3.connect(backup.address(path), uri=True, timeout=backup.BUSY_TIMEOUT_S)) as target,
    ):
        origin.backup(target)


def _replace(source: Path, path: Path) -> Path:
    """Past SQLite, where the database is too damaged for it; its log must never meet another database."""
    kept = _aside(path)
    shutil.copy2(path, kept)
    for suffix in ("-wal", "-shm", "-journal"):
        log = path.with_name(path.name + suffix)
        if log.exists():
            shutil.move(log, kept.with_name(kept.name + suffix))
    backup.copy(source.absolute(), path)
    return kept


def upgrade(context: Context) -> Upgraded:
    """Brings the schema to this program's; the old file is kept beside it.

    Raises:
        NotFoundError: there is no registry. RegistryError: it is newer than this program.
    """
    path = find(context.registry)
    before = Registry(path).revision()
    open_for_writing(path)
    kept = path.with_name(f"{path.name}.before-{SCHEMA_REVISION}")
    changed = before != SCHEMA_REVISION
    return Upgraded(path=str(path), before=before, to=SCHEMA_REVISION, kept=str(kept) if changed else None)


def path_of(context: Context) -> Path:
    """Where the registry is.

    Raises:
        NotFoundError: there is none.
    """
    return find(context.registry)
