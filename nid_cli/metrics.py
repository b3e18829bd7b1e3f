"""Loss and accuracy, for classes and for labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.data.file import UNCOUNTED
from nid_cli.data.tensors import Data
from nid_cli.nets import stacking
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


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each of several models, whose logits and targets have a first axis for them."""
    if targets.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").flatten(1).mean(1)
    flat = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=UNCOUNTED, reduction="none").view(
        len(targets), -1
    )
    return flat.sum(1) / _counted(targets).clamp_min(1) if targets.ndim == 3 else flat.mean(1)


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """How many samples (of labels: how many labels; of positions: how many of those that count) are right."""
    return _hits(logits, targets).sum()


def _hits(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return (logits > 0) == (targets > 0.5)
    return logits.argmax(-1) == targets


def _counted(targets: Tensor) -> Tensor:
    """How many positions count, over the last two axes."""
    return (targets != UNCOUNTED).sum((-2, -1))


def _sizes(targets: Tensor) -> tuple[Tensor | int, Tensor | int]:
    """How many samples (of positions: how many of those) the targets of one model are, and how many answers."""
    if targets.ndim == 2 and not targets.is_floating_point():
        counted = _counted(targets)
        return counted, counted
    return len(targets), targets.numel()


@dataclass(frozen=True)
class Metrics:
    """Mean loss and accuracy (percent) of one model on one split."""

    loss: float
    accuracy: float


class Tally:
    """Sums loss and correct answers over batches, in float64 and without synchronizing.

    It is either of one model (``add``, ``result``) or of several (``add_each``, ``results``).
    """

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.correct: Tensor | int = 0
        self.samples: Tensor | int = 0
        self.answers: Tensor | int = 0

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor | None = None) -> None:
        """Adds one batch; ``loss`` is its mean loss where it is known already."""
        mean = loss_of(logits, targets) if loss is None else loss.detach()
        self._add(mean, correct(logits, targets), *_sizes(targets))

    def add_each(self, logits: Tensor, targets: Tensor, losses: Tensor | None = None) -> None:
        """Adds one batch of each model; all three have a first axis of models."""
        means = losses_of(logits, targets) if losses is None else losses.detach()
        samples, answers = _sizes(targets[0])
        if isinstance(samples, Tensor):
            samples = answers = _counted(targets)
        self._add(means, _hits(logits, targets).flatten(1).sum(1), samples, answers)

    def _add(self, loss: Tensor, right: Tensor, samples: Tensor | int, answers: Tensor | int) -> None:
        self.loss = self.loss + samples * loss.double()
        self.correct = self.correct + right
        self.samples = self.samples + samples
        self.answers = self.answers + answers

    def result(self) -> Metrics:
        """Mean loss and accuracy in percent over all samples added."""
        return _metrics(float(self.loss), int(self.correct), int(self.samples), int(self.answers))

    def results(self, models: int) -> list[Metrics]:
        """The same of each of ``models`` models."""
        sums = (self.loss, self.correct, self.samples, self.answers)
        columns = [torch.as_tensor(one).expand(models).tolist() for one in sums]
        return [_metrics(*own) for own in zip(*columns, strict=True)]


def _metrics(loss: float, right: int, samples: int, answers: int) -> Metrics:
    return Metrics(loss / samples, 100 * right / answers)


@torch.no_grad()
def evaluate(graph: Graph, state: Mapping[str, Tensor], data: Data, split: str) -> Metrics:
    """Loss and accuracy of one model on one split, in eval mode."""
    tally = Tally()
    for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
        tally.add(forward(graph, state, x), targets)
    return tally.result()


@torch.no_grad()
def evaluate_each(
    graph: Graph, stacked: Mapping[str, Tensor], constants: Mapping[str, Tensor], data: Data, split: str
) -> list[Metrics]:
    """The same of several models at once: ``stacked`` states (``nets.stacking``) and the constants that they share."""
    models, tally = stacking.models_of(stacked), Tally()
    for x, targets in data.batches(split, graph.batch(EVALUATION_BATCH)):
        logits = stacking.forward(graph, stacked, constants, x, own=False)
        tally.add_each(logits, targets.expand(models, *targets.shape))
    return tally.results(models)
