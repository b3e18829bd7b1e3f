"""Transformers and graph networks through the real command line: trained, measured, and what they refuse."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from nid_cli.pipeline.engines import ENGINES
from tests.conftest import Terminal

NETWORKS = {
    "vit": ("--width", "8", "--depth", "1", "--heads", "2", "--data", "train-size=100"),
    "gpt": (
        "--dataset", "grammar", "--width", "8", "--depth", "1", "--heads", "2",
        "--data", "samples=60", "--data", "test-samples=20", "--data", "length=12",
    ),
    "gcn": ("--dataset", "sbm", "--width", "8", "--data", "nodes=60", "--data", "links=120", "--epochs", "20"),
}  # fmt: skip


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """An empty folder. Models are trained in this process: its workers would take longer to start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    monkeypatch.setitem(ENGINES, "local", ENGINES["here"])
    return Terminal(tmp_path, capsys)


@pytest.mark.parametrize(
    ("arch", "symmetry"),
    [("vit", "w"), ("vit", "sigma"), ("gpt", "syre"), ("gpt", "sigma"), ("gcn", "standard"), ("gcn", "w")],
)
def test_every_architecture_under_every_type(there: Terminal, arch: str, symmetry: str) -> None:
    epochs = () if "--epochs" in NETWORKS[arch] else ("--epochs", "2")
    made = there.records("train", "--arch", arch, *NETWORKS[arch], *epochs, "--symmetry", symmetry)
    assert [r["status"] for r in made] == ["complete"] * 2 and made[0]["arch"] == arch
    aligned = there.records("lmc", "--align", "none,activation,weight", "--points", "3")
    assert [r["status"] for r in aligned[1:]] == (["not_applicable"] * 2 if symmetry == "sigma" else ["ok"] * 2)
    assert all(np.isfinite(aligned[0]["train_loss"]))
    for command in ("match", "cost", "coherence"):
        assert there.records(command, "--models", "1,2"), command
    fixed = [load_file(path) for path in there.folder.glob(".nid/fixed/*.safetensors")]
    assert len(fixed) == (arch == "gcn" or symmetry != "standard")
    held = load_file(sorted(there.folder.rglob("epoch-*.safetensors"))[0])
    if arch == "gcn":
        adjacency = fixed[0]["adjacency"]
        assert adjacency.shape == (60, 60) and (adjacency == adjacency.T).all() and "adjacency" not in held
    assert there("db", "check") == 0, there.errors


def test_a_standard_groups_graph_is_part_of_what_it_is(there: Terminal) -> None:
    """Other links, other group; exported and registered elsewhere it is the same."""
    first = there.records("train", "--arch", "gcn", *NETWORKS["gcn"])
    other = there.records("train", "--arch", "gcn", *NETWORKS["gcn"], "--data", "seed=3")
    assert first[0]["group"] != other[0]["group"]
    before = there.records("lmc", "--group", first[0]["group"], "--points", "3")
    assert there("group", "export", first[0]["group"], "g.tar") == 0, there.errors
    away = there.folder / "away"
    away.mkdir()
    os.chdir(away)
    assert there("register", "../g.tar") == 0, there.errors
    after = there.records("lmc", "--group", first[0]["group"], "--points", "3", "--force")
    assert [r["train_loss"] for r in after] == [r["train_loss"] for r in before]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (("--epochs", "20"), [0, 20]),
        (("--epochs", "40", "--save-every", "7"), [0, 7, 14, 21, 28, 35, 40]),
        (("--epochs", "40", "--spawn-epoch", "4"), [0, 4, 20, 40]),
    ],
)
def test_more_models_of_a_group_have_the_same_checkpoints(there: Terminal, more: tuple[str, ...], kept: list) -> None:
    there.records("train", "--arch", "gcn", *NETWORKS["gcn"][:-2], *more, "--seeds", "1", "--name", "graphs")
    made = there.records("train", "--group", "graphs", "--seeds", "2")
    assert [r["epochs"] for r in made] == [kept, kept] and [r["trained_now"] for r in made] == [False, True]


@pytest.mark.parametrize("arch", list(NETWORKS))
def test_a_dry_run_can_be_read_back(there: Terminal, arch: str) -> None:
    assert there("train", "--arch", arch, *NETWORKS[arch], "--symmetry", "w", "--dry-run") == 0
    said = tomllib.loads(there.printed)
    assert said["arch"] == arch and ("heads" in said) == (arch != "gcn") and ("tied" in said) == (arch == "gpt")
    Path("run.toml").write_text(there.printed)
    assert there("train", "--config", "run.toml", "--dry-run") == 0 and tomllib.loads(there.printed) == said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--arch vit --heads 5", "5 heads do not divide"),
        ("--arch vit --patch 3", "do not divide"),
        ("--arch vit --dataset gaussian-subspace", "images"),
        ("--arch vit --dataset grammar", "vit reads numbers, but the data set offers tokens"),
        ("--arch vit --tied", "vit has no tied"),
        ("--arch gpt", "gpt reads tokens, but the data set offers numbers"),
        ("--arch gpt --dataset grammar --patch 2", "gpt has no patch"),
        ("--arch gcn", "gcn reads nodes, but the data set offers numbers"),
        ("--arch mlp --dataset sbm", "mlp reads numbers, but the data set offers nodes"),
        ("--arch gcn --dataset sbm --depth 1", "depth >= 2"),
        ("--arch vit --symmetry sigma --activation relu", "gates in the place of activations"),
        ("--arch vit --symmetry w --kappa 1,2", "one for each of the"),
        ("--arch vit --symmetry w --kappa layers.*=2", "no layer is called 'layers.*'"),
        ("--arch gcn --dataset ogbn-arxiv", "ogbn"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(there: Terminal, arguments: str, sentence: str) -> None:
    assert there("train", *arguments.split(), "--data-dir", "nowhere") in (2, 3), there.errors
    assert sentence in there.errors and there.errors.count("error: ") == 1 and "Traceback" not in there.errors
    assert not (there.folder / ".nid").exists()


def test_files_whose_targets_are_beyond_the_outputs_are_refused(there: Terminal) -> None:
    inputs = np.random.default_rng(0).integers(0, 9, (40, 6))
    parts = {"train_inputs": inputs[:30], "test_inputs": inputs[30:]}
    targets = {"train_targets": inputs[:30] - 1, "test_targets": inputs[30:]}
    np.savez("below.npz", **parts, **targets)
    assert there("train", "--arch", "gpt", "--dataset", "below.npz") == 2
    assert "below 0" in there.errors and not (there.folder / ".nid").exists()
    np.savez("words.npz", **parts, train_targets=inputs[:30], test_targets=inputs[30:])
    made = there.records("train", "--arch", "gpt", "--dataset", "words.npz", "--width", "8", "--epochs", "1")
    assert made[0]["status"] == "complete"
