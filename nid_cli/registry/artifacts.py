"""Files beside the database, verified when read."""

from __future__ import annotations

from pathlib import Path

from nid_cli.errors import IntegrityError
from nid_cli.files import sha256

# Beside the checkpoints of a model in training: what resuming needs.
RESUME = "resume.bin"
# What the code of a user's own network drew for a model, before the symmetry type's fixed part is laid over it.
START = "start.bin"


def data_path(content: str) -> str:
    """Where the tensors of a file of data lie, by their SHA-256."""
    return f"data/{content}.safetensors"


def read_verified(path: Path, expected: str) -> bytes:
    """The content of ``path``.

    Raises:
        IntegrityError: the file is missing or its SHA-256 is not ``expected``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"the registry's file {path} cannot be read: {error.strerror}", "nid db check says what can be done"
        ) from None
    if sha256(content) != expected:
        raise IntegrityError(
            f"{path} is not the file that was recorded (its SHA-256 differs)", "nid db check says what can be done"
        )
    return content


def read_if(path: Path, expected: str) -> bytes | None:
    """The content of ``path`` if it is there and has this SHA-256, else None."""
    try:
        return read_verified(path, expected)
    except IntegrityError:
        return None
