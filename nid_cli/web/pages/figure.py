"""A figure: what it shows, of which results, what draws and what makes it; and its place in other pages."""

from __future__ import annotations

import shlex
from typing import Any

from nid_cli.errors import NidError
from nid_cli.pipeline.figures.recorded import MissingResults
from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.web.desk import Desk
from nid_cli.web.drawing import DATA, PICTURES, Asked, Found, asked, command_of, file_of, find, size_of
from nid_cli.web.links import Words, group_address, words_of

# Points as a page shows them: in pixels of a screen.
PIXELS = 4 / 3
MOST_RESULTS = 500


def show(desk: Desk, name: str, words: Words) -> dict[str, Any]:
    """What the page of a figure, or its place in another page, says.

    Raises:
        UsageError: there is no such figure, or an option cannot be.
    """
    own = asked(name, words)
    found = find(desk, own)
    records = [record for record in found.gathered.records if "result_id" in record] if found.gathered else []
    ids = list(dict.fromkeys(record["result_id"] for record in records))
    part, entry = own.part, FIGURES[name]
    picture, problem = _picture(desk, found)
    return {
        "title": part.title if part else name.capitalize(),
        "description": (part.description if part else "") or f"{entry.description[:1].upper()}{entry.description[1:]}.",
        "action": f"/figure/{name}",
        "selected": words_of(own.selection),
        "options": [
            {"name": option, "value": found.asked.options.get(option, ""), "usual": _usual(usual)}
            for option, usual in entry.options.items()
        ],
        "words": [*words_of(own.selection), *found.asked.options.items()],
        "picture": picture,
        "address": own.at("/figure"),
        **_wrong(problem, found),
        "files": _files(found.asked) if picture else [],
        "redraw": command_of(desk, found.asked),
        "made_by": list(dict.fromkeys(shlex.join(record["lineage"]["command"]) for record in records)),
        "results": ids[:MOST_RESULTS],
        "more_results": max(0, len(ids) - MOST_RESULTS),
        "groups": _groups(found),
    }


def _picture(desk: Desk, found: Found) -> tuple[dict[str, Any] | None, NidError | None]:
    """The figure with its size in pixels, and what is wrong; None: it cannot be drawn."""
    if found.gathered is None:
        return None, found.problem
    try:
        width, height = size_of(file_of(desk, found, ".svg"))
    except NidError as error:
        return None, error
    target = found.asked.at("/draw", ".svg")
    size = {"width": round(width * PIXELS), "height": round(height * PIXELS)}
    # The key in the address: what is shown anew, when results have come, has another address.
    return {"address": f"{target}{'&' if '?' in target else '?'}key={found.key}", **size}, found.problem


def _usual(value: Any) -> str:
    """A default as its field shows it."""
    if value is None:
        return "as usual"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrong(problem: NidError | None, found: Found) -> dict[str, Any]:
    lacking = problem if isinstance(problem, MissingResults) else None
    return {
        "reason": problem.message if problem else None,
        "hint": problem.hint if problem and not lacking else None,
        "missing": list(lacking.commands) if lacking else [],
        "left_out": list(lacking.groups) if lacking and found.gathered else [],
    }


def _files(own: Asked) -> list[dict[str, str]]:
    return [{"name": ending[1:].upper(), "address": own.at("/draw", ending)} for ending in (*PICTURES, *DATA)]


def _groups(found: Found) -> list[dict[str, str]]:
    records = found.gathered.records if found.gathered else []
    names = dict.fromkeys(record["group"] for record in records if "group" in record)
    return [{"name": name, "address": group_address(name)} for name in names]
