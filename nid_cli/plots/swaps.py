"""What the figures of swap costs share: signed roots, and which panel a record belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells
from nid_cli.records.base import Row

METHODS = {"mahalanobis": "Mahalanobis", "ridge": "ridge"}
TITLE = r"$\mathrm{sign}(t^2)\,\sqrt{|t^2|}$"
SWAP = f"swap cost {TITLE}"
LAYER = "layer"
# Colour scales and histograms leave out this share at either end: a few outliers would hide all others.
OUTSIDE = 0.002


def signed_root(squared: Any) -> np.ndarray:
    """sign(t2) sqrt|t2|, element by element."""
    values = np.asarray(squared, dtype=float)
    return np.sign(values) * np.sqrt(np.abs(values))


def apart(matrix: np.ndarray) -> np.ndarray:
    """The entries above the diagonal: swap costs are symmetric."""
    return matrix[np.triu_indices(len(matrix), 1)]


def _across(record: Row, across: str) -> Any:
    return record["layer"] if across == LAYER else record["settings"]["data"].get(across)


def _series(records: Sequence[Row], across: str) -> list[str]:
    """For each record its row of panels: group, epoch and method in words, the layer where columns do not show it."""
    labels = style.group_labels(records, None if across == LAYER else across)
    several = {name for name in ("epoch", "layer", "method", "beta") if len({r.get(name) for r in records}) > 1}
    texts = []
    for r in records:
        parts = [labels[r["group"]]]
        if across != LAYER and "layer" in several:
            parts.append(style.layer(r["layer"]))
        if "epoch" in several:
            parts.append(f"epoch {r['epoch']}")
        if "method" in several or "beta" in several:
            beta = rf", $\beta = {style.number(r['beta'])}$" if r.get("beta") is not None else ""
            parts.append(METHODS[r["method"]] + beta)
        texts.append("\n".join(parts))
    return texts


def panels(records: Sequence[Row], across: str) -> dict[tuple[Any, ...], list[Row]]:
    """The records (one for each model) of each panel: by the words of its row, and what its column stands for."""
    texts = _series(records, across)
    tagged = [dict(r) | {"series": text, "column": _across(r, across)} for r, text in zip(records, texts, strict=True)]
    return cells(tagged, "series", "column")


def head(records: Sequence[Row], column: Any) -> Drawn:
    """What a row says of the records (one for each model) behind it, and of its place."""
    names = ("group", "arch", "dataset", "symmetry", "kappa", "epoch", "layer", "method", "beta", "series", "neurons")
    first = records[0]
    return {
        "result_ids": [r["result_id"] for r in records],
        "models": [r["model"] for r in records],
        **{name: first[name] for name in names if name in first},
        "column": column,
    }


def column_title(value: Any, across: str, width: float) -> str:
    """What a column of panels of ``width`` inches stands for, in words."""
    return style.layer_title(value, width) if across == LAYER else style.parameter(across, value)


def distinct(values: Iterable[Any]) -> list[Any]:
    """Distinct values: numbers by size, layers' names in the order they come."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(isinstance(v, int | float) for v in found) else found
