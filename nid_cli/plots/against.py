"""What a figure's horizontal axis can be: kappa, the share of fixed weights, the epoch, a parameter of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from nid_cli.plots import style
from nid_cli.records.base import Row
from nid_cli.specs import Kappa

TITLES = {
    "kappa": r"$\kappa$",
    "fixed": "share of fixed weights",
    "epoch": "epoch",
    "coherence": r"coherence $\nu$",
    "k": "dimension $k$",
    "sep": "class separation",
}
# Two strokes through an axis.
BREAK = Path([(-2, -2), (0, 2), (0, -2), (2, 2)], [Path.MOVETO, Path.LINETO] * 2)
# The setting that an axis stands for, where it is not the data parameter of its own name.
SETTINGS = {"kappa": ("kappa",), "fixed": ("num_fixed", "fixed_share"), "epoch": ()}


def title(against: str) -> str:
    """The axis in words and mathematics."""
    return TITLES.get(against, against.replace("_", " "))


def value(record: Row, against: str) -> float | None:
    """Where a record lies on the axis; None where its group has no such number (a level line is drawn then)."""
    if against == "epoch":
        return float(record["epoch"])
    if against == "kappa":
        numbers = Kappa.of(record["kappa"]).numbers
        return numbers[0] if len(numbers) == 1 else None
    if against == "fixed":
        return record.get("fixed_share")
    found = record["settings"]["data"].get(against)
    return None if found is None else float(found)


def series(records: Sequence[Row], against: str) -> dict[tuple[str, int], str]:
    """For each (group, epoch) the line that it is a point of, by the line's label.

    A line joins groups that differ in the axis's setting alone; over epochs every group has a line of its own.
    """
    without = {"fixed": "fixed_share"}.get(against, None if against == "epoch" else against)
    labels = style.group_labels(records, without)
    several = against != "epoch" and len({r["epoch"] for r in records}) > 1
    texts: dict[str, str] = {}
    found = {}
    for record in records:
        key = style.settings_key(record, *SETTINGS.get(against, (against,)))
        text = labels[record["group"]]
        if against == "epoch":
            key += record["group"]
        elif several:
            key, text = f"{key} {record['epoch']}", f"{text}, epoch {record['epoch']}"
        if key not in texts:
            texts[key] = f"{text}, {record['group']}" if text in texts.values() else text
        found[record["group"], record["epoch"]] = texts[key]
    return found


def scale(axis: Any, against: str, values: Iterable[float]) -> None:
    """The axis's scale, ticks and title. Kappa is logarithmic with a marked break before 0."""
    present = sorted(set(values))
    axis.set_xlabel(title(against))
    if not present:
        axis.set_xticks([])
        return
    if against != "kappa" or present[-1] == 0:
        texts = [f"{v:.3g}" for v in present]
        apart = min((b - a for a, b in pairwise(present)), default=1) >= 0.15 * (present[-1] - present[0])
        if against != "epoch" and apart and max(map(len, texts)) < 6:
            axis.set_xticks(present, texts)
        else:
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=against == "epoch"))
        return
    positive = [v for v in present if v > 0]
    least, most = positive[0], positive[-1]
    if present[0] == 0:
        # Linear from 0 to the least kappa, at two thirds of a decade's length, logarithmic from there on.
        axis.set_xscale("symlog", linthresh=least, linscale=0.6, subs=[])
        axis.set_xlim(-0.25 * least, most * 1.25)
        axis.plot(
            [least / 2], [0], transform=axis.get_xaxis_transform(), clip_on=False, color="black",
            marker=BREAK, linestyle="", markersize=7, markeredgewidth=0.7, label="_break",
        )  # fmt: skip
    else:
        axis.set_xscale("log")
        axis.set_xlim(least / 1.25, most * 1.25)
    crowded = len(present) > 7
    shown = [v for v in present if v == 0 or not crowded or _is_decade(v) or v == most]
    axis.set_xticks(shown, [style.short_number(v) for v in shown])
    axis.set_xticks([v for v in present if v not in shown], minor=True, labels=[])


def _is_decade(value: float) -> bool:
    return f"{value:e}".startswith("1.000000e")
