"""What a loader read once, kept as bytes: a data set is there again without the library that read it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from nid_cli.errors import NidError
from nid_cli.files import file_sha256, sha256, write_atomic

# Raised when what is kept of the same sources changes.
VERSION = 1

Tensors = dict[str, Tensor]


def users_cache() -> Path:
    """Where bytes are kept of data sets whose own folders are not ours to write into."""
    return user_cache_path("nid") / "bytes"


def cached(name: str, sources: Path, place: Path, read: Callable[[], Tensors]) -> Tensors:
    """What ``read`` gives for the files below the folder ``sources``, kept in ``place`` until one of them changes.

    A change is another path, size or time of modification. What is kept is named by its SHA-256 too, so that damage is
    noticed and the sources are read anew.
    A place that cannot be written goes without. Nothing is kept of a folder that is not there.

    Args:
        name: what is read, with all parameters that determine it; an older version of the same name is removed.
    """
    if not sources.is_dir():
        return read()
    kind = f".cache-{name}-{_digest(os.path.realpath(sources))[:8]}"
    state = _digest(repr((VERSION, sorted(_states(sources)))))[:16]
    for path in place.glob(f"{kind}-{state}-*.safetensors"):
        with suppress(NidError, OSError, SafetensorError):
            if file_sha256(path).startswith(path.stem.rpartition("-")[2]):
                return load_file(path)
    tensors = read()
    content = save(tensors)
    path = place / f"{kind}-{state}-{sha256(content)[:32]}.safetensors"
    with suppress(NidError):
        write_atomic(path, content)
    for old in set(place.glob(f"{kind}-*.safetensors")) - {path}:
        with suppress(OSError):
            old.unlink()
    return tensors


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _states(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of modification of every file below a folder, and the paths of its folders."""
    for here, below, names in os.walk(folder):
        yield from ((os.path.relpath(os.path.join(here, name), folder), -1, 0) for name in below)
        for name in names:
            path = os.path.join(here, name)
            state = os.stat(path)
            yield os.path.relpath(path, folder), state.st_size, state.st_mtime_ns
