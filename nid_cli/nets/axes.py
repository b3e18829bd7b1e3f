"""What an axis of a tensor is made of, as data: positions that permutations move, and positions that stay.

An axis is a tree. A :class:`Leaf` is one permutation space, :class:`Pinned` positions stay where they are, a
:class:`Product` is row-major (heads x head size; channels x pixels, flattened), a :class:`Sum` lays parts side by side
(a concatenation, a packed projection). Most axes are one leaf. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Leaf:
    """Positions that the permutation of ``space`` moves; that of each position of ``outer``, where it has one."""

    space: str
    size: int
    outer: str | None = None


@dataclass(frozen=True)
class Pinned:
    """Positions that stay."""

    size: int


@dataclass(frozen=True)
class Product:
    """All combinations of positions of its parts, the last fastest."""

    parts: tuple[Tree, ...]

    @property
    def size(self) -> int:
        """The number of its positions."""
        return prod(part.size for part in self.parts)


@dataclass(frozen=True)
class Sum:
    """The positions of its parts, one part after the other."""

    parts: tuple[Tree, ...]

    @property
    def size(self) -> int:
        """The number of its positions."""
        return sum(part.size for part in self.parts)


Tree = Leaf | Pinned | Product | Sum
Axes = tuple[Tree, ...]


def leaves(tree: Tree) -> Iterator[Leaf]:
    """The leaves of an axis from left to right; a space comes once for each place that it has there."""
    if isinstance(tree, Leaf):
        yield tree
    elif isinstance(tree, Product | Sum):
        for part in tree.parts:
            yield from leaves(part)
