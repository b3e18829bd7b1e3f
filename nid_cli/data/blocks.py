"""A stochastic block model: nodes of some classes, linked more often within their class (docs/science.md, 10)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Generator, Tensor

from nid_cli.data.adjacency import constants
from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import RawData, split_nodes

# Raised when a change here draws other data from the same seeds.
GENERATOR = 1
# Of the nodes, in an order of their own; the rest is the test split.
TRAIN, VAL = 0.5, 0.25


def load_sbm(parameters: Parameters, folder: Path) -> RawData:
    """1 x nodes x features and each node's class; the nodes are split, the graph is one.

    Features are (m_c + noise * z) / sqrt(1 + noise^2), all of m_c and z standard normal.
    """
    nodes, features = int(parameters["nodes"]), int(parameters["features"])
    generator = torch.Generator().manual_seed(int(parameters["seed"]))
    classes = torch.arange(nodes) % int(parameters["classes"])
    classes = classes[torch.randperm(nodes, generator=generator)]
    means = torch.randn(int(parameters["classes"]), features, generator=generator)
    noise = parameters["noise"] * torch.randn(nodes, features, generator=generator)
    inputs = (means[classes] + noise) / math.hypot(1, parameters["noise"])
    pairs = _link(classes, int(parameters["links"]), parameters["ratio"], generator)
    order = torch.randperm(nodes, generator=generator)
    parts = order.tensor_split((int(TRAIN * nodes), int((TRAIN + VAL) * nodes)))
    train, val, test = split_nodes(inputs, classes, parts)
    return RawData(train, test, generator=GENERATOR, val=val, constants=constants(pairs, nodes))


def _link(classes: Tensor, links: int, ratio: float, generator: Generator) -> Tensor:
    """Draws distinct pairs (2 x links) one after the other, one within a class ``ratio`` times as probable as another.

    The first ``links`` arrivals where each pair comes after an exponential time, at its own rate.
    """
    pairs = torch.triu_indices(len(classes), len(classes), offset=1)
    rates = torch.where(classes[pairs[0]] == classes[pairs[1]], ratio, 1.0).double()
    arrivals = torch.empty_like(rates).exponential_(generator=generator) / rates
    return pairs[:, arrivals.argsort()[:links].sort().values]
