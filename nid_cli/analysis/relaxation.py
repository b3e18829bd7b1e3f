"""Doubly stochastic matrices in the place of permutations, and the common objective of many models as their function
(docs/science.md, 14)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from nid_cli.analysis.assignment import Family, Similarity, solve
from nid_cli.analysis.weight_matching import Layout
from nid_cli.nets.axes import Axes, Leaf, Pinned, Product, Sum, Tree
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation

# By space a doubly stochastic matrix (n x n): the weight of the old position j at the new position i. Of one inside of
# another (n x n x k x k): that of position j of the old head g at position i of the new head h, at [h, g, i, j].
Soft = dict[str, Tensor]


def soft(chosen: Iterable[Family], permutation: Permutation, dtype: torch.dtype = torch.float64) -> Soft:
    """A permutation as zeros and ones."""
    found: Soft = {}
    for family in chosen:
        outer = torch.eye(family.outer.size, dtype=dtype)[permutation[family.outer.name]]
        found[family.outer.name] = outer
        for space in family.inner:
            inner = torch.eye(space.size, dtype=dtype)[permutation[space.name]]
            found[space.name] = outer[:, :, None, None] * inner[:, None]
    return found


def uniform(chosen: Iterable[Family], dtype: torch.dtype = torch.float64) -> Soft:
    """Every position everywhere alike."""
    found: Soft = {}
    for family in chosen:
        n = family.outer.size
        found[family.outer.name] = torch.full((n, n), 1 / n, dtype=dtype)
        for space in family.inner:
            k = space.size
            found[space.name] = torch.full((n, n, k, k), 1 / (n * k), dtype=dtype)
    return found


def between(a: Soft, b: Soft, weight: float) -> Soft:
    """(1 - weight) a + weight b."""
    return {name: torch.lerp(a[name], b[name], weight) for name in a}


def nearest(chosen: Iterable[Family], gains: Soft) -> Permutation:
    """The permutation with the greatest inner product with ``gains``, which are shaped like :data:`Soft`."""
    found: Permutation = {}
    for family in chosen:
        inner = {space.name: gains[space.name].double() for space in family.inner}
        found |= solve(family, Similarity(gains[family.outer.name].double(), inner))
    return found


def applied(trees: Axes, tensor: Tensor, matrices: Soft) -> Tensor:
    """A tensor whose axes ``trees`` describe, each of its positions the mean of old ones that ``matrices`` say."""
    for axis, tree in enumerate(trees):
        moved = tensor.movedim(axis, 0)
        tensor = _product((tree,), moved, matrices).movedim(0, axis)
    return tensor


def _product(parts: tuple[Tree, ...], values: Tensor, matrices: Soft) -> Tensor:
    """The same of the first axes of ``values``, one for each part of a product."""
    for at, part in enumerate(parts):
        before, after = parts[:at], parts[at + 1 :]
        if isinstance(part, Product):
            sizes = [own.size for own in part.parts]
            apart = values.reshape(*values.shape[:at], *sizes, *values.shape[at + 1 :])
            return _product((*before, *part.parts, *after), apart, matrices).reshape(values.shape)
        if isinstance(part, Sum):
            pieces = values.split([own.size for own in part.parts], at)
            each = zip(part.parts, pieces, strict=True)
            return torch.cat([_product((*before, own, *after), piece, matrices) for own, piece in each], at)
    own_leaves = {at: leaf for at, leaf in enumerate(parts) if isinstance(leaf, Leaf)}
    heads = {leaf.space: at for at, leaf in own_leaves.items() if leaf.outer is None}
    joint = {leaf.outer for leaf in own_leaves.values()}
    for at, leaf in own_leaves.items():
        if leaf.outer is not None:
            values = _inside(values, heads[leaf.outer], at, matrices[leaf.space])
        elif leaf.space not in joint:
            values = torch.tensordot(matrices[leaf.space], values, ([1], [at])).movedim(0, at)
    return values


def _inside(values: Tensor, heads: int, inside: int, matrix: Tensor) -> Tensor:
    """Heads and what is inside of each, by one matrix (n x n x k x k) for both."""
    front = values.movedim((heads, inside), (0, 1))
    n, k = front.shape[:2]
    flat = matrix.transpose(1, 2).reshape(n * k, n * k) @ front.reshape(n * k, -1)
    return flat.view(front.shape).movedim((0, 1), (heads, inside))


def _terms(tree: Tree) -> list[tuple[Leaf, ...]]:
    """The leaves of each summand of an axis, once products are multiplied out."""
    if isinstance(tree, Pinned):
        return [()]
    if isinstance(tree, Leaf):
        return [(tree,)]
    if isinstance(tree, Sum):
        return [term for part in tree.parts for term in _terms(part)]
    found: list[tuple[Leaf, ...]] = [()]
    for part in tree.parts:
        found = [(*term, *own) for term in found for own in _terms(part)]
    return found


def _is_linear(term: Sequence[Leaf]) -> bool:
    """Whether each inner position stands beside one position of its outer space, and no other inner one of that."""
    outer = [leaf.outer for leaf in term if leaf.outer is not None]
    return all(outer.count(name) == 1 and sum(leaf.space == name for leaf in term) == 1 for name in outer)


def _degree(trees: Axes) -> int:
    """How many matrices an entry is multiplied with at most."""
    return sum(max(len({leaf.outer or leaf.space for leaf in term}) for term in _terms(tree)) for tree in trees)


@dataclass(frozen=True)
class _Block:
    """One parameter of all models, as its layout sees it; ``degree``: see :func:`_degree`."""

    name: str
    trees: Axes
    values: list[Tensor]
    degree: int


class Relaxation:
    """sum over pairs a < b of <X_a(t_a), X_b(t_b)> as a function of each model's :data:`Soft` X.

    Parameters that no permutation moves are left out, as are those with two places inside of one head on one axis,
    which are no linear function of X: permutations that are found here are for others to judge.
    """

    def __init__(
        self, graph: Graph, states: Sequence[State], chosen: Sequence[Family], dtype: torch.dtype = torch.float64
    ) -> None:
        self.families = tuple(chosen)
        axes = graph.symmetries.axes
        self.blocks = []
        for name, shape in graph.parameters.items():
            layout = Layout.of(axes[name], shape)
            terms = [term for tree in layout.trees for term in _terms(tree)]
            if any(terms) and all(map(_is_linear, terms)):
                values = [layout.see(state[name]).to(dtype) for state in states]
                self.blocks.append(_Block(name, layout.trees, values, _degree(layout.trees)))

    def gradient(self, at: Sequence[Soft]) -> tuple[float, list[Soft]]:
        """The objective, and its derivatives by the entries of each model's matrices."""
        with torch.enable_grad():
            inputs = [{name: own.detach().requires_grad_() for name, own in each.items()} for each in at]
            total = 0.0
            for block in self.blocks:  # one after the other: what a derivative needs is there for one of them
                values = [applied(block.trees, own, x) for own, x in zip(block.values, inputs, strict=True)]
                value = (reduce(torch.add, values).square().sum() - sum(own.square().sum() for own in values)) / 2
                value.backward()
                total += float(value.detach())
        zero = torch.zeros_like
        return total, [{n: zero(x) if x.grad is None else x.grad for n, x in each.items()} for each in inputs]

    def along(self, at: Sequence[Soft], to: Sequence[Soft]) -> Polynomial:
        """The objective at (1 - s) ``at`` + s ``to`` as a polynomial of s, exact up to rounding.

        A parameter is a polynomial of s whose degree is known, so its values at a few places are all of it.
        """
        size = 2 * max((block.degree for block in self.blocks), default=0) + 1
        total = np.zeros(size)
        for block in self.blocks:
            places = [[between(a, b, s) for a, b in zip(at, to, strict=True)] for s in _nodes(block.degree)]
            values = [
                torch.stack([applied(block.trees, own, x) for own, x in zip(block.values, each, strict=True)])
                for each in places
            ]
            own = torch.stack([each.flatten(1) for each in values], 1).double()  # models x nodes x entries
            sums = own.sum(0)
            products = (sums @ sums.T - torch.einsum("mki,mli->kl", own, own)).numpy() / 2
            total[: 2 * block.degree + 1] += np.einsum("kl,kli->i", products, _products(block.degree))
        return Polynomial(total)


def _nodes(degree: int) -> list[float]:
    """Places in [0, 1] where a polynomial of this degree is known by its values."""
    return [float(node) for node in np.linspace(0, 1, degree + 1)]


@cache
def _products(degree: int) -> np.ndarray:
    """The coefficients (nodes x nodes x 2 degree + 1) of the products of two polynomials, each 1 at a node of its own
    and 0 at the others."""
    nodes, basis = _nodes(degree), []
    for node in nodes:
        own = np.ones(1)
        for other in (n for n in nodes if n != node):
            own = np.convolve(own, [-other, 1.0]) / (node - other)
        basis.append(own)
    return np.array([[np.convolve(one, other) for other in basis] for one in basis])
