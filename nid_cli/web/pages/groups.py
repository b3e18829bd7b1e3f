"""The first page: the groups of a registry, filtered, searched, sorted, a window of them at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nid_cli.errors import UsageError
from nid_cli.pipeline.analyses.requests import command_line
from nid_cli.pipeline.choices import one_of
from nid_cli.records.group import GroupSummary
from nid_cli.registry import listing, sweeps
from nid_cli.registry.listing import FACETS, SORTS, Window
from nid_cli.registry.selection import check
from nid_cli.specs import Kappa, Selection
from nid_cli.web.desk import Desk
from nid_cli.web.drawing import MOST_GROUPS
from nid_cli.web.links import (
    ONE,
    SEVERAL,
    Words,
    address,
    chosen,
    group_address,
    know,
    last,
    with_value,
    without,
    words_of,
)

COLUMNS = ("name", "arch", "dataset", "symmetry", "kappa", "models", "epochs", "created_at", "note")
MOST_SWEEPS = 200
MOST_WORDS = 40
# A search names its groups in the command line while they are so few.
NAMED = 12
EXAMPLES = {"models": "1,2,5-8", "epochs": "last, all, 0:100:5"}


def show(desk: Desk, words: Words) -> dict[str, Any]:
    """What the page says.

    Raises:
        UsageError, NotFoundError: a selector cannot be read, or names what is not there.
    """
    know(words, "search", "sort", "page")
    own, search = chosen(words), " ".join(last(words, "search").split())
    if search.count(" ") >= MOST_WORDS:
        raise UsageError(f"a search has {MOST_WORDS} words at most", "take fewer of them")
    sort = last(words, "sort", "-created_at")
    number = int(text) if (text := last(words, "page")).isdecimal() and len(text) < 7 else 1
    window = Window(
        search=search,
        sort=one_of("order", sort.removeprefix("-"), SORTS),
        descending=sort.startswith("-"),
        start=(max(1, number) - 1) * Window.size,
    )
    with desk.read() as connection:
        check(connection, own)
        total, rows = listing.page(connection, own, window)
        if not rows and total:  # beyond the last page: that one
            window = replace(window, start=(total - 1) // window.size * window.size)
            total, rows = listing.page(connection, own, window)
        values = listing.values(connection, own, search)
        accuracies = listing.test_accuracies(connection, [row["name"] for row in rows])
        known = list(dict.fromkeys(sweep.name for sweep in sweeps.listing(connection)))[:MOST_SWEEPS]
    more = {"search": search, "sort": sort if sort != "-created_at" else None}
    return {
        "search": search,
        "sort": sort,
        "total": total,
        "chips": _chips(own, search, more),
        "facets": [_facet(name, values[name], own, more) for name in FACETS] + _sweeps(known, own, more),
        "texts": [{"name": name, "value": dict(words_of(own)).get(name, ""), "like": EXAMPLES[name]} for name in ONE],
        "headings": [_heading(name, sort, own, more) for name in COLUMNS],
        "rows": [
            row | {"address": group_address(row["name"]), "test": accuracies.get(row["name"], [])} for row in rows
        ],
        "noted": any(row["note"] for row in rows),
        "hidden": [(n, v) for n, v in more.items() if v and n != "search"],
        "kept": [pair for pair in words_of(own) if pair[0] in SEVERAL],
        "along": [pair for pair in words_of(own) if pair[0] in ONE],
        "line": _command(desk, own, search, total, rows),
        "compare": address("/compare", own) if 1 < total <= MOST_GROUPS and not search else None,
        **_pages(window, total, own, more),
    }


def _command(desk: Desk, own: Selection, search: str, total: int, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The equal command line; None where a search is too wide for one."""
    groups = replace(own, models=None, epochs=Selection().epochs)
    if search and not 0 < total <= NAMED:
        return None
    if search:
        groups = Selection(group=tuple(row["name"] for row in rows))
    return command_line(desk.context, "group list", groups, {})


def _chips(own: Selection, search: str, more: Mapping[str, Any]) -> list[dict[str, str]]:
    """What narrows the list, each with the address of the list without it."""
    chips = [{"name": n, "value": v, "address": address("/", without(own, n, v), more)} for n, v in words_of(own)]
    if search:
        chips.append({"name": "search", "value": search, "address": address("/", own, {**more, "search": None})})
    return chips


def _facet(name: str, values: Mapping[str, int], own: Selection, more: Mapping[str, Any]) -> dict[str, Any]:
    shown = {str(Kappa.of(json.loads(text))) if name == "kappa" else text: count for text, count in values.items()}
    if name == "kappa":
        shown = dict(sorted(shown.items(), key=lambda pair: Kappa.parse(pair[0]).order))
    return _choices(name, shown, own, more)


def _sweeps(known: Sequence[str], own: Selection, more: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_choices("sweep", dict.fromkeys(known), own, more)] if known else []


def _choices(name: str, values: Mapping[str, int | None], own: Selection, more: Mapping[str, Any]) -> dict[str, Any]:
    there = {str(value) for value in getattr(own, name)}
    turned = {v: without(own, name, v) if v in there else with_value(own, name, v) for v in values}
    return {
        "name": name,
        "values": [
            {
                "value": value,
                "count": count,
                "chosen": value in there,
                "address": address("/", turned[value], more),
            }
            for value, count in values.items()
        ],
    }  # fmt: skip


def _heading(name: str, sort: str, own: Selection, more: Mapping[str, Any]) -> dict[str, Any]:
    declared = {column.name: column for column in GroupSummary.columns()}[name]
    order = {f"-{name}": "descending", name: "ascending"}.get(sort)
    turned = name if sort == f"-{name}" else f"-{name}"
    target = address("/", own, {**more, "sort": turned}) if name in SORTS else None
    return {"name": name, "text": declared.heading, "meaning": declared.meaning, "address": target, "order": order}


def _pages(window: Window, total: int, own: Selection, more: Mapping[str, Any]) -> dict[str, Any]:
    number, count = window.start // window.size + 1, max(1, -(-total // window.size))
    at = {page: address("/", own, {**more, "page": page if page > 1 else None}) for page in (number - 1, number + 1)}
    return {
        "page": number,
        "pages": count,
        "first": min(window.start + 1, total),
        "end": min(window.start + window.size, total),
        "before": at[number - 1] if number > 1 else None,
        "after": at[number + 1] if number < count else None,
    }
