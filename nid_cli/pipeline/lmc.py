"""``nid lmc``: pairs of a group, with and without alignment, from the registry or computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nid_cli.errors import IntegrityError, NotFoundError, UsageError
from nid_cli.pipeline.analyse import Lab, Values, analyse, in_batches
from nid_cli.pipeline.context import Context
from nid_cli.recipes import graph_of
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import Subject
from nid_cli.registry.selection import Selection, select_models

if TYPE_CHECKING:
    from nid_cli.analysis.lmc import Endpoint, SplitMetrics
    from nid_cli.data.tensors import Data
    from nid_cli.nets.functional import State
    from nid_cli.nets.graph import Graph

ALIGNMENTS = ("none", "activation", "weight")
DEFAULT_ALIGNMENTS = ("none", "activation")
# Starts of weight matching: the identity and random permutations.
RESTARTS = 5
GATED = "the fixed gates of a sigma network tie its neurons to their places: a permutation changes the function"


def subjects(
    context: Context,
    selection: Selection,
    *,
    pairs: str = "all",
    align: Sequence[str] = DEFAULT_ALIGNMENTS,
    points: int = 9,
    bn_reset: bool = False,
) -> list[Subject]:
    """The (group, epoch, pair, alignment) that a call speaks of, in order.

    Args:
        bn_reset: of groups with batch norms, the variant whose statistics are estimated anew after interpolation.

    Raises:
        UsageError, NotFoundError: a selector cannot be read, or nothing has two models to pair.
    """
    if not 2 <= points <= 10_001:
        raise UsageError(f"points must lie between 2 and 10001, not {points}")
    registry = open_for_writing(context.registry)
    with registry.read() as connection:
        chosen = list(select_models(connection, selection, least=2))
    found, resettable = [], False
    for selected in chosen:
        variant = {"bn_reset": True} if bn_reset and graph_of(selected.group.settings).buffers else {}
        resettable |= bool(variant)
        for epoch in selected.epochs:
            for pair in selected.pairs(pairs):
                for name in align:
                    parameters = {"align": name, "points": points, **variant}
                    if name == "weight":
                        parameters["restarts"] = RESTARTS
                    found.append(Subject("lmc", selected.group, epoch, pair, parameters))
    if not found:
        raise NotFoundError("no selected group has two complete models to connect", "nid train --seeds 2 makes them")
    if bn_reset and not resettable:
        raise UsageError("no selected group has batch norms, so --bn-reset has nothing to reset", "leave it out")
    return found


def lmc(context: Context, wanted: Sequence[Subject], *, force: bool = False) -> list[dict[str, Any]]:
    """Records of linear mode connectivity (``nid.lmc/1``) for ``wanted``, in its order; what is missing is computed.

    Raises:
        IntegrityError: files or data are not what was recorded.
    """
    return analyse(context, "lmc", wanted, _compute, force=force)


def _compute(lab: Lab, missing: Sequence[Subject]) -> Iterator[tuple[Subject, Values]]:
    """Pair by pair: both alignments of a pair share one pass over the data, the ends' metrics all their pairs."""
    from nid_cli.metrics import evaluate

    ends: dict[tuple[int, str], SplitMetrics] = {}
    pairs = in_batches(missing)
    for done, batch in enumerate(pairs):
        subject = batch[0]
        group, epoch = subject.of_group
        graph = graph_of(group.settings)
        data = lab.data(group)
        states = [lab.model(group, model, epoch) for model in subject.models]
        pair_name = f"{group.name} {subject.models[0].number}-{subject.models[1].number}"
        lab.context.progress("lmc", done, len(pairs), pair_name)
        for sha256, state in zip(subject.checkpoints, states, strict=True):
            # The same bytes mean another function in a group with other gates, activations or data.
            if (group.id, sha256) not in ends:
                ends[group.id, sha256] = {s: evaluate(graph, state, data, s) for s in ("train", "val", "test")}
        known_ends = [ends[group.id, sha256] for sha256 in subject.checkpoints]

        def advance(share: float, done: int = done, pair_name: str = pair_name) -> None:
            lab.context.progress("lmc", done + share, len(pairs), pair_name)

        yield from zip(batch, _pair(lab, graph, batch, states, known_ends, data, advance), strict=True)
    lab.context.progress("lmc", len(pairs), len(pairs), "done")


def _pair(
    lab: Lab,
    graph: Graph,
    batch: list[Subject],
    states: list[State],
    ends: list[SplitMetrics],
    data: Data,
    advance: Any,
) -> list[Values]:
    """The records of one pair, an alignment each."""
    import torch

    from nid_cli.analysis import lmc as analysis

    a, b = states
    points = batch[0].parameters["points"]
    weights = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    inner = sorted({*weights[1:-1], 0.5})
    applicable = [s for s in batch if s.parameters["align"] == "none" or not graph.gated]
    targets = [_endpoint(graph, s, a, b, data) for s in applicable]
    total = (len(data.train) + len(data.val) + len(data.test)) or 1
    seen = 0.0

    def count(samples: float) -> None:
        nonlocal seen
        seen += samples
        advance(seen / total)

    reset = batch[0].parameters.get("bn_reset", False)
    curves = analysis.segments(graph, a, b, targets, inner, data, count, reset)
    trained = lab.trainable(batch[0].of_group[0])
    found: dict[int, Values] = {}
    for subject, end, curve in zip(applicable, targets, curves, strict=True):
        by_weight = dict(zip(inner, curve, strict=True)) | {0.0: ends[0], 1.0: ends[1]}
        # An aligned network is compared as the plain network of its effective weights: all of them count.
        trainable = trained if end.permutation is None else {}
        found[id(subject)] = {
            "align": subject.parameters["align"],
            "bn_reset": reset,
            "status": "ok",
            "reason": None,
            **analysis.curve_record(weights, [by_weight[w] for w in weights], by_weight[0.5]),
            **analysis.distances(graph, a, end.state, trainable),
        }
    skipped = {"bn_reset": reset, "status": "not_applicable", "reason": GATED, **analysis.empty_record()}
    return [found.get(id(s), {"align": s.parameters["align"], **skipped}) for s in batch]


def _endpoint(graph: Graph, subject: Subject, a: State, b: State, data: Data) -> Endpoint:
    """B as it is, or permuted to match A; the permuted network must compute what B computes."""
    from nid_cli.analysis.lmc import Endpoint, FunctionChanged, check_function
    from nid_cli.analysis.match import match_activations
    from nid_cli.analysis.weight_matching import match_weights
    from nid_cli.nets.permutation import permute

    if subject.parameters["align"] == "none":
        return Endpoint(b)
    if subject.parameters["align"] == "weight":
        permutation = match_weights(graph, a, b, restarts=subject.parameters["restarts"]).permutation
    else:
        permutation = match_activations(graph, a, b, data)
    aligned = permute(graph, b, permutation)
    try:
        check_function(graph, b, aligned, data)
    except FunctionChanged as error:
        names = f"{subject.of_group[0].name}, model {subject.models[1].number}"
        raise IntegrityError(f"permuting {names} changed its function: {error}", "please report this") from None
    return Endpoint(aligned, permutation)
