"""The files of a training at work: its checkpoints, and the resume file that is there until it ends.

The resume file holds the optimizer's state at the last checkpoint, and all that was said until then, so that a registry
which missed some of it ends with everything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nid_cli import files
from nid_cli.errors import NidError
from nid_cli.pipeline.training.tasks import EpochDone, Saved, Start
from nid_cli.registry import artifacts
from nid_cli.registry.database import Registry
from nid_cli.registry.runs import Checkpoint


@dataclass
class Resume:
    """``optimizer``: safetensors. ``messages``: epochs and their values. ``saved``: name, epoch, sha256 and size."""

    epoch: int = 0
    optimizer: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Writes it, sealed."""
        header = json.dumps({"epoch": self.epoch, "messages": self.messages, "saved": self.saved}).encode()
        files.write_sealed(path, header + b"\n" + self.optimizer)

    @classmethod
    def read(cls, path: Path) -> Resume | None:
        """What was written; None where the file is missing or damaged."""
        content = files.read_sealed(path)
        if content is None:
            return None
        header, _, optimizer = content.partition(b"\n")
        return cls(optimizer=optimizer, **json.loads(header))


def where_cut_off(folder: Path) -> tuple[Resume, bytes] | None:
    """The last checkpoint that is whole on disk together with its optimizer state; None: the training has to begin."""
    resume = Resume.read(folder / artifacts.RESUME)
    if resume is None:
        return None
    last = resume.saved[-1]
    content = artifacts.read_if(folder / last["name"], last["sha256"])
    return None if content is None else (resume, content)


class Kept:
    """The files of one training, within its folder of the registry (``relative``)."""

    def __init__(self, registry: Registry, relative: str) -> None:
        self.relative, self.folder = relative, registry.file(relative)
        self.resume = Resume()

    def start(self, own: bool = False) -> Start:
        """What its training begins or goes on with, and from here on what was said until then.

        Args:
            own: whether it begins with what the user's code drew.

        Raises:
            NidError: that is not there.
        """
        self.resume = Resume()
        if found := where_cut_off(self.folder):
            self.resume, state = found
            return Start(epoch=self.resume.epoch, state=state, optimizer=self.resume.optimizer)
        if not own:
            return Start()
        if (drawn := files.read_sealed(self.folder / artifacts.START)) is None:
            raise NidError(f"what the network's code drew cannot be read from {self.folder}")
        return Start(state=drawn)

    def said(self, model_id: int) -> tuple[list[EpochDone], list[tuple[Checkpoint, int]]]:
        """The epochs and (checkpoint, bytes) until the last checkpoint, as the registry would record them."""
        epochs = [EpochDone(model_id, message["epoch"], message["values"]) for message in self.resume.messages]
        return epochs, [(self._checkpoint(saved), saved["size"]) for saved in self.resume.saved]

    def hear(self, message: EpochDone) -> None:
        """Notes an epoch for the next resume file."""
        self.resume.messages.append({"epoch": message.epoch, "values": message.values})

    def save(self, message: Saved) -> tuple[Checkpoint, int]:
        """Writes a checkpoint, then the resume file; returns it with its size in bytes."""
        name = f"epoch-{message.epoch:06d}.safetensors"
        digest = files.write_atomic(self.folder / name, message.state)
        size = len(message.state)
        saved = {"name": name, "epoch": message.epoch, "sha256": digest, "size": size}
        self.resume.saved.append(saved)
        self.resume.epoch, self.resume.optimizer = message.epoch, message.optimizer
        self.resume.write(self.folder / artifacts.RESUME)
        return self._checkpoint(saved), size

    def end(self) -> None:
        """The training is over: there is nothing to go on with."""
        for name in (artifacts.RESUME, artifacts.START):
            (self.folder / name).unlink(missing_ok=True)

    def _checkpoint(self, saved: dict[str, Any]) -> Checkpoint:
        return Checkpoint(saved["epoch"], f"{self.relative}/{saved['name']}", saved["sha256"])
