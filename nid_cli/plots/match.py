"""The matching figure: how well neurons match under the optimal, the identity and random permutations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import against as x_axis
from nid_cli.plots import lines, style
from nid_cli.plots import overlay as others
from nid_cli.plots.overlay import MARKS, Overlay
from nid_cli.plots.rows import Drawn, cells, head, spreads
from nid_cli.records.base import Row

POOLED = "pooled"
LOOKS: dict[str, lines.Look] = {"optimal": ("-", "o"), "identity": ("--", "s")}
WORDS = {"optimal": "optimal permutation", "identity": "identity"}
RANDOM = "random permutations (±2 sd)"
MEANT = {"pearson": "mean correlation of\nmatched neurons", "dot": "mean product of\nmatched neurons"}
# The fields in which an overlaid row must agree with one of ours, beside the epoch where it is not the axis.
ALIKE = ("arch", "dataset", "symmetry", "layer", "at", "similarity", "against")
MEASURED = ("optimal", "identity", "random_mean", "random_sd")


def table(records: Sequence[Row], against: str = "kappa", overlay: Overlay | None = None) -> list[Drawn]:
    """What is drawn: for each group, epoch and layer (and all pooled) its place on the axis, mean and sd over pairs.

    Others' rows come last.
    """
    series = x_axis.series(records, against)
    rows = []
    for (group, epoch), of_epoch in cells(records, "group", "epoch").items():
        layers = {layer: list(own) for (layer,), own in cells(of_epoch, "layer").items()}
        for layer, own in (layers | {POOLED: pooled(of_epoch)}).items():
            rows.append(
                head(own)
                | {"result_ids": [r["result_id"] for r in (of_epoch if layer == POOLED else own)]}
                | {"layer": layer, "similarity": own[0]["similarity"], "at": own[0]["at"]}
                | {"series": series[group, epoch], "against": against, "x": x_axis.value(own[0], against)}
                | spreads(own, *(n for n in MEASURED if all(r[n] is not None for r in own)))
            )
    return rows + _beside(overlay, rows, against)


def _beside(overlay: Overlay | None, rows: Sequence[Drawn], against: str) -> list[Drawn]:
    return others.beside(overlay, rows, *ALIKE, *(() if against == "epoch" else ("epoch",)))


def pooled(records: Sequence[Row]) -> list[Row]:
    """One record for each pair: the objectives' means over all layers' neurons; random permutations are independent by
    layer."""
    found: list[Row] = []
    for own in cells(records, "model_a", "model_b").values():
        shares = np.array([len(r["permutation"]) for r in own], dtype=float)
        shares /= shares.sum()
        merged: dict[str, Any] = dict(own[0])
        for name in MEASURED:
            values = [r[name] for r in own]
            if any(v is None for v in values):
                merged[name] = None
            elif name == "random_sd":
                merged[name] = float(np.sqrt((shares**2 * np.square(values)).sum()))
            else:
                merged[name] = float((shares * values).sum())
        found.append(merged)
    return found


def draw(
    records: Sequence[Row], against: str = "kappa", overlay: Overlay | None = None, columns: int | None = None
) -> Figure:
    """A panel for each layer and one for all layers pooled; means over pairs with bars of one sd, the random ones as
    a band.

    Args:
        records: ``nid.match/1`` records of one recording point and similarity, with their groups' settings.
        against: see :mod:`nid_cli.plots.against`.
        overlay: others' objectives over the same axis.
    """
    rows = table(records, against)
    published = _beside(overlay, rows, against)
    columns, similarity = columns or 2, records[0]["similarity"]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    layers = [layer for layer in layers if layer != POOLED] + [POOLED] * (len(layers) != 2)
    with style.styled():
        down, across = style.grid(len(layers), columns)
        figure = style.new_figure(columns, 1.55 * down + 0.3)
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axis in axes.flat[len(layers) :]:
            axis.remove()
        filled = lines.fills(rows)
        for position, (axis, layer) in enumerate(zip(axes.flat, layers, strict=False)):
            own = [row for row in rows if row["layer"] == layer]
            _random(axis, own)
            for kind, look in LOOKS.items():
                lines.draw(axis, own, kind, look, filled)
            _published(axis, [row for row in published if row["layer"] == layer])
            lines.finish(axis, rows + published, against)
            axis.set_title("all layers" if layer == POOLED else style.layer(layer))
            axis.label_outer()
            if position % across == 0:
                axis.set_ylabel(MEANT.get(similarity, f"mean {similarity} of\nmatched neurons"))
            if position + across >= len(layers):  # nothing below it: its own ticks
                axis.tick_params(labelbottom=True)
                axis.set_xlabel(x_axis.title(against))
        handles = lines.handles(rows, LOOKS, WORDS)
        if any("random_mean_mean" in row for row in rows):
            handles[RANDOM] = style.key_patch(color="0.8")
        for source in dict.fromkeys(row["source"] for row in published):
            handles |= {f"{source}: {kind}": others.key(mark) for kind, mark in zip(LOOKS, MARKS, strict=True)}
        style.legend(figure, handles)
    return figure


def _published(axis: Any, rows: Sequence[Drawn]) -> None:
    for row in rows:
        for kind, mark in zip(LOOKS, MARKS, strict=True):
            value = row[f"{kind}_mean"]
            if row["x"] is None:  # on a level, as ours are
                x = np.linspace(0.1, 0.9, 5)
                others.crosses(axis, row, x, np.full(5, value), mark, transform=axis.get_yaxis_transform())
            else:
                others.crosses(axis, row, [row["x"]], [value], mark)


def _random(axis: Any, rows: Sequence[Drawn]) -> None:
    """A grey band for each series; across the panel where its groups have no place on the axis, or all the same."""
    for own in cells((r for r in rows if "random_mean_mean" in r), "series").values():
        placed = sorted((r for r in own if r["x"] is not None), key=lambda r: float(r["x"]))
        for row in own if len(placed) < 2 else (r for r in own if r["x"] is None):
            mean, sd = row["random_mean_mean"], row["random_sd_mean"]
            axis.axhspan(mean - 2 * sd, mean + 2 * sd, color="0.8", linewidth=0, zorder=0)
        if len(placed) > 1:
            x, mean, sd = (np.array([r[k] for r in placed]) for k in ("x", "random_mean_mean", "random_sd_mean"))
            axis.fill_between(x, mean - 2 * sd, mean + 2 * sd, color="0.8", linewidth=0, zorder=0)
