"""The synthetic coherence experiment: barriers against coherence, and the curves at its two ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells, spreads
from nid_cli.records.base import Row

FAMILIES = {"exact_copy": "exact copies", "random_tight_frame": "random tight frame"}
LOOKS: dict[str, dict[str, Any]] = {
    "exact_copy": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "random_tight_frame": {"color": "#E69F00", "linestyle": "--", "marker": "s"},
}


def table(records: Sequence[Row]) -> list[Drawn]:
    """What is drawn: for each family and number of active copies mean and sd over seeds and pairs."""
    return [
        {"family": family, "active_copies": copies, "coherence": own[0]["coherence"], "count": len(own)}
        | {"result_ids": [r["result_id"] for r in own], "lambdas": own[0]["lambdas"]}
        | spreads(own, "barrier_mid", "barrier_peak", "test_loss")
        for (family, copies), own in cells(records, "family", "active_copies").items()
    ]


def draw(records: Sequence[Row], columns: int | None = None) -> Figure:
    """Midpoint barrier against coherence, and test loss along the segment at the greatest and least coherence."""
    rows = table(records)
    columns = columns or 2
    ends = sorted({row["coherence"] for row in rows}, reverse=True)
    ends = [ends[0], ends[-1]] if len(ends) > 1 else ends
    with style.styled():
        figure = style.new_figure(columns, 2.0 if columns == 2 else 3.9)
        first, *panels = _layout(figure, columns, len(ends))
        for (family,), own in cells(rows, "family").items():
            own = sorted(own, key=lambda row: float(row["coherence"]))
            x, mean, sd = ([r[k] for r in own] for k in ("coherence", "barrier_mid_mean", "barrier_mid_sd"))
            _band(first, x, mean, None if None in sd else sd, family, None)
            for axis, end in zip(panels, ends, strict=True):
                for row in (r for r in own if r["coherence"] == end):
                    x, mean, sd = (row[k] for k in ("lambdas", "test_loss_mean", "test_loss_sd"))
                    _band(axis, x, mean, sd, family, max(1, len(x) // 5))
        first.set_xlabel(r"coherence $\nu$ of the inputs")
        first.set_ylabel("midpoint barrier\n(test MSE)")
        first.set_xlim(0, 1.02)
        for axis, end in zip(panels, ends, strict=True):
            axis.set_title(rf"$\nu = {style.number(end)}$")
            axis.set_xlabel(r"interpolation $\lambda$")
            axis.set_xlim(0, 1)
            axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panels[0].set_ylabel("test MSE")
        for axis in (first, *panels):
            axis.grid(color="0.92", linewidth=0.5)
        style.legend(figure, style.handles_of([first]) | style.spread_key(rows, "seeds and pairs", band=True))
    return figure


def _layout(figure: Figure, columns: int, ends: int) -> list[Any]:
    """The barrier's panel, and the curves' beside or below it; the curves share their vertical axis."""
    names = [f"curve{i}" for i in range(ends)]
    mosaic: Any = [["barrier"] * 2 + names] if columns == 2 else [["barrier"] * ends, names]
    axes = figure.subplot_mosaic(mosaic)
    for name in names[1:]:
        axes[name].sharey(axes[names[0]])
        axes[name].tick_params(labelleft=False)
    return [axes["barrier"], *(axes[name] for name in names)]


def _band(axis: Any, x: list[float], mean: list[float], sd: list[float] | None, family: str, every: int | None) -> None:
    look = LOOKS[family]
    axis.plot(x, mean, label=FAMILIES[family], markevery=every, **look)
    if sd is None:
        return
    low, high = np.subtract(mean, sd), np.add(mean, sd)
    # A test loss is not negative; a barrier may be.
    axis.fill_between(
        x, low if every is None else np.maximum(low, 0), high, color=look["color"], alpha=0.18, linewidth=0
    )
