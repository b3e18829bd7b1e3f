"""Spawned groups (docs/science.md, 2): one network, the trunk, is trained until its copies go on by their own orders.

The trunk is a task like any other, with a folder beside those of the models and no rows. Each copy is given its
checkpoints and its resume file, so that a copy looks to its own training as if it had been cut off where they part.
The trunk stays for copies that are asked for later; where it is gone it is trained again, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.errors import IntegrityError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines import Engine
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished, Message, Saved, Task
from nid_cli.registry import artifacts
from nid_cli.registry.runs import TRUNK
from nid_cli.specs import derive_seed

if TYPE_CHECKING:
    from nid_cli.data.tensors import Data


def run(context: Context, engine: Engine, tasks: list[Task], data: Data) -> Generator[Message, None, None]:
    """The messages of all trainings, as :meth:`Engine.run` gives them; of a spawned group the trunk is trained first.

    A copy announces the trunk's epochs and checkpoints as its own. A trunk that diverges fails all its copies.
    """
    from nid_cli.pipeline.training.member import where_cut_off

    bare = [task for task in tasks if task.spec.spawn_epoch is not None and where_cut_off(task.folder) is None]
    if bare:
        trunk = _trunk(bare[0])
        if not is_whole(trunk.folder):
            (trunk.folder / artifacts.RESUME).unlink(missing_ok=True)
        said: list[EpochDone | Saved] = []
        failure = None
        with closing(engine.run([trunk], data)) as messages:
            for message in messages:
                _tell(context, trunk, message)
                if isinstance(message, EpochDone | Saved):
                    said.append(message)
                elif isinstance(message, Failed):
                    failure = message
        # One that diverged at once saved nothing.
        diverged = failure is not None and failure.epoch is not None
        if failure is None or (diverged and any(isinstance(message, Saved) for message in said)):
            for task in bare:
                copy(trunk, task)
        if failure is not None:
            for task in bare:
                yield from (_of_copy(message, task) for message in said if diverged)
                yield Failed(task.model_id, failure.epoch, f"the trunk of all copies: {failure.reason}")
            tasks = [task for task in tasks if task not in bare]
    if tasks:
        yield from engine.run(tasks, data)


def _trunk(first: Task) -> Task:
    """The training that all copies share."""
    assert first.spec.seed is not None
    relative = f"{first.relative.rpartition('/')[0]}/{TRUNK}"
    order = derive_seed(first.spec.seed, "order", TRUNK)
    folder = first.folder.parent / TRUNK
    return replace(
        first, model_id=0, number=0, order_seed=order, folder=folder, relative=relative, until=first.spec.spawn_epoch
    )


def is_whole(folder: Path) -> bool:
    """Whether all that a trunk saved is in its folder: copies need its first checkpoints as well as its last."""
    from nid_cli.pipeline.training.member import where_cut_off

    if (found := where_cut_off(folder)) is None:
        return False
    saved = found[0].saved
    return all(artifacts.read_if(folder / own["name"], own["sha256"]) is not None for own in saved)


def copy(trunk: Task, task: Task) -> None:
    """Gives a copy what the trunk saved; the resume file last, so that what was begun is whole or begun again.

    Raises:
        IntegrityError: what the trunk saved is not there, or damaged.
    """
    from nid_cli.pipeline.training.member import where_cut_off

    if (found := where_cut_off(trunk.folder)) is None:
        raise IntegrityError(
            f"the trunk of all copies cannot be read from {trunk.folder}", "the same command trains it again"
        )
    for own in found[0].saved:
        content = artifacts.read_verified(trunk.folder / own["name"], own["sha256"])
        files.write_atomic(task.folder / own["name"], content)
    found[0].write(task.folder / artifacts.RESUME)


def _of_copy(message: EpochDone | Saved, task: Task) -> Message:
    """What the trunk said, as a copy of it says it."""
    if isinstance(message, EpochDone):
        return replace(message, model_id=task.model_id)
    name = message.checkpoint.path.rpartition("/")[2]
    return replace(
        message, model_id=task.model_id, checkpoint=replace(message.checkpoint, path=f"{task.relative}/{name}")
    )


def _tell(context: Context, trunk: Task, message: Message) -> None:
    total = max(trunk.last, 1)
    if isinstance(message, EpochDone):
        detail = f"loss {message.values['train_loss']:.4f}  accuracy {message.values['train_accuracy']:.2f} %"
        context.progress(TRUNK, message.epoch, total, detail)
    if isinstance(message, Finished | Failed):
        context.progress(TRUNK, total, total, "")  # its line goes
