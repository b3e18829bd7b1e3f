"""Records as the bytes of a file: JSON, JSON lines, CSV, Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nid_cli.records.base import Row

FORMATS = (".json", ".jsonl", ".csv", ".parquet")


def content(schema: str, rows: Sequence[Row], suffix: str, declared: Sequence[str] = ()) -> bytes:
    """Rows as a file of one of ``FORMATS``.

    Args:
        declared: the order of columns; those that no row has are left out, others come last.
    """
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


def document(schema: str, records: Sequence[Row], summary: Row | None = None) -> str:
    """One JSON document; NaN and infinities, which JSON lacks, become null."""
    beside = {} if summary is None else {"summary": plain(summary)}
    content = {"schema": schema, **beside, "records": [plain(r) for r in records]}
    return json.dumps(content, indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """The value with arrays as lists, and NaN and infinities as None, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return plain(value.tolist()) if hasattr(value, "tolist") else value  # arrays become nested lists
