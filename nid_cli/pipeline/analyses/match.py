"""How well the neurons of two models match, layer by layer: one pass over the data for all that is asked of a pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nid_cli.analysis.match import compare, match_space
from nid_cli.analysis.parameters import Parameters
from nid_cli.nets.graph import SITES
from nid_cli.pipeline.analyses.batches import in_batches
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.records.match import Match
from nid_cli.registry.results import ResultKey
from nid_cli.specs import derive_seed


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Match]]:
    """One pass over the data for each pair and epoch serves all its layers, sites and similarities."""
    batches = in_batches(missing)
    for done, batch in enumerate(batches):
        group, epoch = batch[0].of_group
        graph, data = group.graph, lab.data(group)
        a, b = (lab.model(group, model, epoch) for model in batch[0].models)
        numbers = "-".join(str(model.number) for model in batch[0].models)
        lab.progress("match", done, len(batches), f"{group.name} {numbers} epoch {epoch}")
        labels = {space.name: space.label for space in graph.spaces}
        wanted = {key.parameters["at"] for key in batch}
        ways = dict.fromkeys(key.parameters["similarity"] for key in batch)
        compared = compare(graph, a, b, data, [site for site in SITES if site in wanted], ways)
        for key in batch:
            layer, at, similarity, random = (key.parameters[name] for name in ("layer", "at", "similarity", "random"))
            found = match_space(graph, compared[similarity], layer, at, random, derive_seed(0, "match", layer))
            yield key, found.record(layer=labels[layer], at=at, similarity=similarity)
    lab.progress("match", len(batches), len(batches), "done")
