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
from nid_cli.records.table import LATE, PLACES, SOURCES, Correlated, Joined
from nid_cli.registry.columns import columns_of
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.results import ResultKey
from nid_cli.registry.selection import Selected, matching_groups, select_models
from nid_cli.specs import Selection

# What may take the place of an analysis's usual parameters, for each analysis that has a parameter of this name.
Variant = Mapping[str, Any]
# A group and an epoch.
Cell = tuple[str, int]


@dataclass(frozen=True)
class Lack:
    """Results that are not recorded (or, with ``force``, were before the program knew a column)."""

    request: Request
    force: bool = False

    def command(self, context: Context) -> str:
        """The command that makes them."""
        return self.request.command(context) + (" --force" if self.force else "")


@dataclass(frozen=True)
class Table:
    """The rows, and for each analysis of which some of them lack results what to ask for."""

    rows: list[dict[str, Any]]
    lacking: dict[str, Lack]


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
            requests = [
                Request(analysis=analysis, parameters=own, selection=selection)
                for own in _parameters(analysis, names, variant)
            ]
            pooled, lack = _pooled(connection, requests, chosen, names, ids)
            for cell, row in rows.items():
                row |= {name: pooled[name].get(cell) for name in names}
            if lack is not None:
                lacking[analysis] = lack
    for cell, row in rows.items():
        row["result_ids"] = ids[cell]
    return Table(list(rows.values()), lacking)


def _about(selected: Selected, epoch: int) -> dict[str, Any]:
    group: Group = selected.group
    settings = group.spec.settings()
    own = {name: settings.get(name) for name in ("width", "depth")}
    about = {"epoch": epoch, "models": len(selected.models), **own, "fixed_share": group.fixed_share}
    return group.identity | about | {"spawn_epoch": settings.get("spawn_epoch")}


def _parameters(analysis: str, names: Sequence[str], variant: Variant | None) -> list[Parameters]:
    """The usual ones of an analysis, but for the variant and for the alignments that the columns ask for; then those
    that measure the same, and more."""
    source = SOURCES[analysis]
    usual: Any = ANALYSES[analysis].parameters()
    own = {name: value for name, value in (variant or {}).items() if hasattr(usual, name) and value is not None}
    if source.aligned:
        wanted = {PLACES[name].align for name in names}
        own["align"] = tuple(name for name in source.aligned if name in wanted)
    if "learn_steps" in own and "learned" not in own["align"]:
        del own["learn_steps"]
    found: list[Parameters] = [replace(usual, **own), *(replace(usual, **{**own, **more}) for more in source.richer)]
    return list(dict.fromkeys(found))


def _pooled(
    connection: Connection,
    requests: Sequence[Request],
    chosen: Sequence[Selected],
    names: Sequence[str],
    ids: dict[Cell, list[str]],
) -> tuple[dict[str, dict[Cell, float]], Lack | None]:
    """By column and cell the mean over the results of an analysis, and what of them is not there.

    Args:
        requests: any of which gives what is asked for; the first is what is missing then.
        ids: takes up the results of each cell.
    """
    what, source = requests[0].what, SOURCES[requests[0].analysis]
    able = [s for s in chosen if len(s.models) >= SCOPES[what.scope]]
    hidden = {s.group.name: _hidden(s.group) for s in able} if source.layers else {}

    def is_meant(key: ResultKey) -> bool:
        return not source.layers or key.parameters["layer"] in hidden[key.of_group[0].name]

    keys = [[key.text for s in able for key in request.keys_of(s) if is_meant(key)] for request in requests]
    fields = list(dict.fromkeys(field for name in names for field in PLACES[name].fields))
    read = [*fields, "key", "result_id", "group", "epoch", *(("align", "status") if source.aligned else ())]
    known = {r["key"]: r for own in keys for r in columns_of(connection, own, read, what.defaults)}
    values: dict[str, dict[Cell, list[float]]] = {name: defaultdict(list) for name in names}
    missing, late = False, set()
    for alternatives in zip(*keys, strict=True):
        records = [known[key] for key in alternatives if key in known]
        if not records:
            missing = True
            continue
        cell = records[0]["group"], records[0]["epoch"]
        used = set()
        for name in names:
            having = [(value, r["result_id"]) for r in records if (value := _value(r, name)) is not None]
            if having:
                values[name][cell].append(having[0][0])
                used.add(having[0][1])
        ids[cell] += sorted(used)
        if all(r.get("status") != "not_applicable" for r in records):
            late |= {field for field in fields if _is_late(field) and all(r[field] is None for r in records)}
    lack: Lack | None = None
    if late:
        more = next(how for name, how in LATE.items() if any(field.endswith(name) for field in late))
        parameters: Any = requests[0].parameters
        lack = Lack(replace(requests[0], parameters=replace(parameters, **more)), force=not more)
    elif missing:
        lack = Lack(requests[0])
    return {name: {cell: fmean(own) for cell, own in cells.items()} for name, cells in values.items()}, lack


