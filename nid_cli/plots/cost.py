"""The cost figures: matrices of signed swap costs, their distributions, and Mahalanobis against ridge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.rows import Record, Row, cells

METHODS = {"mahalanobis": "Mahalanobis", "ridge": "ridge"}
TITLE = r"$\mathrm{sign}(t^2)\,\sqrt{|t^2|}$"
SWAP = f"swap cost {TITLE}"
LAYER = "layer"

# Zero is grey, what is negative brighter and yellow, what is positive darker and blue: the sign survives in grey.
STOPS = ((0.0, "#FFF200"), (0.25, "#E3D98A"), (0.5, "#C4C4C4"), (0.65, "#8FA8C8"), (0.85, "#2F5C9E"), (1.0, "#08204D"))
SIGNED = mpl.colors.LinearSegmentedColormap.from_list("signed", STOPS)
# Colour scales and histograms leave out this share at either end: a few outliers would hide all others.
OUTSIDE = 0.002
BINS = 60
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def signed_root(squared: Any) -> np.ndarray:
    """sign(t2) sqrt|t2|, element by element."""
    values = np.asarray(squared, dtype=float)
    return np.sign(values) * np.sqrt(np.abs(values))


def _apart(matrix: np.ndarray) -> np.ndarray:
    """The entries above the diagonal: swap costs are symmetric."""
    return matrix[np.triu_indices(len(matrix), 1)]


def _across(record: Record, across: str) -> Any:
    return record["layer"] if across == LAYER else record["settings"]["data"].get(across)


def _series(records: Sequence[Record], across: str) -> list[str]:
    """For each record its row of panels: group, epoch and method in words, the layer where columns do not show it."""
    labels = style.group_labels(records, None if across == LAYER else across)
    several = {name for name in ("epoch", "layer", "method", "beta") if len({r.get(name) for r in records}) > 1}
    texts = []
    for r in records:
        parts = [labels[r["group"]]]
        if across != LAYER and "layer" in several:
            parts.append(style.layer(r["layer"]))
        if "epoch" in several:
            parts.append(f"epoch {r['epoch']}")
        if "method" in several or "beta" in several:
            beta = rf", $\beta = {style.number(r['beta'])}$" if r.get("beta") is not None else ""
            parts.append(METHODS[r["method"]] + beta)
        texts.append("\n".join(parts))
    return texts


def _panels(records: Sequence[Record], across: str) -> dict[tuple[Any, ...], list[Record]]:
    """The records (one a model) of each panel: by the words of its row, and what its column stands for."""
    texts = _series(records, across)
    tagged = [dict(r) | {"series": text, "column": _across(r, across)} for r, text in zip(records, texts, strict=True)]
    return cells(tagged, "series", "column")


def _head(records: Sequence[Record], column: Any) -> Row:
    names = ("group", "arch", "dataset", "symmetry", "kappa", "epoch", "layer", "method", "beta", "series", "neurons")
    first = records[0]
    return {
        "result_ids": [r["result_id"] for r in records],
        "models": [r["model"] for r in records],
        **{name: first[name] for name in names if name in first},
        "column": column,
    }


def matrix_table(records: Sequence[Record], across: str = LAYER) -> list[Row]:
    """A row a panel with ``signed_root_swap`` (n x n), of the first model of its group."""
    return [
        _head(own[:1], column) | {"signed_root_swap": signed_root(own[0]["swap_squared"])}
        for (_, column), own in _panels(records, across).items()
    ]


def distribution_table(records: Sequence[Record], across: str = LAYER) -> list[Row]:
    """A row a group, epoch, method and layer: ``edges`` and ``density`` over the pairs of neurons of its models.

    Costs that are all the same have two equal edges.
    """
    rows = []
    for (_, column), own in _panels(records, across).items():
        values = np.concatenate([_apart(signed_root(r["swap_squared"])) for r in own])
        if not len(values):
            continue
        row = _head(own, column) | {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
        low, high = np.quantile(values, (OUTSIDE, 1 - OUTSIDE))
        bins = min(BINS, max(8, round(len(values) ** 0.5)))
        density, edges = np.histogram(values, bins, (low, high)) if high > low else (np.ones(1), np.array([low, high]))
        rows.append(row | {"edges": edges.tolist(), "density": (density / density.max()).tolist()})
    return rows


def scatter_table(records: Sequence[Record], across: str = LAYER) -> list[Row]:
    """A row a panel: ``mahalanobis`` and ``ridge``, a value a pair of neurons and model, and the rank correlation.

    Args:
        records: those of the ridge estimate, which carry the other beside their own.
    """
    rows = []
    for (_, column), own in _panels(records, across).items():
        found = [r["rank_correlation"] for r in own if r["rank_correlation"] is not None]
        row = _head(own, column) | {"rank_correlation": float(np.mean(found)) if found else None}
        for name, key in (("mahalanobis", "mahalanobis_swap_squared"), ("ridge", "swap_squared")):
            row[name] = np.concatenate([_apart(signed_root(r[key])) for r in own]).tolist()
        rows.append(row)
    return rows


def _column_title(value: Any, across: str, width: float) -> str:
    return style.layer_title(value, width) if across == LAYER else style.parameter(across, value)


def matrix(records: Sequence[Record], across: str = LAYER, columns: int | None = None) -> Figure:
    """Images of the signed roots of the swap costs; each row of panels has one colour scale with 0 in its middle.

    Args:
        records: ``nid.cost/1`` records with their matrices and their groups' settings.
        across: what the columns of panels are: ``layer``, or a parameter of the data.
    """
    rows = matrix_table(records, across)
    columns = columns or 2
    places = _sorted(row["column"] for row in rows)
    series = list(cells(rows, "series"))
    with style.styled():
        side = min((style.WIDTHS[columns] - 1.25) / len(places), 1.9)
        narrow = side < 1.2
        titles = {column: _column_title(column, across, side) for column in places}
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


def _sorted(values: Iterable[Any]) -> list[Any]:
    """Distinct values: numbers by size, layers' names in the order they come."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(isinstance(v, int | float) for v in found) else found


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


