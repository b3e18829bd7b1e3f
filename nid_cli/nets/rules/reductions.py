"""Reductions drop axes, or weigh along them: sums do not see order. Functions that do see it pin their axis."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.nets.atoms import Atom, join
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import Rule, rows
from nid_cli.nets.tracing import Trace, Traced, argument, broadcast, pin_all, shapes_of


def _dims(chosen: int | Sequence[int] | None, rank: int) -> set[int]:
    """The axes meant; all where none is named."""
    if chosen is None or chosen == ():
        return set(range(rank))
    return {dim % max(rank, 1) for dim in ([chosen] if isinstance(chosen, int) else chosen)}


def _reduce(dim: int, keepdim: int, values: int = 1, ordered: bool = False) -> Rule:
    """A reduction with its arguments at these positions; ``ordered`` ones tell which position it was."""

    def reduction(trace: Trace, call: Call) -> Traced:
        """An axis less, or one of one position."""
        x = trace.tensor(call, 0)
        dims = _dims(argument(call, dim, "dim"), len(x))
        kept = argument(call, keepdim, "keepdim", False)
        out = tuple(Atom(1) if at in dims else axis for at, axis in enumerate(x) if kept or at not in dims)
        over = [axis for at, axis in enumerate(x) if at in dims]
        if ordered:
            pin_all(over, "the position matters")
        trace.mix(over, x, out)
        return out if values == 1 else (out,) * values

    return reduction


def whole(trace: Trace, call: Call) -> Traced:
    """One number of all."""
    x = trace.tensor(call, 0)
    trace.mix(x, x)
    return ()


def softmax(trace: Trace, call: Call) -> Traced:
    """Weights along an axis."""
    x = trace.tensor(call, 0)
    trace.mix([x[argument(call, 1, "dim")]], x)
    return x


def cosine(trace: Trace, call: Call) -> Traced:
    """The angle between two tensors along an axis."""
    x = broadcast(trace.tensor(call, 0), trace.tensor(call, 1))
    dim = argument(call, 2, "dim", 1) % len(x)
    out = (*x[:dim], *x[dim + 1 :])
    trace.mix([x[dim]], x, out)
    return out


def weight_norm(trace: Trace, call: Call) -> Traced:
    """g v / |v|, a norm for each position of an axis."""
    v, g = trace.tensor(call, 0), trace.tensor(call, 1)
    dim = argument(call, 2, "dim", 0)
    join(v[dim], g[dim])
    trace.mix([axis for at, axis in enumerate(v) if at != dim % len(v)], v)
    return v


def _ordered(dim: int, default: int | None, values: int = 1) -> Rule:
    def ordered(trace: Trace, call: Call) -> Traced:
        """The axes named are pinned, the others stay as they are."""
        x = trace.tensor(call, 0)
        dims = _dims(argument(call, dim, "dim", default), len(x))
        pin_all((x[at] for at in dims), "the position matters")
        if values == 1:
            return x
        sizes = shapes_of(call)[0]
        out = tuple(Atom(sizes[at], "the position matters") if at in dims else axis for at, axis in enumerate(x))
        return (out,) * values

    return ordered


def flip(trace: Trace, call: Call) -> Traced:
    """Axes in reverse, or rolled."""
    x = trace.tensor(call, 0)
    position, name = (2, "dims") if call.function == "roll.default" else (1, "dims")
    pin_all((x[at] for at in _dims(argument(call, position, name), len(x))), "the position matters")
    return x


def triangle(trace: Trace, call: Call) -> Traced:
    """Zeros above or below the diagonal."""
    x = trace.tensor(call, 0)
    pin_all(x[-2:], "the position matters")
    return x


ROWS = (
    rows(_reduce(1, 2), "mean.dim", "sum.dim_IntList", "amax.default", "amin.default", "logsumexp.default")
    | rows(_reduce(1, 2), "prod.dim_int", "any.dim", "all.dim", "any.dims", "all.dims")
    | rows(_reduce(1, 2), "count_nonzero.default")
    | rows(_reduce(1, 3), "var.correction", "std.correction", "var.dim", "std.dim")
    | rows(_reduce(1, 3, values=2), "var_mean.correction", "std_mean.correction", "var_mean.dim", "std_mean.dim")
    | rows(cosine, "cosine_similarity.default")
    | rows(_reduce(2, 3), "norm.ScalarOpt_dim", "linalg_vector_norm.default")
    | rows(_reduce(1, 2, values=2, ordered=True), "max.dim", "min.dim", "median.dim")
    | rows(_reduce(1, 2, ordered=True), "argmax.default", "argmin.default")
    | rows(whole, "mean.default", "sum.default", "max.default", "min.default", "prod.default", "var.default")
    | rows(whole, "norm.Scalar", "any.default", "all.default", "std.default")
    | rows(softmax, "softmax.int", "log_softmax.int", "_softmax.default", "_log_softmax.default")
    | rows(weight_norm, "_weight_norm.default")
    | rows(_ordered(1, None), "cumsum.default", "cumprod.default", "logcumsumexp.default")
    | rows(_ordered(1, -1, values=2), "sort.default")
    | rows(_ordered(2, -1, values=2), "topk.default")
    | rows(_ordered(2, -1, values=2), "sort.stable")
    | rows(_ordered(1, -1), "argsort.default")
    | rows(_ordered(2, -1), "argsort.stable")
    | rows(flip, "flip.default", "roll.default")
    | rows(triangle, "tril.default", "triu.default")
)
