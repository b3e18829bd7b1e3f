"""``nid train --spawn-epoch``: copies of one network, through the real command line."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Run, in_process, records

SMALL = ("train", "--width", "8", "--epochs", "4", "--save-every", "3", "--data", "train-size=200")


def digests(folder: Path) -> dict[str, str]:
    """The checkpoints below ``folder`` by model (or trunk) and epoch."""
    found = (folder / ".nid/runs").rglob("*.safetensors")
    return {f"{p.parent.name}/{p.stem}": hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(found)}


@pytest.fixture
def nid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in an empty folder."""
    return in_process(tmp_path, monkeypatch)


@pytest.mark.parametrize("symmetry", ["standard", "w"])
def test_copies_share_the_trunk_and_part_after_it(symmetry: str, nid: Run, tmp_path: Path) -> None:
    found = records(nid(*SMALL, "--symmetry", symmetry, "--spawn-epoch", "2", "--json"))
    assert found[0]["group"].endswith("-spawn2") and [r["epochs"] for r in found] == [[0, 2, 3, 4]] * 2
    seeds = [r["seeds"] for r in found]
    assert seeds[0]["init"] == seeds[1]["init"] and seeds[0]["order"] != seeds[1]["order"]
    files = digests(tmp_path)
    for epoch in (0, 2, 3, 4):
        same = files[f"model-0001/epoch-{epoch:06d}"] == files[f"model-0002/epoch-{epoch:06d}"]
        assert same == (epoch <= 2)
    assert files["trunk/epoch-000002"] == files["model-0001/epoch-000002"]
    [group] = records(nid("group", "show", found[0]["group"], "--json"))
    assert group["settings"]["spawn_epoch"] == 2
    curves = records(nid("lmc", "--epochs", "2", "--align", "none", "--json"))
    assert curves[0]["train_error_barrier"] == curves[0]["distance"] == 0


def test_epoch_0_is_a_shared_initialization_and_the_last_epoch_makes_equal_copies(nid: Run, tmp_path: Path) -> None:
    assert nid(*SMALL, "--spawn-epoch", "0").returncode == 0
    files = digests(tmp_path)
    assert files["model-0001/epoch-000000"] == files["model-0002/epoch-000000"]
    assert files["model-0001/epoch-000003"] != files["model-0002/epoch-000003"]
    [one, two] = records(nid(*SMALL, "--spawn-epoch", "4", "--name", "equal", "--json"))
    [group] = records(nid("group", "show", "equal", "--json"))
    first, second = ([c["sha256"] for c in m["checkpoints"]] for m in group["members"])
    assert first == second and one["test_loss"] == two["test_loss"]


def test_more_copies_come_later_even_where_the_trunk_is_gone(nid: Run, tmp_path: Path) -> None:
    spawned = (*SMALL, "--spawn-epoch", "2")
    assert nid(*spawned, "--seeds", "4").returncode == 0
    at_once = digests(tmp_path)
    later = tmp_path / "later"
    later.mkdir()

    def there(*arguments: str) -> subprocess.CompletedProcess:
        return nid(*arguments, "--registry", str(later / ".nid/registry.db"))

    assert there(*spawned, "--seeds", "2").returncode == 0
    assert there(*spawned, "--seeds", "3").returncode == 0
    assert there("db", "check").returncode == 0
    gone = records(there("db", "gc", "--json"))
    assert {r["kind"] for r in gone} == {"trunk"} and len(gone) == 3
    assert not list((later / ".nid/runs").rglob("trunk")) and there("db", "check").returncode == 0
    done = there("train", "--group", "mlp-digits-standard-spawn2", "--seeds", "4", "--save-every", "3")
    assert done.returncode == 0, done.stderr
    assert digests(later) == at_once


def test_an_exported_group_goes_on_elsewhere(nid: Run, tmp_path: Path) -> None:
    spawned = (*SMALL, "--spawn-epoch", "2")
    assert nid(*spawned).returncode == 0
    assert nid("group", "export", "mlp-digits-standard-spawn2", "a.tar").returncode == 0
    other = ("--registry", str(tmp_path / "other/.nid/registry.db"))
    assert nid("register", "a.tar", *other).returncode == 0
    assert nid(*spawned, "--seeds", "3", *other).returncode == 0
    assert nid(*spawned, "--seeds", "3").returncode == 0
    assert digests(tmp_path / "other") == digests(tmp_path)


@pytest.mark.parametrize("moment", ["trunk/resume.bin", "model-0001/epoch-000000.safetensors", "model-0002/resume.bin"])
def test_a_kill_at_any_moment_costs_nothing_but_time(moment: str, nid: Run, tmp_path: Path) -> None:
    spawned = ("train", "--width", "8", "--epochs", "24", "--save-every", "6", "--spawn-epoch", "9")
    killed = tmp_path / "killed"
    killed.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "nid_cli", *spawned], cwd=killed, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not list((killed / ".nid").glob(f"runs/*/{moment}")):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = nid(*spawned, "--registry", str(killed / ".nid/registry.db"))
    assert again.returncode == 0, again.stderr
    assert nid(*spawned).returncode == 0
    whole = digests(tmp_path)
    assert digests(killed) == whole and len(whole) == 2 * 6 + 3
    [one, two] = (records(nid("group", "show", "mlp-digits-standard-spawn9", "--json", *r)) for r in (
        (), ("--registry", str(killed / ".nid/registry.db"))
    ))  # fmt: skip
    assert [m["last"]["test_loss"] for m in one[0]["members"]] == [m["last"]["test_loss"] for m in two[0]["members"]]


def test_a_trunk_that_diverges_fails_all_copies(nid: Run) -> None:
    done = nid(*SMALL, "--spawn-epoch", "3", "--optimizer", "sgd", "--lr", "1e30", "--norm", "none")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert all(f"model {n}: the trunk of all copies: its loss or weights" in done.stderr for n in (1, 2))
    [group] = records(nid("group", "list", "--json"))
    [shown] = records(nid("group", "show", group["name"], "--json"))
    assert [m["status"] for m in shown["members"]] == ["failed", "failed"]
    assert [len(m["checkpoints"]) for m in shown["members"]] == [1, 1]
    assert nid("db", "check").returncode == 0


@pytest.mark.parametrize(("epoch", "words"), [("5", "after epoch 5"), ("-1", "at least 0"), ("1.5", "1.5")])
def test_what_cannot_be_is_one_sentence(epoch: str, words: str, nid: Run, tmp_path: Path) -> None:
    done = nid(*SMALL, "--spawn-epoch", epoch)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / ".nid").exists()
    assert "spawn_epoch = 3" in nid(*SMALL, "--spawn-epoch", "3", "--dry-run").stdout
