"""``nid plot report``: one HTML page for a selection of groups, with every figure, number, source and command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.pipeline.analyses.requests import command_line
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.figures.complete import gather_complete, of_groups
from nid_cli.pipeline.figures.draw import check_target, keep, render
from nid_cli.pipeline.figures.recorded import MissingResults, order
from nid_cli.pipeline.figures.table import FIGURES, Options
from nid_cli.pipeline.housekeeping.group import show_group
from nid_cli.records.figures import FigureFile
from nid_cli.registry import groups
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.selection import matching_groups, select_models
from nid_cli.specs import Selection

if TYPE_CHECKING:
    from nid_cli.plots.page import Page, Picture, Source

FORMATS = (".html",)
SUMMARY = "summary"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One figure of the page. ``asked``: which options of the report it takes."""

    key: str
    title: str
    figure: str
    description: str = ""
    options: Options = field(default_factory=dict)
    asked: tuple[str, ...] = ()


PARTS = (
    Part(
        key="training",
        title="Training",
        figure="training",
        description="Loss and accuracy over the epochs; thin: each seed, thick: their mean.",
    ),
    Part(
        key="lmc",
        title="Connectivity",
        figure="lmc",
        description="Train accuracy and loss on the segment between two models, before and after alignment; mean and "
        "band over pairs.",
        asked=("points",),
    ),
    Part(
        key="anatomy",
        title="Anatomy",
        figure="anatomy",
        description="Where along depth merging breaks: how far merged features are from the chord of the ends', "
        "and how much of their deviation is left; below, what merging logits gains and merging weights costs.",
        asked=("points",),
    ),
    Part(
        key="barrier",
        title="Barriers",
        figure="barrier",
        description="How far error and loss on the segment rise above the chord between its ends, over kappa.",
        asked=("points",),
    ),
    Part(
        key="match",
        title="Matching",
        figure="match",
        description="Mean correlation of neurons matched by the best permutation, by none and by random ones, over "
        "kappa, layer by layer.",
    ),
    Part(
        key="merge",
        title="Merging",
        figure="merge",
        description="Test accuracy and loss of all models in one, by alignment, beside the parts and their ensemble.",
    ),
    Part(
        key="cost",
        title="Swap costs",
        figure="cost",
        description="What it costs two neurons to exchange their functions: the signed root of the cost for each pair, "
        "layer by layer.",
        asked=("layers",),
    ),
    Part(
        key="distribution",
        title="Distributions of costs",
        figure="cost",
        description="Costs over all pairs of neurons, group by group and layer by layer.",
        options={"kind": "distribution"},
        asked=("layers",),
    ),
    # The ridge estimate is the slowest of all: the first layer, unless others are asked for.
    Part(
        key="scatter",
        title="Mahalanobis against ridge",
        figure="cost",
        description="The two estimates of the cost for the same pairs of neurons, with their rank correlation.",
        options={"kind": "scatter", "layers": ["0"]},
        asked=("layers",),
    ),
    Part(
        key="coherence",
        title="Coherence",
        figure="coherence",
        description="Coherence, dimension and anisotropy of each layer's inputs, with the bound on anisotropy.",
    ),
    Part(
        key="ntk",
        title="Tangent kernels",
        figure="ntk",
        description="Trace and effective rank of the kernels over all saved epochs, their alignment with that of the "
        "initialization and the change since, and how far the linearized network is off.",
    ),
)
# What changes with the epoch is drawn over it too, where more than the last is selected.
_OVER_EPOCHS = {
    "barrier": "The same barriers at each selected epoch.",
    "match": "The same objectives at each selected epoch.",
    "coherence": "Coherence, dimension and anisotropy at each selected epoch.",
}
OVER_EPOCHS = tuple(
    replace(
        part,
        key=f"{part.key}-epoch",
        title=f"{part.title} over epochs",
        description=_OVER_EPOCHS[part.key],
        options={"against": "epoch"},
    )
    for part in PARTS
    if part.key in _OVER_EPOCHS
)


def other_parts() -> tuple[Part, ...]:
    """The figures of groups that no part above shows, as their entries describe them."""
    shown = {SUMMARY, *(part.figure for part in PARTS)}
    return tuple(
        Part(
            key=name,
            title=name.capitalize(),
            figure=name,
            description=f"{entry.description[:1].upper()}{entry.description[1:]}.",
        )
        for name, entry in FIGURES.items()
        if name not in shown and entry.selectors
    )


def report(
    context: Context,
    selection: Selection,
    target: Path,
    options: Options | None = None,
    *,
    compute: bool = False,
) -> FigureFile:
    """Writes the page, whole or not at all, and records it like a figure; returns its record.

    Args:
        options: ``points`` and ``layers``, as the figures understand them; None or absent: the figures' defaults.
        compute: make missing results instead of naming their commands.

    Raises:
        UsageError: the file's ending or folder, a selector or an option cannot be. NotFoundError: nothing matches.
    """
    from nid_cli.plots.page import html

    check_target(target, FORMATS)
    page = page_of(context, selection, {k: v for k, v in (options or {}).items() if v is not None}, compute=compute)
    ids = dict.fromkeys(record["result_id"] for records in page.results.values() for record in records)
    return keep(context, "report", target, html(page).encode(), list(ids))


