"""Axes while they are derived: atoms that are joined, refined into products or sums, and pinned.

An atom stands for the positions of an axis, or of a factor or summand of one. Joining two says that one permutation
moves both. What is joined to a product or a sum becomes one, and so do all that were joined to it before. Where two
refinements have none in common, both are pinned: fewer symmetries, never wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

PRODUCT, SUM = "product", "sum"
# Summands of one axis that are told apart; a concatenation that doubles itself again and again has no end of them.
MOST_SUMMANDS = 4096


class Atom:
    """Positions that one permutation may move, or that are pinned for a reason, or refined into parts."""

    __slots__ = ("kind", "parent", "parts", "reason", "size")

    def __init__(self, size: int, reason: str | None = None, kind: str | None = None, parts: tuple[Atom, ...] = ()):
        self.size = size
        self.reason = reason
        self.kind = kind
        self.parts = parts
        self.parent: Atom | None = None


def find(atom: Atom) -> Atom:
    """The atom that stands for all that ``atom`` was joined to."""
    root = atom
    while root.parent is not None:
        root = root.parent
    while atom.parent is not None:
        atom.parent, atom = root, atom.parent
    return root


def factors(atom: Atom) -> list[Atom]:
    """The factors of a product, the slowest first; those of one position are left out."""
    atom = find(atom)
    if atom.kind == PRODUCT:
        return [factor for part in atom.parts for factor in factors(part)]
    return [atom] if atom.size != 1 else []


def terms(atom: Atom) -> list[Atom]:
    """The summands of a sum, in order."""
    atom = find(atom)
    return [term for part in atom.parts for term in terms(part)] if atom.kind == SUM else [atom]


def product(parts: Iterable[Atom]) -> Atom:
    """The axis of all combinations of positions of ``parts``, row-major."""
    flat = [factor for part in parts for factor in factors(part)]
    if len(flat) < 2:
        return flat[0] if flat else Atom(1)
    return Atom(prod(factor.size for factor in flat), kind=PRODUCT, parts=tuple(flat))


def total(parts: Iterable[Atom]) -> Atom:
    """The axis with the positions of ``parts`` one after the other. Summands of one position have none to move to."""
    flat = [term for part in parts for term in terms(part) if term.size]
    if len(flat) > MOST_SUMMANDS and any(term.size > 1 for term in flat):
        for term in flat:
            pin(term, "too many summands")
        return Atom(sum(term.size for term in flat), "too many summands")
    if all(term.size == 1 for term in flat) and len(flat) != 1:
        return Atom(len(flat), "taken one by one")
    return flat[0] if len(flat) == 1 else Atom(sum(term.size for term in flat), kind=SUM, parts=tuple(flat))


def leaf_atoms(atom: Atom) -> Iterator[Atom]:
    """The atoms that ``atom`` is refined into, pinned ones too, from left to right."""
    atom = find(atom)
    if not atom.parts:
        yield atom
    for part in atom.parts:
        yield from leaf_atoms(part)


def pin(atom: Atom, reason: str) -> None:
    """Keep all positions in place; the first reason stays."""
    for leaf in leaf_atoms(atom):
        leaf.reason = leaf.reason or reason


def join(a: Atom, b: Atom) -> None:
    """Have one permutation move both axes.

    Raises:
        ValueError: the sizes differ.
    """
    a, b = find(a), find(b)
    if a is b:
        return
    if a.size != b.size:
        raise ValueError(f"axes of {a.size} and {b.size} positions")
    if a.parts and not b.parts:
        a, b = b, a
    if not a.parts:
        if a.reason:
            pin(b, a.reason)
    elif a.kind != b.kind:
        a, b = (a, b) if a.kind == SUM else (b, a)
        _join_sum_to_product(a, b)
    elif a.kind == PRODUCT:
        _join_products(a, b)
    else:
        _join_sums(a, b)
    a.parent = b


def _join_products(a: Atom, b: Atom) -> None:
    """The slowest factors first: the larger one is refined, unless the smaller does not divide it."""
    xs, ys = factors(a), factors(b)
    while xs and ys:
        (x, *xs), (y, *ys) = factors(xs[0]) + xs[1:], factors(ys[0]) + ys[1:]
        if x.size > y.size:
            x, xs, y, ys = y, ys, x, xs
        if y.size % x.size:
            for atom in (x, y, *xs, *ys):
                pin(atom, "factors that do not divide each other")
            return
        if y.size > x.size:
            first, rest = Atom(x.size), Atom(y.size // x.size)
            join(y, product([first, rest]))
            y, ys = first, [rest, *ys]
        join(x, y)


def _join_sums(a: Atom, b: Atom) -> None:
    """From the first position on: the longer summand is cut where the shorter ends."""
    xs, ys = terms(a), terms(b)
    while xs and ys:
        (x, *xs), (y, *ys) = terms(xs[0]) + xs[1:], terms(ys[0]) + ys[1:]
        if x.size > y.size:
            x, xs, y, ys = y, ys, x, xs
        if y.size > x.size:
            first, rest = Atom(x.size), Atom(y.size - x.size)
            join(y, total([first, rest]))
            y, ys = first, [rest, *ys]
        join(x, y)


def _join_sum_to_product(a: Atom, b: Atom) -> None:
    """Cut the slowest factor of the product ``b`` where the summands of ``a`` end, if they end between its rows."""
    slowest, *rest = factors(b)
    row = b.size // slowest.size
    summands = terms(a)
    if any(term.size % row for term in summands):
        for atom in (a, b):
            pin(atom, "a product cut by a concatenation")
        return
    rows = [Atom(term.size // row) for term in summands]
    join(slowest, total(rows))
    for term, own in zip(summands, rows, strict=True):
        join(term, product([own, *rest]))
