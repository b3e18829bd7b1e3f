"""Groups between registries: taking over another's, and writing one into a folder of its own."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nid_cli import files
from nid_cli.errors import IntegrityError, NidError, NotFoundError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.records.housekeeping import Registered
from nid_cli.registry import artifacts, groups, invocations, locks, runs, transfer
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.location import FILE, FOLDER
from nid_cli.registry.opening import open_copy, open_for_reading, open_for_writing

SQLITE_HEADER = b"SQLite format 3\0"


def is_registry(path: Path) -> bool:
    """Whether ``path`` is a registry: its ``.nid`` folder, the folder that holds one, its file, or a ``.tar`` of it."""
    if path.is_dir():
        return (path / FILE).is_file() or (path / FOLDER / FILE).is_file()
    return path.suffix == ".tar" or (path.is_file() and path.open("rb").read(16) == SQLITE_HEADER)


@contextmanager
def _opened(source: Path) -> Iterator[Registry]:
    """Another registry, for reading. One of an older schema is upgraded in a copy; an archive is unpacked aside."""
    with tempfile.TemporaryDirectory() as scratch:
        if source.is_file() and source.suffix == ".tar":
            _unpack(source, Path(scratch))
            source = Path(scratch)
        yield open_copy(source if source.is_file() else _database(source), Path(scratch))


def _database(folder: Path) -> Path:
    return folder / FILE if (folder / FILE).is_file() else folder / FOLDER / FILE


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive, "r:") as tar:  # plain, as nid writes it: what is packed can unfold without end
            # The "data" filter refuses absolute paths, .., links out of the folder and devices.
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise NidError(f"{archive} cannot be unpacked: {' '.join(str(error).split())}") from None
    if not (folder / FOLDER / FILE).is_file():
        raise NotFoundError(f"{archive} holds no {FOLDER}/{FILE}", "nid group export writes such archives")


def take_over(context: Context, registry: Registry, source: Path, name: str | None) -> list[Registered]:
    """Copies all groups of another registry into this one: files first, each verified, then their rows.

    Raises:
        IntegrityError: a file there is not what its registry says. UsageError: it is this registry.
    """
    with _opened(source) as other:
        if other.path.resolve() == registry.path.resolve():
            raise UsageError(f"{source} is this registry")
        with other.read() as connection:
            names = [group.name for group in groups.all_groups(connection)]
        if odd := [found for found in names if not groups.NAME.fullmatch(found)]:
            raise IntegrityError(f"{source} names a group {odd[0]!r}, as nid never does", "do not trust this registry")
        if name is not None and len(names) != 1:
            raise UsageError(f"--name names one group, but {source} has {len(names)}", "rename them afterwards")
        origin = invocations.describe("register", context.argv)
        found = []
        with recording(registry, "the groups done so far are kept") as call, writing_files(registry, context):
            with registry.write() as connection:
                call.begin(connection, origin)
            for done, group_name in enumerate(names):
                context.progress("groups", done, len(names), group_name)
                with locks.hold(registry.file(locks.REGISTER), lambda h: context.say(f"waiting: {h} registers")):
                    new_name, numbers, new = transfer_group(other, registry, group_name, name)
                with registry.read() as connection:
                    group = groups.by_name(connection, new_name)
                    members = [m for m in runs.models_of(connection, group_id=group.id) if m.number in numbers]
                epochs = sorted({epoch for m in members for epoch in m.checkpoints})
                arrived = sum(new[table] for table in ("models", "checkpoints", "results", "sweep_groups"))
                status = "imported" if arrived else "known"
                found.append(Registered(str(source), status, new_name, numbers, epochs, new["checkpoints"]))
        return found or [Registered(str(source), "known", reason="it has no groups")]


def transfer_group(
    source: Registry, target: Registry, name: str, new_name: str | None = None
) -> tuple[str, list[int], Counter[str]]:
    """Copies one group with runs, models, checkpoints, results and lineage; what is there already stays.

    Returns:
        its name in the target (with a suffix where it was taken), its models' numbers there, how many rows a table
        were new.
    """
    with source.read() as connection:
        group = groups.by_name(connection, name)
        _refuse_strange(group)
        rows = transfer.collect(connection, group.id)
    with target.read() as connection:
        plan = transfer.plan(connection, rows)
    for origin, destination, sha256 in plan.files:
        if artifacts.read_if(target.file(destination), sha256) is None:
            content = artifacts.read_verified(source.file(origin), sha256)
            files.write_atomic(target.file(destination), content)
    with target.write() as connection:
        return transfer.insert(connection, plan, new_name or name)


def _refuse_strange(group: Group) -> None:
    """A network that was taken in is a stranger's until its description is seen to be one that may run.

    Raises:
        IntegrityError: it is not.
    """
    if group.spec.network.graph is not None:
        from nid_cli.nets.bounds import check

        check(group.graph.description)


def export_group(context: Context, name: str, target: Path) -> dict[str, object]:
    """Writes one group as a ``.nid`` folder inside a tar archive; ``nid register`` takes it over elsewhere.

    Raises:
        NotFoundError: no such group. UsageError: the file's ending, or its folder, cannot be.
        IntegrityError: a checkpoint is not what the registry says.
    """
    if target.suffix != ".tar":
        raise UsageError(f"{str(target)!r} must end in .tar")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the folder of {str(target)!r} does not exist", "make it first")
    registry = open_for_reading(context.registry)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / FOLDER
        alone = open_for_writing(folder / FILE, create=True)
        _, numbers, _ = transfer_group(registry, alone, name)
        alone.close()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path in sorted(folder.rglob("*")):
                tar.add(path, arcname=str(path.relative_to(scratch)), recursive=False)
        sha256 = files.write_atomic(target.absolute(), buffer.getvalue())
        shutil.rmtree(folder)
    return {"name": name, "models": numbers, "path": str(target), "sha256": sha256, "bytes": len(buffer.getvalue())}
