"""The training figure: loss and accuracy over the epochs, every seed a thin line, their mean a thick one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from nid_cli.plots import style
from nid_cli.plots.rows import IDENTITY, Drawn, cells
from nid_cli.records.base import Row

QUANTITIES = {"loss": "loss", "accuracy": "accuracy (%)"}


def table(records: Sequence[Row], splits: Sequence[str] = ("train", "val", "test")) -> list[Drawn]:
    """What is drawn: one row for each model and epoch, with the loss and accuracy of these splits."""
    names = (*IDENTITY, "model", *(f"{split}_{quantity}" for split in splits for quantity in QUANTITIES))
    return [{name: r[name] for name in names} for r in records]


def draw(records: Sequence[Row], splits: Sequence[str] = ("train", "test"), columns: int | None = None) -> Figure:
    """Loss above accuracy, a column of panels for each split.

    Args:
        records: one for each model and epoch: ``group``, ``model``, ``epoch``, ``train_loss`` ... ``test_accuracy``.
        splits: of ``train``, ``val`` and ``test``.
    """
    columns = columns or (2 if len(splits) > 1 else 1)
    with style.styled():
        figure = style.new_figure(columns, 3.3)
        axes = figure.subplots(2, len(splits), sharex=True, sharey="row", squeeze=False)
        for row, (quantity, title) in zip(axes, QUANTITIES.items(), strict=True):
            for axis, split in zip(row, splits, strict=True):
                curves(axis, records, f"{split}_{quantity}")
                axis.set_title(style.SPLITS[split] if quantity == "loss" else "")
            row[0].set_ylabel(title)
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        style.legend(figure, style.handles_of(axes.flat))
    return figure


def curves(axis: Any, records: Sequence[Row], name: str, *, text: str | None = None, dash: Any = None) -> None:
    """One quantity of all groups: its models thin, the mean over the epochs that all have thick.

    Args:
        text: a label instead of the group's.
        dash: a dash instead of the group's.
    """
    labels, markers = style.group_labels(records), style.markers(records)
    for (group,), own in cells(records, "group").items():
        look = style.look(own[0]) | ({} if dash is None else {"linestyle": dash})
        seeds = cells([r for r in own if r[name] is not None], "model")
        by_epoch: dict[int, list[float]] = {}
        for of_model in seeds.values():
            x, y = [r["epoch"] for r in of_model], [r[name] for r in of_model]
            axis.plot(x, y, color=look["color"], linewidth=0.5, alpha=0.35, label=f"_model {of_model[0]['model']}")
            for epoch, value in zip(x, y, strict=True):
                by_epoch.setdefault(epoch, []).append(value)
        common = sorted(epoch for epoch, values in by_epoch.items() if len(values) == len(seeds))
        mean = [float(np.mean(by_epoch[epoch])) for epoch in common]
        count = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
        every = max(1, len(common) // 6)
        label = text or f"{labels[group]} ({count})"
        axis.plot(common, mean, label=label, marker=markers[group], markevery=every, **look)
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axis.grid(color="0.92", linewidth=0.5)
    positive = [r[name] for r in records if r[name]]
    if name.endswith("loss") and positive and max(positive) > 10 * min(positive):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, position: style.number(value))
        axis.yaxis.set_minor_formatter(NullFormatter())
