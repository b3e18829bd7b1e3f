"""One model after another in this process, on a device that models would only take from each other."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from nid_cli.data.tensors import Data
from nid_cli.pipeline.training.member import train_member
from nid_cli.pipeline.training.tasks import Message, Task

if TYPE_CHECKING:
    import torch


class Here:
    """The engine of a GPU."""

    def __init__(self, device: torch.device, workers: int | None = None) -> None:
        self.device = device

    def prepare(self) -> None:
        """Nothing takes time."""

    def describe(self, tasks: int) -> str:
        """Where the models are trained."""
        return f"on {self.device}"

    def run(self, tasks: list[Task], data: Data) -> Generator[Message, None, None]:
        """The messages of each training in turn; the data are moved once."""
        moved = data.to(self.device)
        for task in tasks:
            yield from train_member(task, moved, self.device)
