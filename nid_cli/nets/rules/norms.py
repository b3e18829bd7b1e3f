"""Norms: statistics over some axes, and parameters along the axes that they scale."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.nets.atoms import Atom, factors, join, product, terms, total
from nid_cli.nets.calls import Call
from nid_cli.nets.rules.row import Rule, rows
from nid_cli.nets.tracing import AtomAxes, Trace, Traced, argument, join_all


def channels_norm(trace: Trace, call: Call) -> Traced:
    """Batch and instance norm: parameters and running statistics for each channel, over samples and pixels."""
    x = trace.tensor(call, 0)
    for position in range(1, 5):
        if (held := trace.optional(call, position, "")) is not None:
            join(x[1], held[0])
    trace.mix([x[0], *x[2:]], x)
    return x


def _layer_norm(*parameters: tuple[int, str]) -> Rule:
    def layer_norm(trace: Trace, call: Call) -> Traced:
        """Over the last axes, parameters along them."""
        x = trace.tensor(call, 0)
        own = x[len(x) - len(argument(call, 1, "normalized_shape")) :]
        for position, name in parameters:
            if (held := trace.optional(call, position, name)) is not None:
                join_all(own, held)
        trace.mix(own, x)
        return x

    return layer_norm


def native_layer_norm(trace: Trace, call: Call) -> Traced:
    """As layer norm, with mean and deviation for each place that it is taken at."""
    x = LAYER_NORM(trace, call)
    size = len(argument(call, 1, "normalized_shape"))
    statistics: AtomAxes = (*x[:-size], *(Atom(1) for _ in range(size)))  # type: ignore[index]
    return (x, statistics, statistics)  # type: ignore[return-value]


def group_norm(trace: Trace, call: Call) -> Traced:
    """Groups move as wholes, and channels within; where a concatenation cuts groups, within each of them alone."""
    x, groups = trace.tensor(call, 0), argument(call, 1, "num_groups")
    _group_norm(trace, x, groups, [trace.optional(call, 2, "weight"), trace.optional(call, 3, "bias")])
    return x


def native_group_norm(trace: Trace, call: Call) -> Traced:
    """As :func:`group_norm`, with statistics of samples x groups."""
    x, groups = trace.tensor(call, 0), argument(call, 6, "group")
    group = _group_norm(trace, x, groups, [trace.optional(call, 1, "weight"), trace.optional(call, 2, "bias")])
    return (x, (x[0], group), (x[0], group))


def _group_norm(trace: Trace, x: AtomAxes, groups: int, parameters: Sequence[AtomAxes | None]) -> Atom:
    """Join the channels to (groups, within); the axis of groups."""
    within = x[1].size // groups
    if groups > 1 and any(term.size % within for term in terms(x[1])):
        join(x[1], total(Atom(within) for _ in range(groups)))
        inner, group = [x[1]], Atom(groups, "groups cut by a concatenation")
    else:
        group, own = Atom(groups), Atom(within)
        join(x[1], product([group, own]))
        inner = [own]
        if len(factors(x[1])) > 1:
            trace.call_it([group], "groups")
    for held in parameters:
        if held is not None:
            join(x[1], held[0])
    trace.mix([*inner, *x[2:]], x)
    return group


LAYER_NORM = _layer_norm((2, "weight"), (3, "bias"))
ROWS = (
    rows(channels_norm, "batch_norm.default", role="norm", neurons=1, statistics=(3, 4))
    | rows(channels_norm, "instance_norm.default", role="norm", neurons=1, statistics=(3, 4))
    | rows(LAYER_NORM, "layer_norm.default", role="norm", neurons=-1)
    | rows(native_layer_norm, "native_layer_norm.default")
    | rows(_layer_norm((2, "weight")), "rms_norm.default", role="norm", neurons=-1)
    | rows(group_norm, "group_norm.default", role="norm", neurons=1)
    | rows(native_group_norm, "native_group_norm.default")
)
