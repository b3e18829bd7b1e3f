"""How swap costs are distributed in each group, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells
from nid_cli.plots.swaps import LAYER, OUTSIDE, SWAP, apart, column_title, distinct, head, panels, signed_root
from nid_cli.records.base import Row

BINS = 60
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def table(records: Sequence[Row], across: str = LAYER) -> list[Drawn]:
    """One row for each group, epoch, method and layer: ``edges`` and ``density`` over its models' pairs of neurons.

    Costs that are all the same have two equal edges.
    """
    rows = []
    for (_, column), own in panels(records, across).items():
        values = np.concatenate([apart(signed_root(r["swap_squared"])) for r in own])
        if not len(values):
            continue
        row = head(own, column) | {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
        low, high = np.quantile(values, (OUTSIDE, 1 - OUTSIDE))
        bins = min(BINS, max(8, round(len(values) ** 0.5)))
        density, edges = np.histogram(values, bins, (low, high)) if high > low else (np.ones(1), np.array([low, high]))
        rows.append(row | {"edges": edges.tolist(), "density": (density / density.max()).tolist()})
    return rows


def draw(records: Sequence[Row], across: str = LAYER, columns: int | None = None) -> Figure:
    """One panel for each layer (or value of a data parameter): how the signed roots are distributed in each group.

    Args: see :func:`nid_cli.plots.cost_matrix.draw`. Lines mark the medians.
    """
    rows = table(records, across)
    columns = columns or 2
    places, series = distinct(row["column"] for row in rows), [text for (text,) in cells(rows, "series")]
    with style.styled():
        down, wide = style.grid(len(places), columns)
        figure = style.new_figure(columns, down * (0.3 * len(series) + 0.55) + 0.25)
        axes = figure.subplots(down, wide, sharey=True, squeeze=False)
        for axis in axes.flat[len(places) :]:
            axis.remove()
        for axis, place in zip(axes.flat, places, strict=False):
            for row in (r for r in rows if r["column"] == place):
                _ridge_line(axis, row, -series.index(row["series"]))
            _scale(axis, [row for row in rows if row["column"] == place])
            axis.axvline(0, color="0.7", linewidth=0.6, zorder=0)
            axis.set_title(column_title(place, across, (style.WIDTHS[columns] - 1) / wide))
            axis.set_yticks([0.3 - i for i in range(len(series))], series)
            axis.spines["left"].set_visible(False)
            axis.tick_params(axis="y", length=0)
            axis.set_ylim(-len(series) + 0.8, 0.95)
        said = [f"(densities to one height, {100 * OUTSIDE:g} % left out", "at either end; lines: medians)"]
        figure.supxlabel((" " if columns == 2 else "\n").join([SWAP, *said]), fontsize=8)
    return figure


def _scale(axis: Any, rows: Sequence[Drawn]) -> None:
    """Where medians differ by more than a factor of ten, logarithmic on both sides of a linear part around 0."""
    medians = [abs(row["median"]) for row in rows if row["median"]]
    if medians and max(medians) > 10 * min(medians):
        linear = 10.0 ** np.floor(np.log10(min(medians)))
        axis.set_xscale("symlog", linthresh=linear, linscale=0.8)
        low, high = min(row["edges"][0] for row in rows), max(row["edges"][-1] for row in rows)
        decades = 10.0 ** np.arange(np.log10(linear), np.log10(max(high, -low)) + 0.01)
        ticks = [*(-d for d in decades[::-1] if d <= -low), 0, *decades]
        axis.set_xticks(ticks, [style.short_number(t) for t in ticks])
        axis.minorticks_off()


def _ridge_line(axis: Any, row: Drawn, base: float) -> None:
    """One group's density above ``base``, its median as a line."""
    look, edges, density = style.look(row), np.array(row["edges"]), np.array(row["density"])
    if edges[0] == edges[-1]:
        axis.plot([edges[0]] * 2, [base, base + 0.8], color=look["color"], label=row["series"])
        return
    x, y = np.repeat(edges, 2)[1:-1], np.repeat(density, 2)
    axis.fill_between(x, base, base + 0.8 * y, color=look["color"], alpha=0.35, linewidth=0)
    axis.plot(x, base + 0.8 * y, color=look["color"], linewidth=0.7, label=row["series"])
    axis.plot([row["median"]] * 2, [base, base + 0.8], color=look["color"], linewidth=1.2)
