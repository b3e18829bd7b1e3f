"""Pairs of a group, with and without alignment: all alignments of a pair in common passes over the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from nid_cli.analysis import lmc as analysis
from nid_cli.analysis.lmc import Endpoint, FunctionChanged, SplitMetrics, check_function, curve_of
from nid_cli.analysis.parameters import Parameters
from nid_cli.data.tensors import Data
from nid_cli.errors import IntegrityError
from nid_cli.lazy import resolve
from nid_cli.metrics import evaluate
from nid_cli.nets.biased import biased
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, permute
from nid_cli.nets.preactivations import preactivations
from nid_cli.pipeline.analyses.batches import in_batches
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.records.lmc import Lmc
from nid_cli.registry.results import ResultKey
from nid_cli.specs import ALIGNMENTS, SPLITS

GATED = "the fixed gates of a {} network tie its neurons to their places: a permutation changes the function"

# Told the share of a pair's work that is done.
Advance = Callable[[float], None]


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Lmc]]:
    """Pair by pair: the alignments of a pair share passes over the data, the ends' metrics serve all their pairs."""
    ends: dict[tuple[int, str], SplitMetrics] = {}
    pairs = in_batches(missing)
    for done, batch in enumerate(pairs):
        group, _ = batch[0].of_group
        data = lab.data(group)
        states = [lab.model(group, model, epoch) for model, epoch in batch[0].sides]
        name = f"{group.name} {_pair_name(batch[0])}"
        lab.progress("lmc", done, len(pairs), name)
        for sha256, state in zip(batch[0].checkpoints, states, strict=True):
            # The same bytes mean another function in a group with other gates, activations or data.
            if (group.id, sha256) not in ends:
                ends[group.id, sha256] = {split: evaluate(group.graph, state, data, split) for split in SPLITS}
        known_ends = [ends[group.id, sha256] for sha256 in batch[0].checkpoints]

        def advance(share: float, done: int = done, name: str = name) -> None:
            lab.progress("lmc", done + share, len(pairs), name)

        yield from zip(batch, _pair(lab, batch, states, known_ends, data, advance), strict=True)
    lab.progress("lmc", len(pairs), len(pairs), "done")


def _pair_name(key: ResultKey) -> str:
    """``1-2``; of one model's epochs ``1, epochs 0-30``."""
    (a, first), (b, last) = key.sides
    return f"{a.number}-{b.number}" if key.epoch_a is None else f"{a.number}, epochs {first}-{last}"


def _pair(
    lab: Lab, batch: list[ResultKey], states: list[State], ends: list[SplitMetrics], data: Data, advance: Advance
) -> list[Lmc]:
    """The records of one pair, one for each alignment."""
    group, _ = batch[0].of_group
    graph, (a, b) = group.graph, states
    weights = torch.linspace(0, 1, batch[0].parameters["points"], dtype=torch.float64).tolist()
    inner = sorted({*weights[1:-1], 0.5})
    applies = [aligns(key) is None or not graph.gated for key in batch]
    targets = [endpoint(key, a, b, data) for key, applicable in zip(batch, applies, strict=True) if applicable]
    total = (len(data.train) + len(data.val) + len(data.test)) or 1
    seen = 0.0

    def count(samples: float) -> None:
        nonlocal seen
        seen += samples
        advance(seen / total)

    reset = batch[0].parameters.get("bn_reset", False)
    repair = batch[0].parameters.get("repair")
    curves = analysis.segments(graph, a, b, targets, inner, data, count, reset, repair=repair)
    measured = iter(zip(targets, curves, strict=True))
    trained = lab.trainable(group)
    labels = {space.name: str(space.label) for space in graph.spaces}
    gated = GATED.format(group.symmetry)
    records = []
    for key, applicable in zip(batch, applies, strict=True):
        align = key.parameters["align"]
        empty = Lmc(epoch_a=key.epoch_a, align=align, bn_reset=reset, status="not_applicable", reason=gated)
        if repair is not None:
            left, unshifted = limits_of(graph)
            empty = replace(empty, repair=repair, not_repaired=left, not_shifted=unshifted)
        if not applicable:
            records.append(empty)
            continue
        end, curve = next(measured)
        by_weight = dict(zip(inner, curve, strict=True)) | {0.0: ends[0], 1.0: ends[1]}
        metrics = [by_weight[weight] for weight in weights]
        path = key.epoch_a is not None
        # An aligned network is compared as the plain network of its effective weights: all of them count.
        distance, normalized = analysis.distances(graph, a, end.state, trained if end.permutation is None else {})
        records.append(
            replace(
                empty,
                status="ok",
                reason=None,
                lambdas=weights,
                train=curve_of("train", weights, metrics, by_weight[0.5], path),
                val=curve_of("val", weights, metrics, by_weight[0.5], path),
                test=curve_of("test", weights, metrics, by_weight[0.5], path),
                distance=distance,
                normalized_distance=normalized,
                permutation=_arrays(end.permutation, labels),
            )
        )
    return records


def _arrays(permutation: Permutation | None, labels: Mapping[str, str]) -> Mapping[str, np.ndarray] | None:
    """By the labels of the layers; None where nothing was aligned."""
    return None if permutation is None else {labels[n]: index.cpu().numpy() for n, index in permutation.items()}


def limits_of(graph: Graph) -> tuple[list[str] | None, list[str] | None]:
    """The layers that repair leaves as they are, and those that it does not shift; None for none."""
    labels = {layer.name: str(layer.label) for layer in graph.weighted}
    left, unshifted = preactivations(graph).left_out, preactivations(biased(graph)).without_shift
    return [labels.get(name, name) for name in left] or None, [labels.get(name, name) for name in unshifted] or None


def aligns(key: ResultKey) -> str | None:
    """The reference to the function that aligns; None where nothing is aligned."""
    return ALIGNMENTS[key.parameters["align"]].function


def endpoint(key: ResultKey, a: State, b: State, data: Data) -> Endpoint:
    """B as it is, or permuted to match A; the permuted network must compute what B computes."""
    group, _ = key.of_group
    if (reference := aligns(key)) is None:
        return Endpoint(b)
    alignment = ALIGNMENTS[key.parameters["align"]]
    permutation: Permutation = resolve(reference)(group.graph, a, b, data, alignment.parameters)
    aligned = permute(group.graph.symmetries.axes, b, permutation)
    try:
        check_function(group.graph, b, aligned, data)
    except FunctionChanged as error:
        names = f"{group.name}, model {key.models[1].number}"
        raise IntegrityError(f"permuting {names} changed its function: {error}", "please report this") from None
    return Endpoint(aligned, permutation)
