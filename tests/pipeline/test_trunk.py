"""A copy goes on as the network itself would have, were it not for its order of samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nid_cli.data.load import load
from nid_cli.pipeline.training import trunk
from nid_cli.pipeline.training.member import train_member
from nid_cli.pipeline.training.tasks import EpochDone, Finished, Message, Saved, Task
from tests.conftest import small_spec

CPU = torch.device("cpu")


def task(folder: Path, name: str, spawn: int | None, order: int) -> Task:
    spec = replace(small_spec(epochs=4, width=8, data={"train-size": 200}), spawn_epoch=spawn)
    return Task(
        model_id=1, number=1, spec=spec, init_seed=7, order_seed=order, save_every=3, folder=folder / name,
        relative=name, fixed=None,
    )  # fmt: skip


def copied(folder: Path, order: int) -> list[Message]:
    """The messages of a copy that parts after epoch 2 from a trunk whose order seed is 11."""
    copy = task(folder, "copy", 2, order)
    stem = replace(copy, model_id=0, order_seed=11, folder=folder / "trunk", relative="trunk", until=2)
    data = load("digits", copy.spec.data.parameters, folder)
    assert [m.epoch for m in train_member(stem, data, CPU) if isinstance(m, EpochDone)] == [0, 1, 2]
    again = list(train_member(stem, data, CPU))
    assert isinstance(again[-1], Finished) and len(again) == 3 + 2 + 1  # announced anew, and nothing is trained
    trunk.copy(stem, copy)
    return list(train_member(copy, data, CPU))


def test_a_copy_with_the_trunks_own_order_is_an_uninterrupted_training(tmp_path: Path) -> None:
    messages = copied(tmp_path / "a", 11)
    straight = task(tmp_path / "b", "straight", None, 11)
    data = load("digits", straight.spec.data.parameters, tmp_path)
    plain = list(train_member(straight, data, CPU))
    values = [[m.values["test_loss"] for m in found if isinstance(m, EpochDone)] for found in (messages, plain)]
    assert values[0] == values[1] and len(values[0]) == 5
    saved = [{m.checkpoint.epoch: m.checkpoint.sha256 for m in f if isinstance(m, Saved)} for f in (messages, plain)]
    assert saved[0].keys() == {0, 2, 3, 4} and all(saved[0][epoch] == saved[1][epoch] for epoch in (0, 3, 4))


def test_a_copy_with_another_order_parts_after_the_trunk(tmp_path: Path) -> None:
    losses = [
        [m.values["test_loss"] for m in copied(tmp_path / str(order), order) if isinstance(m, EpochDone)]
        for order in (11, 12)
    ]
    assert losses[0][:3] == losses[1][:3] and losses[0][3] != losses[1][3]
