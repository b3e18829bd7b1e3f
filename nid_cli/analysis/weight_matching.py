"""Matching neurons by weights (docs/science.md, 5): Git Re-Basin's coordinate descent, over any network's spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from nid_cli.analysis.assignment import Family, Similarity, ascend, families, places, solve
from nid_cli.data.tensors import Data
from nid_cli.nets.axes import Axes, Leaf, Product, Tree, leaves
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, axis_index, identity, random
from nid_cli.specs.alignments import ByWeights

# A step must raise the objective by more than rounding, this share of its scale, to be taken.
IMPROVEMENT = 1e-12


@dataclass(frozen=True)
class WeightMatch:
    """The best permutation of B found, its objective sum <A, P(B)>, and the objective after each step of its start."""

    permutation: Permutation
    objective: float
    history: list[float]


def match_weights(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], restarts: int = 5, seed: int = 0
) -> WeightMatch:
    """The permutation of B's neurons that brings its parameters nearest to A's, in squared distance.

    Coordinate descent: one linear assignment at a time, spaces in random order, until a whole round improves nothing.
    The objective never falls. The first start goes through the network from its inputs and outputs on and matches each
    space by what is matched already; the second is the identity; the others, up to ``restarts``, are random. Where B
    becomes A, no further start is tried.
    """
    problem = _Problem(graph, a, b)
    generator = torch.Generator().manual_seed(seed)
    best: WeightMatch | None = None
    for start in problem.starts(restarts, generator):
        found = problem.descend(start, generator)
        # |A - P(B)|^2 = |A|^2 + |B|^2 - 2 sum <A, P(B)>: the nearest has the greatest objective.
        if best is None or found.objective > best.objective:
            best = found
        if problem.is_attained(best.objective):
            break
    assert best is not None
    return best


def match_weights_from(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], start: Permutation, seed: int = 0
) -> WeightMatch:
    """The same coordinate descent from one start: where this is nearly the nearest, it takes few assignments."""
    return _Problem(graph, a, b).descend(start, torch.Generator().manual_seed(seed))


def align_by_weights(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, parameters: ByWeights
) -> Permutation:
    """The alignment ``weight`` of ``specs.ALIGNMENTS``; it needs no data."""
    return match_weights(graph, a, b, parameters.restarts, parameters.seed).permutation


@dataclass(frozen=True)
class Layout:
    """How a tensor is seen: axes that decide of each other are one; ``order`` of its axes before, ``shape`` after."""

    trees: Axes
    order: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, trees: Axes, shape: tuple[int, ...]) -> Layout:
        """The layout of a tensor: a space that depends on one of another axis is brought next to it."""
        groups = [[at] for at in range(len(trees))]
        for at, tree in enumerate(trees):
            wanted = {leaf.outer for leaf in leaves(tree) if leaf.outer} - {leaf.space for leaf in leaves(tree)}
            for other, holder in enumerate(trees):
                if other != at and wanted & {leaf.space for leaf in leaves(holder)}:
                    own, theirs = (next(g for g in groups if n in g) for n in (at, other))
                    if own is not theirs:
                        groups = [g for g in groups if g is not own and g is not theirs] + [theirs + own]
        joined = tuple(trees[g[0]] if len(g) == 1 else Product(tuple(trees[n] for n in g)) for g in groups)
        return cls(joined, tuple(n for g in groups for n in g), tuple(tree.size for tree in joined))

    def see(self, tensor: Tensor) -> Tensor:
        """The tensor so, in float64 on the CPU."""
        return tensor.detach().cpu().double().permute(self.order).reshape(self.shape)


class _Problem:
    """The inner products of A's and a permuted B's parameters, as functions of one family's permutation at a time.

    Tensors are taken one after another: no second copy of a network is made.
    """

    def __init__(self, graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
        axes = graph.symmetries.axes
        self.layouts = {name: Layout.of(axes[name], shape) for name, shape in graph.parameters.items()}
        self.spaces, self.families = graph.spaces, families(graph.spaces)
        self.a, self.b = a, b
        self.places = {family.names[0]: list(self._places(family)) for family in self.families}
        # The spaces that decide about the numbers of each place, its own family aside; those of all places of a family.
        self.needs = {
            (own.names[0], *place): self._needs(own, *place) for own in self.families for place in self._of(own)
        }
        self.reads = {
            own.names[0]: frozenset().union(*(self.needs[own.names[0], *place] for place in self._of(own)))
            | self._squared(own)
            for own in self.families
        }
        # |A|^2 + |B|^2.
        self.scale = sum(float(side[name].double().square().sum()) for name in self.layouts for side in (a, b))

    def _of(self, family: Family) -> list[tuple[str, int]]:
        return self.places[family.names[0]]

    def _needs(self, family: Family, name: str, axis: int) -> frozenset[str]:
        trees = self.layouts[name].trees
        others = {leaf.space for at, tree in enumerate(trees) if at != axis for leaf in leaves(tree)}
        return frozenset(others | _beside(trees[axis], family)) - set(family.names)

    def _squared(self, family: Family) -> frozenset[str]:
        """Its own names, where one of its positions' gains depends on where the others are: not linear."""
        names = [name for name, _ in self._of(family)]
        twice = len(set(names)) < len(names)
        return frozenset(
            family.names if twice or any(_is_squared(t, family) for n in names for t in self.layouts[n].trees) else ()
        )

    def is_attained(self, objective: float) -> bool:
        """Whether B has become A."""
        return 2 * objective >= self.scale * (1 - IMPROVEMENT)

    def _places(self, family: Family) -> Iterator[tuple[str, int]]:
        for name, layout in self.layouts.items():
            for axis, tree in enumerate(layout.trees):
                if {leaf.space for leaf in leaves(tree)} & set(family.names):
                    yield name, axis

    def starts(self, count: int, generator: Generator) -> Iterator[Permutation]:
        """Where descents begin."""
        if count > 0:
            yield self._anchored()
        if count > 1:
            yield identity(self.spaces)
        for _ in range(count - 2):
            yield random(self.spaces, generator)

    def _anchored(self) -> Permutation:
        """Each family matched by tensors whose other axes stay or are matched, those with most of them first."""
        permutation, matched = identity(self.spaces), set[str]()
        left = list(self.families)
        while left:
            family = max(left, key=lambda own: self._share_known(own, matched))
            left.remove(family)
            permutation |= solve(family, self.similarity(family, permutation, matched))
            matched |= set(family.names)
        return permutation

    def _share_known(self, family: Family, matched: set[str]) -> float:
        sizes = {place: self.a[place[0]].numel() for place in self._of(family)}
        known = sum(size for place, size in sizes.items() if self.needs[family.names[0], *place] <= matched)
        return known / max(1, sum(sizes.values()))

    def similarity(self, family: Family, permutation: Permutation, matched: set[str] | None = None) -> Similarity:
        """What a match of the family's positions adds, other spaces permuted: of tensors that are ``matched`` alone."""
        total = Similarity.empty(family)
        for name, axis in self._of(family):
            if matched is not None and not self.needs[family.names[0], name, axis] <= matched:
                continue
            layout = self.layouts[name]
            a, b = layout.see(self.a[name]), layout.see(self.b[name])
            for at, tree in enumerate(layout.trees):
                if at != axis:
                    b = _reordered(b, at, tree, permutation)
            a, b = (tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1) for tensor in (a, b))
            if isinstance(layout.trees[axis], Leaf):
                total.outer += a @ b.T
                continue
            for inner, in_a, in_b in places(layout.trees[axis], family, permutation):
                found = _rows(a, in_a) @ _rows(b, in_b).T
                if inner is None:
                    total.outer += found
                else:
                    n, k = in_a.shape[1:]
                    total.inner[inner] += found.view(n, k, n, k).transpose(1, 2)
        return total

    def objective(self, permutation: Permutation, names: Mapping[str, object] | None = None) -> float:
        """sum <A, P(B)> over all parameters, or those in ``names``."""
        value = 0.0
        for name in self.layouts if names is None else names:
            layout = self.layouts[name]
            b = layout.see(self.b[name])
            for at, tree in enumerate(layout.trees):
                b = _reordered(b, at, tree, permutation)
            value += float((layout.see(self.a[name]) * b).sum())
        return value

    def descend(self, start: Permutation, generator: Generator) -> WeightMatch:
        """Coordinate descent from ``start``."""
        history = [self.objective(start)]
        if self.is_attained(history[0]):
            return WeightMatch(start, history[0], history)
        found = ascend(
            self.families,
            self.similarity,
            start,
            partial(self._accept, history),
            lambda family: self.reads[family.names[0]],
            lambda count: torch.randperm(count, generator=generator).tolist(),
        )
        return WeightMatch(found, self.objective(found), history)

    def _accept(
        self, history: list[float], family: Family, gain: float, before: Permutation, after: Permutation
    ) -> bool:
        """A step that gains. Of a family that is in a tensor twice the similarity is linearized: the truth decides."""
        if self._squared(family):
            own = dict.fromkeys(name for name, _ in self._of(family))
            gain = self.objective(after, own) - self.objective(before, own)
        if gain <= IMPROVEMENT * self.scale:
            return False
        history.append(history[-1] + gain)
        return True


