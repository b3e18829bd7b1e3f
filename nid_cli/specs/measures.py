"""What a data set asks of a network. No torch."""

from __future__ import annotations

from typing import NamedTuple

# Graphs of at most so many nodes have their adjacency as a matrix (16 MiB), larger ones as a list of its entries.
DENSE_NODES = 2048
# Names of what the data give: the normalized adjacency A as a matrix, or as entries A[target, source] = weight.
ADJACENCY = "adjacency"
SOURCE, TARGET, WEIGHT = "edges.source", "edges.target", "edges.weight"


class Measures(NamedTuple):
    """What a network must fit.

    ``shape`` is one sample's; ``outputs`` are those that the targets need; ``targets`` are ``classes``, ``labels`` or
    ``positions`` (a class for each of ``positions``). Inputs that are whole numbers lie below ``vocabulary``. Where
    the positions are nodes, ``links`` counts the entries of the graph's adjacency (both directions, and each node with
    itself).
    """

    shape: tuple[int, ...]
    outputs: int
    targets: str
    vocabulary: int | None = None
    positions: int | None = None
    links: int | None = None
