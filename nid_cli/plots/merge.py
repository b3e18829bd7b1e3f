"""The merge figure: many models in one, by alignment, beside the parts, the best of them and their ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.lmc import correction
from nid_cli.plots.rows import Drawn, cells, head
from nid_cli.records.base import Row
from nid_cli.specs import MERGES

VALUES = ("accuracy", "loss")
# What a merge stands beside, as level lines: words and dash.
BESIDE: dict[str, tuple[str, Any]] = {
    "parts": ("mean of the parts", "-"),
    "best": ("best part", (0, (1, 1))),
    "ensemble": ("ensemble", "--"),
}
# Marker and filling of each alignment.
LOOKS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "fillstyle": "none"},
    {"marker": "^", "fillstyle": "full"},
    {"marker": "s", "fillstyle": "full"},
    {"marker": "D", "fillstyle": "full"},
    {"marker": "P", "fillstyle": "full"},
    {"marker": "X", "fillstyle": "none"},
)


def table(records: Sequence[Row], split: str = "test") -> list[Drawn]:
    """What is drawn: for each group, epoch, number of models and alignment the merge on one split, beside its parts,
    the best of them, and their ensemble."""
    rows = []
    for own in (r for r in records if r["status"] == "ok"):
        names = [f"{part}{value}" for part in ("", *(f"{name}_" for name in BESIDE)) for value in VALUES]
        about = head([own]) | {
            "align": own["align"],
            "bn_reset": own["bn_reset"],
            "repair": own["repair"],
            "models": len(own["models"]),
        }
        values = {name: own[f"{split}_{name}"] for name in names}
        shared = {name: own[name] for name in ("objective", "pairwise_cycle_error")}
        rows.append(about | {"split": split} | values | shared)
    return rows


def draw(records: Sequence[Row], split: str = "test", columns: int | None = None) -> Figure:
    """Accuracy and loss of the merge by alignment: groups side by side, or a column for each over the number of models.

    Args:
        records: ``nid.merge/1`` records.
    """
    rows, columns = table(records, split), columns or 2
    places = cells(rows, "group", "epoch")
    labels = style.group_labels(records)
    names = [labels[g] + (f",\nepoch {e}" if len({x for h, x in places if h == g}) > 1 else "") for g, e in places]
    handles: dict[str, Any] = {}
    align = list(dict.fromkeys(row["align"] for row in rows))
    looks = {name: LOOKS[list(MERGES).index(name) % len(LOOKS)] for name in align}
    over_models = any(len({row["models"] for row in own}) > 1 for own in places.values())
    with style.styled():
        arranged = _over_models if over_models else _side_by_side
        figure = arranged(list(places.values()), names, looks, columns)
        for name in align:
            text = ", ".join(filter(None, (MERGES[name].label, correction(records))))
            handles[text] = style.key_line(color=style.GREY, linestyle="", **looks[name])
        for text, dash in BESIDE.values():
            handles[text] = style.key_line(color=style.GREY, linestyle=dash, linewidth=1)
        style.legend(figure, handles)
    return figure


def _side_by_side(groups: Sequence[Sequence[Drawn]], names: Sequence[str], looks: Any, columns: int) -> Figure:
    """A place for each group: its alignments next to each other, level lines across."""
    panels = (1, 2) if columns == 2 else (2, 1)
    longest = max(map(style.inches, names))
    upright = longest > (style.WIDTHS[columns] / panels[1] - 0.5) / len(names)
    figure = style.new_figure(columns, panels[0] * (2.1 + (longest if upright else 0)))
    axes = figure.subplots(*panels)
    for axis, value in zip(axes, VALUES, strict=True):
        for place, own in enumerate(groups):
            colour = style.look(own[0])["color"]
            for name, (_, dash) in BESIDE.items():
                level = own[0][f"{name}_{value}"]
                axis.plot([place - 0.4, place + 0.4], [level] * 2, color=colour, linestyle=dash, linewidth=1, zorder=1)
            for row in own:
                at = list(looks).index(row["align"]) - (len(looks) - 1) / 2
                x = place + at * 0.6 / max(len(looks), 2)
                axis.plot(
                    [x], [row[value]], color=colour, linestyle="", zorder=3, clip_on=False,
                    label=f"_{row['align']}", **looks[row["align"]],
                )  # fmt: skip
        _finish(axis, value, groups[0][0]["split"])
        axis.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        axis.set_xlim(-0.55, len(names) - 0.45)
    return figure


def _over_models(groups: Sequence[Sequence[Drawn]], names: Sequence[str], looks: Any, columns: int) -> Figure:
    """A column of panels for each group, the number of models across."""
    down, across = style.grid(len(groups), columns)
    figure = style.new_figure(columns, 0.3 + 3.0 * down)
    axes = figure.subplots(2 * down, across, squeeze=False)
    for place, (name, own) in enumerate(zip(names, groups, strict=True)):
        row, column = 2 * (place // across), place % across
        colour = style.look(own[0])["color"]
        for below, value in enumerate(VALUES):
            axis = axes[row + below][column]
            for beside, (_, dash) in BESIDE.items():
                levels = {r["models"]: r[f"{beside}_{value}"] for r in own}
                x = sorted(levels)
                axis.plot(x, [levels[n] for n in x], color=style.GREY, linestyle=dash, linewidth=1, zorder=1)
            for align, look in looks.items():
                points = sorted((r["models"], r[value]) for r in own if r["align"] == align)
                if points:
                    axis.plot(
                        *zip(*points, strict=True), color=colour, linewidth=0.8, zorder=3, label=f"_{align}", **look
                    )
            _finish(axis, value, own[0]["split"] if column == 0 else None)
            axis.set_xticks(sorted({r["models"] for r in own}))
            if below:
                axis.set_xlabel("number of models")
            else:
                axis.set_title(name)
    for place in range(len(groups), down * across):
        for below in range(2):
            axes[2 * (place // across) + below][place % across].remove()
    return figure


def _finish(axis: Any, value: str, split: str | None) -> None:
    """What the axis says, and its limits: losses may be so great that only a logarithmic scale shows them."""
    if split is not None:
        axis.set_ylabel(f"{style.SPLITS[split]} {value}" + (" (%)" if value == "accuracy" else ""))
    axis.grid(color="0.92", linewidth=0.5)
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()])
    if value == "accuracy":
        axis.set_ylim(0, 103)
    elif drawn.min() > 0 and drawn.max() > 10 * drawn.min():
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, 1.08 * drawn.max())
