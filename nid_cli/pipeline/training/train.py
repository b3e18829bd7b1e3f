"""``nid train``: trains the missing members of a run and records them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nid_cli.graphs import graph_of
from nid_cli.pipeline import datasets, engines
from nid_cli.pipeline import fixed as fixed_tensors
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines import Engine
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.pipeline.removal import bring_back
from nid_cli.pipeline.training import starts, trunk
from nid_cli.pipeline.training.progress import Progress
from nid_cli.pipeline.training.recording import prepare, record, refuse_training_elsewhere
from nid_cli.pipeline.training.requests import Request
from nid_cli.pipeline.training.tasks import Failed, Finished, Message, Task
from nid_cli.registry import artifacts, groups, invocations, locks, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import FixedFile, Group
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.runs import Model
from nid_cli.specs import RunSpec

if TYPE_CHECKING:
    from nid_cli.data.file import DataFile
    from nid_cli.data.tensors import Data
    from nid_cli.nets.functional import State


@dataclass(frozen=True)
class Trained:
    """The outcome: the group, the run's models asked for, which of them this call trained, and what went wrong."""

    group: Group
    models: list[Model]
    metrics: dict[int, list[dict[str, Any]]]
    trained: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def train(context: Context, request: Request, *, name: str | None = None, workers: int | None = None) -> Trained:
    """Trains those members of a run that are missing; resumes what was cut off.

    Raises:
        Interrupted: the user stopped it; the same call goes on.
        NidError: the data are missing, the name is taken, the registry or the disk refuses.
    """
    spec, seeds, save_every = request.spec, request.seeds, request.save_every
    if name is not None:
        groups.check_name(name)
    if context.device not in ("auto", "cpu"):
        context.torch_device()
    path = locate(context.registry)
    existing = open_for_writing(context.registry) if path is not None and path.exists() else None
    if existing and (done := _already(existing, spec, seeds, save_every, name, context)):
        return done
    engine = engines.choose(context.torch_device(), workers)
    engine.prepare()
    # Before the registry is made or changed: what cannot be trained leaves nothing behind.
    data = _load(context, spec, request.file)
    tensors = fixed_tensors.draw(spec, request.description, data)
    if request.own is not None:
        graph, key = graph_of(spec, request.description), fixed_tensors.key_of(spec, tensors)
        starts.refuse_other_code(existing, request.own, graph, spec, key, seeds)
    registry = open_for_writing(context.registry, create=True)
    if request.file is not None:
        datasets.keep(registry, request.file)
    lock = registry.file(locks.of_run(spec.hash))
    waiting = locks.hold(lock, lambda holder: context.say(f"waiting: {holder} trains this already"))
    with writing_files(registry, context), waiting:
        done = _already(registry, spec, seeds, save_every, name, context)
        return done or _train(registry, context, engine, data, tensors, request, name)


def _load(context: Context, spec: RunSpec, file: DataFile | None) -> Data:
    from nid_cli.data.load import load, load_content

    context.progress("reading data", 0, 1, spec.data.name)
    if file is not None:
        data = load_content(spec.data.name, spec.data.parameters, file.content)
    elif spec.data.content is not None:  # of a group that is there
        data = datasets.load_data(open_for_writing(context.registry), context, spec.data)
    else:
        data = load(spec.data.name, spec.data.parameters, context.data_folder)
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
    if group.deleted_at is not None:
        bring_back(registry, context, group.key, name)
    with registry.read() as connection:
        group = groups.by_id(connection, group.id)
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
    engine: Engine,
    data: Data,
    tensors: State,
    request: Request,
    name: str | None,
) -> Trained:
    spec, seeds, description = request.spec, request.seeds, request.description
    device = context.torch_device()
    bring_back(registry, context, fixed_tensors.key_of(spec, tensors), name)
    fixed = fixed_tensors.write_fixed(registry, tensors)
    origin, fingerprint = invocations.describe("train", context.argv, str(device)), data.fingerprint()
    if registry.on_network:
        context.say(
            f"{registry.folder} is on a network file system: SQLite uses a rollback journal there, and is slower"
        )
    if request.own is not None:
        starts.lay(registry, context, request.own, spec, seeds)
    with recording(registry, "epochs up to each model's last checkpoint are kept") as call:
        with registry.write() as connection:
            refuse_training_elsewhere(connection, spec)
            invocation = call.begin(connection, origin)
            group, left = prepare(connection, spec, seeds, name, fixed, fingerprint, invocation, description)
        tasks = [_task(registry, spec, request.save_every, fixed, description, model) for model in left]
        by_model = {task.model_id: task for task in tasks}
        problems: list[str] = []
        context.say(
            f"{group.name}: training {len(tasks)} of {seeds} models, "
            f"{spec.length} {'epoch' if spec.length == 1 else 'epochs'}, {engine.describe(len(tasks))}"
        )
        progress = Progress(context, tasks)
        if spec.spawn_epoch is not None:
            context.say(f"they are copies of one trunk, which part after its epoch {spec.spawn_epoch}")
        with closing(trunk.run(context, engine, tasks, data)) as messages:
            for message in messages:
                record(registry, message)
                progress.tell(message)
                if problem := _ended(message, by_model):
                    problems.append(problem)
    with registry.read() as connection:
        run = runs.find_run(connection, spec)
        assert run is not None
        members = [m for m in runs.models_of(connection, run_id=run[0]) if m.member <= seeds]
        metrics = runs.metrics_of(connection, [m.id for m in members])
    return Trained(group, members, metrics, [t.number for t in tasks], problems)


def _task(
    registry: Registry, spec: RunSpec, save_every: int, fixed: FixedFile | None, description: str | None, model: Model
) -> Task:
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
        description=description,
    )


def _ended(message: Message, tasks: dict[int, Task]) -> str | None:
    """Tidies up after a model that ended; returns what went wrong with it, if anything did."""
    if not isinstance(message, Finished | Failed):
        return None
    task = tasks[message.model_id]
    if isinstance(message, Failed) and message.epoch is None:
        return f"model {task.number}: {message.reason}; the same command goes on from its last checkpoint"
    for name in (artifacts.RESUME, artifacts.START):  # nothing to go on with
        (task.folder / name).unlink(missing_ok=True)
    return f"model {task.number}: {message.reason}" if isinstance(message, Failed) else None
