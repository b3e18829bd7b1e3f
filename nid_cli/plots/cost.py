"""The cost figures: matrices of signed swap costs, their distributions, and Mahalanobis against ridge."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from nid_cli.plots import cost_distribution, cost_matrix, cost_scatter
from nid_cli.plots.rows import Drawn
from nid_cli.plots.swaps import LAYER
from nid_cli.records.base import Row

KINDS = {"matrix": cost_matrix, "distribution": cost_distribution, "scatter": cost_scatter}


def table(records: Sequence[Row], kind: str = "matrix", across: str = LAYER) -> list[Drawn]:
    """What the figure of this kind draws."""
    return KINDS[kind].table(records, across)


def draw(records: Sequence[Row], kind: str = "matrix", across: str = LAYER, columns: int | None = None) -> Figure:
    """The figure of one of ``KINDS``: matrices, distributions, or Mahalanobis against ridge."""
    return KINDS[kind].draw(records, across, columns)
