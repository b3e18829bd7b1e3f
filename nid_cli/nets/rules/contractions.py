"""Sums of products over an axis that both operands have: the axis is one in both."""

from __future__ import annotations

from nid_cli.nets.atoms import Atom, join, product
from nid_cli.nets.calls import Call, Stored
from nid_cli.nets.rules.row import Row, rows
from nid_cli.nets.tracing import AtomAxes, NoRule, Trace, Traced, argument, broadcast, pin_all


def contract(trace: Trace, x: AtomAxes, y: AtomAxes) -> AtomAxes:
    """The axes of the matrix product of ``x`` and ``y``, batches of matrices broadcast, vectors as torch takes them."""
    over = y[-2] if len(y) > 1 else y[0]
    join(x[-1], over)
    batch = broadcast(x[:-2], y[:-2]) if len(x) > 2 or len(y) > 2 else ()
    out = (*batch, *x[-2:-1], *(y[-1:] if len(y) > 1 else ()))
    trace.mix([over], x, y, out)
    return out


def linear(trace: Trace, call: Call) -> Traced:
    """x W^T + b."""
    x, weight, bias = trace.tensor(call, 0), trace.tensor(call, 1, "weight"), trace.optional(call, 2, "bias")
    if bias is not None:
        join(weight[0], bias[0])
    out = (*x[:-1], *weight[:-1])
    join(x[-1], weight[-1])
    trace.mix([weight[-1]], x, weight, out)
    return out


def bilinear(trace: Trace, call: Call) -> Traced:
    """x A y^T + b, a matrix A for each neuron."""
    x, y, weight = trace.tensor(call, 0), trace.tensor(call, 1), trace.tensor(call, 2, "weight")
    bias = trace.optional(call, 3, "bias")
    if bias is not None:
        join(weight[0], bias[0])
    join(x[-1], weight[1])
    join(y[-1], weight[2])
    out = (*broadcast(x[:-1], y[:-1]), weight[0])
    trace.mix(weight[1:], x, y, weight, out)
    return out


def matmul(trace: Trace, call: Call) -> Traced:
    """x y. Of two values, it is a step of attention: heads are its batch, what it sums over or puts out is theirs."""
    x, y = trace.tensor(call, 0), trace.tensor(call, 1)
    out = contract(trace, x, y)
    if not any(isinstance(read, Stored) for read in call.args[:2]) and len(x) > 2 and len(y) > 2:
        trace.call_it(out[:-2], "heads")
        trace.call_it([x[-1]], "qk")
        trace.call_it([y[-1]], "vo")
    return out


def plus_matmul(trace: Trace, call: Call) -> Traced:
    """b + x y."""
    return broadcast(trace.tensor(call, 0), contract(trace, trace.tensor(call, 1), trace.tensor(call, 2)))


def outer(trace: Trace, call: Call) -> Traced:
    """All products of two vectors."""
    return (*trace.tensor(call, 0), *trace.tensor(call, 1))


def einsum(trace: Trace, call: Call) -> Traced:
    """Axes with one letter are one; letters that the value lacks are summed over."""
    tensors = [trace.axes(read) for read in argument(call, 1, "tensors")]
    inputs, arrow, output = str(call.args[0]).replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "." in inputs or not arrow or any(axes is None for axes in tensors):
        raise NoRule
    by_letter: dict[str, Atom] = {}
    for letters, axes in zip(terms, tensors, strict=True):
        for letter, axis in zip(letters, axes, strict=True):
            known = by_letter.get(letter)
            if known is None or known.size == 1:
                by_letter[letter] = axis
            elif axis.size != 1:
                join(known, axis)
    if any(len(set(letters)) < len(letters) for letters in terms):
        raise NoRule  # diagonals
    out = tuple(by_letter[letter] for letter in output)
    over = [axis for letter, axis in by_letter.items() if letter not in output]
    trace.mix(over, *tensors, out)
    if len(tensors) == 2 and not any(isinstance(read, Stored) for read in argument(call, 1, "tensors")):
        shared = [axis for letter, axis in by_letter.items() if all(letter in letters for letters in terms)]
        trace.call_it([axis for axis in shared if axis not in over], "heads")
        trace.call_it(over, "qk")
        trace.call_it(out, "vo")
    return out


def attention(trace: Trace, call: Call) -> Traced:
    """softmax(q k^T) v: heads are a batch; several heads of q may share one of k and v, in order."""
    q, k, v = trace.tensor(call, 0), trace.tensor(call, 1), trace.tensor(call, 2)
    mask = trace.optional(call, 3, "attn_mask")
    if argument(call, 5, "is_causal", False):
        pin_all((q[-2], k[-2]), "causal order of tokens")
    if argument(call, 7, "enable_gqa", False):
        k, v = (_repeat_heads(axes, q[-3].size) for axes in (k, v))
    scores = contract(trace, q, (*k[:-2], k[-1], k[-2]))
    trace.within.append(scores)
    if mask is not None:
        broadcast(scores, mask)
    trace.mix([scores[-1]], scores)
    out = contract(trace, scores, v)
    trace.call_it(out[:-2], "heads")
    trace.call_it([q[-1]], "qk")
    trace.call_it([v[-1]], "vo")
    return out


def _repeat_heads(axes: AtomAxes, heads: int) -> AtomAxes:
    return (*axes[:-3], product([axes[-3], Atom(heads // axes[-3].size)]), *axes[-2:])


LINEAR = {"role": "weighted", "neurons": -1}
ROWS = (
    rows(linear, "linear.default", weight=1, rows=0, **LINEAR)
    | rows(matmul, "matmul.default", "mm.default", weight=1, rows=1, **LINEAR)
    | rows(plus_matmul, "addmm.default", weight=2, rows=1, **LINEAR)
    | rows(matmul, "bmm.default", "mv.default", "dot.default")
    | rows(plus_matmul, "baddbmm.default", "addmv.default")
    | rows(bilinear, "bilinear.default")
    | rows(outer, "outer.default")
    | rows(einsum, "einsum.default")
    | {"scaled_dot_product_attention.default": Row(rule=attention)}
)
