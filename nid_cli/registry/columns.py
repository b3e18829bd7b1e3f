"""Some columns of many results, read without the rest of their records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, case, false, func, null, select

from nid_cli.registry.results import about, members, sides
from nid_cli.registry.tables import groups, results
from nid_cli.specs import Selection

# From this version on SQLite takes single values out of JSON as they stand there.
TAKES_VALUES = sqlite3.sqlite_version_info >= (3, 38)

_A, _B = sides()
# Columns that are not within the record.
STORED: dict[str, Any] = {
    "key": results.c.key,
    "result_id": results.c.result_id,
    "group": groups.c.name,
    "arch": groups.c.arch,
    "dataset": groups.c.dataset,
    "symmetry": groups.c.symmetry,
    "kappa": groups.c.kappa,
    "epoch": results.c.epoch,
    "model": _A.c.number,
    "model_a": _A.c.number,
    "model_b": _B.c.number,
    "models": members("number"),
}
# Those of them that hold JSON.
ENCODED = ("kappa", "models")


def read_columns(
    connection: Connection,
    kind: str,
    names: Sequence[str],
    selection: Selection | None,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, list[Any]]:
    """The values of some columns over all results of one analysis about the selected groups, oldest first.

    Args:
        names: of ``STORED``, or fields of the records (those in files of their own and the lineage excepted).
        selection: None: results that are about no group.
        defaults: what stands for a field that a record does not have; None for those that are not in it.

    Returns:
        by column one value for each result.
    """
    query = _query(names).where(results.c.kind == kind, about(selection)).order_by(results.c.id)
    _, found = _read(connection.execute(query).all(), names, defaults or {})
    return found


def columns_of(
    connection: Connection, keys: Sequence[str], names: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Some columns of single results, in the order of ``keys``; those not recorded are left out.

    Args:
        names, defaults: as in :func:`read_columns`.
    """
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), 500):  # SQLite bounds the variables of one statement
        rows = connection.execute(_query(names).where(results.c.key.in_(keys[start : start + 500]))).all()
        read, columns = _read(rows, names, defaults or {})
        found |= {key: {name: columns[name][i] for name in names} for i, key in enumerate(read)}
    return [found[key] for key in keys if key in found]


def _split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of ``STORED``, and fields of records."""
    return [name for name in names if name in STORED], [name for name in names if name not in STORED]


def _query(names: Sequence[str]) -> Select[Any]:
    """Rows of the key, the whole record where single values cannot be taken of it, and what the names stand for."""
    stored, fields = _split(names)
    # A record that holds a NaN is no JSON to SQLite: it is read whole, as all are where single values cannot be taken.
    readable = func.json_valid(results.c.record) == 1 if TAKES_VALUES else false()
    whole = case((readable, null()), else_=results.c.record) if fields else null()
    taken = [results.c.record.op("->")(f'$."{name}"') if TAKES_VALUES else null() for name in fields]
    return (
        select(results.c.key, whole, *(STORED[name] for name in stored), *(case((readable, value)) for value in taken))
        .select_from(results)
        .outerjoin(groups, groups.c.id == results.c.group_id)
        .outerjoin(_A, _A.c.id == results.c.model_a)
        .outerjoin(_B, _B.c.id == results.c.model_b)
    )


def _read(
    rows: Sequence[Sequence[Any]], names: Sequence[str], defaults: Mapping[str, Any]
) -> tuple[list[str], dict[str, list[Any]]]:
    """The keys of the rows of :func:`_query`, and by column their values."""
    stored, fields = _split(names)
    found = {name: [row[place] for row in rows] for place, name in enumerate(stored, 2)}
    for name in found.keys() & set(ENCODED):
        known = {text: json.loads(text) for text in set(found[name]) if text is not None}
        found[name] = [known.get(text) for text in found[name]]
    records = [None if row[1] is None else json.loads(row[1]) for row in rows] if fields else []
    for place, name in enumerate(fields, 2 + len(stored)):
        usual = defaults.get(name)
        texts = [row[place] for row in rows]
        # One document for the whole column: decoding hundreds of thousands of small ones takes most of the time.
        values = json.loads(f"[{','.join('null' if text is None else text for text in texts)}]")
        found[name] = [
            record.get(name, usual) if record is not None else usual if text is None else value
            for text, value, record in zip(texts, values, records, strict=True)
        ]
    return [str(row[0]) for row in rows], {name: found[name] for name in names}
