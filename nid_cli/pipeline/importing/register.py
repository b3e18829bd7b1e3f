"""``nid register``: takes over runs of the reference code, and the groups of other registries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.errors import Interrupted, NidError, NotFoundError, UsageError
from nid_cli.graphs import graph_of
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.fixed import write_fixed
from nid_cli.pipeline.importing import exchange, reference
from nid_cli.pipeline.importing.reference import Directory, Refused
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.pipeline.removal import bring_back
from nid_cli.records.housekeeping import Registered
from nid_cli.registry import artifacts, groups, invocations, locks, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import FixedFile
from nid_cli.registry.location import FILE
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.runs import Checkpoint, Model
from nid_cli.specs import SYMMETRIES, RunSpec, stable_hash

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nid_cli.nets.functional import State


@dataclass(frozen=True)
class NewFile:
    """A checkpoint that the registry has not seen: converted, written beside the database, not yet recorded."""

    index: int
    checkpoint: Checkpoint
    size: int
    source_sha256: str


def find_sources(paths: Sequence[Path], recursive: bool) -> Iterator[Path]:
    """The sources that the paths name: run directories, ``.nid`` folders; with ``recursive`` all below them, sorted.

    Raises:
        NotFoundError: a path is not there, or nothing below it can be registered.
    """
    for path in paths:
        if not path.exists():
            raise NotFoundError(f"{path} does not exist")
        if not recursive or exchange.is_registry(path):
            yield path
            continue
        found = False
        for folder, below, names in os.walk(path):
            below.sort()
            here = Path(folder)
            if FILE in names and exchange.is_registry(here):
                found = True
                below.clear()
                yield here
            elif reference.is_run(here):
                found = True
                yield here
        if not found:
            raise NotFoundError(f"nothing below {path} can be registered")


def register(context: Context, paths: Sequence[Path], *, name: str | None, recursive: bool) -> list[Registered]:
    """Imports every source that the paths name; what cannot be imported is skipped with its reason.

    Raises:
        NotFoundError: a path is not there. UsageError: one ``name`` for several sources.
        NidError: the only source named cannot be imported.
    """
    if name is not None:
        groups.check_name(name)
    sources = list(find_sources(paths, recursive))
    if name is not None and len(sources) > 1:
        raise UsageError("--name names one group, but there are several sources", "register them one by one")
    alone = len(sources) == 1 and not recursive
    outcomes: list[Registered] = []
    opened: list[tuple[Path, Directory | None]] = []
    for source in sources:
        try:
            opened.append((source, None if exchange.is_registry(source) else reference.open_directory(source)))
        except NidError as error:
            if alone:
                raise
            outcomes.append(Registered(str(source), "skipped", reason=error.message))
    if not opened:  # nothing to import: no registry is made
        return outcomes
    registry = open_for_writing(context.registry, create=True)
    for done, (source, directory) in enumerate(opened):
        context.progress("register", done, len(opened), source.name)
        try:
            if directory is None:
                outcomes += exchange.take_over(context, registry, source, name)
            else:
                with writing_files(registry, context):
                    outcomes.append(_register_directory(context, registry, directory, name))
        except Interrupted:
            raise
        except NidError as error:
            if alone:
                raise
            outcomes.append(Registered(str(source), "skipped", reason=error.message))
    context.progress("register", len(opened), len(opened), "done")
    return sorted(outcomes, key=lambda outcome: [str(s) for s in sources].index(outcome.source))


def _register_directory(context: Context, registry: Registry, directory: Directory, name: str | None) -> Registered:
    """One run directory, whole or not at all: files first, then all rows in one transaction."""
    with locks.hold(registry.file(locks.REGISTER), lambda holder: context.say(f"waiting: {holder} registers")):
        hashes = {key: files.file_sha256(file) for key, file in directory.files.items()}
        with registry.read() as connection:
            known = runs.models_by_source(connection, list(hashes.values()))
        new = {key: digest for key, digest in hashes.items() if digest not in known}
        by_index = {index: known[digest] for (index, _), digest in hashes.items() if digest in known}
        for group_id in {model.group_id for model in by_index.values()}:
            with registry.read() as connection:
                key = groups.by_id(connection, group_id).key
            bring_back(registry, context, key, name)
        if not new:
            with registry.read() as connection:
                group = groups.by_id(connection, next(iter(by_index.values())).group_id)
            if name is not None and name != group.name:
                raise UsageError(
                    f"{directory.path} is registered already, in {group.name}",
                    f"nid group rename {group.name} {name} renames it",
                )
            return _outcome(directory, "known", group.name, by_index, 0)
        origin = invocations.describe("register", context.argv)
        with recording(registry, "what was registered is kept") as call:
            with registry.write() as connection:
                invocation = call.begin(connection, origin)
            return _import(context, registry, directory, name, new, by_index, invocation)


def _import(
    context: Context,
    registry: Registry,
    directory: Directory,
    name: str | None,
    new: dict[tuple[int, int], str],
    by_index: dict[int, Model],
    invocation: int,
) -> Registered:
    run_hash = _run_hash(registry, new, by_index)
    written, fixed, spec = _convert(context, registry, directory, new, run_hash)
    bring_back(registry, context, groups.group_key(spec, fixed.hash if fixed else None), name)
    with registry.write() as connection:
        existing = groups.alike(connection, spec)
        group = groups.find_or_create(
            connection,
            spec=spec,
            fixed=fixed,
            data_fingerprint=None,
            name=name,
        )
        if any(model.group_id != group.id for model in by_index.values()):
            raise Refused(f"{directory.path}: its new checkpoints do not belong with those registered before")
        models = _record(connection, directory, spec, group.id, run_hash, by_index, written, invocation)
    if existing and group.name not in existing:
        context.say(f"{group.name} is a group of its own: its fixed tensors are not those of {', '.join(existing)}")
    return _outcome(directory, "imported", group.name, models, len(written))


def _run_hash(registry: Registry, new: dict[tuple[int, int], str], by_index: dict[int, Model]) -> str:
    """Identity of an imported run: what it was before, or its first checkpoint's content."""
    if not by_index:
        return stable_hash({"reference": new[min(new)]})
    with registry.read() as connection:
        return runs.run_hash(connection, next(iter(by_index.values())).run_id)


