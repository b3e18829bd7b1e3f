"""The results of a request: found where they are known, else computed and recorded one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from nid_cli import files
from nid_cli.lazy import resolve
from nid_cli.pipeline import pool
from nid_cli.pipeline.analyses import spread
from nid_cli.pipeline.analyses.catalog import ANALYSES, Analysis
from nid_cli.pipeline.analyses.lab import RegistryStock
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines.jobs import Place
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.records.base import Record
from nid_cli.registry import artifacts, invocations, results
from nid_cli.registry.columns import columns_of
from nid_cli.registry.database import Registry
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.registry.results import ResultKey

# Separates the name of a field of several arrays from the name of one of them.
PART = "/"


def run(
    context: Context,
    request: Request,
    keys: Sequence[ResultKey] | None = None,
    *,
    force: bool = False,
    matrices: bool = False,
    columns: Sequence[str] | None = None,
    engine: str = "local",
    place: Place | None = None,
) -> list[dict[str, Any]]:
    """The records that a request asks for, in order; those not in the registry (or all, by ``force``) are computed.

    Each record is written as soon as it is computed, so that an interrupted analysis goes on where it stopped.

    Args:
        keys: what ``request.keys`` gave, where that was asked before.
        matrices: put the arrays that lie in files of their own back into the records (they can be large).
        columns: only these, in this order, and no more is read than they take; None where a record lacks one.
        engine: where they are computed, and ``place`` what it is told (by default: see :mod:`.spread`).

    Raises:
        Interrupted: the user stopped it. UsageError, NotFoundError: the request cannot be.
        IntegrityError: files or data are not what was recorded.
    """
    keys = request.keys(context) if keys is None else keys
    registry = open_for_writing(context.registry)
    texts = [key.text for key in keys]
    with registry.read() as connection:
        known = set() if force else results.known(connection, texts)
    if missing := [key for key in keys if key.text not in known]:
        for sentence in request.remarks(missing):
            context.say(sentence)
        place = place or Place(device=context.device)
        workers = spread.workers_for(request, missing, engine, place)
        with pool.ready(workers) if workers else nullcontext():
            stock = RegistryStock(registry, context)
            if request.what.refuse is not None:
                resolve(request.what.refuse)(stock, missing)
            origin = invocations.describe(
                request.what.command, context.argv, str(context.torch_device()), context.sweep
            )
            with recording(registry, "the results so far are kept") as call, writing_files(registry, context):
                with registry.write() as connection:
                    invocation = call.begin(connection, origin)
                keep = partial(_record, stock, invocation)
                spread.compute(context, stock, request, missing, keep, workers, place)
    return _found(registry, request.what, texts, matrices, columns)


def known(context: Context, request: Request) -> tuple[int, int]:
    """How many results a request asks for, and how many of them are recorded.

    Raises: as :meth:`Request.keys`.
    """
    texts = [key.text for key in request.keys(context)]
    with open_for_reading(context.registry).read() as connection:
        return len(texts), len(results.known(connection, texts))


def _found(
    registry: Registry, what: Analysis, texts: Sequence[str], matrices: bool, columns: Sequence[str] | None
) -> list[dict[str, Any]]:
    """The recorded results of these keys."""
    with registry.read() as connection:
        if columns is not None and what.whole.isdisjoint(columns):
            return columns_of(connection, texts, columns, what.defaults)
        found = results.records(connection, texts, what.complete)
    if columns is None:
        return [with_matrices(registry, record, matrices) for record in found]
    large = not what.large.isdisjoint(columns)
    whole = (with_matrices(registry, record, large) for record in found)
    return [{name: record.get(name) for name in columns} for record in whole]


def _record(stock: RegistryStock, invocation: int, key: ResultKey, record: Record) -> None:
    from safetensors.numpy import save

    values, large = record.values(), ANALYSES[key.analysis].large
    arrays = dict(_arrays({name: values.pop(name) for name in large if name in values}))
    artifact = None
    if arrays:
        content = save(dict(sorted(arrays.items())))
        sha256 = files.sha256(content)
        # Named by its content too: computing again, or taking over another's, never overwrites what a row points to.
        path = f"results/{key.text[:16]}-{sha256[:16]}.safetensors"
        artifact = path, files.write_atomic(stock.registry.file(path), content)
    fingerprint = stock.fingerprint(key.group) if key.group else None
    with stock.registry.write() as connection:
        results.record(
            connection, key, values, data_fingerprint=fingerprint, invocation_id=invocation, artifact=artifact
        )


def _arrays(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arrays of some fields by name; several in one field by the field's name and their own."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}{PART}{own}", array) for own, array in value.items())
        elif value is not None:
            yield name, value


def with_matrices(registry: Registry, record: dict[str, Any], matrices: bool) -> dict[str, Any]:
    """The record with its arrays in the place of their file, or without either."""
    if results.ARTIFACT not in record:
        return record
    path, sha256 = record.pop(results.ARTIFACT)
    if not matrices:
        return record
    from safetensors.numpy import load

    fields: dict[str, Any] = {}
    for full, array in sorted(load(artifacts.read_verified(registry.file(path), sha256)).items()):
        name, _, part = full.partition(PART)
        if part:
            fields.setdefault(name, {})[part] = array
        else:
            fields[name] = array
    lineage = record.pop("lineage")
    return record | fields | {"lineage": lineage}