def _is_late(field: str) -> bool:
    return any(field.endswith(name) for name in LATE)


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


def _hidden(group: Group) -> set[str]:
    """The names of the weighted layers but for the last, whose neurons are the outputs."""
    graph = group.graph
    places = {call.name: place for place, call in enumerate(graph.calls)}
    last = {layer.name: max(places[use.call.name] for use in layer.uses) for layer in graph.weighted}
    return {name for name, place in last.items() if place < max(last.values())}


def correlate(rows: Sequence[Row], x: str, y: str, given: str | None = None, by: str | None = None) -> list[Correlated]:
    """Rank correlations of two columns over all groups, then over those of each value of the column ``by``.

    Raises:
        UsageError: a column that is no number. NotFoundError: fewer than four groups have both.
    """
    names = [name for name in (x, y, given) if name is not None]
    if len(set(names)) < len(names):
        raise UsageError(f"a correlation is of different columns, not of {', '.join(names)}", "choose others")
    for name in names:
        if any(isinstance(row.get(name), str | list) for row in rows):
            raise UsageError(f"{name} is not a number in every row, so it has no rank", "choose groups of one number")
    parts = {"all": list(rows)}
    if by is not None:
        for value in sorted({_named(row[by]) for row in rows}):
            parts[f"{by} {value[1]}"] = [row for row in rows if _named(row[by]) == value]
    return list(_correlated(parts, x, y, given))


def _named(value: Any) -> tuple[tuple[float, ...], str]:
    """A value as it is ordered (numbers by size, then words), and as a table says it."""
    if isinstance(value, int | float):
        return (float(value),), f"{value:g}"
    if isinstance(value, list):
        return tuple(map(float, value)), ",".join(f"{part:g}" for part in value)
    return (float("inf"),), "none" if value is None else str(value)


def _correlated(parts: Mapping[str, Sequence[Row]], x: str, y: str, given: str | None) -> Iterator[Correlated]:
    from nid_cli.analysis import correlation as statistics

    for among, rows in parts.items():
        known = [row for row in rows if row.get(x) is not None and row.get(y) is not None]
        groups = [row["group"] for row in known]
        if (count := len(set(groups))) < statistics.LEAST:
            if among != "all":
                continue
            raise NotFoundError(
                f"{count} of the selected groups have both {x} and {y}, and a correlation needs four",
                "nid table shows what is missing",
            )
        columns = [[float(row[name]) for row in known] for name in (x, y)]
        spearman = statistics.with_interval(statistics.spearman, groups, *columns)
        kendall = statistics.with_interval(statistics.kendall, groups, *columns)
        partial, given_count = None, None
        if given is not None:
            all_three = [row for row in known if row.get(given) is not None]
            given_count = len({row["group"] for row in all_three})
            if given_count >= statistics.LEAST:
                three = [[float(row[name]) for row in all_three] for name in (x, y, given)]
                own = [row["group"] for row in all_three]
                partial = statistics.with_interval(statistics.partial_spearman, own, *three)
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
            partial_groups=given_count,
            missing=sorted({row["group"] for row in rows} - set(groups)),
        )


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
