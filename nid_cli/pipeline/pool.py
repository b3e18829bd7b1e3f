"""Works off what a source has to do, on an engine: sends its jobs while there is room, and passes on what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, Protocol, TypeVar

from nid_cli.errors import NidError
from nid_cli.pipeline.engines import Engine
from nid_cli.pipeline.engines.jobs import Begun, Job, Lost, Over, Said

# Work that is lost so often, and brought forward by nothing in between, is given up.
TRIES = 3
Token = TypeVar("Token")


class Source(Protocol[Token]):
    """What there is to do. ``Token`` is what a source knows a job by that is at work."""

    def next(self) -> tuple[Token, Job] | None:
        """A job that can be sent now; None where none can, because all are at work or others must end before."""

    def is_done(self) -> bool:
        """Whether no job will come any more; asked when none is at work."""

    def begun(self, token: Token, worker: Mapping[str, Any]) -> None:
        """A worker of another process than this one's machine took the job."""

    def take(self, token: Token, message: Any) -> None:
        """Takes a message of a job."""

    def over(self, token: Token, error: NidError | None) -> None:
        """A job has said all; ``error``: what ended it."""

    def flush(self) -> None:
        """All that has come so far was passed on: what was put off is to be written."""

    def lost(self, token: Token, reason: str) -> None:
        """A job was lost. :meth:`next` is to give what is left of it, unless that was lost :data:`TRIES` times."""


@contextmanager
def ready(engine: Engine) -> Iterator[None]:
    """Has an engine ready within it; on the way out nothing goes on running.

    Raises:
        NidError: there is nothing to run jobs on.
    """
    try:
        engine.prepare()
        yield
    finally:
        engine.close()


def work_off(engine: Engine, source: Source[Token]) -> None:
    """Works off a source on an engine that is :func:`ready`; returns when it is done and nothing is at work."""
    numbers, at_work = count(1), dict[int, Token]()
    while True:
        while engine.room() > 0 and (found := source.next()) is not None:
            token, job = found
            number = next(numbers)
            at_work[number] = token
            engine.submit(number, job)
        if not at_work:
            if source.is_done():
                return
            continue
        for event in engine.wait():
            token = at_work[event.job]
            match event:
                case Begun(_, worker):
                    source.begun(token, worker)
                case Said(_, message):
                    source.take(token, message)
                case Over(number, error):
                    del at_work[number]
                    source.over(token, error)
                case Lost(number, reason):
                    del at_work[number]
                    source.lost(token, reason)
        source.flush()
