"""Figures from addresses: which one is asked for, what it shows, and its files, each drawn once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nid_cli.errors import NidError, NotFoundError, UsageError
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.analyses.requests import command_line
from nid_cli.pipeline.choices import one_of
from nid_cli.pipeline.figures.complete import gather_complete
from nid_cli.pipeline.figures.draw import Gathered, render
from nid_cli.pipeline.figures.options import reader
from nid_cli.pipeline.figures.overlay import PAPER
from nid_cli.pipeline.figures.recorded import MissingResults
from nid_cli.pipeline.figures.report import OVER_EPOCHS, PARTS, Part, other_parts
from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.records.formats import content
from nid_cli.registry import results
from nid_cli.registry.listing import Window, page
from nid_cli.specs import Selection, stable_hash
from nid_cli.web.desk import Desk
from nid_cli.web.links import Words, address, chosen, last

# More groups than that no figure tells apart, and reading their results would hold up all else.
MOST_GROUPS = 40
# The same of figures that read the matrices of all models.
MOST_WITH_MATRICES = 6
PICTURES: Mapping[str, str] = {".svg": "image/svg+xml", ".png": "image/png", ".pdf": "application/pdf"}
DATA: Mapping[str, str] = {".csv": "text/csv; charset=utf-8", ".parquet": "application/vnd.apache.parquet"}
SIZE = re.compile(
    rb'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"|<svg [^>]*?height="([\d.]+)pt"[^>]*?width="([\d.]+)pt"'
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A figure that is asked for: of ``FIGURES``, about a selection, with those options that were given, as texts."""

    name: str
    selection: Selection
    options: Mapping[str, str]

    def at(self, path: str, ending: str = "") -> str:
        """Its address below a path."""
        return address(f"{path}/{self.name}{ending}", self.selection, self.options)

    @property
    def values(self) -> dict[str, Any]:
        """Its options as the figure understands them.

        Raises:
            UsageError: one cannot be read.
        """
        usual = FIGURES[self.name].options
        return {name: _value(name, text, usual[name]) for name, text in self.options.items()}

    @property
    def part(self) -> Part | None:
        """The part of a report that it is most like, if there is one: whose options it has."""
        alike = [own for own in all_parts() if own.figure == self.name and texts(own).items() <= self.options.items()]
        return max(alike, key=lambda own: len(own.options), default=None)


def all_parts() -> tuple[Part, ...]:
    """The figures of groups that a report shows, in its order."""
    return PARTS + other_parts() + OVER_EPOCHS


def texts(part: Part) -> dict[str, str]:
    """The options of a part as an address has them."""
    return {n: ",".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for n, v in part.options.items()}


def asked(name: str, words: Words) -> Asked:
    """The figure that an address asks for.

    Raises:
        UsageError: there is no such figure, or a selector or option cannot be.
    """
    entry = FIGURES[one_of("figure", name, list(FIGURES))]
    taken = chosen([(own, value) for own, value in words if own in entry.selectors])
    return Asked(name=name, selection=taken, options={n: own for n in entry.options if (own := last(words, n))})


def _value(name: str, text: str, usual: Any) -> Any:
    if name == "overlay" and text != PAPER:  # no address may make the server read a file
        raise UsageError("in a browser, overlay is paper or nothing", "nid plot takes a file")
    try:
        if isinstance(usual, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(usual)(text) if isinstance(usual, int | float) else reader(name, usual)(text)
    except (KeyError, ValueError):
        raise UsageError(f"{name.replace('_', ' ')} must be like {usual}, not {text!r}") from None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is there of a figure: what it shows (None: nothing can be drawn), of which groups, and what is wrong."""

    asked: Asked
    gathered: Gathered | None
    problem: NidError | None

    @property
    def key(self) -> str:
        """What determines its files: the results and epochs that it shows, the settings of their groups, options."""
        assert self.gathered is not None
        shows = [
            [record["result_id"], record["lineage"]["created_at"], record.get("settings"), record.get("group")]
            if "result_id" in record
            else repr(record)
            for record in self.gathered.records
        ]
        return stable_hash({"figure": self.asked.name, "options": dict(self.asked.options), "shows": shows})[:32]


def find(desk: Desk, own: Asked) -> Found:
    """What is recorded for a figure; what cannot be drawn has its reason as ``problem``.

    Raises:
        UsageError: too many groups are asked for.
    """
    with desk.read() as connection:
        total, _ = page(connection, own.selection, Window(size=0))
    entry = FIGURES[own.name]
    most = MOST_WITH_MATRICES if entry.matrices else MOST_GROUPS
    if total > most and entry.selectors:
        line = command_of(desk, own)
        raise UsageError(f"{total} groups match, and here this figure shows {most} at most", f"choose fewer, or {line}")
    gathered, shown, problem = gather_complete(desk.context, own.name, own.selection, own.values)
    if gathered is None and isinstance(problem, MissingResults) and (other := _as_recorded(desk, own)):
        again, of, rest = gather_complete(desk.context, own.name, own.selection, other.values)
        if again is not None:
            own, gathered, shown, problem = other, again, of, rest
    return Found(asked=replace(own, selection=shown), gathered=gathered, problem=problem)


def _as_recorded(desk: Desk, own: Asked) -> Asked | None:
    """The figure as the last of its results was asked for (so many points, say), where the address leaves it open."""
    entry = FIGURES[own.name]
    open_ones = {name: usual for name, usual in entry.options.items() if isinstance(usual, int | float | str)}
    kinds = [what.name for what in ANALYSES.values() if any(_is_of(need, what.command) for need in entry.needs)]
    with desk.read() as connection:
        last_ones = [results.last_parameters(connection, kind, own.selection) for kind in kinds]
    recorded = {name: value for found in last_ones if found for name, value in found.items()}
    others = {
        name: str(recorded[name]).lower() if isinstance(usual, bool) else str(recorded[name])
        for name, usual in open_ones.items()
        if name not in own.options and name in recorded and recorded[name] != usual
    }
    return replace(own, options={**own.options, **others}) if others else None


def _is_of(need: str, command: str) -> bool:
    """Whether what a figure needs (``nid cost --method ridge (...)``) is results of a command."""
    return need.partition(" (")[0].partition(" --")[0] == f"nid {command}"


def file_of(desk: Desk, found: Found, ending: str) -> bytes:
    """A figure, or its data, as a file. Draw one at a time: Matplotlib's settings are those of the whole process.

    Raises:
        NotFoundError, UsageError: it cannot be drawn.
    """
    if found.gathered is None:
        raise found.problem or NotFoundError("there is nothing to draw")
    key = found.key + ending
    if (kept := desk.kept.get(key)) is None:
        if ending in DATA:
            kept = content(f"nid.plot.{found.asked.name}/1", found.gathered.rows(), ending)
        else:
            kept = render(found.gathered.figure(), ending)
        desk.kept.put(key, kept)
    return kept


def size_of(svg: bytes) -> tuple[float, float]:
    """Width and height of a figure, in points."""
    match = SIZE.search(svg[:2000])
    assert match is not None
    width, height = (match[1], match[2]) if match[1] else (match[4], match[3])
    return float(width), float(height)


def command_of(desk: Desk, own: Asked) -> str:
    """The command that draws a figure into a file."""
    return command_line(desk.context, f"plot {own.name}", own.selection, {**own.options, "out": f"{own.name}.pdf"})
