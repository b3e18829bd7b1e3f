"""Trainings that are killed, interrupted or lose a worker, through the real command line and its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_train import SMALL, tree
from tests.conftest import execute, records

LONG = ("train", "--symmetry", "w", *SMALL, "--epochs", "60", "--save-every", "3", "--seeds", "2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The checkpoints of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert execute(folder, *LONG).returncode == 0
    return tree(folder)


@pytest.mark.parametrize("victim", ["group", "parent", "interrupt", "terminate"])
def test_a_killed_training_resumes_to_the_same_bytes(whole: dict[str, str], tmp_path: Path, victim: str) -> None:
    cut = tmp_path
    process = subprocess.Popen(
        [sys.executable, "-m", "nid_cli", *LONG],
        cwd=cut,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(tree(cut)) < 9 and process.poll() is None:
        time.sleep(0.02)
    match victim:
        case "group":
            os.killpg(process.pid, signal.SIGKILL)
        case "parent":
            process.kill()
        case "interrupt":
            os.killpg(process.pid, signal.SIGINT)
        case "terminate":
            process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0, "it ended before it was killed"
    interrupted = records(execute(cut, "group", "list", "--json"))[0]["status"]
    assert set(interrupted) == {"interrupted"}
    if victim in ("interrupt", "terminate"):
        assert process.returncode == 130 and "kept" in errors and "goes on" in errors
    done = execute(cut, *LONG)
    assert done.returncode == 0, done.stderr
    assert tree(cut) == whole
    [group] = records(execute(cut, "group", "show", "mlp-digits-w-k1", "--json"))
    assert [m["status"] for m in group["members"]] == ["complete"] * 2
    assert all(m["lineage"]["status"] == "done" and m["lineage"]["ended_at"] for m in group["members"])
    assert not list(cut.rglob("resume.bin"))


def test_a_lost_workers_model_goes_on_in_another(tmp_path: Path) -> None:
    arguments = ("train", *SMALL, "--epochs", "150", "--save-every", "10", "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "nid_cli", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while len(tree(tmp_path)) < 4 and process.poll() is None:
        time.sleep(0.02)
    psutil = pytest.importorskip("psutil")
    workers = [
        c for c in psutil.Process(process.pid).children(recursive=True) if not c.children() and c.num_threads() > 1
    ]
    workers[0].kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and "its worker process was killed; sent again" in errors
    assert records(execute(tmp_path, "group", "list", "--json"))[0]["status"] == {"complete": 2}
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert execute(undisturbed, *arguments, NID_REGISTRY=str(undisturbed / "registry.db")).returncode == 0
    assert tree(tmp_path / ".nid/runs") == tree(undisturbed / "runs")


def test_a_group_in_training_is_not_removed(tmp_path: Path) -> None:
    arguments = ("train", *SMALL, "--epochs", "400", "--save-every", "10")
    process = subprocess.Popen([sys.executable, "-m", "nid_cli", *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        while len(tree(tmp_path)) < 4 and process.poll() is None:
            time.sleep(0.02)
        refused = execute(tmp_path, "group", "rm", "mlp-digits-standard")
        assert refused.returncode == 2 and "is being trained" in refused.stderr
        assert records(execute(tmp_path, "group", "list", "--json"))[0]["status"] == {"training": 2}
    finally:
        process.kill()
        process.wait()
    time.sleep(0.5)
    assert execute(tmp_path, "group", "rm", "mlp-digits-standard").returncode == 0
    assert execute(tmp_path, "db", "gc").returncode == 0
    assert not list((tmp_path / ".nid/runs").rglob("*"))


@pytest.mark.parametrize("moment", ["at once", "while it trains"])
def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path: Path, moment: str) -> None:
    arguments = ("train", *SMALL, "--epochs", "30000", "--save-every", "10000")
    process = subprocess.Popen(
        [sys.executable, "-m", "nid_cli", *arguments], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE
    )
    if moment == "at once":
        time.sleep(1)
    while moment != "at once" and len(tree(tmp_path)) < 2 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in errors, errors
    if moment == "while it trains":
        assert b"kept" in errors and b"the same command goes on" in errors
