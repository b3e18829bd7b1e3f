"""The toy engine: the last model first, all in this process. ``python -m tests.toys.engine`` is ``nid`` with it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

from nid_cli.pipeline.engines import ENGINES
from nid_cli.pipeline.training.tasks import Message, Task


class Backwards:
    """Trains models from the last to the first."""

    def __init__(self, device: Any, workers: int | None) -> None:
        self.device = device

    def prepare(self) -> None:
        """Says that it was asked."""
        sys.stderr.write("the toy engine is ready\n")

    def describe(self, tasks: int) -> str:
        """In which order."""
        return "backwards"

    def run(self, tasks: list[Task], data: Any) -> Generator[Message, None, None]:
        """The messages of each training."""
        from nid_cli.pipeline.training.member import train_member

        for task in reversed(tasks):
            yield from train_member(task, data.to(self.device), self.device)


def add() -> None:
    """Has it train what is trained on the CPU."""
    ENGINES["cpu"] = "tests.toys.engine:Backwards"


if __name__ == "__main__":
    from nid_cli.cli.app import run

    add()
    sys.exit(run(sys.argv[1:]))
