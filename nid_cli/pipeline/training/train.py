"""``nid train``: trains the missing members of a run and records them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nid_cli.errors import RegistryError
from nid_cli.graphs import graph_of
from nid_cli.pipeline import datasets
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.fixed import write_fixed
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.pipeline.removal import bring_back
from nid_cli.registry import artifacts, groups, invocations, locks, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import FixedFile, Group
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.runs import Model
from nid_cli.specs import RunSpec, derive_seed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nid_cli.data.file import DataFile
    from nid_cli.data.tensors import Data
    from nid_cli.pipeline.training.member import Message, Task


# The line of progress for all models together.
ALL_MODELS = "models"


@dataclass(frozen=True)
class Trained:
    """The outcome: the group, the run's models asked for, which of them this call trained, and what went wrong."""

    group: Group
    models: list[Model]
    metrics: dict[int, list[dict[str, Any]]]
    trained: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def train(
    context: Context,
    spec: RunSpec,
    *,
    seeds: int,
    save_every: int,
    name: str | None = None,
    workers: int | None = None,
    file: DataFile | None = None,
) -> Trained:
    """Trains members 1..``seeds`` of the run ``spec``, those that are missing; resumes what was cut off.

    Args:
        file: the data set, where it is a file of tensors.

    Raises:
        Interrupted: the user stopped it; the same call goes on.
        NidError: the data are missing, the name is taken, the registry or the disk refuses.
    """
    if name is not None:
        groups.check_name(name)
    if context.device not in ("auto", "cpu"):
        context.torch_device()
    existing = locate(context.registry)
    if existing is not None and existing.exists():
        registry = open_for_writing(context.registry)
        _bring_back(registry, spec, name, context)
        if done := _already(registry, spec, seeds, save_every, name, context):
            return done
    data = _load(context, spec, file)  # before the registry is made: data that are not there leave nothing behind
    registry = open_for_writing(context.registry, create=True)
    if file is not None:
        datasets.keep(registry, file)
    lock = registry.file(locks.of_run(spec.hash))
    waiting = locks.hold(lock, lambda holder: context.say(f"waiting: {holder} trains this already"))
    with writing_files(registry, context), waiting:
        done = _already(registry, spec, seeds, save_every, name, context)
        return done or _train(registry, context, data, spec, seeds, save_every, name, workers)


def _bring_back(registry: Registry, spec: RunSpec, name: str | None, context: Context) -> None:
    """The group of this run, if it was removed: what is asked for is there already."""
    with registry.read() as connection:
        found = runs.find_run(connection, spec)
        group = groups.by_id(connection, found[1]) if found else None
    if group is not None:
        bring_back(registry, context, group.key, name)


def _load(context: Context, spec: RunSpec, file: DataFile | None) -> Data:
    from nid_cli.pipeline.engines.local import start_server

    if context.device in ("auto", "cpu"):
        start_server()
    from nid_cli.data.load import load, load_content

    context.progress("reading data", 0, 1, spec.data.name)
    if file is None:
        data = load(spec.data.name, spec.data.parameters, context.data_folder)
    else:
        data = load_content(spec.data.name, spec.data.parameters, file.content)
    context.progress("reading data", 1, 1, spec.data.name)
    return data


def _already(
    registry: Registry, spec: RunSpec, seeds: int, save_every: int, name: str | None, context: Context
) -> Trained | None:
    """The outcome if there is nothing to train: all members asked for ended. Imports no torch."""
    with registry.read() as connection:
        if (found := runs.find_run(connection, spec)) is None:
            return None
        members = [m for m in runs.models_of(connection, run_id=found[0]) if m.member <= seeds]
        if len(members) < seeds or any(m.status not in ("complete", "failed") for m in members):
            return None
        group = groups.by_id(connection, found[1])
        metrics = runs.metrics_of(connection, [m.id for m in members])
    if name is not None and name != group.name:
        context.say(f"the group is already called {group.name}; nid group rename {group.name} {name} renames it")
    wanted = {e for e in range(spec.length + 1) if e % save_every == 0}
    if not wanted <= set(members[0].checkpoints) and members[0].status == "complete":
        context.say("the checkpoints are those of the first training; --save-every acts on new models only")
    return Trained(group, members, metrics, problems=_failures(members))


