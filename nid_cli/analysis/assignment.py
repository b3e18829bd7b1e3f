"""The best permutations for given similarities: one linear assignment a space, of heads and what is in them together.

A *family* is a space with those that depend on it: the heads of an attention, and inside of each head the neurons of
queries and keys and those of values. Whichever head goes where, the best order inside of it is an assignment of its
own; so the inner assignments of all pairs of heads come first, then one over heads: exact, O(h^2 k^3 + h^3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nid_cli.nets.axes import Tree, leaves
from nid_cli.nets.graph import PermutationSpace
from nid_cli.nets.permutation import Permutation, axis_index, identity
from nid_cli.nets.positions import positions


@dataclass(frozen=True)
class Family:
    """A space that depends on no other, and those that depend on it."""

    outer: PermutationSpace
    inner: tuple[PermutationSpace, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its spaces, the outer one first."""
        return (self.outer.name, *(space.name for space in self.inner))


def families(spaces: Iterable[PermutationSpace]) -> tuple[Family, ...]:
    """The families of all spaces, in their order."""
    known = tuple(spaces)
    return tuple(
        Family(space, tuple(inner for inner in known if inner.depends_on == space.name))
        for space in known
        if space.depends_on is None
    )


@dataclass
class Similarity:
    """What matching the positions of a family adds: ``outer`` (n x n), A's row i with B's column j.

    ``inner``, by space: (n x n x k x k), position i of A's head h with position j of B's head g at [h, g, i, j].
    """

    outer: Tensor
    inner: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def empty(cls, family: Family) -> Similarity:
        """Nothing yet."""
        n = family.outer.size
        return cls(
            torch.zeros(n, n, dtype=torch.float64),
            {s.name: torch.zeros(n, n, s.size, s.size, dtype=torch.float64) for s in family.inner},
        )

    def value(self, family: Family, permutation: Permutation) -> float:
        """What a permutation of the family attains."""
        rows, partners = torch.arange(family.outer.size), permutation[family.outer.name]
        total = self.outer[rows, partners].sum()
        for space in family.inner:
            own = self.inner[space.name][rows, partners]
            total += own.gather(2, permutation[space.name][:, :, None]).sum()
        return float(total)


def best_permutation(similarity: Tensor) -> Tensor:
    """For each row i its partner pi(i): the assignment with the greatest total similarity (n x n)."""
    similarity = similarity.cpu()
    partners = similarity.argmax(1)
    if len(partners.unique()) == len(partners):  # no assignment exceeds the greatest of each row
        return partners
    return torch.from_numpy(linear_sum_assignment(similarity.numpy(), maximize=True)[1])


def solve(family: Family, similarity: Similarity) -> Permutation:
    """The permutations of a family with the greatest total similarity."""
    score, orders = inner_scores(family, similarity)
    partners = best_permutation(similarity.outer + score)
    rows = torch.arange(family.outer.size)
    return {family.outer.name: partners} | {name: order[rows, partners] for name, order in orders.items()}


def inner_scores(family: Family, similarity: Similarity) -> tuple[Tensor, dict[str, Tensor]]:
    """What the best inner orders add for each pair of outer positions (n x n); these orders (n x n x k) by space."""
    n = family.outer.size
    score, orders = torch.zeros(n, n, dtype=torch.float64), {}
    for space in family.inner:
        own = similarity.inner[space.name]
        order = torch.stack([best_permutation(pair) for pair in own.flatten(0, 1)]).view(n, n, -1)
        orders[space.name] = order
        score += own.gather(3, order[..., None]).sum((2, 3))
    return score, orders


def ascend(
    chosen: Sequence[Family],
    similarity: Callable[[Family, Permutation], Similarity],
    start: Permutation,
    accept: Callable[[Family, float, Permutation, Permutation], bool],
    touched: Callable[[Family], Collection[str]],
    order: Callable[[int], Sequence[int]] = range,
) -> Permutation:
    """Coordinate ascent: the families one after another, each solved for the others as they are, until none gains.

    Args:
        similarity: of a family, the other permutations given. accept: told the family, what the step gains by its
            similarity, and the permutations before and after; whether the step is taken. touched: the spaces that a
            family's similarity depends on; it is solved again only after one of them has moved. order: of each round.
    """
    permutation = dict(start)
    reads = [set(touched(family)) for family in chosen]
    waiting = set(range(len(chosen)))
    while waiting:
        for index in order(len(chosen)):
            if index not in waiting:
                continue
            waiting.discard(index)
            family = chosen[index]
            given = similarity(family, permutation)
            found = solve(family, given)
            gain = given.value(family, found) - given.value(family, permutation)
            if gain > 0 and accept(family, gain, permutation, permutation | found):
                permutation |= found
                waiting |= {other for other, own in enumerate(reads) if own & set(family.names)}
    return permutation


def places(tree: Tree, family: Family, permutation: Permutation) -> Iterator[tuple[str | None, Tensor, Tensor]]:
    """Where the positions of a family lie along an axis of A, and of B with all other spaces permuted.

    Yields:
        the inner space that is meant (None: the outer one alone), and (c, n, ...) positions in A and in B: c places for
        each position n, or each pair of outer and inner positions.
    """
    names = {leaf.space for leaf in leaves(tree)}
    if family.outer.name not in names:
        return
    source = axis_index(tree, permutation | identity((family.outer, *family.inner)))
    assert source is not None
    inner = [space.name for space in family.inner if space.name in names]
    wanted: list[str | None] = [*inner] or [None]
    for name in wanted:
        found = positions(tree, family.outer.name, *([name] if name else []))
        if found is not None:
            yield name, found, source[found]
