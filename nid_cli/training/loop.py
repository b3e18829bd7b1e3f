"""The training of one model, as a generator of epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from nid_cli.data.tensors import Data
from nid_cli.metrics import Metrics, Tally, evaluate, loss_of
from nid_cli.nets.functional import State, forward
from nid_cli.nets.graph import Graph
from nid_cli.nets.symmetry import Constraint
from nid_cli.specs import RunSpec, derive_seed
from nid_cli.training.batches import batches_of
from nid_cli.training.optimizer import ConstrainedOptimizer


class Diverged(Exception):
    """The loss or a weight is not a finite number any more."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"its loss or weights were not finite in epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True)
class Snapshot:
    """A model at the end of an epoch: all that is needed to go on from there."""

    epoch: int
    state: State
    optimizer: State = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One finished epoch: metrics by split, seconds of training and evaluation, and a live view of the model.

    ``train`` metrics are running means over the epoch's batches (weights moving); epoch 0 is the initialization,
    evaluated as it stands.
    """

    metrics: dict[str, Metrics]
    seconds: float
    snapshot: Snapshot


def train_model(
    graph: Graph, spec: RunSpec, data: Data, constraint: Constraint, constants: State, start: Snapshot, order_seed: int
) -> Iterator[Epoch]:
    """Trains one model from ``start`` to ``spec.length``, yielding after each epoch (and first at epoch 0).

    The tensors of a yielded snapshot go on changing with the next epoch: copy or write what is to be kept. The order
    of the samples, their augmentation and what dropout drops depend on ``order_seed`` and the epoch alone, so a
    training resumed at any epoch goes the same way.

    Raises:
        Diverged: the loss of an epoch is NaN or infinite.
    """
    state = {name: tensor.clone() for name, tensor in start.state.items()}
    parameters = {name: state[name].requires_grad_() for name in graph.trained}
    optimizer = ConstrainedOptimizer(spec.optimizer, parameters, constraint)
    optimizer.load_state(start.optimizer)
    full = state | constants

    def epoch_event(epoch: int, began: float, metrics: dict[str, Metrics]) -> Epoch:
        metrics |= {split: evaluate(graph, full, data, split) for split in ("val", "test")}
        live = {name: tensor.detach() for name, tensor in state.items()}
        return Epoch(metrics, time.perf_counter() - began, Snapshot(epoch, live, optimizer.state()))

    if start.epoch == 0:
        began = time.perf_counter()
        yield epoch_event(0, began, {"train": evaluate(graph, full, data, "train")})
    for epoch in range(start.epoch + 1, spec.length + 1):
        began = time.perf_counter()
        tally = Tally()
        with _dropping(graph, derive_seed(order_seed, "dropout", epoch), data.train.inputs.device):
            for batch in batches_of(graph, spec, data, (order_seed,), epoch):
                optimizer.set_learning_rate(batch.learning_rate)
                logits = forward(graph, full, batch.inputs, training=True)
                loss = loss_of(logits, batch.targets)
                optimizer.step(loss)
                tally.add(logits.detach(), batch.targets, loss)
        event = epoch_event(epoch, began, {"train": tally.result()})
        if not finite(graph, event):
            raise Diverged(epoch)
        yield event


def finite(graph: Graph, event: Epoch) -> bool:
    """Whether the losses of an epoch, its weights and running statistics are finite numbers."""
    moving = (event.snapshot.state[name] for name in (*graph.parameters, *graph.running))  # masks hold infinities
    losses = (m.loss for m in event.metrics.values())
    return all(map(math.isfinite, losses)) and bool(torch.stack([tensor.isfinite().all() for tensor in moving]).all())


@contextmanager
def _dropping(graph: Graph, seed: int, device: torch.device) -> Iterator[None]:
    """Within it, dropout draws from ``seed``; what torch draws elsewhere goes on as if nothing had been."""
    if not graph.drops:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
