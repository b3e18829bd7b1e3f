"""One run in training: its lock and rows, the tasks that can be sent, and what came of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli.errors import NidError
from nid_cli.graphs import graph_of
from nid_cli.pipeline import datasets
from nid_cli.pipeline import fixed as fixed_tensors
from nid_cli.pipeline.engines.jobs import Job
from nid_cli.pipeline.pool import TRIES
from nid_cli.pipeline.removal import bring_back
from nid_cli.pipeline.training import starts, trunk
from nid_cli.pipeline.training.keeping import Kept
from nid_cli.pipeline.training.outcome import Trained, already, outcome_of
from nid_cli.pipeline.training.recording import prepare, record, record_end, refuse_training_elsewhere
from nid_cli.pipeline.training.requests import Request
from nid_cli.pipeline.training.session import Session
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished, Members, Message, Saved, Stacked, Start, Task
from nid_cli.pipeline.training.trunk import TRUNK_ID
from nid_cli.registry import artifacts, groups, locks, runs, sweeps
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.runs import Model

if TYPE_CHECKING:
    from nid_cli.data.tensors import Data
    from nid_cli.pipeline.engines import Engine

# What a worker takes before it has a model: Python with torch.
WORKER_BYTES = 400 * 2**20
_GOES_ON = "; the same command goes on from its last checkpoint"
WORK = "nid_cli.pipeline.training.member:train"


@dataclass(eq=False)
class Sent:
    """What is at work in one job: the run's tasks that have not ended, by model id."""

    run: RunInTraining
    tasks: dict[int, Task]


