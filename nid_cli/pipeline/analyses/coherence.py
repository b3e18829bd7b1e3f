"""Subspace coherence and anisotropy of a model's layers: one pass over the data for each model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nid_cli.analysis.coherence import layer_coherence
from nid_cli.analysis.cost import layer_constraint
from nid_cli.analysis.parameters import Parameters
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.pipeline.analyses.subspaces import Subspaces, by_model
from nid_cli.records.coherence import Coherence
from nid_cli.registry.results import ResultKey


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Coherence]]:
    """One pass over the data serves all layers of a model."""
    for group, epoch, model, batch in by_model(lab, missing, "coherence"):
        subspaces = Subspaces(lab, group, epoch, model, [key.parameters["layer"] for key in batch])
        constraint = lab.constraint(group)
        for key in batch:
            layer = key.parameters["layer"]
            subspace = subspaces.of(layer, key.parameters["explained_variance"])
            if (own := group.graph.layers.get(layer)) is None:
                yield key, layer_coherence(layer, subspace, 0, None)
                continue
            mask = layer_constraint(own, subspaces.state[own.weight], constraint.pinned, constraint.anchor)[1]
            yield key, layer_coherence(own.label, subspace, own.channels, mask)
