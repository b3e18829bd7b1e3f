"""From records to the rows that a figure draws and exports: means and spreads over the members of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nid_cli.records.base import Row
from nid_cli.records.cells import cells as cells

# A row of a figure, as it is drawn and exported.
Drawn = dict[str, Any]

IDENTITY = ("group", "arch", "dataset", "symmetry", "kappa", "epoch")


def head(records: Sequence[Row]) -> Drawn:
    """What a row says of the records behind it: their group and epoch, how many there are, their ids."""
    first = records[0]
    common = {name: first[name] for name in IDENTITY if name in first}
    return {"result_ids": [r["result_id"] for r in records], **common, "count": len(records)}


def spread(values: Sequence[Any]) -> tuple[Any, Any]:
    """Mean and standard deviation (None for one value) of numbers, or of lists position by position."""
    array = np.asarray(values, dtype=float)
    return array.mean(0).tolist(), array.std(0, ddof=1).tolist() if len(array) > 1 else None


def spreads(records: Sequence[Row], *names: str) -> Drawn:
    """``name_mean`` and ``name_sd`` of each of ``names`` over the records."""
    row: Drawn = {}
    for name in names:
        row[f"{name}_mean"], row[f"{name}_sd"] = spread([r[name] for r in records])
    return row
