"""Deriving the axes of a whole network, call by call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from nid_cli.nets.apart import VIEWS, Apart, cut_apart, taken_apart, through
from nid_cli.nets.calls import Call, Shape, Value
from nid_cli.nets.rules import row_of
from nid_cli.nets.tracing import NoRule, Trace, Traced, pin_all, pinned, shape_of, start


def propagate(
    calls: Iterable[Call],
    stored: Mapping[str, Shape],
    inputs: Mapping[str, Shape],
    output: str,
    constant: Collection[str] = (),
    tied: Mapping[str, str] | None = None,
) -> Trace:
    """The axes of all values and stored tensors, joined as the calls ask, and pinned at the input and the output."""
    trace = start(calls, stored, inputs, constant)
    trace.stored |= {alias: trace.stored[name] for alias, name in (tied or {}).items()}
    apart = taken_apart(trace.calls)
    for call in trace.calls:
        trace.values[call.name] = _value(trace, call, apart.get(call.name))
    pin_all(trace.values[output], "output")
    used = {id(trace.stored[name]) for call in trace.calls for name in call.stored}
    for axes in trace.stored.values():
        if id(axes) not in used:
            pin_all(axes, "not used")
    return trace


def _value(trace: Trace, call: Call, apart: int | None) -> Traced | Apart:
    rule = row_of(call).rule
    try:
        if rule is None:
            raise NoRule
        read = trace.values[call.reads[0]] if call.reads else None
        if isinstance(read, Apart):
            return through(trace, call, rule, read)
        if apart is not None and call.function in VIEWS and isinstance(call.args[0], Value):
            cut = cut_apart(trace, trace.tensor(call, 0), shape_of(call), apart)
            if cut is not None:
                return cut
        return rule(trace, call)
    except (NoRule, ValueError, IndexError):
        # The shapes or arguments are none that the rule knows: as if there was no rule, and reported like it.
        trace.unruled[call.function] += 1
        return pinned(trace, call, f"no rule for {call.function}")
