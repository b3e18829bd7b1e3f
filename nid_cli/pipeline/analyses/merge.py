"""All chosen models of a group in one: the alignments share matchings, parts and one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.analysis.lmc import FunctionChanged, check_function
from nid_cli.analysis.merge_metrics import measure
from nid_cli.analysis.merging import Frames, Models, common_objective, merged, pairwise_cycle_error
from nid_cli.analysis.parameters import Parameters
from nid_cli.analysis.repair import repaired
from nid_cli.data.tensors import Data
from nid_cli.errors import IntegrityError
from nid_cli.nets.biased import biased
from nid_cli.nets.functional import State, completed
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import permute
from nid_cli.pipeline.analyses.batches import in_batches
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.pipeline.analyses.lmc import GATED
from nid_cli.records.merge import Merged
from nid_cli.registry.results import ResultKey
from nid_cli.specs import MERGES

# The parameters of alignments that :class:`Models` takes.
SEARCHED = ("restarts", "seed", "steps", "random_starts")
# Of the work on some models the share that alignments are taken to be, for the progress.
ALIGNING = 0.9


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Merged]]:
    """Group by group and epoch by epoch."""
    batches = in_batches(missing)
    for done, batch in enumerate(batches):
        group, epoch = batch[0].of_group
        name = f"{group.name}, {len(batch[0].models)} models, epoch {epoch}"
        lab.progress("merge", done, len(batches), name)

        def advance(share: float, done: int = done, name: str = name) -> None:
            lab.progress("merge", done + share, len(batches), name)

        yield from zip(batch, _records(lab, batch, advance), strict=True)
    lab.progress("merge", len(batches), len(batches), "done")


def _records(lab: Lab, batch: Sequence[ResultKey], advance: Callable[[float], None]) -> list[Merged]:
    """The records of one list of models, one for each alignment."""
    group, _ = batch[0].of_group
    graph, data = group.graph, lab.data(group)
    parts = [lab.model(group, model, epoch) for model, epoch in batch[0].sides]
    of_cycle = MERGES["cycle"].parameters.flat()  # which has all that the others have
    models = Models(graph, parts, **{name: of_cycle[name] for name in SEARCHED})
    applicable = [key for key in batch if _applies(key, graph)]
    merges, shown = [], []
    for place, key in enumerate(applicable):
        align = key.parameters["align"]
        frames = models.frames(align)
        permuted = _permuted(key, models, frames, data)
        merges.append(finished(graph, permuted, data, key.parameters))
        error = None if MERGES[align].function is None else pairwise_cycle_error(models)
        shown.append((frames, common_objective(graph, permuted), error))
        advance(ALIGNING * (place + 1) / len(applicable))
    total = (len(data.train) + len(data.val) + len(data.test)) or 1
    seen = 0.0

    def count(samples: float) -> None:
        nonlocal seen
        seen += samples
        advance(ALIGNING + (1 - ALIGNING) * seen / total)

    metrics = measure(graph, parts, merges, data, count)
    found = {}
    for key, (frames, objective, error), own in zip(applicable, shown, metrics, strict=True):
        found[key.text] = Merged(
            **_said(key),
            status="ok",
            train=own["train"],
            val=own["val"],
            test=own["test"],
            objective=objective,
            pairwise_cycle_error=error,
            permutations=None if MERGES[key.parameters["align"]].function is None else _arrays(graph, frames),
        )
    reason = GATED.format(group.symmetry)
    return [found.get(key.text) or Merged(**_said(key), status="not_applicable", reason=reason) for key in batch]


def _said(key: ResultKey) -> dict[str, Any]:
    own = key.parameters
    return {"align": own["align"], "bn_reset": own.get("bn_reset", False), "repair": own.get("repair")}


def _applies(key: ResultKey, graph: Graph) -> bool:
    return MERGES[key.parameters["align"]].function is None or not graph.gated


def finished(graph: Graph, parts: Sequence[State], data: Data, parameters: Mapping[str, Any]) -> tuple[Graph, State]:
    """The mean of networks in one frame, corrected as the parameters of a result say, and its network."""
    if (how := parameters.get("repair")) is not None:
        graph = biased(graph)
        ends = [completed(graph, state) for state in parts]
        return graph, repaired(graph, merged(graph, ends), ends, [1 / len(ends)] * len(ends), data, how)
    state = merged(graph, parts)
    return graph, reset_statistics(graph, state, data) if parameters.get("bn_reset") else state


def _permuted(key: ResultKey, models: Models, frames: Frames, data: Data) -> list[State]:
    """The models in their frames; each must compute what it computed."""
    group, _ = key.of_group
    if MERGES[key.parameters["align"]].function is None:
        return list(models.states)
    found = models.permuted(frames)
    for model, before, after in zip(key.models, models.states, found, strict=True):
        try:
            check_function(group.graph, before, after, data)
        except FunctionChanged as error:
            name = f"{group.name}, model {model.number}"
            raise IntegrityError(f"permuting {name} changed its function: {error}", "please report this") from None
    return found


def _arrays(graph: Graph, frames: Frames) -> dict[str, np.ndarray]:
    """By the labels of the layers, with a first axis of models."""
    return {str(space.label): torch.stack([own[space.name] for own in frames]).cpu().numpy() for space in graph.spaces}


def in_frame(graph: Graph, parts: Sequence[State], permutations: Mapping[str, np.ndarray] | None) -> Sequence[State]:
    """Models by the permutations that a result keeps (None: as they are)."""
    if permutations is None:
        return parts
    names = {str(space.label): space.name for space in graph.spaces}
    axes = graph.symmetries.axes
    return [
        permute(axes, state, {names[label]: torch.from_numpy(own[place]) for label, own in permutations.items()})
        for place, state in enumerate(parts)
    ]
