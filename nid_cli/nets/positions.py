"""Where the positions of spaces lie along an axis."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from nid_cli.nets.axes import Leaf, Pinned, Sum, Tree, leaves


def positions(tree: Tree, *spaces: str) -> Tensor | None:
    """For each position of these spaces, taken together, where it lies along the axis.

    Returns:
        (c, size of each space in turn): c places for every combination, all that else the axis is made of counted off
        (the pixels of a flattened channel; a space that a sum has twice); None where they do not lie together on it.
    """
    found = _positions(tree, spaces)
    return torch.cat(found) if found else None


def _positions(tree: Tree, spaces: tuple[str, ...]) -> list[Tensor]:
    if isinstance(tree, Pinned):
        return []
    if isinstance(tree, Leaf):
        return [torch.arange(tree.size)[None]] if spaces == (tree.space,) else []
    if isinstance(tree, Sum):
        found, start = [], 0
        for part in tree.parts:
            found += [start + own for own in _positions(part, spaces)]
            start += part.size
        return found
    # Of a product: which part has which of the spaces; parts with none of them are counted off.
    owners = {name: [at for at, part in enumerate(tree.parts) if _has(part, name)] for name in spaces}
    found = []
    for chosen in product(*(owners[name] for name in spaces)):
        of_part = [
            tuple(n for n, at in zip(spaces, chosen, strict=True) if at == own) for own in range(len(tree.parts))
        ]
        choices = [
            _positions(part, own) if own else [torch.arange(part.size)]
            for part, own in zip(tree.parts, of_part, strict=True)
        ]
        found += [_combined(tree.parts, of_part, spaces, each) for each in product(*choices)]
    return found


def _has(tree: Tree, space: str) -> bool:
    return any(leaf.space == space for leaf in leaves(tree))


def _combined(
    parts: tuple[Tree, ...], of_part: list[tuple[str, ...]], spaces: tuple[str, ...], each: tuple[Tensor, ...]
) -> Tensor:
    """Positions of a product from those of its parts, an axis counted off for each part and one for each space."""
    total = torch.zeros([1] * (len(parts) + len(spaces)), dtype=torch.long)
    for at, (part, own, found) in enumerate(zip(parts, of_part, each, strict=True)):
        shape = [1] * total.ndim
        shape[at] = len(found)
        for name, size in zip(own, found.shape[1:], strict=True):
            shape[len(parts) + spaces.index(name)] = size
        total = total * part.size + found.view(shape)
    return total.flatten(0, len(parts) - 1)
