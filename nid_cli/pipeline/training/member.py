"""Training the members of a run: what workers do. It reads and writes no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from nid_cli.data.tensors import Data
from nid_cli.graphs import graph_of
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.storage import from_bytes, to_bytes
from nid_cli.nets.symmetry import constants_of, constraint, initial_state, lay_over, rule_of
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished, Members, Message, Saved, Stacked, Start, Task
from nid_cli.training.loop import Diverged, Epoch, Snapshot, train_model


def train(members: Members, held: Mapping[str, Any], device: torch.device) -> Iterator[Message]:
    """The messages of all members: trained side by side as far as the device has memory for them."""
    data = held[members.data]
    fixed = from_bytes(held[members.fixed]) if members.fixed else {}
    pairs = list(zip(members.tasks, members.starts, strict=True))
    size = _side_by_side(members, data, device)
    for first in range(0, len(pairs), size):
        part = pairs[first : first + size]
        if len(part) == 1:
            yield from train_member(*part[0], fixed, data, device)
        else:
            numbers = tuple(task.number for task, _ in part)
            yield from (Stacked(task.model_id, numbers) for task, _ in part)
            yield from train_together(part, fixed, data, device)


def _side_by_side(members: Members, data: Data, device: torch.device) -> int:
    """How many of the members fit into a GPU's memory together; elsewhere all that were sent together."""
    if device.type != "cuda" or len(members.tasks) == 1:
        return len(members.tasks)
    from nid_cli.training.memory import how_many

    task = members.tasks[0]
    free, _ = torch.cuda.mem_get_info(device)
    return how_many(graph_of(task.spec, task.description), data, task.spec, free)


def train_member(task: Task, start: Start, fixed: State, data: Data, device: torch.device) -> Iterator[Message]:
    """The messages of one training, from where it starts on; epochs that were said before are not said again."""
    graph = graph_of(task.spec, task.description)
    snapshot = _snapshot(task, start, graph, fixed, device)
    symmetry = task.spec.symmetry
    rule = constraint(rule_of(symmetry.name), graph, fixed, symmetry.kappa).to(device)
    constants = {name: tensor.to(device) for name, tensor in constants_of(graph, fixed).items()}
    try:
        if start.epoch is None or start.epoch < task.last:
            for event in train_model(graph, task.spec, data, rule, constants, snapshot, task.order_seed):
                epoch = event.snapshot.epoch
                if start.epoch == epoch:
                    continue  # said before the interruption
                yield from _said(task, event)
                if epoch == task.last:
                    break
    except Diverged as error:
        yield Failed(task.model_id, error.epoch, str(error))
        return
    yield Finished(task.model_id)


def train_together(
    pairs: Sequence[tuple[Task, Start]], fixed: State, data: Data, device: torch.device
) -> Iterator[Message]:
    """The same for models of one run that start at the same epoch, of which each step is one step."""
    from nid_cli.training.stacked import train_stacked

    tasks, starts = zip(*pairs, strict=True)
    first = tasks[0]
    graph = graph_of(first.spec, first.description)
    snapshots = [_snapshot(task, start, graph, fixed, device) for task, start in pairs]
    symmetry = first.spec.symmetry
    rule = constraint(rule_of(symmetry.name), graph, fixed, symmetry.kappa).to(device)
    constants = {name: tensor.to(device) for name, tensor in constants_of(graph, fixed).items()}
    seeds = [task.order_seed for task in tasks]
    left = {task.model_id: task for task in tasks}
    if starts[0].epoch is None or starts[0].epoch < first.last:
        for outcomes in train_stacked(graph, first.spec, data, rule, constants, snapshots, seeds):
            for task, outcome in zip(tasks, outcomes, strict=True):
                if isinstance(outcome, Diverged):
                    del left[task.model_id]
                    yield Failed(task.model_id, outcome.epoch, str(outcome))
                elif outcome is not None and outcome.snapshot.epoch != starts[0].epoch:
                    yield from _said(task, outcome)
    for model_id in left:
        yield Finished(model_id)


def _said(task: Task, event: Epoch) -> Iterator[Message]:
    """What there is to say of an epoch."""
    epoch, values = event.snapshot.epoch, {"seconds": event.seconds}
    for split, metrics in event.metrics.items():
        values |= {f"{split}_loss": metrics.loss, f"{split}_accuracy": metrics.accuracy}
    yield EpochDone(task.model_id, epoch, values)
    if task.saved_at(epoch):
        yield Saved(task.model_id, epoch, to_bytes(event.snapshot.state), to_bytes(event.snapshot.optimizer))


def _snapshot(task: Task, start: Start, graph: Graph, fixed: State, device: torch.device) -> Snapshot:
    """Where to begin: where the training was cut off, or with a drawn network."""
    symmetry = task.spec.symmetry
    rule = rule_of(symmetry.name)
    optimizer = from_bytes(start.optimizer) if start.optimizer is not None else {}
    if start.state is None:
        state = initial_state(rule, graph, fixed, symmetry.kappa, task.init_seed)
    elif start.epoch is None:
        state = lay_over(rule, graph, fixed, symmetry.kappa, from_bytes(start.state))
    else:
        state = from_bytes(start.state)
    return Snapshot(start.epoch or 0, {name: tensor.to(device) for name, tensor in state.items()}, optimizer)
