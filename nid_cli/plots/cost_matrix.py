"""Matrices of swap costs as images: for each group a row of panels, with a colour scale that shows the sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells
from nid_cli.plots.swaps import LAYER, OUTSIDE, SWAP, column_title, distinct, head, panels, signed_root
from nid_cli.records.base import Row

# Zero is grey, what is negative brighter and yellow, what is positive darker and blue: the sign survives in grey.
STOPS = ((0.0, "#FFF200"), (0.25, "#E3D98A"), (0.5, "#C4C4C4"), (0.65, "#8FA8C8"), (0.85, "#2F5C9E"), (1.0, "#08204D"))
SIGNED = mpl.colors.LinearSegmentedColormap.from_list("signed", STOPS)


def table(records: Sequence[Row], across: str = LAYER) -> list[Drawn]:
    """One row for each panel, with ``signed_root_swap`` (n x n), of the first model of its group."""
    return [
        head(own[:1], column) | {"signed_root_swap": signed_root(own[0]["swap_squared"])}
        for (_, column), own in panels(records, across).items()
    ]


def draw(records: Sequence[Row], across: str = LAYER, columns: int | None = None) -> Figure:
    """Images of the signed roots of the swap costs; each row of panels has one colour scale with 0 in its middle.

    Args:
        records: ``nid.cost/1`` records with their matrices and their groups' settings.
        across: what the columns of panels are: ``layer``, or a parameter of the data.
    """
    rows = table(records, across)
    columns = columns or 2
    places = distinct(row["column"] for row in rows)
    series = list(cells(rows, "series"))
    with style.styled():
        side = min((style.WIDTHS[columns] - 1.25) / len(places), 1.9)
        narrow = side < 1.2
        titles = {column: column_title(column, across, side) for column in places}
        most_lines = 1 + max(title.count("\n") for title in titles.values())
        figure = style.new_figure(columns, (side + 0.1 * narrow) * len(series) + 0.65 + 0.13 * most_lines)
        axes = figure.subplots(len(series), len(places), squeeze=False)
        for down, (text,) in enumerate(series):
            own = {row["column"]: row["signed_root_swap"] for row in rows if row["series"] == text}
            limit = max(float(np.quantile(np.abs(values), 1 - OUTSIDE)) for values in own.values())
            images = [_image(axes[down, places.index(column)], own[column], limit) for column in own]
            for axis, column in zip(axes[down], places, strict=True):
                if column not in own:
                    axis.axis("off")
                axis.set_title(titles[column] if down == 0 else "")
                axis.set_xlabel("neuron" if down == len(series) - 1 else "")
            axes[down, 0].set_ylabel(text.replace(", ", ",\n") if narrow else text, fontsize=7 if narrow else 8)
            _colour_bar(figure, images[0], axes[down], list(own.values()), limit, "" if narrow else SWAP)
        for axis in axes.flat:
            _share_ticks(axis, axes)
        models = sorted({model for row in rows for model in row["models"]})
        colours = f"colours: {SWAP}, " if narrow else ""
        figure.supxlabel(f"{colours}model {', '.join(map(str, models))} of each group", fontsize=8)
    return figure


def _colour_bar(figure: Figure, image: Any, axes: Any, values: Sequence[np.ndarray], limit: float, label: str) -> None:
    """The bar of one row of panels: its scale is symmetric around 0, it shows the part that occurs."""
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    over, under = bool(high > limit * 1.0001), bool(low < -limit * 1.0001)
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}.get((over, under), "neither")
    bar = figure.colorbar(image, ax=list(axes), label=label, extend=extend, aspect=15, pad=0.02)
    bar.outline.set_linewidth(0.5)
    if limit == 0:
        bar.set_ticks([0])  # everywhere: any other number on the scale would be made up
        return
    bar.ax.set_ylim(min(max(low, -limit), -0.15 * limit), limit)


def _share_ticks(axis: Any, axes: Any) -> None:
    """Leaves out the numbers of neurons where the panel at the edge has the same."""
    [(down, across)] = np.argwhere(axes == axis)
    axis.tick_params(
        labelleft=not across or axis.get_ylim() != axes[down, 0].get_ylim(),
        labelbottom=down == len(axes) - 1 or axis.get_xlim() != axes[-1, across].get_xlim(),
    )


def _image(axis: Any, values: np.ndarray, limit: float) -> Any:
    size = len(values)
    image = axis.imshow(
        values, cmap=SIGNED, vmin=-limit or -1, vmax=limit or 1, interpolation="nearest", rasterized=True
    )
    for spine in axis.spines.values():
        spine.set_visible(True)
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks([0, size - 1], ["1", str(size)])
    axis.tick_params(length=2, pad=1)
    return image
