"""The LMC figure: accuracy and loss over lambda, unaligned and aligned side by side (paper, LMC curves)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import style

TITLES = {"none": "no alignment", "activation": "aligned by activations", "weight": "aligned by weights"}
QUANTITIES = {"accuracy": "accuracy (%)", "loss": "loss"}
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}


def draw(records: Sequence[Mapping[str, Any]], split: str = "train") -> Figure:
    """One column of panels an alignment, accuracy above loss; mean over pairs, band of one standard deviation.

    Args:
        records: ``nid.lmc/1`` records; those that are not applicable are left out.
        split: ``train``, ``val`` or ``test``.
    """
    usable = [r for r in records if r["status"] == "ok"]
    alignments = [name for name in TITLES if any(r["align"] == name for r in usable)]
    labels = style.group_labels(usable)
    epochs = {g: sorted({r["epoch"] for r in usable if r["group"] == g}) for g in labels}
    with style.styled():
        width = style.TWO_COLUMNS if len(alignments) > 1 else style.ONE_COLUMN
        figure = style.new_figure(width, 3.9)
        axes = figure.subplots(2, len(alignments), sharex=True, sharey="row", squeeze=False)
        for row, (quantity, title) in zip(axes, QUANTITIES.items(), strict=True):
            for axis, align in zip(row, alignments, strict=True):
                own = [r for r in usable if r["align"] == align]
                for group, epoch in dict.fromkeys((r["group"], r["epoch"]) for r in own):
                    pairs = [r for r in own if (r["group"], r["epoch"]) == (group, epoch)]
                    name = labels[group] if len(epochs[group]) == 1 else f"{labels[group]}, epoch {epoch}"
                    shade = (1 + epochs[group].index(epoch)) / len(epochs[group])
                    _curve(axis, pairs, f"{split}_{quantity}", name, shade)
                axis.grid(color="0.92", linewidth=0.5)
            row[0].set_ylabel(f"{SPLIT_NAMES[split]} {title}")
        for axis, align in zip(axes[0], alignments, strict=True):
            axis.set_title(TITLES[align])
        for axis in axes[-1]:
            axis.set_xlabel(r"interpolation $\lambda$")
            axis.set_xlim(0, 1)
            axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        handles = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
        columns = style.legend_columns(list(handles), width)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
        figure.set_figheight(3.4 + 0.16 * -(-len(handles) // columns))
    return figure


def _curve(axis: Any, records: Sequence[Mapping[str, Any]], key: str, label: str, shade: float) -> None:
    """Mean and band of one group's pairs at one epoch; earlier epochs are paler."""
    x = np.array(records[0]["lambdas"])
    values = np.array([r[key] for r in records])
    mean, sd = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(x))
    look = style.look(records[0])
    pairs = f"{len(values)} pair{'s' if len(values) > 1 else ''}"
    axis.plot(x, mean, label=f"{label} ({pairs})", alpha=0.25 + 0.75 * shade, **look)
    axis.fill_between(x, mean - sd, mean + sd, color=look["color"], alpha=0.18 * shade, linewidth=0)
