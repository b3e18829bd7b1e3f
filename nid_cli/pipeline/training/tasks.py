"""What trainings are asked and what they answer: a task is one model to train, its messages say what is done.

No torch: whoever records and shows messages needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nid_cli.registry.runs import Checkpoint
from nid_cli.specs import RunSpec


@dataclass(frozen=True, kw_only=True)
class Task:
    """One model to train. ``folder`` is absolute, ``relative`` the same within the registry's folder.

    ``description`` is the text of a network of the user's own; what its code drew for this model lies in the folder.
    ``until``: it ends after that epoch of the training that ``spec`` is.
    """

    model_id: int
    number: int
    spec: RunSpec
    init_seed: int
    order_seed: int
    save_every: int
    folder: Path
    relative: str
    fixed: tuple[Path, str] | None
    description: str | None = None
    until: int | None = None

    @property
    def last(self) -> int:
        """The epoch after which it ends."""
        return self.spec.length if self.until is None else self.until

    def saved_at(self, epoch: int) -> bool:
        """Whether ``epoch`` leaves a checkpoint: the first, every ``save_every``-th, the last, where copies part."""
        return epoch in (0, self.spec.spawn_epoch, self.spec.length) or epoch % self.save_every == 0


@dataclass(frozen=True)
class EpochDone:
    """Metrics of one epoch, flat: ``train_loss`` ... ``test_accuracy``, ``seconds``."""

    model_id: int
    epoch: int
    values: dict[str, float]


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is safe on disk."""

    model_id: int
    checkpoint: Checkpoint
    size: int


@dataclass(frozen=True)
class Finished:
    """The model is trained; its last checkpoint was announced before."""

    model_id: int


@dataclass(frozen=True)
class Failed:
    """The model cannot be trained: it diverged in ``epoch``, or (``epoch`` None) its process met an error."""

    model_id: int
    epoch: int | None
    reason: str


Message = EpochDone | Saved | Finished | Failed
