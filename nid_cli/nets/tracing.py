"""Running a network on axes instead of numbers: each call joins, refines or pins atoms by the rule of its function.

A call without a rule pins the axes of what it reads and of its value. No torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from nid_cli.nets.atoms import Atom, join, pin, product
from nid_cli.nets.calls import Argument, Batch, Call, Shape, Stored, Value, parts

AtomAxes = tuple[Atom, ...]
# Of a number there are no axes; a call with several values has those of each.
Traced = AtomAxes | tuple[AtomAxes, ...] | None

# The batch is given a size that no other axis has and that nothing divides, so that it is told from them in any view.
BATCH = 1_000_003


class NoRule(Exception):
    """The axes of this call follow no rule."""


def concrete(shape: Shape) -> tuple[int, ...]:
    """A shape with a number for the batch."""
    return tuple(size.times * BATCH if isinstance(size, Batch) else size for size in shape)


def argument(call: Call, position: int, name: str, default: Argument = None) -> Any:
    """The argument at ``position``, or by its name, or its default."""
    return call.args[position] if position < len(call.args) else dict(call.kwargs).get(name, default)


@dataclass(frozen=True)
class Mixing:
    """A step whose numbers each come from all positions of the axes in ``mixed``, whatever their order.

    A sum, a contraction, the statistics of a norm. ``tensors``: the axes of all that goes in and comes out.
    """

    tensors: tuple[AtomAxes, ...]
    mixed: tuple[Atom, ...]


@dataclass
class Trace:
    """What is known of the axes of a network after the calls so far.

    ``values`` and ``stored``: axes by name. ``mixings``: see :class:`Mixing`. ``within``: axes of steps inside
    of calls. ``words``: what parts of axes are called (``heads``). ``unruled``: how many calls of each function pinned.
    """

    calls: tuple[Call, ...]
    stored: dict[str, AtomAxes]
    values: dict[str, Any]
    mixings: list[Mixing] = field(default_factory=list)
    within: list[AtomAxes] = field(default_factory=list)
    words: list[tuple[Atom, str]] = field(default_factory=list)
    unruled: Counter[str] = field(default_factory=Counter)

    def axes(self, read: Argument) -> Any:
        """The axes of what a call reads; None for what has none."""
        if isinstance(read, Value):
            return self.values[read.name]
        return self.stored[read.name] if isinstance(read, Stored) else None

    def tensor(self, call: Call, position: int, name: str = "") -> AtomAxes:
        """The axes of a tensor that the call must read.

        Raises:
            NoRule: the argument is no tensor.
        """
        found = self.axes(argument(call, position, name))
        if found is None:
            raise NoRule
        axes: AtomAxes = found
        return axes

    def optional(self, call: Call, position: int, name: str) -> AtomAxes | None:
        """The axes of a tensor that the call may read."""
        axes: AtomAxes | None = self.axes(argument(call, position, name))
        return axes

    def mix(self, mixed: Iterable[Atom], *tensors: AtomAxes) -> None:
        """Note a :class:`Mixing`."""
        self.mixings.append(Mixing(tensors, tuple(mixed)))

    def call_it(self, axes: Iterable[Atom], word: str) -> None:
        """Name what an axis is, for labels."""
        self.words.extend((axis, word) for axis in axes)


def shape_of(call: Call) -> tuple[int, ...]:
    """The shape of the one value of a call, with a number for the batch.

    Raises:
        NoRule: it has none, or several.
    """
    if call.shape is None or any(isinstance(size, tuple) for size in call.shape):
        raise NoRule
    return concrete(call.shape)  # type: ignore[arg-type]


def shapes_of(call: Call) -> tuple[tuple[int, ...], ...]:
    """The shapes of the values of a call that has several.

    Raises:
        NoRule: it has one, or none.
    """
    if not call.shape or not all(isinstance(shape, tuple) for shape in call.shape):
        raise NoRule
    return tuple(map(concrete, call.shape))  # type: ignore[arg-type]


def fresh(shape: Iterable[int], reason: str | None = None) -> AtomAxes:
    """Axes that nothing is known of; pinned where there is a reason."""
    return tuple(Atom(size, reason) for size in shape)


def pin_all(axes: Iterable[Atom], reason: str) -> None:
    """Pin each of these axes."""
    for axis in axes:
        pin(axis, reason)


def join_all(a: Sequence[Atom], b: Sequence[Atom]) -> None:
    """Join axes one by one."""
    for x, y in zip(a, b, strict=True):
        join(x, y)


def broadcast(*tensors: AtomAxes) -> AtomAxes:
    """The axes of an element-wise value: operands' axes are joined, aligned at the last, except those of one position.

    Along an axis that an operand is repeated over, it is the same everywhere, in any order.
    """
    out = []
    for back in range(max(map(len, tensors)), 0, -1):
        axes = [axes[-back] for axes in tensors if back <= len(axes)]
        wide = [axis for axis in axes if axis.size != 1] or axes[:1]
        for axis in wide[1:]:
            join(wide[0], axis)
        out.append(wide[0])
    return tuple(out)


@dataclass(frozen=True)
class Group:
    """Neighbouring axes of a tensor that a reshape gives the sizes ``shape``, from axis ``first`` of its value on."""

    axes: AtomAxes
    first: int
    shape: tuple[int, ...]


def groups(axes: AtomAxes, shape: Sequence[int]) -> Iterator[Group]:
    """The parts of a reshape, each of the fewest neighbours with as many positions before as after."""
    queue, first = list(axes), 0
    while first < len(shape):
        own: list[Atom] = []
        end = first + 1
        while (before := prod(axis.size for axis in own)) != (after := prod(shape[first:end])):
            if before < after:
                own.append(queue.pop(0))
            else:
                end += 1
        yield Group(tuple(own), first, tuple(shape[first:end]))
        first = end


def regroup(axes: AtomAxes, shape: Sequence[int]) -> AtomAxes:
    """The axes of a reshape: neighbours are one product, which is cut anew."""
    out: list[Atom] = []
    for group in groups(axes, shape):
        cut = fresh(group.shape) if len(group.shape) > 1 else (product(group.axes),)
        join(product(group.axes), product(cut))
        out.extend(cut)
    return tuple(out)


def start(
    calls: Iterable[Call], stored: Mapping[str, Shape], inputs: Mapping[str, Shape], constant: Collection[str]
) -> Trace:
    """Before the first call: what the network stores is free, except constants; what is fed in is pinned."""
    held = {
        name: fresh(concrete(shape), "constant tensor" if name in constant else None) for name, shape in stored.items()
    }
    fed = {
        name: tuple(
            Atom(size, "batch" if isinstance(given, Batch) else "input")
            for size, given in zip(concrete(shape), shape, strict=True)
        )
        for name, shape in inputs.items()
    }
    return Trace(tuple(calls), held, dict(fed))


def pinned(trace: Trace, call: Call, reason: str) -> Traced:
    """The axes of a value that follows no rule; all that the call reads is pinned too."""
    for read in parts((call.args, call.kwargs)):
        axes = trace.axes(read) or ()
        for axis in axes:
            pin_all((axis,) if isinstance(axis, Atom) else axis, reason)
    if call.shape is None:
        return None
    if any(isinstance(size, tuple) for size in call.shape):
        return tuple(fresh(shape, reason) for shape in shapes_of(call))
    return fresh(shape_of(call), reason)
