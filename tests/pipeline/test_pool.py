"""Jobs that are lost: sent again from where they were, given up when nothing comes of it, and never done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nid_cli.pipeline.engines import ENGINES
from nid_cli.pipeline.pool import TRIES
from tests.cli.test_train import tree
from tests.conftest import Terminal
from tests.toys.lossy import Lossy

SMALL = ("--width", "8", "--depth", "2", "--epochs", "4", "--save-every", "2", "--data", "train-size=200")
MESSAGES = 5 + 3 + 1  # epochs 0 to 4, checkpoints 0, 2, 4, and the end


@pytest.fixture
def lossy(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The command line in an empty folder, with workers that vanish when they are told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    monkeypatch.setitem(ENGINES, "local", "tests.toys.lossy:Lossy")
    monkeypatch.setattr(Lossy, "after", 0)
    monkeypatch.setattr(Lossy, "times", 0)
    return Terminal(tmp_path, capsys)


@pytest.fixture
def whole(lossy: Terminal, tmp_path: Path) -> dict[str, str]:
    """The checkpoints of a training that nothing disturbed."""
    assert lossy("train", *SMALL, "--registry", "whole/registry.db") == 0
    return tree(tmp_path / "whole")


@pytest.mark.parametrize("after", range(MESSAGES))
def test_a_lost_training_ends_with_the_same_bytes(
    lossy: Terminal, whole: dict[str, str], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lossy, "after", after)
    monkeypatch.setattr(Lossy, "times", 2)
    assert lossy("train", *SMALL) == 0, lossy.errors
    assert lossy.errors.count("its toy worker vanished; sent again") == 2
    assert tree(lossy.folder / ".nid") == whole
    members = lossy.records("group", "show", "mlp-digits-standard")[0]["members"]
    assert [m["status"] for m in members] == ["complete"] * 2
    assert lossy("db", "check") == 0 and not list(lossy.folder.rglob("resume.bin"))


def test_what_is_lost_again_and_again_is_given_up(lossy: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lossy, "after", 1)  # before the first checkpoint
    monkeypatch.setattr(Lossy, "times", 2 * TRIES)
    assert lossy("train", *SMALL) == 1
    assert lossy.errors.count(f"its toy worker vanished, {TRIES} times") == 2
    assert [r["status"] for r in lossy.records("group", "list")] == [{"interrupted": 2}]
    assert lossy("train", *SMALL) == 0  # nothing is lost any more


def test_what_goes_forward_is_sent_again_as_often_as_it_takes(
    lossy: Terminal, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lossy, "after", 3)  # each time one checkpoint further
    monkeypatch.setattr(Lossy, "times", 4)
    assert lossy("train", *SMALL) == 0, lossy.errors
    assert tree(lossy.folder / ".nid") == whole


@pytest.mark.parametrize(
    ("command", "after"),
    [
        (("lmc", "--points", "3"), 1),
        (("match", "--epochs", "all"), 0),
        (("similarity", "--since", "previous"), 1),
        (("merge", "--align", "none,first", "--epochs", "all"), 1),
        (("cost",), 1),
        (("coherence",), 1),
    ],
)
def test_workers_find_what_one_process_finds(
    lossy: Terminal, command: tuple[str, ...], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for symmetry in ("standard", "w", "sigma"):
        assert lossy("train", *SMALL, "--symmetry", symmetry, "--seeds", "3") == 0
    alone = lossy.records(*command, "--workers", "1")
    monkeypatch.setattr(Lossy, "after", after)
    monkeypatch.setattr(Lossy, "times", TRIES - 1)
    spread = lossy.records(*command, "--workers", "2", "--force")
    assert "sent again" in lossy.errors and Lossy.times == 0
    for mine, theirs in zip(alone, spread, strict=True):
        assert mine["result_id"] == theirs["result_id"]
        assert mine | {"lineage": None} == theirs | {"lineage": None}


def test_an_analysis_that_is_lost_again_and_again_ends_in_a_sentence(
    lossy: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lossy("train", *SMALL, "--seeds", "3") == 0
    monkeypatch.setattr(Lossy, "times", TRIES)
    assert lossy("lmc", "--points", "3", "--workers", "2") == 1
    assert f"its toy worker vanished, {TRIES} times" in lossy.errors and "--workers 1" in lossy.errors


def test_an_error_in_a_worker_keeps_its_exit_code(lossy: Terminal) -> None:
    assert lossy("train", *SMALL, "--seeds", "3") == 0
    next(lossy.folder.rglob("epoch-000004.safetensors")).write_bytes(b"damaged")
    assert lossy("lmc", "--points", "3", "--workers", "2") == 5
    assert "not the file that was recorded" in lossy.errors


def test_lineage_says_beside_whom_a_model_was_trained(lossy: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def stacks() -> list[Any]:
        members = lossy.records("group", "show", "mlp-digits-standard")[0]["members"]
        return [member["lineage"]["worker"] for member in members]

    # A job of three, of which the worker finds room for two at a time.
    monkeypatch.setattr("nid_cli.pipeline.training.member._side_by_side", lambda *_: 2)
    monkeypatch.setattr(Lossy, "after", 9)  # two announcements, epoch 0 and its checkpoint of both, and two epochs more
    monkeypatch.setattr(Lossy, "times", TRIES)
    assert lossy("train", *SMALL, "--seeds", "3", "--stack", "3") in (0, 1)
    beside = [{"stacked": [1, 2]}, {"stacked": [1, 2]}, None]
    assert stacks() == beside
    monkeypatch.setattr(Lossy, "times", 0)
    assert lossy("train", *SMALL, "--seeds", "3") == 0  # goes on one by one: the rounding of its beginning stays
    assert stacks() == beside
