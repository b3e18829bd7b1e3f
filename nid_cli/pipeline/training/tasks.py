"""What trainings are asked and what they answer: a task is one model to train, its messages say what is done.

Contents, not paths: whoever trains a model needs no file of the registry. No torch: whoever records and shows messages
needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nid_cli.specs import RunSpec


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a training begins or goes on with, as safetensors.

    ``state`` is None where the network is drawn from its seed, else what the user's code drew (``epoch`` None), or the
    model after ``epoch`` with the state of its ``optimizer``.
    """

    epoch: int | None = None
    state: bytes | None = field(default=None, repr=False)
    optimizer: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One model to train.

    ``description`` is the text of a network of the user's own. ``until``: it ends after that epoch of the training that
    ``spec`` is.
    """

    model_id: int
    number: int
    spec: RunSpec
    init_seed: int
    order_seed: int
    save_every: int
    description: str | None = None
    until: int | None = None

    @property
    def last(self) -> int:
        """The epoch after which it ends."""
        return self.spec.length if self.until is None else self.until

    def saved_at(self, epoch: int) -> bool:
        """Whether ``epoch`` leaves a checkpoint: the first, every ``save_every``-th, the last, where copies part."""
        return epoch in (0, self.spec.spawn_epoch, self.spec.length) or epoch % self.save_every == 0


@dataclass(frozen=True, kw_only=True)
class Members:
    """Tasks of one run that begin at the same epoch, to be trained by one worker, side by side where it can.

    ``data`` and ``fixed`` are the keys of the shared values: the data, the fixed tensors as safetensors (None: none).
    """

    tasks: tuple[Task, ...]
    starts: tuple[Start, ...]
    data: str
    fixed: str | None


@dataclass(frozen=True)
class Stacked:
    """A model is trained side by side with others from here on: ``numbers`` of all, its own among them."""

    model_id: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class EpochDone:
    """Metrics of one epoch, flat: ``train_loss`` ... ``test_accuracy``, ``seconds``."""

    model_id: int
    epoch: int
    values: dict[str, float]


@dataclass(frozen=True)
class Saved:
    """A checkpoint, and the state of the optimizer at its epoch, which the training would go on with."""

    model_id: int
    epoch: int
    state: bytes = field(repr=False)
    optimizer: bytes = field(repr=False)


@dataclass(frozen=True)
class Finished:
    """The model is trained; its last checkpoint was announced before."""

    model_id: int


@dataclass(frozen=True)
class Failed:
    """The model cannot be trained: it diverged in ``epoch``, or (``epoch`` None) its worker met an error."""

    model_id: int
    epoch: int | None
    reason: str


Message = Stacked | EpochDone | Saved | Finished | Failed
