"""Loss and accuracy, for classes and for labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.data.tensors import Data
from nid_cli.nets.functional import forward
from nid_cli.nets.graph import Graph

EVALUATION_BATCH = 2048


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over the samples; for labels (N x K targets) mean binary cross-entropy over all labels."""
    if targets.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, targets)
    return F.cross_entropy(logits, targets)


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """How many samples (of labels: how many labels) are right."""
    if targets.ndim == 2:
        return ((logits > 0) == (targets > 0.5)).sum()
    return (logits.argmax(1) == targets).sum()


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
        self.samples = 0
        self.answers = 0

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor | None = None) -> None:
        """Adds one batch; ``loss`` is its mean loss where it is known already."""
        count = len(targets)
        mean = loss_of(logits, targets) if loss is None else loss.detach()
        self.loss = self.loss + count * mean.double()
        self.correct = self.correct + correct(logits, targets)
        self.samples += count
        self.answers += targets.numel()

    def result(self) -> Metrics:
        """Mean loss and accuracy in percent over all samples added."""
        return Metrics(float(self.loss) / self.samples, 100 * int(self.correct) / self.answers)


@torch.no_grad()
def evaluate(graph: Graph, state: Mapping[str, Tensor], data: Data, split: str) -> Metrics:
    """Loss and accuracy of one model on one split, in eval mode."""
    tally = Tally()
    for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
        tally.add(forward(graph, state, x), targets)
    return tally.result()
