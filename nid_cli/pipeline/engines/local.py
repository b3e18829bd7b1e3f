"""Worker processes of this machine: each works off one job after another, with one thread, and talks through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from nid_cli.pipeline.engines import worker
from nid_cli.pipeline.engines.jobs import Event, Job, Lost, Over, Place, Said

# A job that took less is followed by one that lies ready.
QUICK_S = 2.0
# What a pipe takes without a reader, on any system, with room to spare.
SMALL_BYTES = 2**14


def _method() -> str:
    """A fork server imports torch once for all workers; where there is none, each worker starts afresh."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _start_server(modules: Sequence[str]) -> None:
    """Begins to import torch and ``modules`` in the fork server, while the caller still does so, or reads its data."""
    if _method() == "forkserver":
        import multiprocessing.forkserver as server
        from multiprocessing import resource_tracker

        multiprocessing.set_forkserver_preload([__name__, "torch", *modules])
        resource_tracker.ensure_running()  # it lets SIGINT through again
        # Ctrl-C reaches the whole foreground group; the server would complain of it while it imports.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with(alive: Connection) -> None:
    """Ends this process as soon as the parent's end of the pipe closes, even by kill -9."""
    try:
        alive.recv()
    except (EOFError, OSError):
        os._exit(1)


def _work(connection: Connection, alive: Connection, threads: int | None) -> None:
    """A worker's life: (values it lacks, values to let go, number, job) in, (number, whether over, message) out."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole foreground group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(alive,), daemon=True).start()
    if threads is not None:
        torch.set_num_threads(threads)
    held: dict[str, Any] = {}
    while True:
        new, old, number, job = connection.recv()
        held = {key: value for key, value in held.items() if key not in old} | new
        try:
            for message in worker.messages(job, held, torch.device("cpu")):
                connection.send((number, False, message))
            connection.send((number, True, None))
        except Exception as error:
            connection.send((number, True, worker.failure(error)))


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Worker:
    """A process, the driver's ends of its pipes, what it holds, and the jobs that it has, the one at work first.

    ``quick``: whether its last job took so little time that another one is to lie ready when it ends.
    """

    process: Any
    connection: Connection
    alive: Connection
    held: set[str] = field(default_factory=set)
    jobs: deque[tuple[int, Job]] = field(default_factory=deque)
    since: float = 0.0
    quick: bool = False

    @property
    def room(self) -> int:
        """How many jobs more it takes."""
        return (2 if self.quick else 1) - len(self.jobs)


class Local:
    """The engine of the CPU: at most ``workers`` processes at a time, as many as there are cores where it is None."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._shared: dict[str, Any] = {}
        self._waiting: deque[tuple[int, Job]] = deque()
        self._workers: list[_Worker] = []

    def prepare(self) -> None:
        """The server of worker processes imports what they need."""
        _start_server(self.place.modules)

    def describe(self, jobs: int) -> str:
        """How many jobs run side by side."""
        return f"{min(self.slots(), jobs)} at a time"

    def slots(self) -> int:
        """As many as workers."""
        return self.place.workers or cores()

    def has_gpus(self) -> bool:
        """Whether jobs run on GPUs."""
        return False

    def weighs(self) -> bool:
        """Whether it looks at the memory that jobs say they take."""
        return False

    def room(self) -> int:
        """A job for each worker, and another one for each whose jobs are short: it does not wait for this process."""
        free = self.slots() - len(self._workers) + sum(own.room for own in self._workers)
        return free - len(self._waiting)

    def share(self, key: str, value: Any) -> None:
        """Data move into shared memory; what has none goes to each worker once."""
        self._shared[key] = value.share_memory() if hasattr(value, "share_memory") else value

    def forget(self, key: str) -> None:
        """Workers let it go with their next job."""
        self._shared.pop(key, None)

    def submit(self, number: int, job: Job) -> None:
        """Takes a job."""
        self._waiting.append((number, job))
        self._give_out()

    def wait(self) -> list[Event]:
        """What workers say; a worker that vanishes is announced as Lost."""
        self._give_out()
        busy = {own.connection: own for own in self._workers if own.jobs}
        events: list[Event] = []
        for ready in wait(list(busy), timeout=0.5):
            assert isinstance(ready, Connection)
            events += self._heard(busy[ready])
        self._give_out()
        return events

    def close(self) -> None:
        """Kills the workers, which loses what their jobs have not said yet."""
        for own in self._workers:
            own.process.kill()
            own.connection.close()
            own.alive.close()
        for own in self._workers:
            own.process.join()
        self._workers.clear()
        self._waiting.clear()

    def _heard(self, own: _Worker) -> list[Event]:
        """All that a worker has said, up to the end of a job; of one that is gone, that its jobs are lost."""
        events: list[Event] = []
        try:
            while not events or (own.jobs and own.connection.poll()):
                number, over, message = own.connection.recv()
                if not over:
                    events.append(Said(number, message))
                    continue
                now = time.monotonic()
                own.quick, own.since = now - own.since < QUICK_S, now
                own.jobs.popleft()
                return [*events, Over(number, message)]
        except (EOFError, OSError):
            self._workers.remove(own)
            own.connection.close()
            own.alive.close()
            own.process.join()
            (number, _), *lay_ready = own.jobs
            self._waiting.extendleft(reversed(lay_ready))  # nothing of them was lost
            return [*events, Lost(number, "its worker process was killed")]
        return events

    def _give_out(self) -> None:
        """Jobs that wait go to free workers, to new ones while there may be more, and then to those that are quick."""
        while self._waiting:
            own = max(self._workers, key=lambda known: known.room, default=None)
            if (own is None or own.jobs) and len(self._workers) < self.slots():
                own = self._start()
            if own is None or own.room <= 0:
                return
            number, job = self._waiting[0]
            if own.jobs and not self._is_small(own, job):
                return
            self._waiting.popleft()
            if not own.jobs:
                own.since = time.monotonic()
            own.jobs.append((number, job))
            self._send(own, number, job)

    def _is_small(self, own: _Worker, job: Job) -> bool:
        """Whether it fits into the pipe to a worker that does not read, because it works: else both would wait."""
        return own.held.issuperset(job.shared) and len(pickle.dumps(job)) <= SMALL_BYTES

    def _send(self, own: _Worker, number: int, job: Job) -> None:
        new = {key: self._shared[key] for key in job.shared if key not in own.held}
        old = own.held - self._shared.keys()
        own.held = (own.held - old) | new.keys()
        with suppress(OSError):  # it is gone: wait() hears of it
            own.connection.send((new, old, number, job))

    def _start(self) -> _Worker:
        import torch.multiprocessing as torch_multiprocessing

        context: Any = torch_multiprocessing.get_context(_method())
        ours, theirs = context.Pipe()
        # A pipe of its own, because the worker must not read its jobs to learn whether the driver lives.
        their_end, alive = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, their_end, self.place.threads), daemon=True)
        process.start()
        theirs.close()
        their_end.close()
        own = _Worker(process, ours, alive)
        self._workers.append(own)
        return own
