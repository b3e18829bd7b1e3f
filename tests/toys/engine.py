"""The toy engine: the last job first, all in this process. ``python -m tests.toys.engine`` is ``nid`` with it."""

from __future__ import annotations

import sys
from typing import Any

from nid_cli.pipeline.engines import ENGINES, worker
from nid_cli.pipeline.engines.jobs import Event, Job, Over, Place, Said


class Backwards:
    """Works off the last job that it was given first."""

    def __init__(self, place: Place) -> None:
        self.held: dict[str, Any] = {}
        self.waiting: list[tuple[int, Job]] = []

    def prepare(self) -> None:
        """Says that it was asked."""
        sys.stderr.write("the toy engine is ready\n")

    def describe(self, jobs: int) -> str:
        """In which order."""
        return "backwards"

    def slots(self) -> int:
        """Takes many, so that there is a last one."""
        return 100

    def room(self) -> int:
        """Takes all."""
        return 100

    def share(self, key: str, value: Any) -> None:
        """Holds it."""
        self.held[key] = value

    def forget(self, key: str) -> None:
        """Lets it go."""
        del self.held[key]

    def submit(self, number: int, job: Job) -> None:
        """Takes a job."""
        self.waiting.append((number, job))

    def wait(self) -> list[Event]:
        """All that the last job says."""
        import torch

        number, job = self.waiting.pop()
        said = worker.messages(job, self.held, torch.device("cpu"))
        return [*(Said(number, message) for message in said), Over(number)]

    def close(self) -> None:
        """Nothing runs on."""


def add() -> None:
    """Has it train what is trained on the CPU."""
    ENGINES["local"] = "tests.toys.engine:Backwards"


if __name__ == "__main__":
    from nid_cli.cli.app import run

    add()
    sys.exit(run(sys.argv[1:]))
