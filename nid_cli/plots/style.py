"""How all figures look: sizes for one and two columns, colour-blind-safe colours, labels in words and mathematics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
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

# Okabe and Ito's palette, ordered so that neighbours also differ in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
DASHES = ("-", "--", "-.", ":")
BASE = {"standard": 6, "w": 0, "sigma": 3, "syre": 1}

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
    """Colour and dash of a group: fixed by symmetry and kappa, so the same in every figure.

    Kappa 0 and non-integer kappas of one symmetry type differ from kappa 1 by colour and dash, not by chance.
    """
    kappa = record["kappa"]
    values = kappa if isinstance(kappa, list) else [1.0 if kappa is None else kappa]
    known = {(1.0,): 0, (0.0,): 1, (2.0,): 2, (0.5,): 3, (5.0,): 4, (0.2,): 5, (0.1,): 6}
    step = known.get(tuple(values), 7)
    start = BASE[record["symmetry"]]
    return {"color": PALETTE[(start + 2 * step) % len(PALETTE)], "linestyle": DASHES[step % len(DASHES)]}


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


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height))
