"""The LMC figure: accuracy and loss over lambda, unaligned and aligned side by side (paper, LMC curves)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import lines, style
from nid_cli.plots import overlay as others
from nid_cli.plots.overlay import Overlay
from nid_cli.plots.rows import Drawn, cells, head, spreads
from nid_cli.records.base import Row
from nid_cli.specs import ALIGNMENTS

QUANTITIES = {"accuracy": "accuracy (%)", "loss": "loss"}


# The fields in which an overlaid row must agree with one of ours.
ALIKE = ("arch", "dataset", "symmetry", "kappa", "epoch_a", "epoch", "align", "split", "repair")


def table(records: Sequence[Row], split: str = "train", overlay: Overlay | None = None) -> list[Drawn]:
    """What is drawn: for each group, epoch (or two of one model) and alignment the mean and sd over pairs (or models)
    at each lambda; then others'."""
    usable = [r for r in records if r["status"] == "ok"]
    rows = [
        head(own)
        | ({} if epoch_a is None else {"epoch_a": epoch_a})
        | {"align": align, "split": split, "lambdas": own[0]["lambdas"]}
        | repaired(own)
        | spreads(own, *(f"{split}_{quantity}" for quantity in QUANTITIES))
        for (_, epoch_a, _, align), own in cells(usable, "group", "epoch_a", "epoch", "align").items()
    ]
    return rows + others.beside(overlay, rows, *ALIKE)


def draw(
    records: Sequence[Row], split: str = "train", overlay: Overlay | None = None, columns: int | None = None
) -> Figure:
    """A panel for each alignment, accuracy above loss; mean over pairs, band of one standard deviation.

    Args:
        records: ``nid.lmc/1`` records; those that are not applicable are left out.
        split: ``train``, ``val`` or ``test``.
        overlay: others' curves of the same settings.
        columns: the width of one or of two columns of a page; None takes two for more than one alignment.
    """
    rows = table(records, split)
    alignments = lines.present(ALIGNMENTS, (row["align"] for row in rows))
    how = f",\n{words}" if (words := correction(records)) else ""
    along = any("epoch_a" in row for row in rows)
    columns = columns or (2 if len(alignments) > 1 else 1)
    across = columns == 2 or len(alignments) < 3
    with style.styled():
        figure = style.new_figure(columns, 3.4 if across else 1.3 * len(alignments) + 0.3)
        if across:
            axes = figure.subplots(2, len(alignments), sharex=True, sharey="row", squeeze=False)
        else:
            axes = figure.subplots(len(alignments), 2, sharex=True, sharey="col", squeeze=False).T
        published = others.beside(overlay, rows, *ALIKE)
        for row, quantity in zip(axes, QUANTITIES, strict=True):
            for axis, align in zip(row, alignments, strict=True):
                curves(axis, records, rows, align, quantity, split)
                for other in (o for o in published if o["align"] == align and f"{split}_{quantity}_mean" in o):
                    others.crosses(axis, other, other["lambdas"], other[f"{split}_{quantity}_mean"])
            for axis in row[:1] if across else row:
                axis.set_ylabel(f"{style.SPLITS[split]}\n{QUANTITIES[quantity]}")
        for axis, align in zip(axes[0], alignments, strict=True):
            axis.set_title(ALIGNMENTS[align].label + how)
            say_inapplicable(axis, records, align)
        for axis in axes[-1] if across else axes[:, -1]:
            axis.set_xlabel(r"$\lambda$ from earlier to later epoch" if along else r"interpolation $\lambda$")
        handles = style.handles_of(axes.flat) | style.spread_key(rows, "models" if along else "pairs", band=True)
        style.legend(figure, handles | {other["source"]: others.key() for other in published})
    return figure


def repaired(records: Sequence[Row]) -> Drawn:
    """How the networks of a row were repaired, if they were."""
    return {"repair": how} if (how := records[0].get("repair")) else {}


def correction(records: Sequence[Row]) -> str:
    """What was done to the interpolated networks, in words; empty for nothing."""
    if any(r.get("bn_reset") for r in records):
        return "batch-norm statistics reset"
    repairs = dict.fromkeys(r["repair"] for r in records if r.get("repair"))
    return f"{' or '.join(repairs)} repair" if repairs else ""


def inapplicable(records: Sequence[Row], align: str) -> str:
    """The groups to which an alignment does not apply, in words; empty where it applies to all."""
    labels = style.group_labels(records)
    refused = (r["group"] for r in records if r["align"] == align and r["status"] == "not_applicable")
    return "; ".join(labels[group] for group in dict.fromkeys(refused))


def say_inapplicable(axis: Any, records: Sequence[Row], align: str) -> None:
    """Names within a panel the groups that it cannot show."""
    if names := inapplicable(records, align):
        text = f"does not apply to {names}"
        axis.text(0.03, 0.05, text, transform=axis.transAxes, fontsize=6.5, color="0.35")


def curves(axis: Any, records: Sequence[Row], rows: Sequence[Drawn], align: str, quantity: str, split: str) -> None:
    """All groups' curves of one alignment, and the lambda axis; of several epochs the earlier are paler."""
    labels, markers = style.group_labels(records), style.markers(records)
    for row in rows:
        if row["align"] != align:
            continue
        epochs = sorted({_epochs(r) for r in rows if r["group"] == row["group"]})
        shade = (1 + epochs.index(_epochs(row))) / len(epochs)
        name, counted = labels[row["group"]], "pair"
        if "epoch_a" in row:
            name, counted = f"{name}, epoch {row['epoch_a']} to {row['epoch']}", "model"
        elif len(epochs) > 1:
            name = f"{name}, epoch {row['epoch']}"
        several = f"{row['count']} {counted}{'s' if row['count'] > 1 else ''}"
        look = style.look(row) | {"marker": markers[row["group"]]}
        band(axis, row, f"{split}_{quantity}", f"{name} ({several})", look, shade)
    finish(axis)


def _epochs(row: Drawn) -> tuple[Any, Any]:
    """The epoch, and that of the other end; what sorts a group's curves."""
    return (row["epoch"], row.get("epoch_a", row["epoch"]))


def band(axis: Any, row: Drawn, name: str, label: str, look: dict[str, Any], shade: float = 1.0) -> None:
    """One row's mean over lambda, and around it one standard deviation over pairs, where there are several."""
    x, mean = (np.array(row[key]) for key in ("lambdas", f"{name}_mean"))
    axis.plot(x, mean, label=label, alpha=0.25 + 0.75 * shade, markevery=max(1, len(x) // 8), **look)
    if row[f"{name}_sd"] is None:
        return
    sd = np.array(row[f"{name}_sd"])
    # A standard deviation around a mean near 100 % would pass it; no pair does.
    top = np.minimum(mean + sd, 100) if name.endswith("accuracy") else mean + sd
    axis.fill_between(x, np.maximum(mean - sd, 0), top, color=look["color"], alpha=0.18 * shade, linewidth=0)


def finish(axis: Any) -> None:
    """The lambda axis, and a pale grid."""
    axis.grid(color="0.92", linewidth=0.5)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
