"""The figure of tangent kernels: their spectrum, how far they moved, and how linear training was, over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells, head, spreads
from nid_cli.records.base import Row

# In the order of the panels. What is 1, or 0, where nothing has changed is drawn on an axis that begins at 0.
QUANTITIES = {
    "trace": r"trace $\mathrm{tr}\,K$",
    "effective_rank": "effective rank\n" + r"$\mathrm{tr}\,K / \lambda_{\max}$",
    "init_cka": "CKA to the\ninitialization",
    "init_change": "change from the\ninitialization",
    "linear_relative_error": "relative error of\nthe linearization",
    "linear_agreement": "agreement with\nthe linearization",
}
FROM_ZERO = ("init_cka", "init_change", "linear_relative_error", "linear_agreement")
AT_MOST_ONE = ("init_cka", "linear_agreement")


def table(records: Sequence[Row]) -> list[Drawn]:
    """What is drawn: for each group and epoch mean and sd over models of the quantities that all of them have."""
    return [
        head(own)
        | {"split": own[0]["split"], "samples": own[0]["samples"]}
        | spreads(own, *(name for name in QUANTITIES if all(r[name] is not None for r in own)))
        for own in cells(drawable(records), "group", "epoch").values()
    ]


def draw(records: Sequence[Row], columns: int | None = None) -> Figure:
    """Six panels over epochs, a line for each group, the mean over models in a band of one sd.

    Args:
        records: ``nid.ntk/1`` records of models.
    """
    rows, columns = table(records), columns or 2
    labels, markers = style.group_labels(drawable(records)), style.markers(drawable(records))
    with style.styled():
        figure = style.new_figure(columns, 3.5 if columns == 2 else 4.8)
        axes = figure.subplots(*((2, 3) if columns == 2 else (3, 2)), sharex=True)
        panels = list(axes.T.flat if columns == 2 else axes.flat)
        for axis, (name, title) in zip(panels, QUANTITIES.items(), strict=True):
            for (group,), own in cells(rows, "group").items():
                _line(axis, [row for row in own if f"{name}_mean" in row], name, labels[group], markers[group])
            axis.set_ylabel(title)
            _finish(axis, name, sorted({int(row["epoch"]) for row in rows}))
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        band = any(len(own) > 1 for own in cells(rows, "group").values())
        style.legend(figure, style.handles_of(panels) | style.spread_key(rows, "models", band=band))
    return figure


def drawable(records: Sequence[Row]) -> list[Row]:
    """The records that can be drawn."""
    return [r for r in records if r["status"] == "ok"]


def _line(axis: Any, rows: Sequence[Drawn], name: str, text: str, marker: str) -> None:
    """One group's values, by epoch."""
    placed = sorted(rows, key=lambda row: int(row["epoch"]))
    if not placed:
        return
    look = style.look(placed[0])
    x, mean = (np.array([row[key] for row in placed], float) for key in ("epoch", f"{name}_mean"))
    sd = np.array([row[f"{name}_sd"] or 0 for row in placed], float)
    # A group of one epoch is a point, with a bar.
    point = len(x) == 1
    axis.plot(x, mean, label=text, marker=marker or ("o" if point else ""), clip_on=False, zorder=3, **look)
    if point and sd.any():
        axis.vlines(x, mean - sd, mean + sd, color=look["color"], linewidth=1)
    elif sd.any():
        axis.fill_between(x, mean - sd, mean + sd, color=look["color"], alpha=0.15, linewidth=0)


def _finish(axis: Any, name: str, epochs: Sequence[int]) -> None:
    axis.grid(color="0.92", linewidth=0.5)
    if len(epochs) == 1:
        axis.set_xticks(epochs)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not axis.get_lines():
        axis.text(0.5, 0.5, "no epoch 0", transform=axis.transAxes, ha="center", va="center", color=style.GREY)
        axis.set_yticks([])
        return
    if name in FROM_ZERO:
        greatest = max(max(line.get_ydata()) for line in axis.get_lines())
        axis.set_ylim(bottom=0, top=max(axis.get_ylim()[1], 1.05 * greatest))
    if name in AT_MOST_ONE:
        axis.set_ylim(top=1.04)
    if name == "trace":
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3), useMathText=True)
