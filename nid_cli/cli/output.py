"""The result of a command: records on stdout, or as a file in the format of its ending."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nid_cli.cli.render import Record, document, emit, plain, say
from nid_cli.errors import UsageError

FORMATS = (".json", ".jsonl", ".csv", ".parquet")


def check(target: str | None) -> None:
    """Refuses an ``--export`` that could not be written, before any work is done.

    Raises:
        UsageError: an unknown ending, or a folder that is not there.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.suffix not in FORMATS:
        raise UsageError(f"--export {target!r} must end in one of {', '.join(FORMATS)}, or be - for stdout")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of --export {target!r} does not exist", "make it first")


def show(
    schema: str, records: Sequence[Record], *, as_json: bool, export: str | None, human: Callable[[], None]
) -> None:
    """The result of a command: the export where one is asked for, and JSON or the table for people on stdout."""
    if export is not None:
        write(schema, records, export)
        if export == "-":
            return
    if as_json:
        emit(document(schema, records))
    else:
        human()


def write(schema: str, records: Sequence[Record], target: str) -> None:
    """Writes ``records`` to ``target`` (``-``: JSON on stdout), whole or not at all."""
    if target == "-":
        emit(document(schema, records))
        return
    from nid_cli.registry.artifacts import write_atomic

    path = Path(target)
    write_atomic(path.absolute(), _content(schema, records, path.suffix))
    say(f"wrote {len(records)} records to {target}")


def _content(schema: str, records: Sequence[Record], suffix: str) -> bytes:
    if suffix == ".json":
        return (document(schema, records) + "\n").encode()
    if suffix == ".jsonl":
        return "".join(json.dumps({"schema": schema, **plain(r)}, allow_nan=False) + "\n" for r in records).encode()
    rows = [row for r in records for row in (_long(r) if suffix == ".csv" else [flat(r)])]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
        return text.getvalue().encode()
    return _parquet(schema, columns, rows)


def flat(record: Record) -> dict[str, Any]:
    """A record with plain cells: numbers, text and lists stay, nested values become JSON text."""
    flattened: dict[str, Any] = {}
    for key, value in plain(record).items():
        nested = isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
        flattened[key] = json.dumps(value) if nested else value
    return flattened


def _long(record: Record) -> list[dict[str, Any]]:
    """Rows for a CSV: one, or one a pair (``i``, ``j``, from 0) where the record holds matrices."""
    whole = flat(record)
    matrices = {k: v for k, v in whole.items() if isinstance(v, list) and v and isinstance(v[0], list)}
    if not matrices:
        return [whole]
    common = {k: v for k, v in whole.items() if k not in matrices and not isinstance(v, list)}
    size = range(len(next(iter(matrices.values()))))
    return [common | {"i": i, "j": j} | {k: m[i][j] for k, m in matrices.items()} for i in size for j in size]


def _parquet(schema: str, columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for column in columns:
        values = [row.get(column) for row in rows]
        if any(isinstance(v, list) for v in values) and not all(v is None or isinstance(v, list) for v in values):
            values = [v if v is None or isinstance(v, list) else [v] for v in values]
        arrays[column] = pa.array(values)
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays).replace_schema_metadata({"schema": schema}), sink)
    return sink.getvalue()