def _failures(members: Iterable[Model]) -> list[str]:
    return [
        f"model {m.number} diverged in epoch {m.failed_epoch}: its loss was not a number"
        for m in members
        if m.status == "failed"
    ]


def _train(
    registry: Registry,
    context: Context,
    data: Data,
    spec: RunSpec,
    seeds: int,
    save_every: int,
    name: str | None,
    workers: int | None,
) -> Trained:
    device = context.torch_device()
    fixed = _draw_fixed(registry, spec)
    origin, fingerprint = invocations.describe("train", context.argv, str(device)), data.fingerprint()
    if registry.on_network:
        context.say(
            f"{registry.folder} is on a network file system: SQLite uses a rollback journal there, and is slower"
        )
    bring_back(registry, context, groups.group_key(spec, fixed.hash if fixed else None), name)
    with recording(registry, "epochs up to each model's last checkpoint are kept") as call:
        with registry.write() as connection:
            _refuse_training_elsewhere(connection, spec)
            invocation = call.begin(connection, origin)
            group, left = _prepare(connection, spec, seeds, name, fixed, fingerprint, invocation)
        tasks = [_task(registry, spec, save_every, fixed, model) for model in left]
        by_model = {task.model_id: task for task in tasks}
        problems: list[str] = []
        context.say(
            f"{group.name}: training {len(tasks)} of {seeds} models, {spec.length} epochs, "
            + (f"{min(workers or _cores(), len(tasks))} at a time" if device.type == "cpu" else f"on {device}")
        )
        progress = _Progress(context, tasks)
        with closing(_messages(tasks, data, device, workers)) as messages:
            for message in messages:
                _record(registry, message)
                progress.tell(message)
                if problem := _ended(message, by_model):
                    problems.append(problem)
    with registry.read() as connection:
        run = runs.find_run(connection, spec)
        assert run is not None
        members = [m for m in runs.models_of(connection, run_id=run[0]) if m.member <= seeds]
        metrics = runs.metrics_of(connection, [m.id for m in members])
    return Trained(group, members, metrics, [t.number for t in tasks], problems)


def _refuse_training_elsewhere(connection: Connection, spec: RunSpec) -> None:
    """We hold the run's lock, which keeps this machine's processes apart; where it does not reach, heartbeats do."""
    found = runs.find_run(connection, spec)
    members = runs.models_of(connection, run_id=found[0]) if found else []
    busy = runs.invocations_of(connection, [m.id for m in members if m.status == "training"])
    for call in invocations.running(connection):
        if call.id in busy and not call.is_here and call.is_alive:
            raise RegistryError(
                f"{call} trains this; its last sign of life came at {call.last_sign}",
                "wait for it; five minutes without a sign and it is taken for gone",
            )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_fixed(registry: Registry, spec: RunSpec) -> FixedFile | None:
    """Draws the group's fixed tensors and has them on disk."""
    from nid_cli.nets.symmetry import draw_fixed, rule_of

    rule = rule_of(spec.symmetry.name)
    return write_fixed(registry, draw_fixed(rule, graph_of(spec), spec.symmetry.num_fixed, _mask_seed(spec)))


def _mask_seed(spec: RunSpec) -> int:
    assert spec.seed is not None
    return derive_seed(spec.seed, "mask")


def _prepare(
    connection: Connection,
    spec: RunSpec,
    seeds: int,
    name: str | None,
    fixed: FixedFile | None,
    fingerprint: str,
    invocation: int,
) -> tuple[Group, list[Model]]:
    """Group, run and models in the registry, and the models that are left to train."""
    assert spec.seed is not None
    group = groups.find_or_create(
        connection,
        spec=spec,
        fixed=fixed,
        data_fingerprint=fingerprint,
        name=name,
    )
    groups.agree_on_data(connection, group, fingerprint)
    found = runs.find_run(connection, spec)
    run_id = found[0] if found else runs.create_run(connection, spec, spec.hash, group.id, _mask_seed(spec), invocation)
    present = {m.member for m in runs.models_of(connection, run_id=run_id)}
    for member in range(1, seeds + 1):
        if member not in present:
            runs.add_model(
                connection,
                group_id=group.id,
                run_id=run_id,
                member=member,
                invocation_id=invocation,
                status="training",
                init_seed=derive_seed(spec.seed, "init", member),
                order_seed=derive_seed(spec.seed, "order", member),
            )
    members = runs.models_of(connection, run_id=run_id)
    left = [m for m in members if m.member <= seeds and m.status not in ("complete", "failed")]
    # We hold the run's lock: whoever trained these models before is gone.
    invocations.abandon(connection, runs.invocations_of(connection, [m.id for m in left]) - {invocation})
    runs.set_status(connection, [m.id for m in left], "training", invocation_id=invocation)
    return group, left


