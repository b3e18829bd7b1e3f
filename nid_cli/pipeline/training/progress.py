"""What the user is told while models are trained."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished, Message, Task

# The line of progress for all models together.
ALL_MODELS = "models"


class Progress:
    """How far all models are together, and each that runs."""

    def __init__(self, context: Context, tasks: Sequence[Task]) -> None:
        self.context, self.tasks = context, {task.model_id: task for task in tasks}
        self.epochs = dict.fromkeys(self.tasks, 0.0)
        self.ended = 0
        self._whole()

    def _whole(self) -> None:
        done = sum(self.epochs.values()) / max(1, *(task.spec.length for task in self.tasks.values()))
        self.context.progress(ALL_MODELS, done, len(self.tasks), f"{self.ended} of {len(self.tasks)} models done")

    def tell(self, message: Message) -> None:
        """Passes on an epoch, or a model's end: its line has nothing more to say then."""
        task = self.tasks[message.model_id]
        total = task.spec.length
        if isinstance(message, EpochDone):
            detail = f"loss {message.values['train_loss']:.4f}  accuracy {message.values['train_accuracy']:.2f} %"
            self.epochs[message.model_id] = message.epoch
            self.context.progress(f"model {task.number}", message.epoch, total, detail)
        if isinstance(message, Finished | Failed):
            self.epochs[message.model_id] = total
            self.ended += 1
            self.context.progress(f"model {task.number}", total, total, "")  # its line goes
        self._whole()