class RunInTraining:
    """Members 1..``seeds`` of a run: those that are missing are trained, what was cut off is resumed.

    :meth:`find`, then :meth:`open`, then :meth:`next` and what jobs say until :attr:`is_done`, then :meth:`close`.

    Args:
        name: of a new group.
        stack: how many members one worker trains side by side; None: all, where jobs have a GPU, else one.
    """

    def __init__(self, session: Session, request: Request, name: str | None = None, stack: int | None = None) -> None:
        self.session, self.request, self.name, self.stack = session, request, name, stack
        self.outcome: Trained | None = None
        self.error: NidError | None = None
        self.problems: list[str] = []
        self.tasks: list[Task] = []
        self.keys: tuple[str, str | None] = ("", None)
        self._ready: list[Task] = []
        self._copies: list[Task] = []
        self._kept: dict[int, Kept] = {}
        self._losses = Counter[int]()
        self._at_work = 0
        self._together, self._bytes = 1, 0
        self._exits = ExitStack()
        self._registry: Registry | None = None
        self.group: Group | None = None

    def find(self) -> bool:
        """Whether there is nothing to train: all members asked for ended. Imports no torch.

        Raises:
            UsageError: the name cannot be one, or is taken.
        """
        if self.name is not None:
            groups.check_name(self.name)
        existing = self.session.existing
        self.outcome = already(existing, self.request, self.name, self.session.context) if existing else None
        return self.outcome is not None

    def open(self, engine: Engine, wait: bool = True) -> bool:
        """Gets all ready to be sent. Before the registry is made or changed: what cannot be trained leaves nothing.

        Args:
            wait: for another process that trains the run; else the answer is whether none does.

        Raises:
            NidError: the data are missing, the name is taken, the registry or the disk refuses.
        """
        request, session, context = self.request, self.session, self.session.context
        spec, description = request.spec, request.description
        data = session.data(request)
        tensors = fixed_tensors.draw(spec, description, data)
        if request.own is not None:
            graph, key = graph_of(spec, description), fixed_tensors.key_of(spec, tensors)
            starts.refuse_other_code(session.existing, request.own, graph, spec, key, request.seeds)
        registry = self._registry = session.begin()
        if request.file is not None:
            datasets.keep(registry, request.file)
        lock = registry.file(locks.of_run(spec.hash))
        if wait:
            held = locks.hold(lock, lambda holder: context.say(f"waiting: {holder} trains this already"))
            self._exits.enter_context(held)
        elif not self._exits.enter_context(locks.hold_now(lock)):
            self.release()
            return False
        self.outcome = already(registry, request, self.name, context)
        if self.outcome is not None:
            self.release()
            return True
        bring_back(registry, context, fixed_tensors.key_of(spec, tensors), self.name)
        fixed = fixed_tensors.write_fixed(registry, tensors)
        if request.own is not None:
            starts.lay(registry, context, request.own, spec, request.seeds)
        fingerprint = session.fingerprint(request)
        with registry.write() as connection:
            refuse_training_elsewhere(connection, spec)
            invocation = session.invocation(connection)
            self.group, left = prepare(
                connection, spec, request.seeds, self.name, fixed, fingerprint, invocation, description
            )
            if context.sweep is not None:
                sweeps.add_group(connection, context.sweep, self.group.id)
        content = artifacts.read_verified(registry.file(fixed.path), fixed.sha256) if fixed else None
        self.keys = session.share(engine, request, content)
        self._size(engine, data)
        self.tasks = [self._task(model) for model in left]
        self._hold_trunk()
        return True

    def _size(self, engine: Engine, data: Data) -> None:
        """How many members go into a job, and how much memory each takes."""
        graph = graph_of(self.request.spec, self.request.description)
        shares = engine.slots() if engine.has_gpus() else self.request.seeds  # no GPU waits while another has them all
        self._together = self.stack or max(1, math.ceil(self.request.seeds / shares))
        if self._together > 1:
            from nid_cli.nets.stackable import stackable

            if (reason := stackable(graph)) is not None:
                self._together = 1
                if self.stack is not None:
                    self.session.context.say(f"{self.request.spec.network.arch} is not stacked: {reason}")
        if engine.weighs():
            from nid_cli.training.memory import bytes_of

            # On a GPU the worker sees itself how many have room there.
            self._bytes = 0 if engine.has_gpus() else bytes_of(graph, data, self.request.spec)

    def _task(self, model: Model) -> Task:
        assert model.init_seed is not None and model.order_seed is not None and self._registry is not None
        self._kept[model.id] = Kept(self._registry, runs.model_folder(self.request.spec.hash, model.member))
        return Task(
            model_id=model.id,
            number=model.number,
            spec=self.request.spec,
            init_seed=model.init_seed,
            order_seed=model.order_seed,
            save_every=self.request.save_every,
            description=self.request.description,
        )

    def _hold_trunk(self) -> None:
        """Copies that have not parted from their trunk wait for it."""
        spec = self.request.spec
        self._copies = [task for task in self.tasks if trunk.lacks(spec, self._kept[task.model_id].folder)]
        self._ready = [task for task in self.tasks if task not in self._copies]
        if self._copies:
            assert self._registry is not None
            first = self._copies[0]
            kept = Kept(self._registry, trunk.folder_of(self._kept[first.model_id].relative))
            if not trunk.is_whole(kept.folder):
                (kept.folder / artifacts.RESUME).unlink(missing_ok=True)
            self._kept[TRUNK_ID] = kept
            self._ready.insert(0, trunk.of(first))

    def number_of(self, model_id: int) -> int:
        """A model's number in its group."""
        return next(task.number for task in self.tasks if task.model_id == model_id)

    @property
    def is_done(self) -> bool:
        """Whether all tasks have ended."""
        return not (self._ready or self._copies or self._at_work)

    def next(self) -> tuple[Sent, Job] | None:
        """As many tasks as one worker trains side by side, from the same epoch on; None where none is ready."""
        tasks, begin = list[Task](), list[Start]()
        for task in list(self._ready):
            start = self._begin(task)
            if begin and start.epoch != begin[0].epoch:
                continue
            self._ready.remove(task)
            tasks.append(task)
            begin.append(start)
            if len(tasks) == self._together or task.model_id == TRUNK_ID:
                break
        if not tasks:
            return None
        self._at_work += 1
        data, fixed = self.keys
        members = Members(tasks=tuple(tasks), starts=tuple(begin), data=data, fixed=fixed)
        shared = (data,) if fixed is None else (data, fixed)
        sent = Sent(self, {task.model_id: task for task in tasks})
        memory = WORKER_BYTES + len(tasks) * self._bytes
        return sent, Job(work=WORK, payload=members, shared=shared, memory=memory)

    def _begin(self, task: Task) -> Start:
        """Where a task starts; what was said until there is recorded (again)."""
        kept = self._kept[task.model_id]
        start = kept.start(own=self.request.own is not None)
        if task.model_id != TRUNK_ID and start.epoch is not None:
            epochs, saved = kept.said(task.model_id)
            self._record(epochs, [(task.model_id, *one) for one in saved])
        return start

    def _record(self, epochs: Iterable[EpochDone], saved: Iterable[tuple[int, Any, int]]) -> None:
        self.session.write(lambda connection: record(connection, epochs, saved))

    def take(self, sent: Sent, message: Message) -> None:
        """Keeps what a message says."""
        kept = self._kept[message.model_id]
        is_model = message.model_id != TRUNK_ID
        match message:
            case Stacked(model_id, numbers):
                self.session.write(lambda connection: runs.record_stack(connection, model_id, numbers))
            case EpochDone():
                kept.hear(message)
                if is_model:
                    self._record([message], [])
            case Saved():
                self._losses[message.model_id] = 0
                saved = kept.save(message)
                if is_model:
                    self._record([], [(message.model_id, *saved)])
            case Finished() | Failed():
                del sent.tasks[message.model_id]
                self._end(message, kept)

    def _end(self, message: Finished | Failed, kept: Kept) -> None:
        if message.model_id == TRUNK_ID:
            self._part(message, kept)
            return
        has_ended = isinstance(message, Finished) or message.epoch is not None
        self.session.write(lambda connection: record_end(connection, message), then=kept.end if has_ended else None)
        if isinstance(message, Failed):
            ending = _GOES_ON if message.epoch is None else ""
            self.problems.append(f"model {self.number_of(message.model_id)}: {message.reason}{ending}")
        kept.resume.optimizer = b""  # memory, not a file

    def _part(self, message: Finished | Failed, kept: Kept) -> None:
        """The trunk has ended: copies go on from it, or end as it did."""
        copies, self._copies = self._copies, []
        diverged = isinstance(message, Failed) and message.epoch is not None
        if isinstance(message, Finished) or (diverged and kept.resume.saved):  # one that diverged at once saved nothing
            for task in copies:
                trunk.copy(kept, self._kept[task.model_id])
        if isinstance(message, Finished):
            self._ready += copies
            return
        for task in copies:
            if diverged:
                own = self._kept[task.model_id]
                epochs = [EpochDone(task.model_id, one["epoch"], one["values"]) for one in kept.resume.messages]
                own.resume.saved = kept.resume.saved
                self._record(epochs, [(task.model_id, *one) for one in own.said(task.model_id)[1]])
            failed = Failed(task.model_id, message.epoch, f"the trunk of all copies: {message.reason}")
            self._end(failed, self._kept[task.model_id])

    def over(self, sent: Sent, error: NidError | None) -> None:
        """A job has ended; what has not ended with it failed."""
        self._at_work -= 1
        for model_id in list(sent.tasks):
            self.take(sent, Failed(model_id, None, error.message if error else "its worker ended without a word"))

    def lost(self, sent: Sent, reason: str) -> list[Task]:
        """A job was lost: its tasks go on from their last checkpoints, unless they were lost too often since.

        Returns:
            those that are sent again.
        """
        self._at_work -= 1
        self._losses.update(list(sent.tasks))
        for model_id in [i for i in sent.tasks if self._losses[i] >= TRIES]:
            self.take(sent, Failed(model_id, None, f"{reason}, {TRIES} times"))
        self._ready = [*sent.tasks.values(), *self._ready]
        return list(sent.tasks.values())

    def begun(self, sent: Sent, worker: Mapping[str, Any]) -> None:
        """Records who trains the models."""
        model_ids = [model_id for model_id in sent.tasks if model_id != TRUNK_ID]
        self.session.write(lambda connection: runs.record_worker(connection, model_ids, worker))

    def release(self) -> None:
        """Lets the run go: another process may train it."""
        self._exits.close()

    def close(self) -> None:
        """Lets the run go, and reads what it has."""
        self.release()
        self._kept.clear()
        if self.outcome is None and self.group is not None:
            assert self._registry is not None
            now = [task.number for task in self.tasks]
            self.outcome = outcome_of(self._registry, self.request, self.group, now, self.problems)