def _beside(tree: Tree, family: Family) -> set[str]:
    """The spaces that an axis has in one product with those of a family."""
    if isinstance(tree, Product):
        own = {leaf.space for leaf in leaves(tree)}
        return own - set(family.names) if own & set(family.names) else set()
    return set().union(*(_beside(part, family) for part in getattr(tree, "parts", ())))


def _is_squared(tree: Tree, family: Family) -> bool:
    """Whether a product of an axis has spaces of a family more than once, one outer and one inner one aside."""
    if not isinstance(tree, Product):
        return any(_is_squared(part, family) for part in getattr(tree, "parts", ()))
    found = [{leaf.space for leaf in leaves(part)} & set(family.names) for part in tree.parts]
    outer = sum(family.outer.name in own for own in found)
    inner = sum(bool(own - {family.outer.name}) for own in found)
    return outer > 1 or inner > 1 or any(_is_squared(part, family) for part in tree.parts)


def _reordered(tensor: Tensor, axis: int, tree: Tree, permutation: Permutation) -> Tensor:
    if not any(True for _ in leaves(tree)):
        return tensor
    index = axis_index(tree, permutation)
    assert index is not None
    return tensor.index_select(axis, index)


def _rows(matrix: Tensor, where: Tensor) -> Tensor:
    """The rows of a matrix (d x r) at (c, ...) places as (all but c) x (c r)."""
    found = matrix[where.flatten(1)]
    return found.transpose(0, 1).flatten(1)
