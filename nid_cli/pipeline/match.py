"""``nid match``: how well the neurons of two models match, layer by layer, from the registry or computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.nets.graph import POINTS
from nid_cli.pipeline.analyse import Lab, Values, analyse, in_batches
from nid_cli.pipeline.context import Context
from nid_cli.recipes import graph_of
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import Subject
from nid_cli.registry.selection import Selection, select_models

SIMILARITIES = ("pearson", "dot")


def subjects(
    context: Context,
    selection: Selection,
    *,
    pairs: str = "all",
    at: Sequence[str] = ("post_activation",),
    similarity: Sequence[str] = ("pearson",),
    random: int = 100,
) -> list[Subject]:
    """The (group, epoch, pair, recording point, similarity, layer) that a call speaks of, in order.

    Raises:
        UsageError, NotFoundError: a selector cannot be read, or nothing has two models to pair.
    """
    if not 0 <= random <= 100_000:
        raise UsageError(f"random must lie between 0 and 100000, not {random}")
    registry = open_for_writing(context.registry)
    with registry.read() as connection:
        chosen = list(select_models(connection, selection, least=2))
    found = []
    for selected in chosen:
        spaces = graph_of(selected.group.settings).spaces
        for epoch in selected.epochs:
            for pair in selected.pairs(pairs):
                for point in at:
                    for kind in similarity:
                        for space in spaces:
                            if point in space.points:
                                parameters = {"layer": space.name, "at": point, "similarity": kind, "random": random}
                                found.append(Subject("match", selected.group, epoch, pair, parameters))
    if not found:
        raise NotFoundError("no selected group has two complete models to match", "nid train --seeds 2 makes them")
    return found


def match(context: Context, wanted: Sequence[Subject], *, force: bool = False) -> list[dict[str, Any]]:
    """Records of matching (``nid.match/1``) for ``wanted``, in its order; what is missing is computed.

    Raises:
        IntegrityError: files or data are not what was recorded.
    """
    return analyse(context, "match", wanted, _compute, force=force)


def _compute(lab: Lab, missing: Sequence[Subject]) -> Iterator[tuple[Subject, Values]]:
    """One pass over the data for each pair and epoch serves all its layers, points and similarities."""
    from nid_cli.analysis.match import SIMILARITIES, match_layer, stream_moments
    from nid_cli.specs import derive_seed

    batches = in_batches(missing)
    for done, batch in enumerate(batches):
        group, epoch = batch[0].of_group
        graph, data = graph_of(group.settings), lab.data(group)
        a, b = (lab.model(group, model, epoch) for model in batch[0].models)
        numbers = "-".join(str(model.number) for model in batch[0].models)
        lab.context.progress("match", done, len(batches), f"{group.name} {numbers} epoch {epoch}")
        labels = {space.name: space.label for space in graph.spaces}
        moments = stream_moments(graph, a, b, data, [p for p in POINTS if any(s.parameters["at"] == p for s in batch)])
        for subject in batch:
            layer, at, kind, random = (subject.parameters[key] for key in ("layer", "at", "similarity", "random"))
            similarity = SIMILARITIES[kind](moments[layer, at])
            found = match_layer(similarity, random, derive_seed(0, "match", layer))
            yield subject, {"layer": labels[layer], "at": at, "similarity": kind, **found.record()}
    lab.context.progress("match", len(batches), len(batches), "done")
