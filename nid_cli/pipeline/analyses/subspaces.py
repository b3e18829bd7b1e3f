"""What ``nid cost`` and ``nid coherence`` share: the subspaces of a model's layers, from one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nid_cli.analysis.subspace import Moments, Subspace, principal_subspace, stream_input_moments
from nid_cli.nets.graph import Graph
from nid_cli.pipeline.analyses.batches import in_batches
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.registry.groups import Group
from nid_cli.registry.results import ResultKey
from nid_cli.registry.runs import Model


def by_model(lab: Lab, missing: Sequence[ResultKey], what: str) -> Iterator[tuple[Group, int, Model, list[ResultKey]]]:
    """The missing results of each model and epoch together, telling the progress."""
    batches = in_batches(missing)
    for done, batch in enumerate(batches):
        group, epoch = batch[0].of_group
        [model] = batch[0].models
        lab.progress(what, done, len(batches), f"{group.name} model {model.number} epoch {epoch}")
        yield group, epoch, model, batch
    lab.progress(what, len(batches), len(batches), "done")


# Covariances of layers that are streamed together take at most this many bytes.
MOMENT_BYTES = 2**30


class Subspaces:
    """The principal subspaces of one model's layers: the data are read once, each layer decomposed when asked for.

    Where the covariances of all ``layers`` are too large to be held at once, they are taken in several passes.
    """

    def __init__(self, lab: Lab, group: Group, epoch: int, model: Model, layers: Sequence[str]) -> None:
        self.state = lab.model(group, model, epoch)
        self._graph, self._data = group.graph, lab.data(group)
        self._passes = _together(self._graph, dict.fromkeys(layers))
        self._moments: dict[str, Moments] = {}

    def of(self, layer: str, explained_variance: float) -> Subspace:
        """The subspace of the inputs of ``layer`` (or of the ``output``) with this share of their variance."""
        if layer not in self._moments:
            [own] = [names for names in self._passes if layer in names]
            self._moments = {}  # freed before the next are made
            self._moments = stream_input_moments(self._graph, self.state, self._data, own)
        return principal_subspace(self._moments[layer].covariance(), explained_variance)


def _together(graph: Graph, layers: Iterable[str]) -> list[list[str]]:
    """The layers in order, cut into runs whose covariances fit into ``MOMENT_BYTES``."""
    runs: list[list[str]] = []
    room = 0
    for name in layers:
        inputs = graph.layers[name].fan_in if name in graph.layers else graph.outputs
        size = 8 * inputs * inputs
        if size > room:
            runs.append([])
            room = MOMENT_BYTES
        runs[-1].append(name)
        room -= size
    return runs
