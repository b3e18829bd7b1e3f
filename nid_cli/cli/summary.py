"""Tables of records for people: one line for each cell of records, with headings from the records' declarations."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from nid_cli.records import Record, Row
from nid_cli.records.cells import cells as cells


def headings(kind: type[Record], *names: str) -> list[str]:
    """What the declarations of a record call these columns above a table."""
    declared = {column.name: column.heading for column in kind.columns()}
    return [declared[name] for name in names]


def mean(records: Sequence[Row], name: str) -> float | None:
    """The mean of a column over the records that have it."""
    values = [record[name] for record in records if record.get(name) is not None]
    return fmean(values) if values else None


def spread(records: Sequence[Row], name: str) -> str:
    """Mean and standard deviation of a column, as ``12.30 ± 0.45``."""
    values = [record[name] for record in records]
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def deviation(records: Sequence[Row], name: str) -> float | None:
    """The standard deviation of a column; None for one record."""
    values = [record[name] for record in records]
    return stdev(values) if len(values) > 1 else None
