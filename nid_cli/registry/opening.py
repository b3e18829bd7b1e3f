"""Opening a registry: for reading, or for writing and then made or upgraded where it must be."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from nid_cli.errors import NidError, RegistryError
from nid_cli.files import sync_folder
from nid_cli.registry import backup, invocations, locks, schema
from nid_cli.registry.database import Registry
from nid_cli.registry.location import FILE, FOLDER, find, locate
from nid_cli.registry.tables import SCHEMA_REVISION


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
    if (revision := registry.revision()) != SCHEMA_REVISION:
        if revision is None and not create:
            raise _not_a_registry(path)
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


def _refuse_foreign(registry: Registry) -> None:
    """Lets through what may be upgraded: an older registry, or an empty file."""
    revision = registry.revision()
    if revision is not None:
        refuse_newer(registry.path, revision)
    elif not registry.is_empty():
        raise _not_a_registry(registry.path)


def _schema_lock(folder: Path) -> AbstractContextManager[None]:
    return locks.hold(folder / locks.SCHEMA, lambda holder: None)


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
