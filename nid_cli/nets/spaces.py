"""The permutation symmetries of a network: its spaces, and which axes of which tensors each moves.

Derived from the list of calls alone (see :mod:`~nid_cli.nets.propagation`); that they leave the function unchanged is
proven by running it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nid_cli.nets.apart import Apart
from nid_cli.nets.atoms import PRODUCT, Atom, find, leaf_atoms
from nid_cli.nets.axes import Axes, Leaf, Pinned, Product, Sum, Tree
from nid_cli.nets.calls import Call, Shape
from nid_cli.nets.dependence import dependences
from nid_cli.nets.labels import Naming, names_of
from nid_cli.nets.propagation import propagate
from nid_cli.nets.tracing import AtomAxes, Trace, concrete


@dataclass(frozen=True, kw_only=True)
class Space:
    """Positions that one permutation moves together, at all ``places`` (stored tensor, axis).

    With ``depends_on``, there is a permutation for each position of that other space.
    """

    name: str
    label: str
    size: int
    depends_on: str | None
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Symmetries:
    """What may be permuted in a network without changing its function.

    ``axes``: for each stored tensor a tree an axis. ``value_axes``: for each call too; of one with several values the
    axes of each, of a number none; the batch is there with
    ``tracing.BATCH`` positions. ``pinned``: reasons, with how many axes of stored tensors each holds at least
    partly. ``unruled``: functions whose calls pinned what they read, with their number.
    """

    spaces: tuple[Space, ...]
    axes: dict[str, Axes]
    value_axes: dict[str, Axes | tuple[Axes, ...]]
    pinned: tuple[tuple[str, int], ...]
    unruled: tuple[tuple[str, int], ...]

    def without(self, names: Collection[str]) -> Symmetries:
        """The same with some spaces pinned, and those that depend on them."""
        gone = {space.name for space in self.spaces if {space.name, space.depends_on} & set(names)}
        if not gone:
            return self
        return replace(
            self,
            spaces=tuple(space for space in self.spaces if space.name not in gone),
            axes={name: _without(axes, gone) for name, axes in self.axes.items()},
            value_axes={name: _without(axes, gone) for name, axes in self.value_axes.items()},
        )


def derive(
    calls: Iterable[Call],
    stored: Mapping[str, Shape],
    inputs: Mapping[str, Shape],
    output: str,
    *,
    fixed: Collection[str] = (),
    constant: Collection[str] = (),
    tied: Mapping[str, str] | None = None,
) -> Symmetries:
    """The spaces of a network in the order in which it comes upon them.

    ``stored`` and ``inputs``: shapes by name; ``output``: the call whose value is the network's. ``fixed`` tensors
    (gates) join the axes that they connect like any weight, but stay as they are when these are permuted; ``constant``
    tensors (buffers but running statistics) pin their axes. ``tied``: for each alias the name of its tensor.
    """
    trace = propagate(calls, stored, inputs, output, constant, tied)
    moved = {name: axes for name, axes in trace.stored.items() if name not in fixed}
    places: dict[Atom, list[tuple[str, int]]] = {}
    for name, axes in moved.items():
        for at, axis in enumerate(axes):
            for leaf in dict.fromkeys(leaf_atoms(axis)):
                if _is_free(leaf):
                    places.setdefault(leaf, []).append((name, at))
    order = [leaf for leaf in _appearing(trace) if leaf in places]
    named = names_of(trace, order, fixed)
    outer = {inner: of for inner, of in dependences(trace).items() if inner in named and of in named}
    grow = _Growing(named, outer)
    return Symmetries(
        spaces=tuple(
            Space(
                name=named[leaf].name,
                label=named[leaf].label,
                size=leaf.size,
                depends_on=named[outer[leaf]].name if leaf in outer else None,
                places=tuple(places[leaf]),
            )
            for leaf in order
        ),
        axes={
            name: tuple(map(grow.tree, axes)) if name in moved else tuple(Pinned(axis.size) for axis in axes)
            for name, axes in trace.stored.items()
        },
        value_axes={call.name: _of_value(trace.values[call.name], call, grow) for call in trace.calls},
        pinned=_reasons(moved.values()),
        unruled=tuple(sorted(trace.unruled.items())),
    )


def _without(axes: Any, gone: Collection[str]) -> Any:
    """A tree, or nested tuples of them, with the leaves of some spaces pinned."""
    if isinstance(axes, tuple):
        return tuple(_without(part, gone) for part in axes)
    if isinstance(axes, Product | Sum):
        parts = tuple(_merged((_without(part, gone) for part in axes.parts), isinstance(axes, Product)))
        return parts[0] if len(parts) == 1 else replace(axes, parts=parts)
    return Pinned(axes.size) if isinstance(axes, Leaf) and axes.space in gone else axes


def _is_free(leaf: Atom) -> bool:
    return leaf.size > 1 and not leaf.reason


def _appearing(trace: Trace) -> dict[Atom, None]:
    """The leaves in the order of the calls: of what a call puts out first, then of the tensors that it reads."""
    found: dict[Atom, None] = {}
    for call in trace.calls:
        value = trace.values[call.name]
        if value and isinstance(value, tuple) and isinstance(value[0], Atom):
            found |= dict.fromkeys(leaf for axis in value for leaf in leaf_atoms(axis))
        for name in call.stored:
            found |= dict.fromkeys(leaf for axis in trace.stored[name] for leaf in leaf_atoms(axis))
    return found


class _Growing:
    """The trees of atoms, each made once."""

    def __init__(self, named: Mapping[Atom, Naming], outer: Mapping[Atom, Atom]) -> None:
        self.named, self.outer = named, outer
        self.made: dict[Atom, Tree] = {}

    def tree(self, atom: Atom) -> Tree:
        """The tree of an axis."""
        atom = find(atom)
        if atom not in self.made:
            self.made[atom] = self._grown(atom)
        return self.made[atom]

    def _grown(self, atom: Atom) -> Tree:
        if not atom.parts:
            of = self.outer.get(atom)
            name = self.named.get(atom)
            return Leaf(name.name, atom.size, self.named[of].name if of else None) if name else Pinned(atom.size)
        grown = tuple(_merged(map(self.tree, atom.parts), atom.kind == PRODUCT))
        if len(grown) == 1:
            return grown[0]
        return Product(grown) if atom.kind == PRODUCT else Sum(grown)


def _merged(parts: Iterable[Tree], is_product: bool) -> Iterator[Tree]:
    """The parts, flat, with neighbours that are pinned as one."""
    kind = Product if is_product else Sum
    held = 0
    flat = (own for part in parts for own in (part.parts if isinstance(part, kind) else (part,)))
    for part in flat:
        if isinstance(part, Pinned):
            held = part.size if not held else held * part.size if is_product else held + part.size
            continue
        if held:
            yield Pinned(held)
            held = 0
        yield part
    if held:
        yield Pinned(held)


def _of_value(value: Any, call: Call, grow: _Growing) -> Axes | tuple[Axes, ...]:
    if isinstance(value, Apart):
        return tuple(Pinned(size) for size in concrete(call.shape))  # type: ignore[arg-type]
    if not value or isinstance(value[0], Atom):
        return tuple(map(grow.tree, value or ()))
    return tuple(tuple(map(grow.tree, axes)) for axes in value)


def _reasons(tensors: Iterable[AtomAxes]) -> tuple[tuple[str, int], ...]:
    counts = Counter(
        reason
        for axes in tensors
        for axis in axes
        for reason in {leaf.reason for leaf in leaf_atoms(axis) if leaf.reason and leaf.size > 1}
    )
    return tuple(counts.most_common())
