"""Some columns of many results, read without the rest of their records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, false, func, null, select

from nid_cli.registry.results import about, sides
from nid_cli.registry.tables import groups, results
from nid_cli.specs import Selection

# From this version on SQLite takes single values out of JSON as they stand there.
TAKES_VALUES = sqlite3.sqlite_version_info >= (3, 38)

# A column of every record, put together from many.
LINEAGE = "lineage"

_A, _B = sides()
# Columns that are not within the record.
STORED: dict[str, Any] = {
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
}


def read_columns(
    connection: Connection, kind: str, names: Sequence[str], selection: Selection | None
) -> dict[str, list[Any]]:
    """The values of some columns over all results of one analysis about the selected groups, oldest first.

    Args:
        names: of ``STORED``, or fields of the records (those in files of their own and the lineage excepted).
        selection: None: results that are about no group.

    Returns:
        by column one value for each result; None where a record does not have the field.
    """
    fields = [name for name in names if name not in STORED]
    # A record that holds a NaN is no JSON to SQLite: it is read whole, as all are where single values cannot be taken.
    readable = func.json_valid(results.c.record) == 1 if TAKES_VALUES else false()
    whole = case((readable, null()), else_=results.c.record) if fields else null()
    taken = [results.c.record.op("->")(f'$."{name}"') if TAKES_VALUES else null() for name in fields]
    stored = [name for name in names if name in STORED]
    query = (
        select(whole, *(STORED[name] for name in stored), *(case((readable, value)) for value in taken))
        .select_from(results)
        .outerjoin(groups, groups.c.id == results.c.group_id)
        .outerjoin(_A, _A.c.id == results.c.model_a)
        .outerjoin(_B, _B.c.id == results.c.model_b)
        .where(results.c.kind == kind, about(selection))
        .order_by(results.c.id)
    )
    rows = connection.execute(query).all()
    found = {name: [row[place] for row in rows] for place, name in enumerate(stored, 1)}
    if "kappa" in found:
        known = {text: json.loads(text) for text in set(found["kappa"]) if text is not None}
        found["kappa"] = [known.get(text) for text in found["kappa"]]
    records = [None if row[0] is None else json.loads(row[0]) for row in rows] if fields else []
    for place, name in enumerate(fields, 1 + len(stored)):
        found[name] = [
            _value(row[place]) if record is None else record.get(name)
            for row, record in zip(rows, records, strict=True)
        ]
    return {name: found[name] for name in names}


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)
