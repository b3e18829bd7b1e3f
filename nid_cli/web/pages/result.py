"""A result: every field of its record, by its declaration, and its lineage down to the bytes of checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nid_cli.errors import NotFoundError
from nid_cli.pipeline.analyses.catalog import ANALYSES, Analysis
from nid_cli.pipeline.analyses.requests import command_line
from nid_cli.plots.page import title_of
from nid_cli.records.base import LINEAGE, RESULT, Column
from nid_cli.registry import groups, results, runs
from nid_cli.specs import Selection
from nid_cli.web.desk import Desk
from nid_cli.web.links import address, group_address
from nid_cli.web.pages.group import source_of

ID = re.compile(r"[0-9a-f]{16}")


def show(desk: Desk, result_id: str) -> dict[str, Any]:
    """What the page says.

    Raises:
        NotFoundError: there is no such result.
    """
    with desk.read() as connection:
        found = results.by_result_id(connection, result_id) if ID.fullmatch(result_id) else None
        if found is None or found[0] not in ANALYSES:
            raise NotFoundError(
                f"there is no result {result_id!r}", "a result's id has 16 digits and small letters a-f"
            )
        kind, record = found
        group = groups.by_name(connection, record["group"]) if "group" in record else None
        members = runs.models_of(connection, group_id=group.id) if group else []
    record = ANALYSES[kind].complete(record)
    lineage = record["lineage"]
    files = {file.sha256: (model.number, file) for model in members for file in model.checkpoints.values()}
    own = Selection(group=(record["group"],)) if group else Selection()
    return {
        "kind": kind,
        "title": title_of(kind),
        "record": record,
        "group": group_address(group.name) if group else None,
        "models": [record[side] for side in ("model", "model_a", "model_b") if side in record],
        "fields": _fields(ANALYSES[kind], record),
        "apart": results.ARTIFACT in record,
        "parameters": lineage["parameters"],
        "checkpoints": [_checkpoint(sha256, files) for sha256 in lineage["checkpoints"]],
        "seeds": lineage["seeds"],
        "data": lineage["data_fingerprint"],
        "source": source_of(lineage, {}),
        "sweep": address("/", Selection(sweep=(lineage["sweep"]["name"],))) if lineage["sweep"] else None,
        "command_line": command_line(desk.context, ANALYSES[kind].command, own, {"export": f"{kind}.json"}),
    }


def _checkpoint(sha256: str, files: Mapping[str, Any]) -> dict[str, Any]:
    number, file = files.get(sha256, (None, None))
    return {"sha256": sha256, "model": number, "epoch": file and file.epoch, "path": file and file.path}


def _fields(what: Analysis, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of a record that it has, with what their declarations say of them."""
    return [
        {"heading": column.heading, "name": column.name, "meaning": column.meaning, "value": record[column.name]}
        for column in columns_of(what)
        if column.name in record
    ]


def columns_of(what: Analysis) -> Sequence[Column]:
    """The fields of an analysis's records, each once, without those that the page says elsewhere."""
    found = {column.name: column for kind in what.records for column in kind.columns()}
    return [column for name, column in found.items() if name not in (LINEAGE.name, RESULT.name)]
