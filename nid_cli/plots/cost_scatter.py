"""Two estimates of the same swap costs: Mahalanobis against ridge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn
from nid_cli.plots.swaps import LAYER, METHODS, SWAP, apart, column_title, distinct, head, panels, signed_root
from nid_cli.records.base import Row


def table(records: Sequence[Row], across: str = LAYER) -> list[Drawn]:
    """One row for each panel: ``mahalanobis`` and ``ridge``, by pair of neurons and model, and the rank correlation.

    Args:
        records: those of the ridge estimate, which carry the other beside their own.
    """
    rows = []
    for (_, column), own in panels(records, across).items():
        found = [r["rank_correlation"] for r in own if r["rank_correlation"] is not None]
        row = head(own, column) | {"rank_correlation": float(np.mean(found)) if found else None}
        for name, key in (("mahalanobis", "mahalanobis_swap_squared"), ("ridge", "swap_squared")):
            row[name] = np.concatenate([apart(signed_root(r[key])) for r in own]).tolist()
        rows.append(row)
    return rows


def draw(records: Sequence[Row], across: str = LAYER, columns: int | None = None) -> Figure:
    """Ridge against Mahalanobis: a panel for each group and layer (or value of a data parameter), with the rank
    correlation.

    Args: see :func:`nid_cli.plots.cost_matrix.draw`; records of the ridge estimate.
    """
    rows = table(records, across)
    columns = columns or 2
    places = distinct(row["column"] for row in rows)
    with style.styled():
        down, wide = style.grid(len(rows), columns, {1: 2, 2: 4})
        width = style.WIDTHS[columns] / wide
        figure = style.new_figure(columns, down * (width * 0.95 + 0.25) + 0.2)
        axes = figure.subplots(down, wide, squeeze=False)
        for axis in axes.flat[len(rows) :]:
            axis.remove()
        for axis, row in zip(axes.flat, rows, strict=False):
            x, y = np.array(row["mahalanobis"]), np.array(row["ridge"])
            axis.scatter(x, y, s=4, color=style.look(row)["color"], alpha=0.5, linewidth=0, rasterized=len(x) > 2000)
            low, high = min(0, x.min(), y.min()), max(x.max(), y.max(), 1e-9)
            axis.plot([low, high], [low, high], color="0.6", linewidth=0.6, zorder=0)
            title = row["series"].replace(f"\n{METHODS['ridge']}", "")
            title += "" if len(places) == 1 else f"\n{column_title(row['column'], across, width)}"
            axis.set_title(title + _correlation(row, width - 0.4))
        where = f", {column_title(places[0], across, style.WIDTHS[columns])}" if len(places) == 1 else ""
        between = " " if columns == 2 else "\n"
        figure.supxlabel(f"Mahalanobis estimate{between}of the {SWAP}{where}", fontsize=8)
        figure.supylabel("ridge estimate", fontsize=8)
    return figure


def _correlation(row: Drawn, width: float) -> str:
    """The line of a title that says it, fit for a panel of ``width`` inches."""
    if row["rank_correlation"] is None:
        return ""
    said, models = f"\nrank correlation {row['rank_correlation']:.2f}", len(row["models"])
    if models == 1:
        return said
    return style.fitting((f"{said} (mean of {models} models)", f"{said}\n(mean of {models} models)"), width)
