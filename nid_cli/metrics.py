"""Loss and accuracy, for classes and for labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.data.file import UNCOUNTED
from nid_cli.data.tensors import Data
from nid_cli.nets.functional import forward
from nid_cli.nets.graph import Graph

EVALUATION_BATCH = 2048


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over the samples; for labels (N x K floats) mean binary cross-entropy over all labels.

    For positions (N x T classes, logits N x T x K) the mean over those that count, which 0 of none of them is.
    """
    if targets.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, targets)
    if targets.ndim == 2:
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=UNCOUNTED, reduction="sum")
        return total / _counted(targets).clamp_min(1)
    return F.cross_entropy(logits, targets)


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """How many samples (of labels: how many labels; of positions: how many of those that count) are right."""
    if targets.is_floating_point():
        return ((logits > 0) == (targets > 0.5)).sum()
    return (logits.argmax(-1) == targets).sum()


def _counted(targets: Tensor) -> Tensor:
    """How many positions count."""
    return (targets != UNCOUNTED).sum()


@dataclass(frozen=True)
class Metrics:
    """Mean loss and accuracy (percent) of one model on one split."""

    loss: float
    accuracy: float


class Tally:
    """Sums loss and correct answers over batches, in float64 and without synchronizing."""

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.correct: Tensor | int = 0
        self.samples: Tensor | int = 0
        self.answers: Tensor | int = 0

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor | None = None) -> None:
        """Adds one batch; ``loss`` is its mean loss where it is known already."""
        positions = targets.ndim == 2 and not targets.is_floating_point()
        count: Tensor | int = _counted(targets) if positions else len(targets)
        mean = loss_of(logits, targets) if loss is None else loss.detach()
        self.loss = self.loss + count * mean.double()
        self.correct = self.correct + correct(logits, targets)
        self.samples = self.samples + count
        self.answers = self.answers + (count if positions else targets.numel())

    def result(self) -> Metrics:
        """Mean loss and accuracy in percent over all samples added."""
        return Metrics(float(self.loss) / int(self.samples), 100 * int(self.correct) / int(self.answers))


@torch.no_grad()
def evaluate(graph: Graph, state: Mapping[str, Tensor], data: Data, split: str) -> Metrics:
    """Loss and accuracy of one model on one split, in eval mode."""
    tally = Tally()
    for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
        tally.add(forward(graph, state, x), targets)
    return tally.result()
