"""Files: written whole or not at all, and their SHA-256."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from nid_cli.errors import NidError


def sha256(content: bytes) -> str:
    """SHA-256 (hex) of ``content``."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces.

    Raises:
        NidError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NidError(f"cannot read {path}: {error.strerror}", "check permissions") from None


def sync_folder(folder: Path) -> None:
    """Writes the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: bytes) -> str:
    """Writes ``content`` under a temporary name, fsyncs, renames, fsyncs the folder; returns its SHA-256.

    Raises:
        NidError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        # A new name is safe once its folder is, and a new folder once its own is.
        for folder in (path.parent, *(new.parent for new in made)):
            sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise NidError(f"cannot write {path}: {error.strerror}", "free some space or check permissions") from None
    return sha256(content)


def write_sealed(path: Path, content: bytes) -> None:
    """Writes a file that carries its own SHA-256 in its first 32 bytes."""
    write_atomic(path, hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes | None:
    """The content that :func:`write_sealed` wrote; None where the file is missing or damaged."""
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    content = sealed[32:]
    return content if hashlib.sha256(content).digest() == sealed[:32] else None
