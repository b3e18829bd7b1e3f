"""Where trainings run. An engine takes tasks and gives their messages; :func:`choose` is the one place that picks one.

``local``: a worker process for each model. ``here``: one model after another in this process, on its device.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

from nid_cli.lazy import resolve

if TYPE_CHECKING:
    from nid_cli.data.tensors import Data
    from nid_cli.pipeline.training.tasks import Message, Task


class Engine(Protocol):
    """A place where trainings run, made of the device and of how many models may be trained at a time (None: all)."""

    def __init__(self, device: Any, workers: int | None) -> None: ...

    def prepare(self) -> None:
        """Begins what takes time, while the caller still reads the data."""

    def describe(self, tasks: int) -> str:
        """How it would train so many models, in words that end a sentence: ``2 at a time``, ``on cuda``."""

    def run(self, tasks: list[Task], data: Data) -> Generator[Message, None, None]:
        """The messages of all trainings as they come, each model's in order and its last one Finished or Failed.

        Closing the generator ends what still runs, which loses no more than what came after the last checkpoints.
        """


# The engine for each type of device, as ``module:class``.
ENGINES: dict[str, str] = {
    "cpu": "nid_cli.pipeline.engines.local:Local",
    "cuda": "nid_cli.pipeline.engines.here:Here",
}


def choose(device: Any, workers: int | None = None) -> Engine:
    """The engine for a device (``torch.device``), which trains at most ``workers`` models at a time."""
    engine: Engine = resolve(ENGINES[device.type])(device, workers)
    return engine
