"""A toy engine whose workers vanish: each job is lost after so many of its messages, as often as it is told."""

from __future__ import annotations

from typing import Any, ClassVar

from nid_cli.pipeline.engines import worker
from nid_cli.pipeline.engines.jobs import Event, Job, Lost, Over, Place, Said
from tests.toys.engine import Backwards


class Lossy(Backwards):
    """Loses each job after ``after`` messages, ``times`` times in all."""

    after: ClassVar[int] = 0
    times: ClassVar[int] = 0

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.sent: list[Job] = []

    def submit(self, number: int, job: Job) -> None:
        """Takes a job."""
        self.sent.append(job)
        super().submit(number, job)

    def wait(self) -> list[Event]:
        """What the last job says, until it is lost."""
        import torch

        number, job = self.waiting.pop()
        events: list[Event] = []
        said: Any = worker.messages(job, self.held, torch.device("cpu"))
        for message in said:
            if Lossy.times and len(events) == self.after:
                Lossy.times -= 1
                return [*events, Lost(number, "its toy worker vanished")]
            events.append(Said(number, message))
        return [*events, Over(number)]
