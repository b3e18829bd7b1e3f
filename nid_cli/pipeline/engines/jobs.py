"""What engines are given and what they tell: jobs, and events of jobs. No torch, nothing of what the work is about.

A job is contents alone: no path, no connection. Whoever works it off needs nid, and no file of the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nid_cli.errors import NidError


@dataclass(frozen=True, kw_only=True)
class Job:
    """``work`` is ``module:function`` of (payload, held, device), which yields messages; all of it can be pickled.

    ``held`` maps each key in ``shared`` to the value that the engine was given for it. ``memory``: bytes that the job
    will take beside what is shared, as far as it can be known.
    """

    work: str
    payload: Any
    shared: tuple[str, ...] = ()
    memory: int = 0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where jobs may run: ``device`` as on the command line (``auto``, ``cpu``, ``cuda:1``).

    ``workers``: how many at a time at most (None: as many as there is room for). ``threads`` of each (None: all).
    ``address`` and ``gpus`` (a job's share of one) are those of a cluster. ``modules``: what jobs will import.
    """

    device: str = "auto"
    workers: int | None = None
    threads: int | None = 1
    address: str | None = None
    gpus: float | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Begun:
    """A worker took the job; ``worker`` says who it is (host, device, versions) where it is not this process's own."""

    job: int
    worker: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """A message of the job; those of one job come in their order."""

    job: int
    message: Any


@dataclass(frozen=True)
class Over:
    """The job's last message has come. ``error``: what ended it before it was done, if anything did."""

    job: int
    error: NidError | None = None


@dataclass(frozen=True)
class Lost:
    """Whoever worked on the job is gone, in the words of ``reason``; the same job can be sent again."""

    job: int
    reason: str


Event = Begun | Said | Over | Lost
# Messages and errors of a job that is Over or Lost never come later.
ENDED = (Over, Lost)
