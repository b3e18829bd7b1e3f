"""What a graph network reads of its graph: the normalized adjacency, as constants of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from nid_cli.specs.measures import ADJACENCY, DENSE_NODES, SOURCE, TARGET, WEIGHT


def constants(pairs: Tensor, nodes: int) -> dict[str, Tensor]:
    """D^(-1/2) (A + I) D^(-1/2), D the degrees with each node's link to itself.

    Args:
        pairs: 2 x links, each undirected link once and none of a node with itself (int64).

    Returns:
        ``adjacency`` (nodes x nodes, float32) of at most ``DENSE_NODES`` nodes; else ``edges.source`` and
        ``edges.target`` (int64) and ``edges.weight`` (float32), each of length 2 links + nodes, by target and source:
        out[target] += weight * x[source].
    """
    itself = torch.arange(nodes)
    source = torch.cat([pairs[0], pairs[1], itself])
    target = torch.cat([pairs[1], pairs[0], itself])
    order = (target * nodes + source).argsort()
    source, target = source[order], target[order]
    # Whole numbers under one root and one division: the same on every machine.
    degree = torch.bincount(target, minlength=nodes)
    weight = (1 / (degree[source] * degree[target]).double().sqrt()).float()
    if nodes > DENSE_NODES:
        return {SOURCE: source, TARGET: target, WEIGHT: weight}
    dense = torch.zeros(nodes, nodes)
    dense[target, source] = weight
    return {ADJACENCY: dense}
