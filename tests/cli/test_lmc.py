"""``nid lmc`` and ``nid plot lmc`` through the real command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.conftest import execute, records

KEYS = {
    "result_id", "group", "arch", "dataset", "symmetry", "kappa", "epoch", "model_a", "model_b", "align", "status",
    "reason", "lambdas", "distance", "normalized_distance",
}  # fmt: skip
PER_SPLIT = (
    "loss", "accuracy", "loss_barrier", "loss_barrier_max", "loss_barrier_mid", "error_barrier", "error_barrier_max",
    "error_barrier_mid", "relative_accuracy_drop",
)  # fmt: skip


@pytest.fixture
def copy(lab: Path, tmp_path: Path) -> Path:
    """A copy of the lab that may be written to (and so also a moved .nid folder)."""
    shutil.copytree(lab / ".nid", tmp_path / ".nid")
    return tmp_path


def test_records_have_the_promised_keys_and_agree_with_training(copy: Path) -> None:
    done = execute(copy, "lmc", "--symmetry", "w", "--json")
    found = records(done)
    assert json.loads(done.stdout)["schema"] == "nid.lmc/1" and len(found) == 6
    [group] = records(execute(copy, "group", "show", "mlp-digits-w-k1", "--json"))
    last = {m["model"]: m["last"] for m in group["members"]}
    for r in found:
        assert set(r) >= KEYS | {f"{s}_{k}" for s in ("train", "val", "test") for k in PER_SPLIT}
        assert len(r["lambdas"]) == 9 and r["lambdas"][4] == 0.5 and r["status"] == "ok" and r["epoch"] == 4
        for split in ("val", "test"):
            assert r[f"{split}_accuracy"][0] == pytest.approx(last[r["model_a"]][f"{split}_accuracy"])
            assert r[f"{split}_loss"][-1] == pytest.approx(last[r["model_b"]][f"{split}_loss"])
    assert {(r["model_a"], r["model_b"]) for r in found} == {(1, 2), (1, 3), (2, 3)}
    checkpoints = {c["sha256"] for m in group["members"] for c in m["checkpoints"]}
    assert set(found[0]["lineage"]["checkpoints"]) <= checkpoints
    assert found[0]["lineage"]["data_fingerprint"] == group["data_fingerprint"]


def test_nothing_is_computed_twice_and_force_computes_again(copy: Path) -> None:
    first = records(execute(copy, "lmc", "--symmetry", "standard", "--json"))
    second = records(execute(copy, "lmc", "--symmetry", "standard", "--json"))
    assert first == second
    forced = records(execute(copy, "lmc", "--symmetry", "standard", "--force", "--json"))
    assert [r["result_id"] for r in forced] == [r["result_id"] for r in first]
    assert forced[0]["lineage"]["created_at"] > first[0]["lineage"]["created_at"]
    assert [r["train_loss"] for r in forced] == [r["train_loss"] for r in first]


def test_alignment_helps_standard_networks_and_is_not_applicable_to_sigma(copy: Path) -> None:
    found = records(execute(copy, "lmc", "--symmetry", "standard", "--symmetry", "sigma", "--json"))
    mean = {
        (s, a): [r for r in found if r["symmetry"] == s and r["align"] == a]
        for s in ("standard", "sigma")
        for a in ("none", "activation")
    }
    loss = [sum(r["train_loss_barrier"] for r in mean["standard", a]) for a in ("activation", "none")]
    assert loss[0] < loss[1]
    skipped = mean["sigma", "activation"]
    assert all(r["status"] == "not_applicable" and "gate" in r["reason"] for r in skipped)
    assert all(set(r) == set(found[0]) and r["train_loss_barrier"] is None for r in skipped)
    assert all(r["status"] == "ok" for r in mean["sigma", "none"])


def test_epochs_pairs_and_points(copy: Path) -> None:
    chosen = ("--group", "mlp-digits-syre-k1", "--align", "none", "--json")
    found = records(execute(copy, "lmc", *chosen, "--epochs", "all", "--pairs", "disjoint", "--points", "4"))
    assert [r["epoch"] for r in found] == [0, 2, 4] and len(found[0]["lambdas"]) == 4
    named = records(execute(copy, "lmc", *chosen, "--epochs", "2", "--pairs", "3-1"))
    assert [(r["model_a"], r["model_b"]) for r in named] == [(3, 1)]
    both = records(execute(copy, "lmc", *chosen, "--models", "2-3"))
    assert [(r["model_a"], r["model_b"]) for r in both] == [(2, 3)]


def test_exports_hold_the_same_records(copy: Path) -> None:
    chosen = ("lmc", "--symmetry", "w", "--symmetry", "sigma")
    for name in ("a.json", "a.jsonl", "a.csv", "a.parquet"):
        assert execute(copy, *chosen, "--export", name).returncode == 0
    plain = json.loads((copy / "a.json").read_text())["records"]
    lines = [json.loads(line) for line in (copy / "a.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in r.items() if k != "schema"} for r in lines] == plain
    with open(copy / "a.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["train_loss_barrier"]) for r in rows if r["train_loss_barrier"]] == [
        r["train_loss_barrier"] for r in plain if r["status"] == "ok"
    ]
    table = pyarrow.parquet.read_table(copy / "a.parquet").to_pylist()
    assert [r["train_loss"] for r in table] == [r.get("train_loss") for r in plain]
    printed = execute(copy, *chosen, "--export", "-")
    assert json.loads(printed.stdout)["records"] == plain


def test_a_flipped_bit_is_noticed(copy: Path) -> None:
    target = sorted((copy / ".nid/runs").rglob("epoch-000004.safetensors"))[0]
    content = bytearray(target.read_bytes())
    content[-5] ^= 1
    target.write_bytes(content)
    done = execute(copy, "lmc")
    assert done.returncode == 5 and str(target.name) in done.stderr and "Traceback" not in done.stderr


def test_the_figure_needs_results_and_names_their_command(copy: Path) -> None:
    missing = execute(copy, "plot", "lmc", "--symmetry", "w", "--out", "a.png")
    assert missing.returncode == 3 and "run: nid lmc --symmetry w" in missing.stderr and not (copy / "a.png").exists()
    assert execute(copy, "lmc").returncode == 0
    sizes = set()
    for name in ("a.png", "a.pdf", "a.svg"):
        [drawn] = records(execute(copy, "plot", "lmc", "--symmetry", "w", "--out", name, "--json"))
        assert len(drawn["result_ids"]) == 6
        sizes.add((copy / name).read_bytes()[:4])
    assert {b"\x89PNG", b"%PDF"} < sizes
    assert execute(copy, "plot", "lmc", "--out", "all.png").returncode == 0
    assert execute(copy, "plot", "lmc", "--out", "a.jpg").returncode == 2


def test_groups_with_the_same_bytes_keep_their_own_ends(nid, tmp_path: Path) -> None:
    """At epoch 0 the files of a standard and of a sigma group are equal; their functions are not."""
    for symmetry in ("standard", "sigma"):
        assert nid("train", "--symmetry", symmetry, "--width", "16", "--epochs", "0").returncode == 0
    together = {r["symmetry"]: r for r in records(nid("lmc", "--align", "none", "--json"))}
    alone = records(nid("lmc", "--align", "none", "--symmetry", "sigma", "--force", "--json"))
    assert alone[0]["train_loss"] == together["sigma"]["train_loss"]
    assert together["sigma"]["train_loss"][0] != together["standard"]["train_loss"][0]
    assert together["sigma"]["lineage"]["checkpoints"] == together["standard"]["lineage"]["checkpoints"]


def test_the_number_of_threads_does_not_matter(copy: Path) -> None:
    done = execute(copy, "lmc", "--symmetry", "w", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


def test_the_table_shows_the_true_midpoint_for_even_points(copy: Path) -> None:
    rows = [execute(copy, "lmc", "--symmetry", "standard", "--align", "none", "--points", p).stdout for p in ("4", "5")]
    assert rows[0].split()[-1] == rows[1].split()[-1]