def distribution(records: Sequence[Record], across: str = LAYER, columns: int | None = None) -> Figure:
    """A panel a layer (or value of a data parameter): how the signed roots are distributed in each group.

    Args: see :func:`matrix`. Lines mark the medians.
    """
    rows = distribution_table(records, across)
    columns = columns or 2
    places, series = _sorted(row["column"] for row in rows), [text for (text,) in cells(rows, "series")]
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
            axis.set_title(_column_title(place, across, (style.WIDTHS[columns] - 1) / wide))
            axis.set_yticks([0.3 - i for i in range(len(series))], series)
            axis.spines["left"].set_visible(False)
            axis.tick_params(axis="y", length=0)
            axis.set_ylim(-len(series) + 0.8, 0.95)
        said = [f"(densities to one height, {100 * OUTSIDE:g} % left out", "at either end; lines: medians)"]
        figure.supxlabel((" " if columns == 2 else "\n").join([SWAP, *said]), fontsize=8)
    return figure


def _scale(axis: Any, rows: Sequence[Row]) -> None:
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


def _ridge_line(axis: Any, row: Row, base: float) -> None:
    """One group's density above ``base``, its median as a line."""
    look, edges, density = style.look(row), np.array(row["edges"]), np.array(row["density"])
    if edges[0] == edges[-1]:
        axis.plot([edges[0]] * 2, [base, base + 0.8], color=look["color"], label=row["series"])
        return
    x, y = np.repeat(edges, 2)[1:-1], np.repeat(density, 2)
    axis.fill_between(x, base, base + 0.8 * y, color=look["color"], alpha=0.35, linewidth=0)
    axis.plot(x, base + 0.8 * y, color=look["color"], linewidth=0.7, label=row["series"])
    axis.plot([row["median"]] * 2, [base, base + 0.8], color=look["color"], linewidth=1.2)


def scatter(records: Sequence[Record], across: str = LAYER, columns: int | None = None) -> Figure:
    """Ridge against Mahalanobis: a panel a group and layer (or value of a data parameter), with the rank correlation.

    Args: see :func:`matrix`; records of the ridge estimate.
    """
    rows = scatter_table(records, across)
    columns = columns or 2
    places = _sorted(row["column"] for row in rows)
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
            title += "" if len(places) == 1 else f"\n{_column_title(row['column'], across, width)}"
            axis.set_title(title + _correlation(row, width - 0.4))
        where = f", {_column_title(places[0], across, style.WIDTHS[columns])}" if len(places) == 1 else ""
        between = " " if columns == 2 else "\n"
        figure.supxlabel(f"Mahalanobis estimate{between}of the {SWAP}{where}", fontsize=8)
        figure.supylabel("ridge estimate", fontsize=8)
    return figure


def _correlation(row: Row, width: float) -> str:
    """The line of a title that says it, fit for a panel of ``width`` inches."""
    if row["rank_correlation"] is None:
        return ""
    said, models = f"\nrank correlation {row['rank_correlation']:.2f}", len(row["models"])
    if models == 1:
        return said
    return style.fitting((f"{said} (mean of {models} models)", f"{said}\n(mean of {models} models)"), width)


KINDS = {
    "matrix": (matrix_table, matrix),
    "distribution": (distribution_table, distribution),
    "scatter": (scatter_table, scatter),
}


def table(records: Sequence[Record], kind: str = "matrix", across: str = LAYER) -> list[Row]:
    """What the figure of this kind draws."""
    return KINDS[kind][0](records, across)


def draw(records: Sequence[Record], kind: str = "matrix", across: str = LAYER, columns: int | None = None) -> Figure:
    """The figure of one of ``KINDS``: matrices, distributions, or Mahalanobis against ridge."""
    return KINDS[kind][1](records, across, columns)