def _task(registry: Registry, spec: RunSpec, save_every: int, fixed: FixedFile | None, model: Model) -> Task:
    from nid_cli.pipeline.training.member import Task

    assert model.init_seed is not None and model.order_seed is not None
    relative = runs.model_folder(spec.hash, model.member)
    return Task(
        model_id=model.id,
        number=model.number,
        spec=spec,
        init_seed=model.init_seed,
        order_seed=model.order_seed,
        save_every=save_every,
        folder=registry.file(relative),
        relative=relative,
        fixed=(registry.file(fixed.path), fixed.sha256) if fixed else None,
    )


def _messages(tasks: list[Task], data: Data, device: Any, workers: int | None) -> Generator[Message, None, None]:
    """Messages of all trainings: from worker processes on the CPU, one after another on a GPU."""
    if device.type == "cpu":
        from nid_cli.pipeline.engines.local import train_in_workers

        yield from train_in_workers(tasks, data.share_memory(), workers or _cores())
        return
    from nid_cli.pipeline.training.member import train_member

    moved = data.to(device)
    for task in tasks:
        yield from train_member(task, moved, device)


def _record(registry: Registry, message: Message) -> None:
    """Writes what a message says, in one short transaction."""
    from nid_cli.pipeline.training import member

    with registry.write() as connection:
        match message:
            case member.EpochDone(model_id, epoch, values):
                runs.record_epoch(connection, model_id, epoch, values)
            case member.Saved(model_id, checkpoint, size):
                runs.record_checkpoint(connection, model_id, checkpoint, size)
            case member.Finished(model_id):
                runs.set_status(connection, [model_id], "complete")
            case member.Failed(model_id, None, _):
                runs.set_status(connection, [model_id], "interrupted")
            case member.Failed(model_id, epoch, _):
                runs.set_status(connection, [model_id], "failed", failed_epoch=epoch)


class _Progress:
    """What the user is told: how far all models are together, and each that runs."""

    def __init__(self, context: Context, tasks: Sequence[Task]) -> None:
        self.context, self.tasks = context, {task.model_id: task for task in tasks}
        self.epochs = dict.fromkeys(self.tasks, 0.0)
        self.ended = 0
        self._whole()

    def _whole(self) -> None:
        done = sum(self.epochs.values()) / max(1, *(task.spec.length for task in self.tasks.values()))
        self.context.progress(ALL_MODELS, done, len(self.tasks), f"{self.ended} of {len(self.tasks)} models done")

    def tell(self, message: Message) -> None:
        """Passes on an epoch, or a model's end: its line has nothing more to say then."""
        from nid_cli.pipeline.training.member import EpochDone, Failed, Finished

        task = self.tasks[message.model_id]
        total = task.spec.length
        if isinstance(message, EpochDone):
            detail = f"loss {message.values['train_loss']:.4f}  accuracy {message.values['train_accuracy']:.2f} %"
            self.epochs[message.model_id] = message.epoch
            self.context.progress(f"model {task.number}", message.epoch, total, detail)
        if isinstance(message, Finished | Failed):
            self.epochs[message.model_id] = total
            self.ended += 1
            self.context.progress(f"model {task.number}", total, total, "")  # its line goes
        self._whole()


def _ended(message: Message, tasks: dict[int, Task]) -> str | None:
    """Tidies up after a model that ended; returns what went wrong with it, if anything did."""
    from nid_cli.pipeline.training.member import Failed, Finished

    if not isinstance(message, Finished | Failed):
        return None
    task = tasks[message.model_id]
    if isinstance(message, Failed) and message.epoch is None:
        return f"model {task.number}: {message.reason}; the same command goes on from its last checkpoint"
    (task.folder / artifacts.RESUME).unlink(missing_ok=True)  # nothing to go on with
    return f"model {task.number}: {message.reason}" if isinstance(message, Failed) else None
