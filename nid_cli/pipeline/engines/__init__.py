"""Where jobs run. An engine takes jobs and tells their events; :func:`choose` is the one place that picks one.

``here``: one job after another in this process, on its device. ``local``: worker processes of this machine. ``ray``:
workers of a Ray cluster.
"""

from __future__ import annotations

from typing import Any, Protocol

from nid_cli.errors import unknown
from nid_cli.lazy import resolve
from nid_cli.pipeline.devices import is_surely_cpu, torch_device
from nid_cli.pipeline.engines.jobs import Event, Job, Place


class Engine(Protocol):
    """Made of a :class:`Place`. Only its caller writes the registry; it decides what is sent, and sent again."""

    def __init__(self, place: Place) -> None: ...

    def prepare(self) -> None:
        """Begins what takes time, while the caller still reads the data.

        Raises:
            NidError: there is nothing to run jobs on.
        """

    def describe(self, jobs: int) -> str:
        """How it would work off so many jobs, in words that end a sentence: ``2 at a time``, ``on cuda``."""

    def slots(self) -> int:
        """How many jobs it works on at a time; may change as machines come and go."""

    def has_gpus(self) -> bool:
        """Whether each job has a GPU to itself, where models of a run are trained side by side."""

    def weighs(self) -> bool:
        """Whether it looks at the memory that jobs say they take."""

    def room(self) -> int:
        """How many jobs more it takes now."""

    def share(self, key: str, value: Any) -> None:
        """Keeps a value for jobs that name ``key``; it goes to each worker, or machine, once."""

    def forget(self, key: str) -> None:
        """No job to come names ``key``."""

    def submit(self, number: int, job: Job) -> None:
        """Takes a job; its events carry ``number``."""

    def wait(self) -> list[Event]:
        """The events that have come, as soon as there are some; none after a moment without any."""

    def close(self) -> None:
        """Ends what still runs, and all workers."""


# Each engine by its name on the command line, as ``module:class``.
ENGINES: dict[str, str] = {
    "local": "nid_cli.pipeline.engines.local:Local",
    "ray": "nid_cli.pipeline.engines.cluster.engine:Cluster",
    "here": "nid_cli.pipeline.engines.here:Here",
}
# What the user may ask for: ``here`` is what ``local`` is on a GPU, which processes would only take from each other.
CHOICES = ("local", "ray")


def choose(name: str, place: Place) -> Engine:
    """The engine ``name``. Torch is asked for the device only where nothing else can tell.

    Raises:
        UsageError: no such engine, or no such device on this machine.
    """
    if name not in CHOICES:
        raise unknown("engine", name, CHOICES)
    alone = name == "local" and not is_surely_cpu(place.device) and torch_device(place.device).type != "cpu"
    engine: Engine = resolve(ENGINES["here" if alone else name])(place)
    return engine
