"""A group: its settings, models, figures, results, and where all of it comes from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.analyses.requests import command_line
from nid_cli.pipeline.figures.report import SUMMARY
from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.pipeline.housekeeping.group import show_group
from nid_cli.plots.page import numbers_of, title_of
from nid_cli.registry import groups, listing, results
from nid_cli.registry.listing import Window
from nid_cli.specs import Selection
from nid_cli.web.desk import Desk
from nid_cli.web.drawing import MOST_GROUPS, Asked, all_parts, texts
from nid_cli.web.links import Words, address

# So many rows of a kind are shown; the commands give all.
MOST_RESULTS = 60
MOST_CHECKPOINTS = 400


def show(desk: Desk, name: str, words: Words) -> dict[str, Any]:
    """What the page says.

    Raises:
        NotFoundError: there is no such group.
    """
    record = show_group(desk.context, name)
    own = Selection(group=(name,))
    with desk.read() as connection:
        group = groups.by_name(connection, name)
        like = Selection(arch=(group.arch,), dataset=(group.dataset,))
        alike, _ = listing.page(connection, like, Window(size=0))
        counts = results.counts(connection, group)
        tables = [
            _table(
                desk, kind, count, results.latest(connection, kind, group, MOST_RESULTS, ANALYSES[kind].complete), own
            )
            for kind, count in counts.items()
            if kind in ANALYSES
        ]
    members = record["members"]
    checkpoints = [{"model": member["model"], **file} for member in members for file in member["checkpoints"]]
    return {
        "group": record,
        "fixed_share": group.fixed_share,
        "live": any(member["status"] == "training" for member in members),
        "test": [m["last"]["test_accuracy"] for m in members if m["last"] and m["last"]["test_accuracy"] is not None],
        "slots": slots(own, len(record["epochs"]) > 1),
        "summary": Asked(name=SUMMARY, selection=own, options={}).at("/figure"),
        "tables": tables,
        "sources": _sources(members),
        "checkpoints": checkpoints[:MOST_CHECKPOINTS],
        "more_checkpoints": max(0, len(checkpoints) - MOST_CHECKPOINTS),
        "commands": {
            "show": command_line(desk.context, "group show", Selection(), {}).replace(
                "group show", f"group show {shlex.quote(name)}", 1
            ),
            "report": command_line(desk.context, "plot report", own, {"out": "report.html"}),
        },
        "like": address("/", like),
        "compare": address("/compare", like) if 1 < alike <= MOST_GROUPS else None,
        "alike": alike,
    }  # fmt: skip


def slots(own: Selection, over_epochs: bool) -> list[dict[str, Any]]:
    """The places of the figures about a selection, which are filled one by one."""
    found = []
    for part in all_parts():
        selection, options = own, texts(part)
        if options.get("against") == "epoch":
            if not over_epochs:
                continue
            selection = _all_epochs(own)
        asked = Asked(name=part.figure, selection=selection, options=options)
        description = part.description or FIGURES[part.figure].description
        found.append(
            {"title": part.title, "description": description, "address": asked.at("/figure"), "slot": asked.at("/slot")}
        )
    return found


def _all_epochs(own: Selection) -> Selection:
    return replace(own, epochs="all") if own.epochs == Selection().epochs else own


def _table(desk: Desk, kind: str, count: int, records: Sequence[Mapping[str, Any]], own: Selection) -> dict[str, Any]:
    numbers = numbers_of(kind, records)
    return {
        "title": title_of(kind),
        "count": count,
        "headings": list(numbers),
        "rows": [
            {
                "address": f"/result/{record['result_id']}",
                "id": record["result_id"],
                "epoch": record.get("epoch"),
                "models": [record[side] for side in ("model", "model_a", "model_b") if side in record],
                "values": [record.get(name) for name in numbers.values()],
            }
            for record in records
        ],
        "command": command_line(desk.context, ANALYSES[kind].command, own, {"export": f"{kind}.csv"}),
    }


def _sources(members: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What made the models: each command once, with the numbers of its models."""
    found: dict[str, dict[str, Any]] = {}
    for member in members:
        lineage = member["lineage"]
        worker = lineage["worker"] or {}
        key = repr((lineage["command"], lineage["started_at"], worker))
        source = found.setdefault(key, source_of(lineage, worker) | {"models": []})
        source["models"].append(member["model"])
    return list(found.values())


def source_of(lineage: Mapping[str, Any], worker: Mapping[str, Any]) -> dict[str, Any]:
    """A command, the software, the machine and the commit, in words."""
    versions = worker.get("versions") or lineage["versions"]
    dirty = " with changes that were not committed" if lineage.get("git_dirty") else ""
    machine = lineage.get("machine") or {}
    return {
        "command": shlex.join(lineage["command"]),
        "software": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "machine": worker.get("host") or machine.get("host"),
        "device": worker.get("device") or lineage.get("device"),
        "commit": f"{lineage['git_commit']}{dirty}" if lineage["git_commit"] else None,
        "started_at": lineage.get("started_at") or lineage.get("created_at"),
        "sweep": (lineage.get("sweep") or {}).get("name"),
    }
