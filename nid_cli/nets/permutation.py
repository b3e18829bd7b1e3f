"""Permuting the neurons of a network, along the axes that its graph derives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph

# For each space the neuron of the given network that takes the place i: new[i] = old[permutation[i]].
Permutation = dict[str, Tensor]


def identity(graph: Graph) -> Permutation:
    """The permutation that changes nothing."""
    return {space.name: torch.arange(space.size) for space in graph.spaces}


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that undoes ``permutation``."""
    return {name: torch.argsort(index) for name, index in permutation.items()}


def permute(graph: Graph, state: Mapping[str, Tensor], permutation: Permutation) -> State:
    """The state with its neurons reordered: parameters and running statistics, rows and the next layers' columns.

    For a plain network the function is unchanged; for one with gates it is not (docs/science.md, 3).
    """
    permuted = dict(state)
    for name, axes in graph.axes.items():
        for dim, space in enumerate(axes):
            if space is not None:
                permuted[name] = permuted[name].index_select(dim, permutation[space].to(state[name].device))
    return permuted
