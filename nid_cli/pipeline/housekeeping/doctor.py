"""``nid doctor``: what this installation, this machine and this registry are like, and what is wrong with them."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nid_cli import files
from nid_cli.errors import NidError
from nid_cli.pipeline.context import Context
from nid_cli.records.housekeeping import Observation
from nid_cli.registry import invocations
from nid_cli.registry.database import Registry
from nid_cli.registry.location import locate
from nid_cli.registry.opening import recognize_interrupted
from nid_cli.registry.sqlite_faults import has_wal_reset_fault
from nid_cli.registry.tables import SCHEMA_REVISION

LITTLE_SPACE = 2_000_000_000


def examine(context: Context) -> Iterator[Observation]:
    """Looks at versions, device, threads, SQLite, registry and data, one after another."""
    for package, version in invocations.versions().items():
        yield Observation(package, version)
    yield Observation("system", platform.platform())
    yield from _sqlite()
    yield from _computing(context)
    yield from _data(context)
    yield from _registry(context)


def _sqlite() -> Iterator[Observation]:
    if has_wal_reset_fault():
        advice = (
            "has the WAL-reset fault: processes that write at the same moment can, very rarely, damage a registry; "
            "a Python with SQLite 3.51.3 (or 3.50.7, 3.44.6) does not; nid db check and nid db backup help"
        )
        yield Observation("sqlite", sqlite3.sqlite_version, "warning", advice)
    else:
        yield Observation("sqlite", sqlite3.sqlite_version)


def _computing(context: Context) -> Iterator[Observation]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Observation("cores", str(cores))
    try:
        import torch

        device = context.torch_device()
    except (ImportError, OSError) as error:
        yield Observation("torch", str(error), "problem", "install it: https://pytorch.org")
        return
    except NidError as error:
        yield Observation("device", context.device, "problem", error.message)
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    yield Observation("device", f"{device} ({name})")
    yield Observation("threads", str(torch.get_num_threads()))


def _data(context: Context) -> Iterator[Observation]:
    folder = context.data_folder
    if not folder.is_dir():
        yield Observation("data", f"{folder} (not there yet)", "ok", "digits and the generated data sets need none")
        return
    sets = sorted(path.name for path in folder.iterdir() if path.is_dir())
    yield Observation("data", f"{folder} ({', '.join(sets) or 'empty'})")


def _registry(context: Context) -> Iterator[Observation]:
    path = locate(context.registry)
    if path is None or not path.exists():
        yield Observation("registry", f"{path or 'none in this folder or one above it'}", "ok", "nid train makes one")
        yield from _folder(path.parent if path and path.parent.is_dir() else Path.cwd())
        return
    try:
        registry = Registry(path)
        revision = registry.revision()
    except NidError as error:
        yield Observation("registry", str(path), "problem", f"{error.message}; nid db check says more")
        yield from _folder(path.parent)
        return
    yield Observation("registry", str(path))
    yield from _folder(registry.folder)
    if registry.on_network:
        yield Observation("file system", "network", "warning", "a rollback journal is used there, which is slower")
    if revision != SCHEMA_REVISION:
        advice = "nid db upgrade" if revision else "this is no registry of nid"
        yield Observation("schema", str(revision), "problem", advice)
        return
    yield Observation("schema", revision)
    gone = recognize_interrupted(registry)
    value = ", ".join(map(str, gone)) or "none"
    advice = "they ended without a word, and are recorded as interrupted now; the same commands go on" if gone else ""
    yield Observation("stale runs", value, "warning" if gone else "ok", advice)
    with registry.read() as connection:
        alive = ", ".join(map(str, invocations.running(connection)))
    yield Observation("running", alive or "none")


def _folder(folder: Path) -> Iterator[Observation]:
    free = shutil.disk_usage(folder).free
    little = free < LITTLE_SPACE
    yield Observation(
        "free space", f"{free / 1e9:.1f} GB", "warning" if little else "ok", "soon full" if little else ""
    )
    test = folder / f".doctor-{os.getpid()}"
    try:
        files.write_atomic(test, b"written")
        whole = test.read_bytes() == b"written"
        test.unlink()
    except (NidError, OSError) as error:
        message = error.message if isinstance(error, NidError) else str(error)
        yield Observation("write test", str(folder), "problem", message)
        with suppress(OSError):
            test.unlink(missing_ok=True)
        return
    yield Observation("write test", "passed" if whole else "failed", "ok" if whole else "problem")
