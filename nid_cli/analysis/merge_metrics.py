"""A merge beside its parts and their ensemble (docs/science.md, 14): one pass over the data for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.data.tensors import Data
from nid_cli.metrics import EVALUATION_BATCH, Metrics, Tally
from nid_cli.nets.functional import State, forward
from nid_cli.nets.graph import Graph
from nid_cli.records.merge import MergeMetrics
from nid_cli.specs import SPLITS


@torch.no_grad()
def measure(
    graph: Graph,
    parts: Sequence[State],
    merges: Sequence[tuple[Graph, State]],
    data: Data,
    advance: Callable[[float], None] = lambda samples: None,
) -> list[dict[str, MergeMetrics]]:
    """For each merge of the same parts its metrics by split.

    Args:
        merges: each with its network, which a repair may have given more biases.
        advance: told the samples done.
    """
    found: list[dict[str, MergeMetrics]] = [{} for _ in merges]
    for split in SPLITS:
        of_parts, of_merges, ensemble = [Tally() for _ in parts], [Tally() for _ in merges], Tally()
        for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
            logits = [forward(graph, state, x) for state in parts]
            for own, tally in zip(logits, of_parts, strict=True):
                tally.add(own, targets)
            ensemble.add(ensemble_logits(logits, targets.is_floating_point()), targets)
            for (network, state), tally in zip(merges, of_merges, strict=True):
                tally.add(forward(network, state, x), targets)
            advance(len(targets))
        own_parts, together = [tally.result() for tally in of_parts], ensemble.result()
        for metrics, tally in zip(found, of_merges, strict=True):
            metrics[split] = _beside(tally.result(), own_parts, together)
    return found


def ensemble_logits(logits: Sequence[Tensor], labels: bool) -> Tensor:
    """Logits of the mean of predictive distributions: of classes its logarithm, of labels (each a distribution of its
    own, over yes and no) the logarithm of its odds; in float64."""
    z = torch.stack([own.double() for own in logits])
    if labels:
        return torch.logsumexp(F.logsigmoid(z), 0) - torch.logsumexp(F.logsigmoid(-z), 0)
    return torch.logsumexp(F.log_softmax(z, -1), 0) - math.log(len(z))


def _beside(own: Metrics, parts: Sequence[Metrics], together: Metrics) -> MergeMetrics:
    losses, accuracies = [part.loss for part in parts], [part.accuracy for part in parts]
    return MergeMetrics(
        loss=own.loss,
        accuracy=own.accuracy,
        parts_loss=math.fsum(losses) / len(parts),
        parts_accuracy=math.fsum(accuracies) / len(parts),
        best_loss=min(losses),
        best_accuracy=max(accuracies),
        ensemble_loss=together.loss,
        ensemble_accuracy=together.accuracy,
    )
