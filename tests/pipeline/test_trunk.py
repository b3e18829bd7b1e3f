"""A copy goes on as the network itself would have, were it not for its order of samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nid_cli.data.load import load
from nid_cli.pipeline.training import trunk
from nid_cli.pipeline.training.keeping import Kept
from nid_cli.pipeline.training.member import train_member
from nid_cli.pipeline.training.tasks import EpochDone, Finished, Message, Saved, Task
from nid_cli.registry.opening import open_for_writing
from tests.conftest import small_spec


def task(spawn: int | None, order: int) -> Task:
    spec = replace(small_spec(epochs=4, width=8, data={"train-size": 200}), spawn_epoch=spawn)
    return Task(model_id=1, number=1, spec=spec, init_seed=7, order_seed=order, save_every=3)


def trained(kept: Kept, own: Task, folder: Path) -> list[Message]:
    """The messages of a training, with its files written as they come."""
    data = load("digits", own.spec.data.parameters, folder)
    said = list(train_member(own, kept.start(), {}, data, torch.device("cpu")))
    for message in said:
        if isinstance(message, EpochDone):
            kept.hear(message)
        if isinstance(message, Saved):
            kept.save(message)
    return said


def copied(folder: Path, order: int) -> Kept:
    """What a copy that parts after epoch 2 from a trunk whose order seed is 11 has said in all."""
    registry = open_for_writing(folder / "registry.db", create=True)
    copy = task(2, order)
    stem, kept = replace(copy, model_id=0, order_seed=11, until=2), Kept(registry, "trunk")
    assert [m.epoch for m in trained(kept, stem, folder) if isinstance(m, EpochDone)] == [0, 1, 2]
    assert trained(kept, stem, folder) == [Finished(0)]  # nothing is trained again
    own = Kept(registry, "copy")
    trunk.copy(kept, own)
    trained(own, copy, folder)
    return own


def test_a_copy_with_the_trunks_own_order_is_an_uninterrupted_training(tmp_path: Path) -> None:
    parted = copied(tmp_path / "a", 11)
    straight = Kept(open_for_writing(tmp_path / "b/registry.db", create=True), "straight")
    trained(straight, task(None, 11), tmp_path)
    values = [[m["values"]["test_loss"] for m in own.resume.messages] for own in (parted, straight)]
    assert values[0] == values[1] and len(values[0]) == 5
    saved = [{own["epoch"]: own["sha256"] for own in kept.resume.saved} for kept in (parted, straight)]
    assert saved[0].keys() == {0, 2, 3, 4} and all(saved[0][epoch] == saved[1][epoch] for epoch in (0, 3, 4))


def test_a_copy_with_another_order_parts_after_the_trunk(tmp_path: Path) -> None:
    losses = [
        [m["values"]["test_loss"] for m in copied(tmp_path / str(order), order).resume.messages] for order in (11, 12)
    ]
    assert losses[0][:3] == losses[1][:3] and losses[0][3] != losses[1][3]
