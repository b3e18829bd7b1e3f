"""``nid table``: what was measured, joined group by group and epoch by epoch. It computes nothing; no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from sqlalchemy import Connection

from nid_cli.analysis.parameters import Parameters
from nid_cli.errors import NotFoundError, UsageError, unknown
from nid_cli.pipeline.analyses.catalog import ANALYSES, SCOPES
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.context import Context
from nid_cli.records.base import Row
from nid_cli.records.table import PLACES, SOURCES, Correlated, Joined
from nid_cli.registry.columns import columns_of
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.selection import Selected, matching_groups, select_models
from nid_cli.specs import Selection

# What may take the place of an analysis's usual parameters, for each analysis that has a parameter of this name.
Variant = Mapping[str, Any]
# A group and an epoch.
Cell = tuple[str, int]


@dataclass(frozen=True)
class Table:
    """The rows, and for each analysis of which not all results are recorded the request for them."""

    rows: list[dict[str, Any]]
    lacking: dict[str, Request]


def check_columns(names: Collection[str]) -> None:
    """
    Raises:
        UsageError: a name that is no column of the table.
    """
    known = [column.name for column in Joined.columns()]
    for name in names:
        if name not in known:
            error = unknown("column", name, known)
            raise UsageError(f"the table has no column {name}", error.hint or "nid table --list-columns names all")


def join(context: Context, selection: Selection, columns: Sequence[str], variant: Variant | None = None) -> Table:
    """One row for each selected group and epoch, with these columns beside what it is about.

    Args:
        columns: of ``PLACES``; names of what a row is about may stand among them.
        variant: parameters other than the usual ones.

    Raises:
        UsageError: no such column. NotFoundError: nothing is selected.
    """
    check_columns(columns)
    wanted = [name for name in columns if name in PLACES]
    analyses = dict.fromkeys(PLACES[name].analysis for name in wanted)
    with open_for_reading(context.registry).read() as connection:
        chosen = list(select_models(connection, selection))
        if not chosen:
            matching_groups(connection, selection)
            raise NotFoundError("no selected group has a complete model", "nid train makes one")
        rows = {(s.group.name, epoch): _about(s, epoch) for s in chosen for epoch in s.epochs}
        lacking = {}
        ids: dict[Cell, list[str]] = defaultdict(list)
        for analysis in analyses:
            names = [name for name in wanted if PLACES[name].analysis == analysis]
            request = Request(analysis=analysis, parameters=_parameters(analysis, names, variant), selection=selection)
            pooled, complete = _pooled(connection, request, chosen, names, ids)
            for cell, row in rows.items():
                row |= {name: pooled[name].get(cell) for name in names}
            if not complete:
                lacking[analysis] = request
    for cell, row in rows.items():
        row["result_ids"] = ids[cell]
    return Table(list(rows.values()), lacking)


def _about(selected: Selected, epoch: int) -> dict[str, Any]:
    group: Group = selected.group
    settings = group.spec.settings()
    own = {name: settings.get(name) for name in ("width", "depth")}
    about = {"epoch": epoch, "models": len(selected.models), **own, "fixed_share": group.fixed_share}
    return group.identity | about | {"spawn_epoch": settings.get("spawn_epoch")}


def _parameters(analysis: str, names: Sequence[str], variant: Variant | None) -> Parameters:
    """The usual ones of an analysis, but for the variant and for the alignments that the columns ask for."""
    usual: Any = ANALYSES[analysis].parameters()
    own = {name: value for name, value in (variant or {}).items() if hasattr(usual, name) and value is not None}
    if SOURCES[analysis].aligned:
        wanted = {PLACES[name].align for name in names}
        own["align"] = tuple(name for name in SOURCES[analysis].aligned if name in wanted)
    changed: Parameters = replace(usual, **own)
    return changed


def _pooled(
    connection: Connection,
    request: Request,
    chosen: Sequence[Selected],
    names: Sequence[str],
    ids: dict[Cell, list[str]],
) -> tuple[dict[str, dict[Cell, float]], bool]:
    """By column and cell the mean over the results of an analysis, and whether all results are there.

    Args:
        ids: takes up the results of each cell.
    """
    source = SOURCES[request.analysis]
    keys = [key for s in chosen if len(s.models) >= SCOPES[request.what.scope] for key in request.keys_of(s)]
    read = {field for name in names for field in PLACES[name].fields}
    read |= (
        {"result_id", "group", "epoch"}
        | ({"align"} if source.aligned else set())
        | ({"layer"} if source.layers else set())
    )
    records = columns_of(connection, [key.text for key in keys], sorted(read), request.what.defaults)
    hidden = {s.group.name: _hidden(s.group) for s in chosen} if source.layers else {}
    values: dict[str, dict[Cell, list[float]]] = {name: defaultdict(list) for name in names}
    for record in records:
        if source.layers and record["layer"] not in hidden[record["group"]]:
            continue
        cell = record["group"], record["epoch"]
        found = {name: value for name in names if (value := _value(record, name)) is not None}
        for name, value in found.items():
            values[name][cell].append(value)
        ids[cell] += [record["result_id"]] if found else []
    return (
        {name: {cell: fmean(own) for cell, own in cells.items()} for name, cells in values.items()},
        len(records) == len(keys),
    )


def _value(record: Row, name: str) -> float | None:
    """A column's value in one result; None where that has none, or is of another alignment."""
    place = PLACES[name]
    if place.align is not None and record["align"] != place.align:
        return None
    numbers = [record[field] for field in place.fields]
    if any(number is None for number in numbers):
        return None
    if len(numbers) == 1:
        return float(numbers[0])
    return numbers[0] / numbers[1] if numbers[1] else None


