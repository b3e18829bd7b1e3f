"""Pairs of a group: predictions and layers in one pass over the data, which alignments share, and updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nid_cli.analysis.parameters import Parameters
from nid_cli.analysis.similarity import Measured, Own, label_of, layers_at, measure, place
from nid_cli.analysis.updates import Step, update_cosines
from nid_cli.data.tensors import Data
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.pipeline.analyses.batches import in_batches
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.pipeline.analyses.lmc import GATED, aligns, endpoint
from nid_cli.records.similarity import Similarity
from nid_cli.registry.results import ResultKey


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Similarity]]:
    """Pair by pair: sites and alignments share a pass, what concerns one model alone is measured once for its pairs."""
    own: dict[tuple[int, str], Own] = {}
    batches = in_batches(missing)
    for done, batch in enumerate(batches):
        group, epoch = batch[0].of_group
        graph, data = group.graph, lab.data(group)
        numbers = "-".join(str(model.number) for model in batch[0].models)
        name = f"{group.name} {numbers} epoch {epoch}"
        lab.progress("similarity", done, len(batches), name)
        states = [lab.model(group, model, epoch) for model, epoch in batch[0].sides]
        measured = None
        if any(_applies(key, graph) for key in batch):
            at = {key.parameters["at"] for key in batch}
            # The same bytes mean another function in a group with other gates, activations or data.
            sides = [(group.id, model.checkpoints[epoch].sha256) for model, epoch in batch[0].sides]
            total = (len(data.train) + len(data.val) + len(data.test)) or 1
            seen = 0.0

            def advance(samples: float, done: int = done, name: str = name, total: int = total) -> None:
                nonlocal seen
                seen += samples
                lab.progress("similarity", done + seen / total, len(batches), name)

            measured = _measured(graph, states, data, at, [own.get(side, {}) for side in sides], advance)
            for side, found in zip(sides, measured.own, strict=True):
                own[side] = {**own.get(side, {}), **found}
        models = batch[0].models if batch[0].also else ()
        steps = [(lab.model(group, m, batch[0].also[-1]), now) for m, now in zip(models, states, strict=False)]
        for key in batch:
            yield key, _record(key, states, steps, data, measured, parameters)
    lab.progress("similarity", len(batches), len(batches), "done")


def _applies(key: ResultKey, graph: Graph) -> bool:
    return aligns(key) is None or not graph.gated


def _measured(
    graph: Graph,
    states: Sequence[State],
    data: Data,
    sites: set[str],
    known: Sequence[Own],
    advance: Callable[[float], None],
) -> Measured:
    units = {place(unit): unit for at in sorted(sites) for unit in layers_at(graph, at)}
    a, b = states
    return measure(graph, a, b, data, list(units.values()), (known[0], known[1]), advance)


def _record(
    key: ResultKey,
    states: Sequence[State],
    steps: Sequence[Step],
    data: Data,
    measured: Measured | None,
    parameters: Parameters,
) -> Similarity:
    group, epoch = key.of_group
    graph, own = group.graph, key.parameters
    about = {name: own[name] for name in ("align", "at", "since")}
    empty = Similarity(**about, status="not_applicable", reason=GATED.format(group.symmetry))
    if measured is None or not _applies(key, graph):
        return empty
    units = layers_at(graph, own["at"])
    values = [measured.layers.get(place(unit), (None, None)) for unit in units]
    found = replace(
        empty,
        status="ok",
        reason=None,
        train=measured.predictions["train"],
        val=measured.predictions["val"],
        test=measured.predictions["test"],
        layers=[label_of(graph, unit) for unit in units],
        sites=[unit.site for unit in units],
        cka=[streamed for streamed, _ in values],
        cka_debiased=[debiased for _, debiased in values],
    )
    if not steps:
        return replace(found, reason=parameters.lacking(epoch))
    # Only these change with the alignment.
    cosines = update_cosines(graph, steps[0], steps[1], endpoint(key, states[0], states[1], data).permutation)
    return replace(
        found,
        since_epoch=key.also[-1],
        update_cosine=cosines.whole,
        update_cosine_by_parameter=cosines.by_parameter,
    )
