"""Worker processes: one single-threaded process for each model, data in shared memory, messages through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from multiprocessing.connection import Connection, wait
from typing import Any

from nid_cli.data.tensors import Data
from nid_cli.errors import NidError
from nid_cli.pipeline.training.member import train_member
from nid_cli.pipeline.training.tasks import Failed, Finished, Message, Task


def _method() -> str:
    """A fork server imports torch once for all workers; where there is none, each worker starts afresh."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _start_server() -> None:
    """Begins to import torch in the fork server, while the caller still reads its data."""
    if _method() == "forkserver":
        import multiprocessing.forkserver as server
        from multiprocessing import resource_tracker

        multiprocessing.set_forkserver_preload([__name__])
        resource_tracker.ensure_running()  # it lets SIGINT through again
        # Ctrl-C reaches the whole foreground group; the server would complain of it while it imports.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with(connection: Connection) -> None:
    """Ends this process as soon as the parent's end of the pipe closes, even by kill -9."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


def _work(task: Task, data: Any, connection: Connection) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole foreground group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
    torch.set_num_threads(1)
    try:
        for message in train_member(task, data, torch.device("cpu")):
            connection.send(message)
    except NidError as error:
        connection.send(Failed(task.model_id, None, error.message))
    except Exception as error:
        connection.send(Failed(task.model_id, None, f"{type(error).__name__}: {error}"))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Local:
    """The engine of the CPU: at most ``workers`` processes at a time, as many as there are cores where it is None."""

    def __init__(self, device: Any = None, workers: int | None = None) -> None:
        self.workers = workers or _cores()

    def prepare(self) -> None:
        """The server of worker processes imports torch."""
        _start_server()

    def describe(self, tasks: int) -> str:
        """How many models are trained side by side."""
        return f"{min(self.workers, tasks)} at a time"

    def run(self, tasks: list[Task], data: Data) -> Generator[Message, None, None]:
        """Messages of all trainings; the data move into shared memory.

        A worker that vanishes is announced as Failed; closing the generator kills those that still run (which loses
        what came after their last checkpoints, nothing else).
        """
        import torch.multiprocessing as torch_multiprocessing

        context: Any = torch_multiprocessing.get_context(_method())
        shared, waiting = data.share_memory(), list(tasks)
        running: dict[Connection, tuple[Any, Task]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    task = waiting.pop(0)
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_work, args=(task, shared, theirs), daemon=True)
                    process.start()
                    theirs.close()
                    running[ours] = (process, task)
                for connection in wait(list(running), timeout=0.5):
                    assert isinstance(connection, Connection)
                    process, task = running[connection]
                    try:
                        message = connection.recv()
                    except (EOFError, OSError):
                        message = Failed(task.model_id, None, "its worker process was killed")
                    yield message
                    if isinstance(message, Finished | Failed):
                        connection.close()
                        process.join()
                        del running[connection]
        finally:
            for connection, (process, _) in running.items():
                process.kill()
                connection.close()
            for process, _ in running.values():
                process.join()