def _hidden(group: Group) -> set[Any]:
    """The labels of the weighted layers but for that which gives the network's outputs."""
    return {layer.label for layer in group.graph.weighted if layer.name != group.graph.output}


def correlate(rows: Sequence[Row], x: str, y: str, given: str | None = None, by: str | None = None) -> list[Correlated]:
    """Rank correlations of two columns over all groups, then over those of each value of the column ``by``.

    Raises:
        UsageError: a column that is no number. NotFoundError: fewer than four groups have both.
    """
    names = [name for name in (x, y, given) if name is not None]
    for name in names:
        if any(isinstance(row.get(name), str | list) for row in rows):
            raise UsageError(f"{name} is not a number in every row, so it has no rank", "choose groups of one number")
    parts = {"all": list(rows)}
    if by is not None:
        for value in dict.fromkeys(str(row[by]) for row in rows):
            parts[f"{by} {value}"] = [row for row in rows if str(row[by]) == value]
    return list(_correlated(parts, names, x, y, given))


def _correlated(
    parts: Mapping[str, Sequence[Row]], names: Sequence[str], x: str, y: str, given: str | None
) -> Iterator[Correlated]:
    from nid_cli.analysis import correlation as statistics

    for among, rows in parts.items():
        known = [row for row in rows if all(row.get(name) is not None for name in names)]
        groups = [row["group"] for row in known]
        if (count := len(set(groups))) < statistics.LEAST:
            if among != "all":
                continue
            raise NotFoundError(
                f"{count} of the selected groups have both {' and '.join(names)}, and a correlation needs four",
                "nid table shows what is missing",
            )
        columns = [[float(row[name]) for row in known] for name in names]
        spearman = statistics.with_interval(statistics.spearman, groups, *columns[:2])
        kendall = statistics.with_interval(statistics.kendall, groups, *columns[:2])
        partial = statistics.with_interval(statistics.partial_spearman, groups, *columns) if given else None
        yield Correlated(
            x=x,
            y=y,
            given=given,
            among=among,
            groups=count,
            rows=len(known),
            spearman=spearman.value,
            spearman_interval=_listed(spearman.interval),
            kendall=kendall.value,
            kendall_interval=_listed(kendall.interval),
            partial=partial.value if partial else None,
            partial_interval=_listed(partial.interval) if partial else None,
            missing=sorted({row["group"] for row in rows} - set(groups)),
        )


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
