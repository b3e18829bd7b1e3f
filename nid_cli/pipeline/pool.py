"""Works off what a source has to do, on an engine: sends its jobs while there is room, and passes on what they say."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import count
from typing import Any, Protocol, TypeVar

from nid_cli.errors import NidError
from nid_cli.pipeline.engines import Engine
from nid_cli.pipeline.engines.jobs import Begun, Job, Lost, Over, Said

# A job that is lost so often, and said nothing worth keeping in between, is not sent again.
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

    def take(self, token: Token, message: Any) -> bool:
        """Takes a message of a job; says whether it brought the job forward, so that a loss costs less from here."""

    def over(self, token: Token, error: NidError | None) -> None:
        """A job has said all; ``error``: what ended it."""

    def flush(self) -> None:
        """All that has come so far was passed on: what was put off is to be written."""

    def again(self, token: Token) -> None:
        """A job was lost: :meth:`next` is to give it again, from where its messages have brought it."""


def work_off(engine: Engine, source: Source[Token]) -> None:
    """Returns when the source is done and nothing is at work; on the way out nothing goes on running."""
    numbers, at_work, losses = count(1), dict[int, Token](), dict[Token, int]()
    with closing(engine):
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
                        if source.take(token, message):
                            losses.pop(token, None)
                    case Over(number, error):
                        del at_work[number]
                        source.over(token, error)
                    case Lost(number, reason):
                        del at_work[number]
                        losses[token] = losses.get(token, 0) + 1
                        if losses[token] < TRIES:
                            source.again(token)
                        else:
                            source.over(token, NidError(f"{reason}, {TRIES} times"))
            source.flush()
