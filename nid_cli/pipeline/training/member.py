"""Training one model, with its files: what a worker process runs. Messages say what is safe on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nid_cli import files
from nid_cli.data.tensors import Data
from nid_cli.graphs import graph_of
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.storage import from_bytes, to_bytes
from nid_cli.nets.symmetry import constraint, gates, initial_state, rule_of
from nid_cli.registry import artifacts
from nid_cli.registry.runs import Checkpoint
from nid_cli.specs import RunSpec
from nid_cli.training.loop import Diverged, Snapshot, train_model


@dataclass(frozen=True, kw_only=True)
class Task:
    """One model to train. ``folder`` is absolute, ``relative`` the same within the registry's folder."""

    model_id: int
    number: int
    spec: RunSpec
    init_seed: int
    order_seed: int
    save_every: int
    folder: Path
    relative: str
    fixed: tuple[Path, str] | None

    def saved_at(self, epoch: int) -> bool:
        """Whether ``epoch`` leaves a checkpoint: the first, every ``save_every``-th and the last do."""
        return epoch in (0, self.spec.length) or epoch % self.save_every == 0


@dataclass(frozen=True)
class EpochDone:
    """Metrics of one epoch, flat: ``train_loss`` ... ``test_accuracy``, ``seconds``."""

    model_id: int
    epoch: int
    values: dict[str, float]


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is safe on disk."""

    model_id: int
    checkpoint: Checkpoint
    size: int


@dataclass(frozen=True)
class Finished:
    """The model is trained; its last checkpoint was announced before."""

    model_id: int


@dataclass(frozen=True)
class Failed:
    """The model cannot be trained: it diverged in ``epoch``, or (``epoch`` None) its process met an error."""

    model_id: int
    epoch: int | None
    reason: str


Message = EpochDone | Saved | Finished | Failed


@dataclass
class _Progress:
    """What the resume file holds: the optimizer's state at an epoch, and all that was announced until then."""

    epoch: int
    optimizer: State
    messages: list[dict[str, Any]]
    saved: list[dict[str, Any]]

    def write(self, path: Path) -> None:
        header = json.dumps({"epoch": self.epoch, "messages": self.messages, "saved": self.saved}).encode()
        files.write_sealed(path, header + b"\n" + to_bytes(self.optimizer))

    @classmethod
    def read(cls, path: Path) -> _Progress | None:
        content = files.read_sealed(path)
        if content is None:
            return None
        header, _, tensors = content.partition(b"\n")
        return cls(optimizer=from_bytes(tensors), **json.loads(header))


def _start(task: Task, graph: Graph, fixed: State) -> tuple[Snapshot, _Progress | None]:
    """Where to begin: after the last checkpoint that is whole on disk together with its optimizer state."""
    progress = _Progress.read(task.folder / artifacts.RESUME)
    if progress is not None:
        last = progress.saved[-1]
        content = artifacts.read_if(task.folder / last["name"], last["sha256"])
        if content is not None:
            return Snapshot(progress.epoch, from_bytes(content), progress.optimizer), progress
    symmetry = task.spec.symmetry
    return Snapshot(0, initial_state(rule_of(symmetry.name), graph, fixed, symmetry.kappa, task.init_seed)), None


def train_member(task: Task, data: Data, device: torch.device) -> Iterator[Message]:
    """Trains one model, writing its checkpoints; announces each epoch and each file once it is safe.

    A training that was cut off goes on from its last checkpoint and first repeats what it had announced, so that a
    listener who missed some of it ends with everything.
    """
    graph = graph_of(task.spec)
    fixed = from_bytes(artifacts.read_verified(*task.fixed)) if task.fixed else {}
    snapshot, progress = _start(task, graph, fixed)
    progress = progress or _Progress(0, {}, [], [])
    for message in progress.messages:
        yield EpochDone(task.model_id, message["epoch"], message["values"])
    for saved in progress.saved:
        yield _announce(task, saved)
    on_device = {name: tensor.to(device) for name, tensor in snapshot.state.items()}
    start = Snapshot(snapshot.epoch, on_device, snapshot.optimizer)
    rule = constraint(rule_of(task.spec.symmetry.name), graph, fixed, task.spec.symmetry.kappa).to(device)
    gate_state = {name: tensor.to(device) for name, tensor in gates(fixed).items()}
    try:
        for event in train_model(graph, task.spec, data, rule, gate_state, start, task.order_seed):
            epoch = event.snapshot.epoch
            if epoch == 0 and progress.messages:
                continue  # announced before the interruption
            values = {"seconds": event.seconds}
            for split, metrics in event.metrics.items():
                values |= {f"{split}_loss": metrics.loss, f"{split}_accuracy": metrics.accuracy}
            progress.messages.append({"epoch": epoch, "values": values})
            yield EpochDone(task.model_id, epoch, values)
            if task.saved_at(epoch):
                content = to_bytes(event.snapshot.state)
                name = f"epoch-{epoch:06d}.safetensors"
                digest = files.write_atomic(task.folder / name, content)
                saved = {"name": name, "epoch": epoch, "sha256": digest, "size": len(content)}
                progress.saved.append(saved)
                progress.epoch, progress.optimizer = epoch, event.snapshot.optimizer
                progress.write(task.folder / artifacts.RESUME)
                yield _announce(task, saved)
    except Diverged as error:
        yield Failed(task.model_id, error.epoch, str(error))
        return
    yield Finished(task.model_id)


def _announce(task: Task, saved: dict[str, Any]) -> Saved:
    checkpoint = Checkpoint(saved["epoch"], f"{task.relative}/{saved['name']}", saved["sha256"])
    return Saved(task.model_id, checkpoint, saved["size"])