def _convert(
    context: Context, registry: Registry, directory: Directory, new: dict[tuple[int, int], str], run_hash: str
) -> tuple[list[NewFile], FixedFile | None, RunSpec]:
    """Writes effective weights and fixed tensors; all checkpoints must share the latter."""
    from nid_cli.nets.storage import to_bytes
    from nid_cli.nets.symmetry import fixed_hash

    shared: State | None = None
    written = []
    for done, ((index, epoch), digest) in enumerate(sorted(new.items())):
        file = directory.files[index, epoch]
        context.progress(directory.path.name, done, len(new), f"model {index}, epoch {epoch}")
        state, fixed = reference.read_checkpoint(artifacts.read_verified(file, digest), file, directory.spec)
        if shared is None:
            shared = fixed
        elif fixed_hash(shared) != fixed_hash(fixed):
            raise Refused(f"{directory.path}: {file.name} has other fixed tensors than {directory.first_file.name}")
        content = to_bytes(state)
        path = f"{runs.model_folder(run_hash, index)}/epoch-{epoch:06d}.safetensors"
        sha256 = files.write_atomic(registry.file(path), content)
        written.append(NewFile(index, Checkpoint(epoch, path, sha256), len(content), digest))
    context.progress(directory.path.name, len(new), len(new), "")
    assert shared is not None
    spec = directory.spec
    if "num_fixed" in SYMMETRIES[spec.symmetry.name].settings:
        counts = reference.num_fixed(graph_of(spec), shared, directory.first_file)
        spec = replace(spec, symmetry=replace(spec.symmetry, num_fixed=counts))
    return written, write_fixed(registry, shared), spec


def _record(
    connection: Connection,
    directory: Directory,
    spec: RunSpec,
    group_id: int,
    run_hash: str,
    by_index: dict[int, Model],
    written: list[NewFile],
    invocation: int,
) -> dict[int, Model]:
    """Rows of the run, its models and their checkpoints; returns the run's models by their index in the source."""
    seeds = directory.seeds
    source = {"path": str(directory.path.absolute()), "config": directory.config}
    run_id = runs.find_or_create_run(connection, spec, run_hash, group_id, seeds["mask_seed"], invocation, source)
    ids = {index: model.id for index, model in by_index.items()}
    for index in sorted({file.index for file in written} - ids.keys()):
        ids[index] = runs.add_model(
            connection,
            group_id=group_id,
            run_id=run_id,
            member=index,
            invocation_id=invocation,
            status="complete",
            source_path=source["path"],
            source_index=index,
        )
    for file in written:
        runs.record_checkpoint(connection, ids[file.index], file.checkpoint, file.size, file.source_sha256)
    return {m.member: m for m in runs.models_of(connection, run_id=run_id)}


def _outcome(directory: Directory, status: str, group: str, models: dict[int, Model], new: int) -> Registered:
    indices = sorted({index for index, _ in directory.files})
    epochs = sorted({epoch for _, epoch in directory.files})
    return Registered(str(directory.path), status, group, [models[i].number for i in indices], epochs, new)
