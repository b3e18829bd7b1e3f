"""Whether two networks were changed alike by training (docs/science.md, 12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, permute

# A state before, and after.
Step = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class UpdateCosines:
    """Cosines of two networks' changes, whole and by parameter; None where one has not changed."""

    whole: float | None
    by_parameter: Mapping[str, float | None]


def update_cosines(graph: Graph, a: Step, b: Step, permutation: Permutation | None = None) -> UpdateCosines:
    """The cosines of the changes of the trained parameters, B's permuted by ``permutation``.

    Entries that a symmetry type fixes do not change, and add nothing.
    """
    axes = graph.symmetries.axes if permutation is not None else {}
    total = [0.0, 0.0, 0.0]
    by_parameter = {}
    for name in graph.trained:
        u, v = (after[name].double() - before[name].double() for before, after in (a, b))
        if permutation is not None and name in axes:
            v = permute({name: axes[name]}, {name: v}, permutation)[name]
        products = [float((left * right).sum()) for left, right in ((u, v), (u, u), (v, v))]
        by_parameter[name] = _cosine(*products)
        total = [one + other for one, other in zip(total, products, strict=True)]
    return UpdateCosines(_cosine(*total), by_parameter)


def _cosine(product: float, square_a: float, square_b: float) -> float | None:
    if square_a == 0 or square_b == 0:
        return None
    return float(product / (square_a**0.5 * square_b**0.5))
