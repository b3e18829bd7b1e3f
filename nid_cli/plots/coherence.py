"""The coherence figure: coherence, dimension and anisotropy with its bound, over layers or epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells, head, spreads
from nid_cli.records.base import Row

# The bound that is drawn holds with this probability.
DELTA = "0.05"
QUANTITIES = {
    "coherence": "coherence\n" + r"$\nu(U)$",
    "subspace_dimension": "subspace\ndimension $k$",
    "anisotropy_mean": "anisotropy\n" + r"$\Vert S_i - p I\Vert_2$",
}
# What a quantity is held against: what it cannot be below, or (with this probability) above.
BOUNDS = {"coherence": "least_coherence", "anisotropy_mean": "anisotropy_bound"}
WORDS = {"least_coherence": "lower bound $k/d$", "anisotropy_bound": "upper bound (95 %)"}
MARKS: dict[str, dict[str, Any]] = {
    "least_coherence": {"marker": "_", "markersize": 7, "markeredgewidth": 1.0},
    "anisotropy_bound": {"marker": "1", "markersize": 6, "markeredgewidth": 0.9},
}


def table(records: Sequence[Row], against: str = "layer") -> list[Drawn]:
    """What is drawn: for each group, epoch and layer mean and sd over models; bounds and k/d are means alone."""
    rows = []
    for (_, _, layer), own in cells(records, "group", "epoch", "layer").items():
        row = head(own) | {"layer": layer, "explained_variance": own[0]["explained_variance"]}
        row |= {"full_dimension": own[0]["full_dimension"], "delta": float(DELTA)}
        row |= spreads(own, *(name for name in QUANTITIES if own[0][name] is not None))
        row["least_coherence"] = float(np.mean([r["subspace_dimension"] / r["full_dimension"] for r in own]))
        row["anisotropy_bound"] = float(np.mean([r["anisotropy_bounds"][DELTA] for r in own]))
        rows.append(row)
    return rows


def draw(records: Sequence[Row], against: str = "layer", columns: int | None = None) -> Figure:
    """Coherence, dimension and anisotropy: over the layers, or over epochs with a column of panels for each layer.

    Args:
        records: ``nid.coherence/1`` records; points are means over models, bars one sd.
        against: ``layer`` or ``epoch``.
    """
    rows = table(records)
    return (_over_layers if against == "layer" else _over_epochs)(records, rows, columns or 2)


def _over_layers(records: Sequence[Row], rows: Sequence[Drawn], columns: int) -> Figure:
    labels, markers = _marks(records)
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    with style.styled():
        figure = style.new_figure(columns, 2.15 if columns == 2 else 5.2)
        axes = figure.subplots(*((1, 3) if columns == 2 else (3, 1)), sharex=columns == 1)
        lines = cells(rows, "group", "epoch")
        for index, ((group, epoch), own) in enumerate(lines.items()):
            several = len({e for g, e in lines if g == group}) > 1
            text = labels[group] + (f", epoch {epoch}" if several else "")
            # Groups side by side within a layer's place: most of them have the same values.
            shift = (index - (len(lines) - 1) / 2) * min(0.16, 0.75 / len(lines))
            x = np.array([layers.index(row["layer"]) for row in own]) + shift
            _quantities(axes, x, own, text, markers[group], joined=False)
        names = [style.short_layer(layer) for layer in layers]
        for axis in axes:
            axis.set_xticks(range(len(layers)), names, rotation=90 if max(map(len, names)) > 6 else 0)
            axis.set_xlim(-0.5, len(layers) - 0.5)
        for axis in axes if columns == 2 else axes[-1:]:
            axis.set_xlabel("inputs of layer")
        _finish(figure, rows, axes, axes)
    return figure


def _over_epochs(records: Sequence[Row], rows: Sequence[Drawn], columns: int) -> Figure:
    labels, markers = _marks(records)
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    with style.styled():
        figure = style.new_figure(columns, 4.4)
        axes = figure.subplots(3, len(layers), sharex=True, sharey="row", squeeze=False)
        for place, layer in enumerate(layers):
            for (group,), own in cells((r for r in rows if r["layer"] == layer), "group").items():
                x = np.array([row["epoch"] for row in own])
                _quantities(axes[:, place], x, own, labels[group], markers[group], joined=True)
            axes[0, place].set_title(_title(layer, (style.WIDTHS[columns] - 0.6) / len(layers)))
            empty = not axes[2, place].has_data()
            axes[1 if empty else 2, place].set_xlabel("epoch")
            axes[1, place].tick_params(labelbottom=empty)
            axes[2, place].xaxis.set_major_locator(MaxNLocator(3, integer=True))
            if empty:  # the output has no neurons that a mask could cut
                axes[2, place].axis("off")
        _finish(figure, rows, axes[:, 0], list(axes.flat))
    return figure


def _title(layer: int | str, width: float) -> str:
    if layer == "output":
        return style.fitting(("output", "out-\nput"), width)
    whole = f"inputs of\n{style.layer(layer)}"
    return style.fitting((whole, f"layer {style.short_layer(layer)}\ninputs", style.layer_title(layer, width)), width)


def _marks(records: Sequence[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and markers of the groups; here every group has a marker of its own."""
    labels = style.group_labels(records)
    return labels, {group: style.MARKERS[i % len(style.MARKERS)] for i, group in enumerate(labels)}


def _quantities(axes: Any, x: np.ndarray, rows: Sequence[Drawn], text: str, marker: str, *, joined: bool) -> None:
    for axis, name in zip(axes, QUANTITIES, strict=True):
        points(axis, x, rows, name, text, marker, joined=joined)


def points(
    axis: Any, x: np.ndarray, rows: Sequence[Drawn], name: str, text: str, marker: str, *, joined: bool = False
) -> None:
    """One group's values of a quantity at ``x``, bars of one sd over models, and marks at its bound."""
    look = style.look(rows[0])
    shown = [i for i, row in enumerate(rows) if f"{name}_mean" in row]
    if not shown:
        return
    y = np.array([rows[i][f"{name}_mean"] for i in shown])
    sd = [rows[i][f"{name}_sd"] for i in shown]
    axis.errorbar(
        x[shown], y, yerr=[s or 0 for s in sd] if any(sd) else None, color=look["color"], marker=marker, elinewidth=0.7,
        linestyle=look["linestyle"] if joined else "", linewidth=1, label=text, zorder=3, clip_on=False,
    )  # fmt: skip
    bound = BOUNDS.get(name)
    level = [rows[i][bound] for i in shown] if bound else []
    if bound and any(level):  # without a mask there is none
        mark = MARKS[bound] | {"color": look["color"], "linestyle": ":" if joined else "", "linewidth": 0.8}
        axis.plot(x[shown], level, label=f"_{bound}", **mark)


def _finish(figure: Figure, rows: Sequence[Drawn], titled: Any, axes: Any) -> None:
    for axis, title in zip(titled, QUANTITIES.values(), strict=True):
        axis.set_ylabel(title)
    handles: dict[str, Any] = {}
    for axis in axes:
        axis.grid(color="0.92", linewidth=0.5)
        axis.set_ylim(bottom=0)
        for container in axis.containers:
            handles.setdefault(str(container.get_label()), container)
    drawn = {line.get_label() for axis in axes for line in axis.get_lines()}
    for bound in (name for name in WORDS if f"_{name}" in drawn):
        handles[WORDS[bound]] = style.key_line(color=style.GREY, linestyle="", **MARKS[bound])
    style.legend(figure, handles | style.spread_key(rows, "models", band=False))
