"""Groups side by side: the settings in which they differ, their measures in one table, their figures together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from nid_cli.errors import UsageError
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.analyses.requests import command_line
from nid_cli.pipeline.figures.recorded import order
from nid_cli.plots.page import numbers_of, title_of
from nid_cli.records.cells import cells
from nid_cli.registry import listing, results
from nid_cli.registry.groups import Group
from nid_cli.registry.listing import Window
from nid_cli.registry.selection import matching_groups
from nid_cli.specs import Kappa, Selection
from nid_cli.web.desk import Desk
from nid_cli.web.drawing import MOST_GROUPS
from nid_cli.web.links import ONE, Words, address, chosen, group_address, know, words_of
from nid_cli.web.pages.group import slots

# Of one analysis; beyond them the table says so, and the command gives all.
MOST_ROWS = 120

Row = Mapping[str, Any]


def show(desk: Desk, words: Words) -> dict[str, Any]:
    """What the page says.

    Raises:
        NotFoundError, UsageError: nothing matches, or too much; a selector cannot be read.
    """
    know(words)
    own = chosen(words)
    if not words_of(own):
        return {"asked": False}
    with desk.read() as connection:
        total, _ = listing.page(connection, own, Window(size=0))
        if total > MOST_GROUPS:
            raise UsageError(f"{total} groups match, and {MOST_GROUPS} at most can be compared", "choose fewer of them")
        found = sorted(matching_groups(connection, own), key=lambda group: order(group.identity))
        names = [group.name for group in found]
        accuracies = listing.test_accuracies(connection, names)
        read = {
            kind: results.of_kind(connection, kind, Selection(group=tuple(names)), what.complete)
            for kind, what in ANALYSES.items()
        }
    settings = _differing(found)
    tables = [_measures(desk, kind, records, own, names) for kind, records in read.items() if records]
    return {
        "asked": True,
        "groups": [
            _group(group, accuracies.get(group.name, []), names, own)
            | {"settings": [values[place] for values in settings.values()]}
            for place, group in enumerate(found)
        ],
        "settings": list(settings),
        "tables": tables,
        "slots": slots(own, any(record.get("epoch") for records in read.values() for record in records)),
        "texts": {name: dict(words_of(own)).get(name, "") for name in ONE},
        "kept": [pair for pair in words_of(own) if pair[0] not in ONE],
        "list": address("/", own),
        "line": command_line(desk.context, "plot report", own, {"out": "report.html"}),
    }


def _group(group: Group, accuracies: Sequence[float], names: Sequence[str], own: Selection) -> dict[str, Any]:
    others = replace(Selection(group=tuple(n for n in names if n != group.name)), models=own.models, epochs=own.epochs)
    return {
        "name": group.name,
        "address": group_address(group.name),
        "test": list(accuracies),
        "models": len(accuracies),
        "without": address("/compare", others) if len(names) > 1 else None,
    }


def _differing(found: Sequence[Group]) -> dict[str, list[Any]]:
    """By setting the value of each group, of those settings in which the groups differ."""
    rows = [_flat(group) for group in found]
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name) for row in rows] for name in names}
    return {name: own for name, own in values.items() if any(value != own[0] for value in own)}


def _flat(group: Group) -> dict[str, Any]:
    settings = group.spec.settings()
    own = {name: value for name, value in settings.items() if name != "data"}
    own |= {f"data {name}": value for name, value in settings.get("data", {}).items()}
    own["kappa"] = str(Kappa.of(group.kappa)) if group.kappa.layers else None
    share = group.fixed_share
    return own | {
        "fixed (%)": None if share is None else 100 * share,
        "fixed tensors": group.fixed_hash and group.fixed_hash[:12],
        "data, SHA-256": group.data_fingerprint and group.data_fingerprint[:12],
    }


def _measures(desk: Desk, kind: str, records: Sequence[Row], own: Selection, names: Sequence[str]) -> dict[str, Any]:
    """Means and standard deviations over models or pairs, for each group and each of the parameters that differ."""
    if own.epochs == Selection().epochs:
        records = list(_last_epochs(records))
    said = [{**record, **_parameters(record)} for record in records]
    parameters = dict.fromkeys(name for record in records for name in record["lineage"]["parameters"])
    varying = [name for name in parameters if len({repr(record.get(name)) for record in said}) > 1]
    if own.epochs != Selection().epochs:
        varying.append("epoch")
    numbers = {
        heading: name
        for heading, name in numbers_of(kind, records).items()
        if name not in parameters and any(isinstance(record.get(name), int | float) for record in said)
    }
    rows = [
        {
            "group": key[0],
            "address": group_address(key[0]),
            "varying": list(key[1:]),
            "count": len(inner),
            "values": [_spread(inner, name) for name in numbers.values()],
        }
        for key, inner in cells(said, "group", *varying).items()
    ]
    place = {name: number for number, name in enumerate(names)}
    rows.sort(key=lambda row: ([repr(v) for v in row["varying"]], place[row["group"]]))
    return {
        "title": title_of(kind),
        "varying": [name.replace("_", " ") for name in varying],
        "headings": list(numbers),
        "rows": rows[:MOST_ROWS],
        "more": max(0, len(rows) - MOST_ROWS),
        "command": command_line(desk.context, ANALYSES[kind].command, own, {"export": f"{kind}.csv"}),
    }


def _last_epochs(records: Sequence[Row]) -> Iterable[Row]:
    for own in cells(records, "group").values():
        last = max(record.get("epoch") or 0 for record in own)
        yield from (record for record in own if (record.get("epoch") or 0) == last)


def _parameters(record: Row) -> dict[str, Any]:
    """What a result was asked with; of names (a layer's, say) what the record calls them; lists as text."""
    given = record["lineage"]["parameters"]
    said = {name: record.get(name, own) if isinstance(own, str) else own for name, own in given.items()}
    return {name: own if isinstance(own, int | float | str) else str(own) for name, own in said.items()}


def _spread(records: Sequence[Row], name: str) -> tuple[float | None, float | None]:
    values = [v for record in records if isinstance(v := record.get(name), int | float)]
    return (fmean(values) if values else None, stdev(values) if len(values) > 1 else None)
