"""Training one model, with its files: what every engine runs. Messages say what is safe on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nid_cli import files
from nid_cli.data.tensors import Data
from nid_cli.errors import NidError
from nid_cli.graphs import graph_of
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.storage import from_bytes, to_bytes
from nid_cli.nets.symmetry import constants_of, constraint, initial_state, lay_over, rule_of
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished, Message, Saved, Task
from nid_cli.registry import artifacts
from nid_cli.registry.runs import Checkpoint
from nid_cli.training.loop import Diverged, Snapshot, train_model


@dataclass
class Resume:
    """What the resume file holds: the optimizer's state at an epoch, and all that was announced until then."""

    epoch: int
    optimizer: State
    messages: list[dict[str, Any]]
    saved: list[dict[str, Any]]

    def write(self, path: Path) -> None:
        """Writes it, sealed."""
        header = json.dumps({"epoch": self.epoch, "messages": self.messages, "saved": self.saved}).encode()
        files.write_sealed(path, header + b"\n" + to_bytes(self.optimizer))

    @classmethod
    def read(cls, path: Path) -> Resume | None:
        """What was written; None where the file is missing or damaged."""
        content = files.read_sealed(path)
        if content is None:
            return None
        header, _, tensors = content.partition(b"\n")
        return cls(optimizer=from_bytes(tensors), **json.loads(header))


def where_cut_off(folder: Path) -> tuple[Resume, bytes] | None:
    """The last checkpoint that is whole on disk together with its optimizer state; None: the training has to begin."""
    resume = Resume.read(folder / artifacts.RESUME)
    if resume is None:
        return None
    last = resume.saved[-1]
    content = artifacts.read_if(folder / last["name"], last["sha256"])
    return None if content is None else (resume, content)


def _start(task: Task, graph: Graph, fixed: State) -> tuple[Snapshot, Resume | None]:
    """Where to begin: where the training was cut off, or with a drawn network."""
    if found := where_cut_off(task.folder):
        resume, content = found
        return Snapshot(resume.epoch, from_bytes(content), resume.optimizer), resume
    symmetry = task.spec.symmetry
    rule = rule_of(symmetry.name)
    if task.description is None:
        return Snapshot(0, initial_state(rule, graph, fixed, symmetry.kappa, task.init_seed)), None
    if (drawn := files.read_sealed(task.folder / artifacts.START)) is None:
        raise NidError(f"what the network's code drew for model {task.number} cannot be read from {task.folder}")
    return Snapshot(0, lay_over(rule, graph, fixed, symmetry.kappa, from_bytes(drawn))), None


def train_member(task: Task, data: Data, device: torch.device) -> Iterator[Message]:
    """Trains one model, writing its checkpoints; announces each epoch and each file once it is safe.

    A training that was cut off goes on from its last checkpoint and first repeats what it had announced, so that a
    listener who missed some of it ends with everything.
    """
    graph = graph_of(task.spec, task.description)
    fixed = from_bytes(artifacts.read_verified(*task.fixed)) if task.fixed else {}
    snapshot, resume = _start(task, graph, fixed)
    resume = resume or Resume(0, {}, [], [])
    for message in resume.messages:
        yield EpochDone(task.model_id, message["epoch"], message["values"])
    for saved in resume.saved:
        yield _announce(task, saved)
    if resume.messages and snapshot.epoch == task.last:
        yield Finished(task.model_id)
        return
    on_device = {name: tensor.to(device) for name, tensor in snapshot.state.items()}
    start = Snapshot(snapshot.epoch, on_device, snapshot.optimizer)
    rule = constraint(rule_of(task.spec.symmetry.name), graph, fixed, task.spec.symmetry.kappa).to(device)
    constants = {name: tensor.to(device) for name, tensor in constants_of(graph, fixed).items()}
    try:
        for event in train_model(graph, task.spec, data, rule, constants, start, task.order_seed):
            epoch = event.snapshot.epoch
            if epoch == 0 and resume.messages:
                continue  # announced before the interruption
            values = {"seconds": event.seconds}
            for split, metrics in event.metrics.items():
                values |= {f"{split}_loss": metrics.loss, f"{split}_accuracy": metrics.accuracy}
            resume.messages.append({"epoch": epoch, "values": values})
            yield EpochDone(task.model_id, epoch, values)
            if task.saved_at(epoch):
                content = to_bytes(event.snapshot.state)
                name = f"epoch-{epoch:06d}.safetensors"
                digest = files.write_atomic(task.folder / name, content)
                saved = {"name": name, "epoch": epoch, "sha256": digest, "size": len(content)}
                resume.saved.append(saved)
                resume.epoch, resume.optimizer = epoch, event.snapshot.optimizer
                resume.write(task.folder / artifacts.RESUME)
                yield _announce(task, saved)
            if epoch == task.last:
                break
    except Diverged as error:
        yield Failed(task.model_id, error.epoch, str(error))
        return
    yield Finished(task.model_id)


def _announce(task: Task, saved: dict[str, Any]) -> Saved:
    checkpoint = Checkpoint(saved["epoch"], f"{task.relative}/{saved['name']}", saved["sha256"])
    return Saved(task.model_id, checkpoint, saved["size"])
