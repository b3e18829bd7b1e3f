"""The result of a command: records on stdout, or as a file in the format of its ending."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nid_cli.cli.render import document, emit, plain, say
from nid_cli.errors import UsageError
from nid_cli.pipeline.choices import some_of
from nid_cli.records import Record, Row

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


def chosen_columns(text: str | None, *kinds: type[Record]) -> list[str] | None:
    """``group,distance`` as names of fields that records of these kinds have; None stays None.

    Raises:
        UsageError: a name that is none of them.
    """
    declared = dict.fromkeys(column.name for kind in kinds for column in kind.columns())
    return None if text is None else some_of("column", text, declared)


def show(
    kind: type[Record],
    records: Sequence[Row],
    *,
    as_json: bool,
    export: str | None,
    human: Callable[[], None],
    columns: Sequence[str] | None = None,
    summary: Row | None = None,
) -> None:
    """The result of a command: the export where one is asked for, and JSON or the table for people on stdout.

    Args:
        columns: the order of the export's columns, where it is not that of the declaration.
        summary: what the document of ``--json`` says beside its records.
    """
    if export is not None:
        write_rows(kind.schema, records, export, columns or [column.name for column in kind.columns()])
        if export == "-":
            return
    if as_json:
        emit(document(kind.schema, records, summary))
    else:
        human()


def write_rows(schema: str, rows: Sequence[Row], target: str, declared: Sequence[str] = ()) -> None:
    """Writes ``rows`` to ``target`` (``-``: JSON on stdout), whole or not at all.

    Args:
        declared: the order of columns; those that no row has are left out, others come last.
    """
    if target == "-":
        emit(document(schema, rows))
        return
    from nid_cli.files import write_atomic

    path = Path(target)
    write_atomic(path.absolute(), _content(schema, rows, path.suffix, declared))
    say(f"wrote {len(rows)} records to {target}")


def _content(schema: str, rows: Sequence[Row], suffix: str, declared: Sequence[str]) -> bytes:
    if suffix == ".json":
        return (document(schema, rows) + "\n").encode()
    if suffix == ".jsonl":
        return "".join(json.dumps({"schema": schema, **plain(r)}, allow_nan=False) + "\n" for r in rows).encode()
    if suffix == ".csv":
        return _csv(rows, declared)
    flattened = [flat(r) for r in rows]
    return _parquet(schema, _columns(flattened, declared), flattened)


def _columns(rows: Iterable[Row], declared: Sequence[str]) -> list[str]:
    """The columns that rows have: the declared ones in their order, then others in the order they come."""
    present = dict.fromkeys(key for row in rows for key in row)
    return [name for name in declared if name in present] + [name for name in present if name not in declared]


def flat(record: Row) -> dict[str, Any]:
    """A record with plain cells: numbers, text and lists stay, nested values become JSON text."""
    flattened: dict[str, Any] = {}
    for key, value in plain(record).items():
        nested = isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
        flattened[key] = json.dumps(value) if nested else value
    return flattened


def _csv(records: Sequence[Row], declared: Sequence[str]) -> bytes:
    """One row for each record, lists as JSON text; where there are matrices one for each pair of neurons (``i``, ``j``,
    from 0)."""
    heads = [head for record in records for head in _rows(record, heads_only=True)]
    columns = _columns(heads, declared)
    if "i" in columns:  # the pair stands between what is said of the record and what is said of the pair
        matrices = {k for record in records for k, v in record.items() if getattr(v, "ndim", 0) == 2}
        columns = [c for c in columns if c not in matrices] + [c for c in columns if c in matrices]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerows(_rows(record))
    return text.getvalue().encode()


def _rows(record: Row, heads_only: bool = False) -> Iterator[dict[str, Any]]:
    matrices = {k: plain(v) for k, v in record.items() if getattr(v, "ndim", 0) == 2}
    others = flat({k: v for k, v in record.items() if k not in matrices})
    row = {k: json.dumps(v) if isinstance(v, list) else v for k, v in others.items()}
    if not matrices:
        yield row
        return
    # What is long and the same in every row (lineage, quantiles, values by neuron) is left to the other formats.
    for key, value in record.items():
        if isinstance(value, Mapping) or getattr(value, "ndim", 0) == 1:
            row.pop(key)
    size = range(1 if heads_only else len(next(iter(matrices.values()))))
    for i in size:
        for j in size:
            yield row | {"i": i, "j": j} | {name: matrix[i][j] for name, matrix in matrices.items()}


def _mixed(values: Iterable[Any]) -> bool:
    """Whether there are numbers and other things among values."""
    return len({isinstance(value, int | float) for value in values if value is not None}) > 1


def _parquet(schema: str, columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for column in columns:
        values = [row.get(column) for row in rows]
        if any(isinstance(v, list) for v in values) and not all(v is None or isinstance(v, list) for v in values):
            values = [v if v is None or isinstance(v, list) else [v] for v in values]
        if _mixed(values):  # a layer is a number, or "output"
            values = [v if v is None else str(v) for v in values]
        elif _mixed(part for v in values if isinstance(v, list) for part in v):  # and so are several
            values = [v if v is None else [part if part is None else str(part) for part in v] for v in values]
        arrays[column] = pa.array(values)
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays).replace_schema_metadata({"schema": schema}), sink)
    return sink.getvalue()
