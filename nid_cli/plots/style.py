"""How all figures look: sizes for one and two columns, colour-blind-safe colours, labels in words and mathematics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

# Width in inches of one and of two columns of a conference page.
ONE_COLUMN, TWO_COLUMNS = 3.25, 6.75

RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
}

# Standard and sigma have one colour each; w and syre a colormap over kappa, from light to dark, so that grey works too.
COLORS = {"standard": "#000000", "sigma": "#CC79A7"}
COLORMAPS = {"w": "viridis_r", "syre": "YlOrBr"}
DASHES = {"standard": "-", "sigma": ":", "w": "-", "syre": "-."}

NAMES = {
    ("mlp", "standard"): "MLP",
    ("mlp", "w"): "W-MLP",
    ("mlp", "sigma"): r"$\sigma$-MLP",
    ("mlp", "syre"): "syre-MLP",
}


@contextmanager
def styled() -> Iterator[None]:
    """Applies the style to figures made inside."""
    with mpl.rc_context(RC):
        yield


def number(value: float) -> str:
    """A number as a label writes it: 0.5, 1, 2."""
    return f"{value:g}"


def label(record: Mapping[str, Any]) -> str:
    """A group in words: ``W-MLP, $\\kappa = 1$``."""
    name = NAMES.get((record["arch"], record["symmetry"]), f"{record['symmetry']} {record['arch']}")
    kappa = record["kappa"]
    if kappa is None:
        return name
    shown = number(kappa) if not isinstance(kappa, list) else "(" + ", ".join(map(number, kappa)) + ")"
    return rf"{name}, $\kappa = {shown}$"


def look(record: Mapping[str, Any]) -> dict[str, Any]:
    """Colour and dash of a group: functions of symmetry and kappa alone, so the same in every figure.

    Kappa 0 is dashed; per-layer kappas are dotted, in the colour of their mean.
    """
    symmetry, kappa = record["symmetry"], record["kappa"]
    if kappa is None:
        return {"color": COLORS[symmetry], "linestyle": DASHES[symmetry]}
    mean = float(np.mean(kappa))
    # kappa from 0.01 to 10 spans the colormap on a logarithmic scale, 0 is left of it.
    share = 0.0 if mean == 0 else 0.15 + 0.85 * min(max((math.log10(mean) + 2) / 3, 0.0), 1.0)
    color = mpl.colors.to_hex(mpl.colormaps[COLORMAPS[symmetry]](0.2 + 0.8 * share))
    dash = "--" if mean == 0 else (0, (1, 1)) if isinstance(kappa, list) else DASHES[symmetry]
    return {"color": color, "linestyle": dash}


def group_labels(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A label for each group; the data set, or the group's name, is added where labels would be equal."""
    first = {record["group"]: record for record in reversed(records)}
    names = {record["group"]: label(record) for record in records}
    for extra in ("dataset", "group"):
        for group in list(names):
            if sum(1 for other in names.values() if other == names[group]) > 1:
                twins = [g for g in names if names[g] == names[group]]
                for twin in twins:
                    names[twin] = f"{label(first[twin])}, {first[twin][extra]}"
    return names


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into a figure of ``width`` inches (7 pt text: about 0.055 inches a letter)."""
    longest = max((len(text.replace(r"$\kappa = ", "k= ").replace("$", "")) for text in labels), default=1)
    return max(1, min(len(labels), int(width / (0.055 * longest + 0.55))))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height))
