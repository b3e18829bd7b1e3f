"""Axes that a network takes apart: (3, heads, size) of a packed projection, of which each third goes its own way.

A view that cuts a short factor off an axis, only for ``select`` or ``unbind`` to take its positions one by one, says
the same as a split into equal parts. It is read as one: each part has atoms of its own from there on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nid_cli.nets.atoms import Atom, join, product, total
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import Rule
from nid_cli.nets.tracing import AtomAxes, Trace, Traced, argument, concrete, fresh, groups, regroup

MOST = 16  # Parts that are worth it.
VIEWS = {"view.default", "reshape.default", "_unsafe_view.default", "unflatten.int"}
COPIES = {"clone.default", "contiguous.default", "_to_copy.default", "alias.default", "detach.default"}


@dataclass(frozen=True)
class Apart:
    """A value whose axis ``mark`` is taken apart: its axes for each position there, which hold the mark too."""

    mark: Atom
    parts: tuple[AtomAxes, ...]


def taken_apart(calls: Iterable[Call]) -> dict[str, int]:
    """For each view with an axis whose positions are only taken one by one, that axis."""
    users: dict[str, list[Call]] = defaultdict(list)
    found, listed = {}, tuple(calls)
    for call in listed:
        for name in call.reads:
            users[name].append(call)
    for call in listed:
        if call.function in VIEWS:
            shape = concrete(call.shape)  # type: ignore[arg-type]
            for axis, size in enumerate(shape):
                if 1 < size <= MOST and _only_taken(users, call.name, axis, len(shape)):
                    found[call.name] = axis
                    break
    return found


def _only_taken(users: dict[str, list[Call]], name: str, axis: int, rank: int) -> bool:
    """Whether all that reads ``axis`` of the value ``name`` takes its positions one by one, moved or copied first."""
    waiting = [(name, axis, rank)]
    while waiting:
        name, axis, rank = waiting.pop()
        if not users[name]:
            return False
        for call in users[name]:
            match _takes(call, axis, rank):
                case None:
                    return False
                case [at, axes]:
                    waiting.append((call.name, at, axes))
    return True


def _takes(call: Call, axis: int, rank: int) -> tuple[()] | tuple[int, int] | None:
    """The axis and rank that the value of a call has of it; nothing of one that takes a position, None of others."""
    after = list(range(rank))
    match call.function:
        case "select.int" | "unbind.int":
            dim = argument(call, 1, "dim", 0) % rank
            index = argument(call, 2, "index")
            return () if dim == axis and (call.function == "unbind.int" or isinstance(index, int)) else None
        case "permute.default":
            after = [dim % rank for dim in argument(call, 1, "dims")]
        case "transpose.int":
            a, b = argument(call, 1, "dim0"), argument(call, 2, "dim1")
            after[a], after[b] = after[b], after[a]
        case "unsqueeze.default":
            after.insert(argument(call, 1, "dim") % (rank + 1), -1)
        case "squeeze.dim":
            gone = argument(call, 1, "dim") % rank
            if gone == axis or len(call.shape or ()) != rank - 1:
                return None
            del after[gone]
        case function if function not in COPIES:
            return None
    return after.index(axis), len(after)


def cut_apart(trace: Trace, x: AtomAxes, shape: tuple[int, ...], axis: int) -> Apart | None:
    """The value of the view of ``x`` whose ``axis`` is taken apart; None where the view does not cut it off."""
    mark = Atom(shape[axis], "taken one by one")
    for group in groups(x, shape):
        end = group.first + len(group.shape)
        if group.first <= axis < end and len(group.shape) > 1:
            slow = fresh(shape[group.first : axis])
            thirds = [fresh(shape[axis + 1 : end]) for _ in range(mark.size)]
            join(product(group.axes), product([*slow, total(map(product, thirds))]))
            return Apart(mark, tuple(tuple(_around(x, shape, group.first, (*slow, mark, *third))) for third in thirds))
    return None


def _around(x: AtomAxes, shape: tuple[int, ...], first: int, own: AtomAxes) -> Iterator[Atom]:
    for group in groups(x, shape):
        yield from own if group.first == first else regroup(group.axes, group.shape)


def through(trace: Trace, call: Call, rule: Rule, value: Apart) -> Traced | Apart:
    """What a call makes of such a value: one part, each part, or all, laid out anew."""
    first = value.parts[0]
    if call.function in ("select.int", "unbind.int"):
        dim = argument(call, 1, "dim", 0) % len(first)
        parts = tuple((*axes[:dim], *axes[dim + 1 :]) for axes in value.parts)
        return parts if call.function == "unbind.int" else parts[argument(call, 2, "index")]
    made = []
    (name,) = call.reads
    for axes in value.parts:
        trace.values[name] = axes
        made.append(rule(trace, call))
    trace.values[name] = value
    return Apart(value.mark, tuple(made))  # type: ignore[arg-type]
