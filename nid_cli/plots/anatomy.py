"""The anatomy figure: where along depth merging breaks, and what merging logits gains and merging weights costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from nid_cli.plots import lmc, style
from nid_cli.plots.depth import Depth, depth_of
from nid_cli.plots.rows import Drawn, cells, head, spread, spreads
from nid_cli.records.base import Row
from nid_cli.specs import ALIGNMENTS

BY_LAYER = {
    "feature_connectivity": "feature connectivity\n(1 \N{MINUS SIGN} cosine) at 1/2",
    "variance_ratio": "variance ratio at 1/2",
}
OVER_LAMBDA = {"ensemble_gain": "ensemble gain (nats)", "merging_cost": "merging cost (nats)"}
BARRIERS = ("loss_barrier", "calibrated_loss_barrier")
# One for each alignment, in the order of their table.
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
# How the markers of unrepaired and repaired networks are filled, in the order in which they come.
FILLS = ("full", "none", "left")
# What tells lines apart: the first three, those of other models.
LINE = ("group", "epoch_a", "epoch", "align", "repair")


def table(records: Sequence[Row], split: str = "test") -> list[Drawn]:
    """What is drawn: for each group, epoch (or two of one model) and alignment a row of the whole networks (``layer``
    None: gain and cost at each lambda, barriers), one for each layer (its values at 1/2); mean and sd over pairs."""
    rows = []
    usable = [{"repair": None, **r} for r in records if r["status"] == "ok"]
    for own in cells(usable, *LINE).values():
        about = head(own) | {name: own[0][name] for name in LINE} | {"split": split}
        whole = spreads(own, *(f"{split}_{name}" for name in (*OVER_LAMBDA, *BARRIERS)))
        rows.append(about | {"layer": None, "lambdas": own[0]["lambdas"]} | whole)
        for place, layer in enumerate(own[0]["layers"]):
            row: Drawn = {"layer": layer}
            for name in BY_LAYER:
                known = [r[f"{name}_mid"][place] for r in own if r[f"{name}_mid"][place] is not None]
                row[f"{name}_mean"], row[f"{name}_sd"] = spread(known) if known else (None, None)
            rows.append(about | row)
    return rows


def draw(records: Sequence[Row], split: str = "test", columns: int | None = None) -> Figure:
    """Layers over depth above gain and cost over lambda; means over pairs, bars and bands of one sd.

    The gain of merging logits is the same under every alignment and repair: it is drawn once for each group.

    Args:
        records: ``nid.lmc/1`` records with an anatomy; those that are not applicable are left out.
        split: that of gain and cost; layers are those of the training split.
    """
    rows, columns = table(records, split), columns or 2
    labels = style.group_labels(records)
    depth = depth_of(rows)
    found = cells(rows, *LINE)
    subjects = list(dict.fromkeys(line[:3] for line in found))
    align = [name for name in ALIGNMENTS if any(line[3] == name for line in found)]
    repairs = list(dict.fromkeys(line[4] for line in found))
    dashes = dict(zip(ALIGNMENTS, DASHES * len(ALIGNMENTS), strict=False))
    handles: dict[str, Any] = {}
    with style.styled():
        figure = style.new_figure(columns, 3.9 if columns == 2 else 8.4)
        axes = figure.subplots(2, 2) if columns == 2 else figure.subplots(4, 1).reshape(2, 2)
        for place, (line, own) in enumerate(found.items()):
            subject, index = line[:3], subjects.index(line[:3])
            look = {"color": style.look(own[0])["color"], "marker": style.MARKERS[index % len(style.MARKERS)]}
            handles[_label(labels, subject, subjects)] = style.key_line(linestyle="", **look)
            shift = (place - (len(found) - 1) / 2) * min(0.08, 0.5 / len(found))
            look |= {"linestyle": dashes[line[3]], "fillstyle": FILLS[repairs.index(line[4]) % len(FILLS)]}
            for axis, name in zip(axes[0], BY_LAYER, strict=True):
                places = depth.places.get(line[0], {})
                placed = [(places[row["layer"]] + shift, row) for row in own if row["layer"] is not None]
                _by_layer(axis, placed, name, look)
            [whole] = (row for row in own if row["layer"] is None)
            for axis, name in zip(axes[1], OVER_LAMBDA, strict=True):
                if name != "ensemble_gain" or line == next(other for other in found if other[:3] == subject):
                    lmc.band(axis, whole, f"{split}_{name}", f"_{name}", look)
        _finish(axes, depth, split)
        for name in align if len(align) > 1 or align != ["none"] else ():
            handles[ALIGNMENTS[name].label] = style.key_line(color=style.GREY, linestyle=dashes[name])
        for repair, fill in zip(repairs, FILLS, strict=False) if repairs != [None] else ():
            text = f"{repair} repair" if repair else "not repaired"
            handles[text] = style.key_line(color=style.GREY, linestyle="", marker="o", fillstyle=fill)
        style.legend(figure, handles | style.spread_key(rows, "pairs", band=True))
    return figure


def _label(labels: dict[str, str], subject: tuple[Any, ...], subjects: Sequence[tuple[Any, ...]]) -> str:
    """A group in words, with the epochs where they are two, or where it has several."""
    group, epoch_a, epoch = subject
    if epoch_a is not None:
        return f"{labels[group]}, epoch {epoch_a} to {epoch}"
    return labels[group] + (f", epoch {epoch}" if sum(own[0] == group for own in subjects) > 1 else "")


def _by_layer(axis: Any, placed: Sequence[tuple[float, Drawn]], name: str, look: dict[str, Any]) -> None:
    """One line over the layers that have a value."""
    known = [(x, row) for x, row in placed if row[f"{name}_mean"] is not None]
    if known:
        sd = [row[f"{name}_sd"] or 0 for _, row in known]
        axis.errorbar(
            [x for x, _ in known], [row[f"{name}_mean"] for _, row in known], yerr=sd if any(sd) else None,
            elinewidth=0.7, linewidth=1, zorder=3, clip_on=False, label=f"_{name}", **look,
        )  # fmt: skip


def _finish(axes: Any, depth: Depth, split: str) -> None:
    """Titles, ticks and limits."""
    for axis, title in zip(axes[0], BY_LAYER.values(), strict=True):
        axis.set_ylabel(title)
        depth.mark(axis)
        axis.grid(color="0.92", linewidth=0.5)
        axis.set_ylim(bottom=0)
    axes[0][1].axhline(1, color="0.7", linewidth=0.6, zorder=1, label="_whole")
    axes[0][1].set_ylim(top=max(axes[0][1].get_ylim()[1], 1.05))
    for axis, title in zip(axes[1], OVER_LAMBDA.values(), strict=True):
        axis.set_ylabel(f"{style.SPLITS[split]}\n{title}")
        axis.set_xlabel(r"interpolation $\lambda$")
        lmc.finish(axis)
        low, high = axis.get_ylim()
        least = min((min(line.get_ydata()) for line in axis.get_lines()), default=0)
        # Below what anyone could see, values are rounding.
        axis.set_ylim(low if least < -0.01 * high else 0, max(high, 1e-3))
