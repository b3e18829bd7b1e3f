"""The similarity figure: CKA by layer, what two models predict alike, and whether training changed them alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.depth import depth_of, name_places
from nid_cli.plots.rows import Drawn, cells, head, spread
from nid_cli.records.base import Row
from nid_cli.specs import ALIGNMENTS

# The dash and filling of each estimate of CKA.
ESTIMATES: dict[str, dict[str, Any]] = {
    "cka": {"linestyle": "-", "fillstyle": "full"},
    "cka_debiased": {"linestyle": ":", "fillstyle": "none", "markersize": 6.5, "markeredgewidth": 0.7},
}
WORDS = {"cka": "CKA, all samples", "cka_debiased": "CKA, debiased"}
# With more alignments than these their words do not stand side by side.
MOST_WORDS = 3
QUANTITIES = {"agreement": "agree-\nment", "error_overlap": "error\noverlap", "logit_cosine": "logit\ncosine"}


def table(records: Sequence[Row], split: str = "test") -> list[Drawn]:
    """What is drawn: for each group, epoch and alignment a row of the whole networks (``layer`` None: predictions on
    one split, update cosine), and one for each layer (CKA); mean and sd over the pairs that have a value."""
    rows = []
    measured = [r for r in records if r["status"] == "ok"]
    for own in cells(measured, "group", "epoch", "align").values():
        about = head(own) | {name: own[0][name] for name in ("align", "at", "since")} | {"split": split}
        whole = {name: [r[f"{split}_{name}"] for r in own] for name in (*QUANTITIES, "jensen_shannon")}
        rows.append(about | {"layer": None} | _spreads(whole | {"update_cosine": [r["update_cosine"] for r in own]}))
        for place, layer in enumerate(own[0]["layers"]):
            values = {name: [r[name][place] for r in own] for name in ESTIMATES}
            rows.append(about | {"layer": layer} | _spreads(values))
    return rows


def _spreads(values: dict[str, list[float | None]]) -> Drawn:
    row: Drawn = {}
    for name, own in values.items():
        known = [value for value in own if value is not None]
        row[f"{name}_mean"], row[f"{name}_sd"] = spread(known) if known else (None, None)
    return row


def draw(records: Sequence[Row], split: str = "test", columns: int | None = None) -> Figure:
    """CKA over the layers beside predictions and update cosines; points are means over pairs, bars one sd.

    Permutations change neither CKA nor predictions: these are drawn once, update cosines for each alignment.

    Args:
        records: ``nid.similarity/1`` records of one recording point.
        split: that of the predictions.
    """
    rows, columns = table(records, split), columns or 2
    labels = style.group_labels(records)
    lines = cells(rows, "group", "epoch")
    depth = depth_of(rows)
    align = [name for name in ALIGNMENTS if any(row["align"] == name for row in rows)]
    handles: dict[str, Any] = {}
    with style.styled():
        figure = style.new_figure(columns, 2.2 if columns == 2 else 6.0)
        shape = {"width_ratios": (2.0, 1.25, 1.1)} if columns == 2 else {}
        by_layer, predicted, updated = figure.subplots(*((1, 3) if columns == 2 else (3, 1)), gridspec_kw=shape)
        for index, ((group, epoch), own) in enumerate(lines.items()):
            several = len({e for g, e in lines if g == group}) > 1
            look = {"color": style.look(own[0])["color"], "marker": style.MARKERS[index % len(style.MARKERS)]}
            shift = (index - (len(lines) - 1) / 2) * min(0.12, 0.6 / len(lines))
            places = depth.places.get(group, {})
            first = [row for row in own if row["align"] == own[0]["align"]]
            for name, kind in ESTIMATES.items():
                points = [(places[row["layer"]] + shift, row) for row in first if row["layer"] is not None]
                _points(by_layer, points, name, look | kind)
            whole = {row["align"]: row for row in own if row["layer"] is None}
            for place, name in enumerate(QUANTITIES):
                _points(predicted, [(place + shift, whole[own[0]["align"]])], name, look)
            of_each = [(align.index(name) + shift, row) for name, row in whole.items()]
            _points(updated, of_each, "update_cosine", look | {"linestyle": "-"})
            text = labels[group] + (f", epoch {epoch}" if several else "")
            handles[text] = style.key_line(linestyle="", **look)
        depth.mark(by_layer)
        name_places(predicted, list(QUANTITIES.values()))
        name_places(updated, _words(align))
        _finish(by_layer, "linear CKA", 0)
        _finish(predicted, f"{style.SPLITS[split]} predictions", 0)
        _finish(updated, "cosine of updates", None)
        for name, kind in ESTIMATES.items():
            handles[WORDS[name]] = style.key_line(color=style.GREY, marker="o", **kind)
        style.legend(figure, handles | style.spread_key(rows, "pairs", band=False))
    return figure


def _words(align: Sequence[str]) -> list[str]:
    """Alignments below their places: labels in as many lines as words; in one, which stands upright, where many are."""
    labels = [ALIGNMENTS[name].label.replace("aligned ", "") for name in align]
    return labels if len(labels) > MOST_WORDS else [label.replace(" ", "\n") for label in labels]


def _points(axis: Any, placed: Sequence[tuple[float, Drawn]], name: str, look: dict[str, Any]) -> None:
    """Those that have a value, joined where the look has a line."""
    known = [(x, row) for x, row in placed if row[f"{name}_mean"] is not None]
    if not known:
        return
    x, y = np.array([x for x, _ in known]), np.array([row[f"{name}_mean"] for _, row in known])
    sd = [row[f"{name}_sd"] or 0 for _, row in known]
    axis.errorbar(
        x, y, yerr=sd if any(sd) else None, elinewidth=0.7, linewidth=1, zorder=3, clip_on=False, label=f"_{name}",
        **{"linestyle": ""} | look,
    )  # fmt: skip


def _finish(axis: Any, title: str, bottom: float | None) -> None:
    """Title and limits: values have at most 1, those of ``bottom`` at least that unless some lie lower."""
    axis.set_ylabel(title)
    low, high = axis.get_ylim()
    axis.set_ylim(low if bottom is None or low < -0.05 else bottom, max(high, 1) if bottom is not None else None)
    axis.grid(color="0.92", linewidth=0.5)
    if bottom is None:
        axis.axhline(0, color="0.7", linewidth=0.6, zorder=1)
