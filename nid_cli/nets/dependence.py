"""Permutations that depend on the position along another axis: within each attention head one of its own.

An inner atom I of a product may have a permutation for each position of an outer atom H beside it (the wreath
product: heads move as wholes, and the insides of each apart), where no call can tell:

- each number of a tensor with I belongs to one position of H: every tensor, stored or in between, that has I has H
  exactly once beside it (in each part of a sum);
- a sum over I adds what belongs to one position of H: either H is summed over too, or each number of the result
  belongs to one position of H at most, so that H is a batch of both operands;
- a sum over H adds over I too, or what it adds has no I: else it would add position i of all heads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from nid_cli.nets.apart import Apart
from nid_cli.nets.atoms import PRODUCT, Atom, find, leaf_atoms
from nid_cli.nets.tracing import AtomAxes, Mixing, Trace

AMBIGUOUS = 2  # Or more: not exactly once.


def dependences(trace: Trace) -> dict[Atom, Atom]:
    """For each free atom that may have a permutation for each position of another one, that one."""
    pairs = [pair for axes in trace.stored.values() for axis in axes for pair in _pairs(axis)]
    if not pairs:
        return {}
    tensors: dict[Atom, dict[tuple[Atom, ...], None]] = defaultdict(dict)
    for axes in tensors_of(trace):
        roots = tuple(map(find, axes))
        for leaf in {leaf for root in roots for leaf in leaf_atoms(root)}:
            tensors[leaf][roots] = None
    found: dict[Atom, Atom] = {}
    for inner, outer in dict.fromkeys(pairs):
        if inner in found or inner in found.values() or outer in found:
            continue
        if all(_beside(axes, inner, outer) <= {1} for axes in tensors[inner]) and all(
            _may_mix(mixing, inner, outer) for mixing in trace.mixings
        ):
            found[inner] = outer
    return found


def tensors_of(trace: Trace) -> Iterator[AtomAxes]:
    """The axes of every tensor, those within calls too."""
    yield from trace.stored.values()
    yield from trace.within
    for value in trace.values.values():
        if isinstance(value, Apart):
            yield from value.parts
        elif value and isinstance(value[0], Atom):
            yield value
        else:
            yield from value or ()


def _pairs(axis: Atom) -> Iterator[tuple[Atom, Atom]]:
    """Free atoms beside each other in one product, as (inner, outer): the slower one as the outer first."""
    axis = find(axis)
    if axis.kind == PRODUCT:
        parts = [find(part) for part in axis.parts]
        slower = [(parts[j], parts[i]) for j in range(len(parts)) for i in range(j)]
        for part, outer in [*slower, *((outer, part) for part, outer in slower)]:
            if not outer.parts and not outer.reason:
                yield from ((inner, outer) for inner in leaf_atoms(part) if not inner.reason)
    for part in axis.parts:
        yield from _pairs(part)


def _counts(atom: Atom, leaf: Atom) -> tuple[int, int]:
    """How often at least and at most a position of ``atom`` belongs to a position of ``leaf``."""
    atom = find(atom)
    if not atom.parts:
        return (int(atom is leaf),) * 2
    each = [_counts(part, leaf) for part in atom.parts]
    if atom.kind == PRODUCT:
        return sum(low for low, _ in each), sum(high for _, high in each)
    return min(low for low, _ in each), max(high for _, high in each)


def _beside(factors: Iterable[Atom], inner: Atom, outer: Atom) -> set[int]:
    """How often ``outer`` is beside ``inner`` in a product, for each place of ``inner``."""
    found = set()
    each = list(factors)
    for at, factor in enumerate(each):
        factor = find(factor)
        if factor is inner:
            own = {0}
        elif factor.kind == PRODUCT:
            own = _beside(factor.parts, inner, outer)
        else:
            own = {count for part in factor.parts for count in _beside((part,), inner, outer)}
        if own:
            counts = [_counts(other, outer) for i, other in enumerate(each) if i != at]
            low, high = sum(low for low, _ in counts), sum(high for _, high in counts)
            found |= {count + low for count in own} if low == high else {AMBIGUOUS}
    return found


def _may_mix(mixing: Mixing, inner: Atom, outer: Atom) -> bool:
    mixed = {leaf for axis in mixing.mixed for leaf in leaf_atoms(axis)}
    if outer in mixed:
        return inner in mixed or not any(
            leaf is inner for axes in mixing.tensors for axis in axes for leaf in leaf_atoms(axis)
        )
    return inner not in mixed or all(sum(_counts(axis, outer)[1] for axis in axes) <= 1 for axes in mixing.tensors)
