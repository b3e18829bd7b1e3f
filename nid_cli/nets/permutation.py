"""Permuting the neurons of a network, along the axes that are derived for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Generator, Tensor

from nid_cli.nets.axes import Axes, Leaf, Pinned, Product, Sum, Tree, leaves

# For each space the position of the given network that takes the place i: new[i] = old[permutation[i]], (size,). For
# one that depends on another, (size of that one, size): new[h, i] = old[outer[h], permutation[h, i]].
Permutation = dict[str, Tensor]


class PermutationSpace(Protocol):
    """What is to be known of a space: its name, size, and the space that it depends on."""

    @property
    def name(self) -> str:
        """Its name, the key of its permutation."""

    @property
    def size(self) -> int:
        """Its number of positions."""

    @property
    def depends_on(self) -> str | None:
        """The space that has a permutation of this one for each of its positions."""


Spaces = Iterable[PermutationSpace]


def identity(spaces: Spaces) -> Permutation:
    """The permutation that changes nothing."""
    return _each(spaces, torch.arange)


def random(spaces: Spaces, generator: Generator) -> Permutation:
    """A permutation of each space, uniform."""
    return _each(spaces, lambda size: torch.randperm(size, generator=generator))


def inverse(spaces: Spaces, permutation: Permutation) -> Permutation:
    """The permutation that undoes ``permutation``."""
    undone = {}
    for space in spaces:
        index = torch.argsort(permutation[space.name], -1)
        undone[space.name] = index if space.depends_on is None else index[torch.argsort(permutation[space.depends_on])]
    return undone


def compose(spaces: Spaces, first: Permutation, then: Permutation) -> Permutation:
    """The permutation that is ``first`` and after it ``then``."""
    both = {}
    for space in spaces:
        before, after = first[space.name], then[space.name]
        outer = space.depends_on
        both[space.name] = before[after] if outer is None else before[then[outer]].gather(1, after)
    return both


def moved(spaces: Spaces, permutation: Permutation) -> Tensor:
    """Of each position whether another comes to it (in the order of the spaces); of one inside of a head also where
    the head is another."""
    found = []
    for space in spaces:
        index = permutation[space.name]
        elsewhere = index != torch.arange(index.shape[-1], device=index.device)
        if space.depends_on is not None:
            outer = permutation[space.depends_on]
            elsewhere = elsewhere | (outer != torch.arange(len(outer), device=outer.device))[:, None]
        found.append(elsewhere.flatten())
    return torch.cat(found) if found else torch.empty(0, dtype=torch.bool)


def equal(one: Permutation, other: Permutation) -> bool:
    """Whether two permutations of the same spaces are the same."""
    return all(torch.equal(index, other[name]) for name, index in one.items())


def axis_index(tree: Tree, permutation: Permutation) -> Tensor | None:
    """The positions (size,) that an axis takes from: new = old[index]. None where another axis of the tensor decides.

    That is so where it has a space that depends on one that is not on this axis.
    """
    if isinstance(tree, Leaf) and tree.outer is None:
        return permutation[tree.space]
    if not _is_independent(tree):
        return None
    position = torch.arange(tree.size)
    return _source(tree, position, _coordinates(tree, position), permutation)


def permute(axes: Mapping[str, Axes], tensors: Mapping[str, Tensor], permutation: Permutation) -> dict[str, Tensor]:
    """The tensors with their positions reordered along ``axes``, by name; those without axes are as they were.

    For a plain network the function is unchanged; for one with gates it is not (docs/science.md, 3).
    """
    permuted = dict(tensors)
    for name, trees in axes.items():
        if name in permuted:
            permuted[name] = _permuted(trees, permuted[name], permutation)
    return permuted


def _permuted(trees: Axes, tensor: Tensor, permutation: Permutation) -> Tensor:
    if all(_is_independent(tree) for tree in trees):
        for dim, tree in enumerate(trees):
            if not isinstance(tree, Pinned):
                index = axis_index(tree, permutation)
                assert index is not None
                tensor = tensor.index_select(dim, index.to(tensor.device))
        return tensor
    # Positions along each axis, shaped to broadcast against each other's: an index of axis k may depend on axis j's.
    positions = [
        torch.arange(size).view([-1 if at == dim else 1 for at in range(tensor.ndim)])
        for dim, size in enumerate(tensor.shape)
    ]
    outer: dict[str, Tensor] = {}
    for tree, position in zip(trees, positions, strict=True):
        outer |= _coordinates(tree, position)
    sources = [_source(tree, position, outer, permutation) for tree, position in zip(trees, positions, strict=True)]
    return tensor[tuple(source.to(tensor.device) for source in sources)]


def _each(spaces: Spaces, draw: Callable[[int], Tensor]) -> Permutation:
    """A drawn permutation of each space, of one that depends on another one for each position of that."""
    known = list(spaces)
    sizes = {space.name: space.size for space in known}
    return {
        space.name: torch.stack([draw(space.size) for _ in range(sizes[space.depends_on])])
        if space.depends_on is not None
        else draw(space.size)
        for space in known
    }


def _is_independent(tree: Tree) -> bool:
    """Whether what the spaces of an axis depend on is on that axis too."""
    own = {leaf.space for leaf in leaves(tree)}
    return all(leaf.outer is None or leaf.outer in own for leaf in leaves(tree))


def _coordinates(tree: Tree, position: Tensor) -> dict[str, Tensor]:
    """For each space of an axis the position of it that a position of the axis belongs to, where it belongs to one."""
    if isinstance(tree, Pinned):
        return {}
    if isinstance(tree, Leaf):
        return {tree.space: position}
    found: dict[str, Tensor] = {}
    if isinstance(tree, Product):
        for part, own in _digits(tree, position):
            found |= _coordinates(part, own)
        return found
    for part, own, inside in _segments(tree, position):
        for space, at in _coordinates(part, own).items():
            found[space] = torch.where(inside, at, found.get(space, at))
    return found


def _source(tree: Tree, position: Tensor, outer: Mapping[str, Tensor], permutation: Permutation) -> Tensor:
    """The positions of an axis that take the places ``position``; ``outer`` as of :func:`_coordinates`."""
    if isinstance(tree, Pinned):
        return position
    if isinstance(tree, Leaf):
        index = permutation[tree.space]
        return index[position] if tree.outer is None else index[outer[tree.outer], position]
    source = torch.zeros_like(position)
    if isinstance(tree, Product):
        for part, own in _digits(tree, position):
            source = source * part.size + _source(part, own, outer, permutation)
        return source
    start = 0
    for part, own, inside in _segments(tree, position):
        source = torch.where(inside, start + _source(part, own, outer, permutation), source)
        start += part.size
    return source


def _digits(tree: Product, position: Tensor) -> list[tuple[Tree, Tensor]]:
    """The parts of a product with the position along each, the slowest first."""
    found: list[tuple[Tree, Tensor]] = []
    for part in reversed(tree.parts):
        found.append((part, position % part.size))
        position = position // part.size
    return found[::-1]


def _segments(tree: Sum, position: Tensor) -> Iterator[tuple[Tree, Tensor, Tensor]]:
    """The parts of a sum with the position along each, clipped to it, and whether it is inside."""
    start = 0
    for part in tree.parts:
        yield part, (position - start).clamp(0, part.size - 1), (position >= start) & (position < start + part.size)
        start += part.size
