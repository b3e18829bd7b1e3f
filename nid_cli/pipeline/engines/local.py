"""Worker processes of this machine: each works off one job after another, with one thread, and talks through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from nid_cli.pipeline.engines import worker
from nid_cli.pipeline.engines.jobs import Event, Job, Lost, Over, Place, Said


def _method() -> str:
    """A fork server imports torch once for all workers; where there is none, each worker starts afresh."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _start_server() -> None:
    """Begins to import torch in the fork server, while the caller still reads its data."""
    if _method() == "forkserver":
        import multiprocessing.forkserver as server
        from multiprocessing import resource_tracker

        multiprocessing.set_forkserver_preload([__name__, "torch"])
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
    """A worker's life: (values that it lacks, values to let go, number, job) in, (number, whether over, message) out."""
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
    """A process, the driver's ends of its pipes, what it holds, and the job that it works on."""

    process: Any
    connection: Connection
    alive: Connection
    held: set[str] = field(default_factory=set)
    job: int | None = None


class Local:
    """The engine of the CPU: at most ``workers`` processes at a time, as many as there are cores where it is None."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._shared: dict[str, Any] = {}
        self._waiting: deque[tuple[int, Job]] = deque()
        self._workers: list[_Worker] = []

    def prepare(self) -> None:
        """The server of worker processes imports torch."""
        _start_server()

    def describe(self, jobs: int) -> str:
        """How many jobs run side by side."""
        return f"{min(self.slots(), jobs)} at a time"

    def slots(self) -> int:
        """As many as workers."""
        return self.place.workers or cores()

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
        busy = {own.connection: own for own in self._workers if own.job is not None}
        events = [self._heard(busy[ready]) for ready in wait(list(busy), timeout=0.5) if isinstance(ready, Connection)]
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

    def _heard(self, own: _Worker) -> Event:
        assert own.job is not None
        try:
            number, over, message = own.connection.recv()
        except (EOFError, OSError):
            number = own.job
            self._workers.remove(own)
            own.connection.close()
            own.alive.close()
            own.process.join()
            return Lost(number, "its worker process was killed")
        if not over:
            return Said(number, message)
        own.job = None
        return Over(number, message)

    def _give_out(self) -> None:
        """Jobs that wait go to free workers, and to new ones while there may be more."""
        while self._waiting:
            own = next((known for known in self._workers if known.job is None), None)
            if own is None:
                if len(self._workers) >= self.slots():
                    return
                own = self._start()
            number, job = self._waiting.popleft()
            own.job = number
            self._send(own, number, job)

    def _send(self, own: _Worker, number: int, job: Job) -> None:
        new = {key: self._shared[key] for key in job.shared if key not in own.held}
        old = own.held - self._shared.keys()
        own.held = (own.held - old) | new.keys()
        try:
            own.connection.send((new, old, number, job))
        except OSError:
            pass  # it is gone: wait() hears of it

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
