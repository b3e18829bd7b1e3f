"""Functions that lay the same numbers out anew: reshapes, permuted axes, axes of one position, repetitions."""

from __future__ import annotations

from nid_cli.nets.atoms import Atom, product, total
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import rows
from nid_cli.nets.tracing import NoRule, Trace, Traced, argument, join_all, regroup, shape_of


def reshape(trace: Trace, call: Call) -> Traced:
    """Row-major order stays."""
    return regroup(trace.tensor(call, 0), shape_of(call))


def permute(trace: Trace, call: Call) -> Traced:
    """Axes in another order."""
    x = trace.tensor(call, 0)
    return tuple(x[dim] for dim in argument(call, 1, "dims"))


def transpose(trace: Trace, call: Call) -> Traced:
    """Two axes exchanged."""
    x = list(trace.tensor(call, 0))
    a, b = argument(call, 1, "dim0"), argument(call, 2, "dim1")
    x[a], x[b] = x[b], x[a]
    return tuple(x)


def matrix_transpose(trace: Trace, call: Call) -> Traced:
    """The last two axes exchanged."""
    x = trace.tensor(call, 0)
    return (*x[:-2], *x[-2:][::-1])


def reversed_axes(trace: Trace, call: Call) -> Traced:
    """All axes in reverse order."""
    return trace.tensor(call, 0)[::-1]


def movedim(trace: Trace, call: Call) -> Traced:
    """One or several axes moved."""
    x = trace.tensor(call, 0)
    sources, targets = ((dim,) if isinstance(dim, int) else dim for dim in call.args[1:3])
    moved = {target % len(x): x[source] for source, target in zip(sources, targets, strict=True)}
    rest = iter(axis for dim, axis in enumerate(x) if dim not in {source % len(x) for source in sources})
    return tuple(moved[dim] if dim in moved else next(rest) for dim in range(len(x)))


def unsqueeze(trace: Trace, call: Call) -> Traced:
    """An axis of one position put in."""
    x, dim = trace.tensor(call, 0), argument(call, 1, "dim")
    dim %= len(x) + 1
    return (*x[:dim], Atom(1), *x[dim:])


def squeeze(trace: Trace, call: Call) -> Traced:
    """Axes of one position left out."""
    x, dims = trace.tensor(call, 0), argument(call, 1, "dim", tuple(range(len(trace.tensor(call, 0)))))
    gone = {dim % len(x) for dim in ((dims,) if isinstance(dims, int) else dims)}
    return tuple(axis for dim, axis in enumerate(x) if not (dim in gone and axis.size == 1))


def expand(trace: Trace, call: Call) -> Traced:
    """What is repeated along an axis is the same everywhere, in any order."""
    x, shape = trace.tensor(call, 0), shape_of(call)
    padded = (*(Atom(1) for _ in range(len(shape) - len(x))), *x)
    return tuple(axis if axis.size == size else Atom(size) for axis, size in zip(padded, shape, strict=True))


def repeat(trace: Trace, call: Call) -> Traced:
    """Copies one after the other: a slow axis of copies."""
    x, shape = trace.tensor(call, 0), shape_of(call)
    padded = (*(Atom(1) for _ in range(len(shape) - len(x))), *x)
    return tuple(
        axis if axis.size == size else product([Atom(size // axis.size), axis])
        for axis, size in zip(padded, shape, strict=True)
    )


def repeat_interleave(trace: Trace, call: Call) -> Traced:
    """Each position as often: a fast axis of copies."""
    x, times, dim = trace.tensor(call, 0), argument(call, 1, "repeats"), argument(call, 2, "dim")
    if not isinstance(times, int) or dim is None:
        raise NoRule
    dim %= len(x)
    return (*x[:dim], product([x[dim], Atom(times)]), *x[dim + 1 :])


def cat(trace: Trace, call: Call) -> Traced:
    """Tensors one after the other along an axis; the others are joined. Empty vectors are skipped, as by torch."""
    tensors = [axes for axes in map(trace.axes, call.args[0]) if len(axes) > 1 or axes[0].size]
    dim = argument(call, 1, "dim", 0) % len(tensors[0])
    return _side_by_side(tensors, dim)


def stack(trace: Trace, call: Call) -> Traced:
    """A new axis with a position for each tensor."""
    tensors = [trace.axes(read) for read in call.args[0]]
    dim = argument(call, 1, "dim", 0) % (len(tensors[0]) + 1)
    return _side_by_side([(*axes[:dim], Atom(1), *axes[dim:]) for axes in tensors], dim)


def _side_by_side(tensors: list[tuple[Atom, ...]], dim: int) -> tuple[Atom, ...]:
    first = tensors[0]
    for axes in tensors[1:]:
        join_all((*first[:dim], *first[dim + 1 :]), (*axes[:dim], *axes[dim + 1 :]))
    return (*first[:dim], total(axes[dim] for axes in tensors), *first[dim + 1 :])


ROWS = (
    rows(reshape, "view.default", "reshape.default", "_unsafe_view.default", "_reshape_alias.default")
    | rows(reshape, "flatten.using_ints", "unflatten.int", "view_as.default", "reshape_as.default", "ravel.default")
    | rows(permute, "permute.default")
    | rows(transpose, "transpose.int", "swapaxes.default", "swapdims.default")
    | rows(matrix_transpose, "mT.default", "adjoint.default", "matrix_H.default")
    | rows(reversed_axes, "t.default", "numpy_T.default")
    | rows(movedim, "movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist")
    | rows(unsqueeze, "unsqueeze.default")
    | rows(squeeze, "squeeze.default", "squeeze.dim", "squeeze.dims")
    | rows(expand, "expand.default", "broadcast_to.default")
    | rows(repeat, "repeat.default", "tile.default")
    | rows(repeat_interleave, "repeat_interleave.self_int")
    | rows(cat, "cat.default", "concat.default", "concatenate.default")
    | rows(stack, "stack.default")
)
