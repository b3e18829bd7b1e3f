"""Training through the real command line: idempotence, determinism, failures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.conftest import Run, execute, in_process, records

SMALL = ("--width", "16", "--depth", "3")


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of each checkpoint below ``folder``."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


@pytest.fixture
def nid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in an empty folder; what needs worker processes runs :func:`execute`."""
    return in_process(tmp_path, monkeypatch)


def test_the_same_training_twice_is_done_once_and_more_seeds_join_the_group(nid: Run, tmp_path: Path) -> None:
    first = records(nid("train", "--symmetry", "w", *SMALL, "--epochs", "2", "--json"))
    before = tree(tmp_path)
    assert [r["model"] for r in first] == [1, 2] and all(r["trained_now"] for r in first)
    again = nid("train", "--symmetry", "1", *SMALL, "--epochs", "2", "--json")
    assert not any(r["trained_now"] for r in records(again)) and "trained already" in again.stderr
    assert tree(tmp_path) == before
    more = records(nid("train", "--symmetry", "w", *SMALL, "--epochs", "2", "--seeds", "3", "--json"))
    assert [r["trained_now"] for r in more] == [False, False, True]
    assert {k: v for k, v in tree(tmp_path).items() if k in before} == before
    groups = records(nid("group", "list", "--json"))
    assert [(g["name"], g["models"], g["kappa"]) for g in groups] == [("mlp-digits-w-k1", 3, 1.0)]
    other = records(nid("train", "--symmetry", "w", *SMALL, "--epochs", "2", "--seed", "9", "--json"))
    assert {r["group"] for r in other} == {"mlp-digits-w-k1-2"}
    standard = [records(nid("train", *SMALL, "--epochs", "1", "--seed", s, "--json")) for s in ("1", "2")]
    assert [r["model"] for r in standard[1]] == [3, 4] and standard[0][0]["group"] == standard[1][0]["group"]


def test_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for name, workers in (("one", "1"), ("two", "2")):
        folder = tmp_path / name
        folder.mkdir()
        done = execute(folder, "train", "--symmetry", "syre", *SMALL, "--epochs", "3", "--workers", workers)
        assert done.returncode == 0, done.stderr
        trees.append(tree(folder))
    assert trees[0] == trees[1] and len(trees[0]) == 2 * 2 + 1
    checkpoints = [v for k, v in trees[0].items() if "000003" in k]
    assert len(set(checkpoints)) == 2


def test_a_diverged_model_is_recorded_and_the_others_go_on(nid: Run) -> None:
    arguments = ("train", *SMALL, "--optimizer", "sgd", "--lr", "1e20", "--norm", "none", "--epochs", "3")
    done = nid(*arguments)
    assert done.returncode == 1 and "not finite" in done.stderr
    [group] = records(nid("group", "list", "--json"))
    assert group["status"] == {"failed": 2}
    [shown] = records(nid("group", "show", group["name"], "--json"))
    assert all(m["failed_epoch"] == 1 for m in shown["members"])
    assert nid(*arguments).returncode == 1
    assert nid("lmc").returncode == 3


def test_epoch_zero_is_initialization_only(nid: Run) -> None:
    [first, _] = records(nid("train", "--symmetry", "w", *SMALL, "--epochs", "0", "--json"))
    assert first["epochs"] == [0] and first["status"] == "complete" and first["test_accuracy"] > 0


def test_dry_run_reads_back_as_a_configuration(nid: Run, tmp_path: Path) -> None:
    printed = nid("train", "--symmetry", "syre", "--kappa", "1,0.5,0.25,0", "--data", "train-size=100", "--dry-run")
    assert printed.returncode == 0 and not (tmp_path / ".nid").exists()
    (tmp_path / "run.toml").write_text(printed.stdout)
    again = nid("train", "--config", "run.toml", "--dry-run")
    assert again.stdout == printed.stdout
    changed = nid("train", "--config", "run.toml", "--epochs", "7", "--dry-run")
    assert "epochs = 7" in changed.stdout and "kappa = [\n    1.0,\n    0.5" in changed.stdout


def test_every_member_says_where_it_comes_from(lab: Path) -> None:
    [group] = records(execute(lab, "group", "show", "mlp-digits-w-k1", "--json"))
    member = group["members"][0]
    assert set(member["lineage"]["versions"]) >= {"nid", "python", "torch", "numpy"}
    assert member["lineage"]["command"][:2] == ["nid", "train"] and member["lineage"]["status"] == "done"
    assert all(isinstance(v, int) for v in member["seeds"].values()) and len(group["data_fingerprint"]) == 64
    for checkpoint in member["checkpoints"]:
        content = (lab / ".nid" / checkpoint["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checkpoint["sha256"]
    assert [c["epoch"] for c in member["checkpoints"]] == [0, 2, 4]
    seeds = [json.dumps(m["seeds"]) for m in group["members"]]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("dataset", ["gaussian-subspace", "parity-subspace", "multilabel-subspace"])
def test_generated_data_sets_train(nid: Run, dataset: str) -> None:
    sizes = [x for kv in ("samples=500", "test-samples=100", "k=4", "d=20") for x in ("--data", kv)]
    done = nid("train", "--dataset", dataset, *sizes, "--symmetry", "w", *SMALL, "--epochs", "2", "--json")
    assert all(r["status"] == "complete" and 0 < r["test_accuracy"] <= 100 for r in records(done))


def test_a_model_whose_last_step_diverges_is_not_complete(nid: Run) -> None:
    arguments = ("--optimizer", "sgd", "--lr", "1e30", "--batch-size", "2000", "--epochs", "1")
    assert nid("train", *SMALL, *arguments).returncode == 1


def test_batch_norm_meets_a_last_batch_of_one(nid: Run) -> None:
    done = nid("train", *SMALL, "--norm", "batch", "--data", "train-size=65", "--epochs", "2", "--json")
    assert all(r["status"] == "complete" for r in records(done))
