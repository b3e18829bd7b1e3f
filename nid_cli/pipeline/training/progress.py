"""What the user is told while models are trained: one line for all, one for each that runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished, Message
from nid_cli.pipeline.training.trunk import TRUNK_ID
from nid_cli.registry.runs import TRUNK

if TYPE_CHECKING:
    from nid_cli.pipeline.training.run import RunInTraining, Sent

# The line of progress for all models together.
ALL_MODELS = "models"


class Progress:
    """How far all models are together, in epochs' shares of their lengths, and each that runs.

    Args:
        runs: with the models that they ask for; what is there already counts as done once a run is open.
    """

    def __init__(self, context: Context, runs: Sequence[RunInTraining]) -> None:
        self.context, self.several = context, len(runs) > 1
        self.models = sum(run.request.seeds for run in runs)
        self.ended = 0
        self.shares: dict[int, float] = {}
        self._whole()

    def _whole(self) -> None:
        done = self.ended + sum(self.shares.values())
        self.context.progress(ALL_MODELS, done, self.models, f"{self.ended} of {self.models} models done")

    def opened(self, run: RunInTraining, how: str) -> None:
        """Says what is trained of a run."""
        assert run.group is not None
        spec, seeds = run.request.spec, run.request.seeds
        epochs = f"{spec.length} {'epoch' if spec.length == 1 else 'epochs'}"
        self.context.say(f"{run.group.name}: training {len(run.tasks)} of {seeds} models, {epochs}, {how}")
        if spec.spawn_epoch is not None:
            self.context.say(f"they are copies of one trunk, which part after its epoch {spec.spawn_epoch}")
        self.ended += seeds - len(run.tasks)
        self._whole()

    def passed_over(self, run: RunInTraining) -> None:
        """A run that is not trained here, or cannot be, is over."""
        self.ended += run.request.seeds
        self._whole()

    def tell(self, run: RunInTraining, message: Message) -> None:
        """Passes on an epoch, or a model's end: its line has nothing more to say then."""
        if isinstance(message, EpochDone):
            last = run.request.spec.spawn_epoch if message.model_id == TRUNK_ID else run.request.spec.length
            total = max(last or 0, 1)
            detail = f"loss {message.values['train_loss']:.4f}  accuracy {message.values['train_accuracy']:.2f} %"
            self.context.progress(self._name(run, message.model_id), message.epoch, total, detail)
            if message.model_id != TRUNK_ID:
                self.shares[message.model_id] = message.epoch / total
        if isinstance(message, Finished | Failed):
            self.end(run, message.model_id)
        self._whole()

    def ended_with(self, run: RunInTraining, model_ids: Iterable[int]) -> None:
        """Models whose job ended before them."""
        for model_id in model_ids:
            self.end(run, model_id)
        self._whole()

    def end(self, run: RunInTraining, model_id: int) -> None:
        """Its line goes."""
        total = max(run.request.spec.length, 1)
        self.context.progress(self._name(run, model_id), total, total, "")
        if model_id != TRUNK_ID:
            self.shares.pop(model_id, None)
            self.ended += 1

    def names(self, sent: Sent) -> str:
        """The models of a job, in words."""
        return ", ".join(self._name(sent.run, model_id) for model_id in sent.tasks)

    def _name(self, run: RunInTraining, model_id: int) -> str:
        own = TRUNK if model_id == TRUNK_ID else f"model {run.number_of(model_id)}"
        return f"{run.group.name} {own}" if self.several and run.group is not None else own
