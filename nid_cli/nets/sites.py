"""Where the neurons of a space are recorded: the values that have them all, after layers, norms and activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nid_cli.nets.axes import Axes, Tree, leaves
from nid_cli.nets.calls import Call, Value
from nid_cli.nets.pointwise import SUMS, Pointwise
from nid_cli.nets.rules import row_of, weight_of
from nid_cli.nets.spaces import Symmetries

# Where its neurons can be compared (docs/science.md, 4), in the order in which they come.
SITES = ("post_linear", "post_norm", "post_activation")
LINEAR, NORM, ACTIVATION = SITES


@dataclass(frozen=True)
class Recording:
    """A value, the axis of it on which the neurons are, what that axis is made of, and the spaces of its other axes."""

    call: str
    axis: int
    tree: Tree
    beside: frozenset[str] = frozenset()


def recordings_of(calls: Sequence[Call], symmetries: Symmetries) -> dict[str, dict[str, tuple[Recording, ...]]]:
    """For each space by name, for each site that it has, where it is recorded.

    A residual stream is what sums join. Only values of all its neurons together count: its activations, and norms that
    read it; what a layer, or the norm after it, writes is a summand. A stream without any is recorded at its sums.
    An activation that is written out (x * sigmoid(x)) is recorded where other calls read it.
    """
    by_name = {call.name: call for call in calls}
    chains = Pointwise(calls)
    found: dict[str, dict[str, list[Recording]]] = {space.name: {} for space in symmetries.spaces}
    sums = _sums(chains, symmetries)
    for site, call in _recorded(chains):
        if (recording := _recording(call, symmetries)) is None:
            continue
        for space in dict.fromkeys(leaf.space for leaf in leaves(recording.tree)):
            is_summand = (
                space in sums
                and site != ACTIVATION
                and (site == LINEAR or weight_of(_origin(call, by_name)) is not None)
            )
            if not is_summand:
                found[space].setdefault(site, []).append(recording)
    for space, own in sums.items():
        if not found[space]:
            found[space][LINEAR] = own
    return {space: {site: tuple(own[site]) for site in SITES if site in own} for space, own in found.items()}


def _axes(call: Call, symmetries: Symmetries) -> Axes:
    """The axes of a call's value; none of a number, or of several values."""
    axes = symmetries.value_axes.get(call.name, ())
    return () if axes and isinstance(axes[0], tuple) else axes  # type: ignore[return-value]


def _recording(call: Call, symmetries: Symmetries) -> Recording | None:
    axes = _axes(call, symmetries)
    own = [at for at, tree in enumerate(axes) if any(True for _ in leaves(tree))]
    if not own:
        return None
    neurons = row_of(call).neurons
    at = neurons % len(axes) if neurons is not None else own[-1]
    beside = frozenset(leaf.space for other in own if other != at for leaf in leaves(axes[other]))
    return Recording(call.name, at, axes[at], beside) if at in own else None


def _recorded(chains: Pointwise) -> Iterator[tuple[str, Call]]:
    """The values at which neurons may be recorded, with their site."""
    seen: set[str] = set()
    for call in chains.by_name.values():
        site = row_of(call).site if call.site is None else call.site
        written_out = chains.joins(call) and call.function not in SUMS
        if call.site is None and (written_out or site == ACTIVATION):
            yield from ((ACTIVATION, own) for own in chains.read_on(call, seen))
        elif site:
            yield site, call


def _sums(chains: Pointwise, symmetries: Symmetries) -> dict[str, list[Recording]]:
    """The spaces that sums of two values of different origin join, with these sums."""
    found: dict[str, list[Recording]] = {}
    by_name = chains.by_name
    for call in by_name.values():
        terms = [part.name for part in call.args if isinstance(part, Value)]
        if call.function not in SUMS or len(terms) < 2 or chains.joins(call):
            continue
        if (recording := _recording(call, symmetries)) is None:
            continue
        spaces = {leaf.space for leaf in leaves(recording.tree)}
        for name in terms:
            if name in by_name:
                spaces &= {leaf.space for tree in _axes(by_name[name], symmetries) for leaf in leaves(tree)}
        for space in spaces:
            found.setdefault(space, []).append(recording)
    return found


def _origin(call: Call, by_name: Mapping[str, Call]) -> Call:
    """Where a value comes from: back through calls that read one value each, to a layer or a call of several."""
    while weight_of(call) is None:
        values = [name for name in call.reads if name in by_name and by_name[name].shape is not None]
        if len(values) != 1:
            break
        call = by_name[values[0]]
    return call
