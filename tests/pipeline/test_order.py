"""The order of writing: checkpoint, resume file, rows; only then the resume file goes.

A cut between any two of them costs no more than what came after the last checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nid_cli import files
from nid_cli.errors import NidError
from nid_cli.pipeline.engines import ENGINES
from nid_cli.pipeline.training.run import RunInTraining, Sent
from nid_cli.pipeline.training.session import Session
from nid_cli.pipeline.training.tasks import EpochDone, Message
from tests.cli.test_train import tree
from tests.conftest import Terminal

CALL = ("train", *"--width 8 --depth 2 --epochs 4 --save-every 2 --seeds 1 --data train-size=200".split())  # noqa: SIM905
SAVED = (0, 2, 4)
WRITES = 2 * len(SAVED)


@pytest.fixture
def there(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The command line in an empty folder, with its models trained in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    monkeypatch.setitem(ENGINES, "local", ENGINES["here"])
    return Terminal(tmp_path, capsys)


def said_again(there: Terminal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that the same command trains (or evaluates) when it is called again; it ends as an undisturbed one."""
    found: list[int] = []
    take = RunInTraining.take

    def note(self: RunInTraining, sent: Sent, message: Message) -> None:
        found.extend([message.epoch] if isinstance(message, EpochDone) else [])
        take(self, sent, message)

    monkeypatch.setattr(RunInTraining, "take", note)
    assert there(*CALL) == 0, there.errors
    assert there(*CALL, "--registry", "whole/registry.db") == 0
    assert tree(there.folder / ".nid") == tree(there.folder / "whole") and not list(there.folder.rglob("resume.bin"))
    [model] = there.records("group", "show", "mlp-digits-standard")[0]["members"]
    assert model["status"] == "complete" and there("db", "check") == 0
    return found[: -(SAVED[-1] + 1)]  # those of the undisturbed training come last


@pytest.mark.parametrize("cut", range(WRITES))
def test_a_cut_between_two_files_costs_what_came_after_the_last_checkpoint(
    there: Terminal, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    write, written = files.write_atomic, list[Path]()

    def fail_at_the_cut(path: Path, content: bytes) -> str:
        if "runs" in path.parts:
            if len(written) == cut:
                raise NidError("the disk is full")
            written.append(path)
        return write(path, content)

    with monkeypatch.context() as disturbed:
        disturbed.setattr(files, "write_atomic", fail_at_the_cut)
        assert there(*CALL) == 1 and "the disk is full" in there.errors
    whole = SAVED[: cut // 2]  # checkpoints whose resume file is there
    assert said_again(there, monkeypatch) == list(range(whole[-1] + 1 if whole else 0, SAVED[-1] + 1))


def test_a_cut_before_the_last_rows_costs_nothing(there: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = Session.flush

    def fail_at_the_end(self: Session) -> Any:
        if self._afterwards:
            raise NidError("the registry is gone")
        flush(self)

    with monkeypatch.context() as disturbed:
        disturbed.setattr(Session, "flush", fail_at_the_end)
        assert there(*CALL) == 1 and "the registry is gone" in there.errors
    assert said_again(there, monkeypatch) == []