def page_of(context: Context, selection: Selection, options: Options, *, compute: bool = False) -> Page:
    """What the page says, from the registry; see :func:`report`."""
    from nid_cli.plots.page import Page

    with open_for_reading(context.registry).read() as connection:
        matching = matching_groups(connection, selection)
        names = [group.name for group in sorted(matching, key=lambda group: order(group.identity))]
        list(select_models(connection, selection))  # what was named must be there
    if compute:
        context.torch_device()
    parts = PARTS + other_parts() + (OVER_EPOCHS if selection.epochs != "last" else ())
    book = _Book()
    total = len(parts) + len(names)
    pictures = []
    for i, part in enumerate(parts):
        context.progress("drawing", i, total, part.title)
        own = {name: options[name] for name in part.asked if name in options}
        pictures.append(_picture(context, part, selection, {**part.options, **own}, book, compute))
    shown = []
    for i, name in enumerate(names, 1):
        context.progress("drawing", len(parts) + i, total, name)
        part = Part(key=f"group-{i}-summary", title=name, figure=SUMMARY)
        picture = _picture(context, part, of_groups(selection, [name]), {}, book, compute)
        shown.append(_group(context, name, f"group-{i}", picture, book))
    asked = command_line(context, "plot report", selection, {**options, "out": "report.html"})
    return Page(
        command=asked,
        groups=shown,
        pictures=pictures,
        results={name: list(records.values()) for name, records in book.results.items()},
        sources=list(book.sources),
        commands=[*book.commands(), asked],
        in_python={name: f'nid_cli.open_registry().results("{name}", group={names})' for name in book.results},
    )


class _Book:
    """All results that the figures show, each once, and the numbered sources of results and models."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, dict[str, Any]]] = {}
        self.sources: dict[Source, int] = {}
        self._began: dict[str, str] = {}

    def add(self, analysis: str, record: Mapping[str, Any]) -> None:
        """Takes up a result, without its matrices."""
        own = self.results.setdefault(analysis, {})
        if record["result_id"] not in own:
            light = {name: value for name, value in record.items() if getattr(value, "ndim", 0) == 0}
            lineage = record["lineage"]
            origin = self.source(lineage, lineage["data_fingerprint"], lineage["created_at"])
            own[record["result_id"]] = light | {"origin": origin}

    def source(self, lineage: Mapping[str, Any], data: str | None, when: str) -> int:
        """The number (from 0) of what made a result or a model."""
        from nid_cli.plots.page import Source

        dirty = " with changes that were not committed" if lineage.get("git_dirty") else ""
        versions = (lineage.get("worker") or lineage)["versions"]
        source = Source(
            command=shlex.join(lineage["command"]),
            software=", ".join(f"{name} {version}" for name, version in versions.items()),
            commit=lineage["git_commit"] and lineage["git_commit"] + dirty,
            data=data,
        )
        began = self._began.get(source.command, when)
        self._began[source.command] = min(began, when)
        return self.sources.setdefault(source, len(self.sources))

    def commands(self) -> list[str]:
        """The commands of all sources, by the time of the first thing that each made."""
        return sorted(self._began, key=lambda text: self._began[text])


def _picture(
    context: Context, part: Part, selection: Selection, options: Options, book: _Book, compute: bool
) -> Picture:
    """A part of the page: drawn for the groups that have all its results, with a word on the others."""
    from nid_cli.plots.inline import inline_svg
    from nid_cli.plots.page import Picture

    entry = FIGURES[part.figure]
    if "epochs" not in entry.selectors:
        selection = replace(selection, epochs="last")
    found, chosen, problem = gather_complete(context, part.figure, selection, options, compute=compute)
    records = [record for record in found.records if "result_id" in record] if found else []
    for record in records:
        book.add(record["analysis"], record)
    given = {name: value for name, value in options.items() if value != entry.options[name]}
    lacking = problem if isinstance(problem, MissingResults) else None
    return Picture(
        key=part.key,
        title=part.title,
        description=part.description,
        redraw=command_line(context, f"plot {part.figure}", chosen, {**given, "out": f"{part.key}.pdf"}),
        svg=inline_svg(render(found.figure(), ".svg"), f"{part.key}-", part.title) if found else None,
        reason=problem.message if problem else None,
        remedy=problem.hint if problem and not lacking else None,
        left_out=lacking.groups if lacking and found else (),
        missing=lacking.commands if lacking else (),
        made_by=list(dict.fromkeys(shlex.join(record["lineage"]["command"]) for record in records)),
        results=list(dict.fromkeys(record["result_id"] for record in records)),
    )


def _group(context: Context, name: str, key: str, summary: Picture, book: _Book) -> dict[str, Any]:
    """A group in full, its members with the numbers of their sources."""
    record = show_group(context, name)
    with open_for_reading(context.registry).read() as connection:
        share = groups.by_name(connection, name).fixed_share
    members = [
        member | {"origin": book.source(member["lineage"], record["data_fingerprint"], member["lineage"]["started_at"])}
        for member in record["members"]
    ]
    return record | {
        "key": key,
        "members": members,
        "fixed_share": share,
        "test_accuracy": [member["last"]["test_accuracy"] for member in members if member["last"]],
        "summary": summary,
    }
