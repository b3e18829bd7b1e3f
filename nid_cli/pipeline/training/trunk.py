"""Spawned groups (docs/science.md, 2): one network, the trunk, is trained until its copies go on by their own orders.

The trunk is a task like any other, with a folder beside those of the models and no rows. Each copy is given its
checkpoints and its resume file, so that a copy looks to its own training as if it had been cut off where they part.
The trunk stays for copies that are asked for later; where it is gone it is trained again, to the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nid_cli import files
from nid_cli.errors import IntegrityError
from nid_cli.pipeline.training.keeping import Kept, where_cut_off
from nid_cli.pipeline.training.tasks import Task
from nid_cli.registry import artifacts
from nid_cli.registry.runs import TRUNK
from nid_cli.specs import RunSpec, derive_seed

# The trunk is no model of the registry: its messages carry this id.
TRUNK_ID = 0


def of(task: Task) -> Task:
    """The training that a task and all other copies share."""
    assert task.spec.seed is not None
    order = derive_seed(task.spec.seed, "order", TRUNK)
    return replace(task, model_id=TRUNK_ID, number=0, order_seed=order, until=task.spec.spawn_epoch)


def lacks(spec: RunSpec, folder: Path) -> bool:
    """Whether a member with this folder needs the trunk before it can be trained."""
    return spec.spawn_epoch is not None and where_cut_off(folder) is None


def folder_of(relative: str) -> str:
    """The trunk's folder, beside that of a member."""
    return f"{relative.rpartition('/')[0]}/{TRUNK}"


def is_whole(folder: Path) -> bool:
    """Whether all that a trunk saved is in its folder: copies need its first checkpoints as well as its last."""
    if (found := where_cut_off(folder)) is None:
        return False
    saved = found[0].saved
    return all(artifacts.read_if(folder / own["name"], own["sha256"]) is not None for own in saved)


def copy(trunk: Kept, kept: Kept) -> None:
    """Gives a copy what the trunk saved; the resume file last, so that what was begun is whole or begun again.

    Raises:
        IntegrityError: what the trunk saved is not there, or damaged.
    """
    if (found := where_cut_off(trunk.folder)) is None:
        raise IntegrityError(
            f"the trunk of all copies cannot be read from {trunk.folder}", "the same command trains it again"
        )
    for own in found[0].saved:
        content = artifacts.read_verified(trunk.folder / own["name"], own["sha256"])
        files.write_atomic(kept.folder / own["name"], content)
    found[0].write(kept.folder / artifacts.RESUME)
