"""The pre-activations of a network, where repair corrects their statistics (docs/science.md, 15). No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from nid_cli.nets.calls import Call, Stored, Value
from nid_cli.nets.functions import RECURRENT
from nid_cli.nets.graph import SITES, Graph
from nid_cli.nets.layers import Layer
from nid_cli.nets.pointwise import MOVES, OPENINGS, Pointwise
from nid_cli.nets.rules import row_of, weight_of

# What channels go through one by one on their way to a norm.
THROUGH = MOVES | {f"{name}.default" for name in ("cat", "concat", "concatenate")}
# How a correction, a scale and a shift for each channel, becomes part of stored tensors.
LAYER, NORM, STATISTICS = "layer", "norm", "statistics"


# Whether no other calls than these read a stored tensor.
Alone = Callable[[str, list[Call]], bool]


@dataclass(frozen=True)
class Preactivation:
    """Channels whose statistics can be corrected: what a layer puts out, or what a norm with running statistics reads.

    ``name``: of the layer or of the norm's call. ``calls``: those whose values a correction changes. ``measured``: the
    values whose statistics count (all of them together), with their axis of channels. ``fold``: ``layer`` (into weight
    and bias), ``norm`` (into a norm's affine part, its running statistics made those of its inputs) or ``statistics``
    (into running statistics, of norms without an affine part of their own). ``bias``: None where a layer has none that
    a shift could go into. ``level``: its place in the order of corrections; those of one level do not depend on each
    other.
    """

    name: str
    calls: tuple[str, ...]
    measured: tuple[tuple[str, int], ...]
    fold: str
    level: int
    layer: Layer | None = None
    norm: Call | None = None
    bias: str | None = None


@dataclass(frozen=True)
class Preactivations:
    """All pre-activations in the order of execution; ``levels``: of each call's value the last level that changes it.

    ``left_out``: the names of layers before norms or activations that cannot be corrected: their weight is no stored
    matrix of theirs alone. ``without_shift``: those of which only the standard deviations can be.
    """

    all: tuple[Preactivation, ...]
    levels: Mapping[str, int]
    left_out: tuple[str, ...]
    without_shift: tuple[str, ...]


@lru_cache(maxsize=64)
def preactivations(graph: Graph) -> Preactivations:
    """Those of a network: of each layer that some norm or activation comes after, and of each batch norm.

    A layer whose values go to batch norms alone is left to them: they undo whatever is done to it.
    """
    readers = Pointwise(graph.calls).readers
    followed = _followed(graph)
    by_call: dict[str, Layer] = {use.name: layer for layer in graph.weighted for use in layer.uses}
    norms = {
        pair: [c for c in graph.calls if graph.statistics.get(c.name) == pair] for pair in graph.statistics.values()
    }
    uses: dict[str, list[Call]] = {}
    for call in graph.calls:
        for name in call.stored:
            uses.setdefault(name, []).append(call)

    def alone(tensor: str, calls: list[Call]) -> bool:
        """Whether no other calls read a stored tensor."""
        return tensor in graph.parameters and all(call in calls for call in uses[tensor])

    found: dict[str, Preactivation] = {}
    levels: dict[str, int] = {}
    left_out, without_shift = [], []
    for call in graph.calls:
        before = max((levels.get(name, 0) for name in call.reads), default=0)
        own: Preactivation | None = None
        if call.name in graph.statistics:
            own = _of_norm(call, norms[graph.statistics[call.name]], before + 1, alone)
        elif call.name in followed and (layer := by_call.get(call.name)) is not None:
            calls = [use.call for use in layer.uses]
            if alone(layer.weight, calls):
                if not all(_normed(use, readers, graph) for use in calls):
                    own = _of_layer(graph, layer, calls, before + 1, alone)
                    if own.bias is None and own.name not in found:
                        without_shift.append(own.name)
            elif layer.name not in left_out:
                left_out.append(layer.name)
        elif call.name in followed and _is_layer(call, graph):
            left_out.append(call.name)
        if own is not None:
            before = max(before, found.setdefault(own.name, own).level)
        levels[call.name] = before
    ordered = sorted(found.values(), key=lambda own: own.level)
    return Preactivations(tuple(ordered), levels, tuple(left_out), tuple(without_shift))


def _followed(graph: Graph) -> set[str]:
    """The calls that some norm or activation comes after."""
    found: set[str] = set()
    wanted: set[str] = set()
    for call in reversed(graph.calls):
        row = row_of(call)
        if call.name in wanted:
            found.add(call.name)
        nonlinear = row.role in ("norm", "activation") or call.site == SITES[-1] or call.function in OPENINGS
        if nonlinear or call.name in wanted:
            wanted.update(call.reads)
    return found


def _is_layer(call: Call, graph: Graph) -> bool:
    """Whether it is a layer with weights of a kind that is no matrix of ours: made by other calls, transposed,
    recurrent."""
    if call.function in RECURRENT:
        return True
    if (weight := weight_of(call)) is not None:
        return weight in graph.parameters
    return row_of(call).weight is not None and call.function.startswith(("linear", "conv"))


def _normed(call: Call, readers: Mapping[str, list[Call]], graph: Graph) -> bool:
    """Whether a value goes to batch norms alone, by calls that do no more than move numbers."""
    after = readers.get(call.name, [])
    return bool(after) and all(
        (one.function == "batch_norm.default" and one.name in graph.statistics)
        or (one.function in THROUGH and _normed(one, readers, graph))
        for one in after
    )


def _of_layer(graph: Graph, layer: Layer, calls: list[Call], level: int, alone: Alone) -> Preactivation:
    fits = graph.parameters.get(layer.bias or "") == (layer.channels,) and not layer.call.kwargs
    bias = layer.bias if fits and layer.bias is not None and alone(layer.bias, calls) else None
    names = tuple(call.name for call in calls)
    axis = 1 if layer.patches else -1
    return Preactivation(layer.name, names, tuple((name, axis) for name in names), LAYER, level, layer=layer, bias=bias)


def _of_norm(call: Call, calls: list[Call], level: int, alone: Alone) -> Preactivation:
    """``calls``: all that share its running statistics."""
    first = calls[0]
    affine = [part.name for part in first.args[1:3] if isinstance(part, Stored)]
    own = len(affine) == 2 and all(alone(name, calls) for name in affine)
    same = all(other.args[1:5] == first.args[1:5] and other.args[7] == first.args[7] for other in calls)
    measured = tuple((other.args[0].name, 1) for other in calls if isinstance(other.args[0], Value))
    names = tuple(other.name for other in calls)
    return Preactivation(first.name, names, measured, NORM if own and same else STATISTICS, level, norm=first)
