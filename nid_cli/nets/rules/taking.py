"""Functions that take parts of tensors: splits, slices, selections, look-ups by index, paddings."""

from __future__ import annotations

from typing import Any

from nid_cli.nets.atoms import Atom, join, pin, total
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import rows
from nid_cli.nets.tracing import (
    AtomAxes,
    NoRule,
    Trace,
    Traced,
    argument,
    broadcast,
    fresh,
    pin_all,
    shape_of,
    shapes_of,
)


def _with(x: AtomAxes, dim: int, *axes: Atom) -> AtomAxes:
    return (*x[:dim], *axes, *x[dim + 1 :])


def _cut(axis: Atom, *sizes: int) -> list[Atom]:
    """The axis as parts of these sizes, one after the other."""
    found = [Atom(size) for size in sizes]
    join(axis, total(found))
    return found


def split(trace: Trace, call: Call) -> Traced:
    """Parts of an axis, one value each."""
    x, dim = trace.tensor(call, 0), argument(call, 2, "dim", 0)
    dim %= len(x)
    sizes = [shape[dim] for shape in shapes_of(call)]
    return tuple(_with(x, dim, part) for part in _cut(x[dim], *sizes))


def glu(trace: Trace, call: Call) -> Traced:
    """The first half of an axis, gated by the second."""
    x, dim = trace.tensor(call, 0), argument(call, 1, "dim", -1)
    half = Atom(x[dim].size // 2)
    join(x[dim], total([half, half]))
    return _with(x, dim % len(x), half)


def unbind(trace: Trace, call: Call) -> Traced:
    """Each position of an axis, one value each."""
    x, dim = trace.tensor(call, 0), argument(call, 1, "dim", 0) % len(trace.tensor(call, 0))
    pin(x[dim], "taken one by one")
    return (_with(x, dim),) * x[dim].size


def getitem(trace: Trace, call: Call) -> Traced:
    """One of several values."""
    found: Any = trace.axes(call.args[0])
    axes: AtomAxes = found[call.args[1]]
    return axes


def select(trace: Trace, call: Call) -> Traced:
    """One position of an axis: it stays, those before and after move among themselves."""
    x, dim, index = trace.tensor(call, 0), argument(call, 1, "dim"), argument(call, 2, "index")
    dim %= len(x)
    if not isinstance(index, int):
        raise NoRule
    index %= x[dim].size
    _cut(x[dim], index, 1, x[dim].size - index - 1)
    return _with(x, dim)


def slice_(trace: Trace, call: Call) -> Traced:
    """Positions one after the other; what is before and after moves apart. Steps pin."""
    x, dim = trace.tensor(call, 0), argument(call, 1, "dim", 0)
    dim %= len(x)
    size, taken = x[dim].size, shape_of(call)[dim]
    first, step = argument(call, 2, "start") or 0, argument(call, 4, "step", 1)
    if taken == size:
        return x
    if step != 1 or not isinstance(first, int):
        pin(x[dim], "slice with steps")
        return _with(x, dim, Atom(taken, "slice with steps"))
    first = min(first % size if first < 0 else first, size)
    return _with(x, dim, _cut(x[dim], first, taken, size - first - taken)[1])


def narrow(trace: Trace, call: Call) -> Traced:
    """A slice by its start and length."""
    x, (dim, first, taken) = trace.tensor(call, 0), call.args[1:4]
    if not isinstance(first, int) or not isinstance(taken, int):
        raise NoRule
    size = x[dim].size
    return _with(x, dim % len(x), _cut(x[dim], first % size, taken, size - first % size - taken)[1])


def embedding(trace: Trace, call: Call) -> Traced:
    """Rows of a table, by numbers that are data: they stay."""
    table, index = trace.tensor(call, 0), trace.tensor(call, 1)
    pin(table[0], "vocabulary")
    return (*index, *table[1:])


def index_select(trace: Trace, call: Call) -> Traced:
    """Positions of an axis, by numbers that are data."""
    x, dim, index = trace.tensor(call, 0), argument(call, 1, "dim"), trace.tensor(call, 2, "index")
    dim %= len(x)
    pin(x[dim], "indexed")
    return _with(x, dim, *(index or (Atom(1),)))


def index(trace: Trace, call: Call) -> Traced:
    """Axes looked up by numbers that are data; several that are neighbours stay where they are, else come first."""
    x, found = trace.tensor(call, 0), [trace.axes(read) for read in argument(call, 1, "indices")]
    dims = [dim for dim, axes in enumerate(found) if axes is not None]
    looked_up = broadcast(*(found[dim] for dim in dims))
    pin_all((x[dim] for dim in dims), "indexed")
    rest = tuple(axis for dim, axis in enumerate(x) if dim not in dims)
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    out = (*rest[:at], *looked_up, *rest[at:])
    if tuple(axis.size for axis in out) != shape_of(call):
        raise NoRule  # masks
    return out


def gather(trace: Trace, call: Call) -> Traced:
    """Along one axis by numbers that are data; along the others each place has its own."""
    x, dim, index = trace.tensor(call, 0), argument(call, 1, "dim"), trace.tensor(call, 2, "index")
    for own, (axis, other) in enumerate(zip(x, index, strict=True)):
        if own == dim % len(x) or axis.size != other.size:
            pin_all((axis, other) if own != dim % len(x) else (axis,), "indexed")
        else:
            join(axis, other)
    return index


def index_add(trace: Trace, call: Call) -> Traced:
    """Rows of ``source`` added at positions that are data."""
    x, dim = trace.tensor(call, 0), argument(call, 1, "dim")
    index, source = trace.tensor(call, 2, "index"), trace.tensor(call, 3, "source")
    dim %= len(x)
    for own, (axis, other) in enumerate(zip(x, source, strict=True)):
        join(index[0] if own == dim else axis, other)
    pin(x[dim], "indexed")
    trace.mix([source[dim]], source, x)
    return x


def scatter_part(trace: Trace, call: Call) -> Traced:
    """A slice or a position of an axis replaced by ``src``."""
    x, src, dim = (
        trace.tensor(call, 0),
        trace.tensor(call, 1, "src"),
        argument(call, 2, "dim", 0) % len(call.shape or ()),
    )
    if len(src) < len(x):
        src = (*src[:dim], Atom(1), *src[dim:])
    for at, (axis, other) in enumerate(zip(x, src, strict=True)):
        if at != dim or axis.size == other.size:
            join(axis, other)
        else:
            pin_all((axis, other), "replaced in part")
    return x


def pad(trace: Trace, call: Call) -> Traced:
    """A constant before and after an axis, which is the same everywhere; where it is cut or mirrored, it is pinned."""
    x, widths = trace.tensor(call, 0), argument(call, 1, "pad")
    constant = call.function == "constant_pad_nd.default" or argument(call, 2, "mode", "constant") == "constant"
    out = list(x)
    for back, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        dim = len(x) - 1 - back
        if not before and not after:
            continue
        if constant and before >= 0 and after >= 0:
            out[dim] = total([Atom(before), x[dim], Atom(after)])
        else:
            pin(x[dim], "padding")
            out[dim] = Atom(shape_of(call)[dim], "padding")
    return tuple(out)


def border(trace: Trace, call: Call) -> Traced:
    """Mirrored or repeated pixels."""
    x, shape = trace.tensor(call, 0), shape_of(call)
    padded = len(argument(call, 1, "padding")) // 2
    pin_all(x[-padded:], "pixels")
    return (*x[:-padded], *fresh(shape[-padded:], "pixels"))


BORDERS = [f"{kind}_pad{dimensions}d.default" for kind in ("reflection", "replication") for dimensions in (1, 2, 3)]
ROWS = (
    rows(split, "split.Tensor", "split.sizes", "split_with_sizes.default", "chunk.default")
    | rows(split, "tensor_split.sections", "tensor_split.indices")
    | rows(glu, "glu.default")
    | rows(unbind, "unbind.int")
    | rows(getitem, "getitem")
    | rows(select, "select.int")
    | rows(slice_, "slice.Tensor")
    | rows(narrow, "narrow.default")
    | rows(embedding, "embedding.default")
    | rows(index_select, "index_select.default")
    | rows(index, "index.Tensor", "_unsafe_index.Tensor")
    | rows(gather, "gather.default")
    | rows(index_add, "index_add.default")
    | rows(scatter_part, "slice_scatter.default", "select_scatter.default")
    | rows(pad, "pad.default", "constant_pad_nd.default")
    | rows(border, *BORDERS)
)
