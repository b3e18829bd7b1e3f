"""Residual networks through the command line: trained, connected, matched, with costs and coherence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nid_cli.cli.app import run
from tests.conftest import execute

NORMS = {"standard": "batch", "w": "group", "sigma": "group"}


@pytest.fixture(scope="module")
def resnets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose registry has two small resnets of three types, after one epoch on few digits."""
    folder = tmp_path_factory.mktemp("resnets")
    for symmetry, norm in NORMS.items():
        common = ["--arch", "resnet", "--data", "train-size=300", "--epochs", "1", "--workers", "1"]
        done = execute(folder, "train", *common, "--symmetry", symmetry, "--norm", norm)
        assert done.returncode == 0, done.stderr
    return folder


def records(folder: Path, *command: str) -> list[dict]:
    target = folder / "out.json"
    assert run([*command, "--registry", str(folder / ".nid/registry.db"), "--export", str(target)]) == 0
    return json.loads(target.read_text())["records"]


def test_alignment_applies_to_all_but_sigma(resnets: Path) -> None:
    found = records(resnets, "lmc", "--align", "none,activation,weight", "--points", "3")
    assert len(found) == 9
    for r in found:
        applies = r["symmetry"] != "sigma" or r["align"] == "none"
        assert r["status"] == ("ok" if applies else "not_applicable") and r["arch"] == "resnet"
        assert not r["bn_reset"]


def test_bn_reset_is_its_own_variant_of_batch_norm_networks(resnets: Path, capsys: pytest.CaptureFixture) -> None:
    both = ["lmc", "--align", "none", "--points", "3", "--symmetry", "standard", "--symmetry", "w"]
    plain = {r["symmetry"]: r for r in records(resnets, *both)}
    reset = {r["symmetry"]: r for r in records(resnets, *both, "--bn-reset")}
    assert reset["standard"]["bn_reset"] and reset["standard"]["result_id"] != plain["standard"]["result_id"]
    curves = [r["standard"]["train_loss"] for r in (plain, reset)]
    assert curves[0][0] == curves[1][0] and curves[0][2] == curves[1][2] and curves[0][1] != curves[1][1]
    assert reset["w"] == plain["w"]
    registry = str(resnets / ".nid/registry.db")
    assert run(["lmc", "--symmetry", "w", "--bn-reset", "--registry", registry]) == 2
    assert "has batch norms" in capsys.readouterr().err


def test_match_speaks_of_streams_and_blocks(resnets: Path) -> None:
    found = records(resnets, "match", "--symmetry", "w", "--at", "post_linear,post_activation")
    labels = [(r["layer"], r["at"]) for r in found]
    blocks = ["stage1.0", "stage2.0", "stage3.0"]
    assert [layer for layer, at in labels if at == "post_linear"] == blocks
    activations = [layer for layer, at in labels if at == "post_activation"]
    assert sorted(activations) == sorted([*blocks, "stream.1", "stream.2", "stream.3"])


def test_costs_and_coherence_of_convolutions(resnets: Path) -> None:
    costs = records(resnets, "cost", "--layers", "stem.conv,9", "--explained-variance", "0.8")
    assert {(r["symmetry"], r["layer"]) for r in costs} == {(s, n) for s in NORMS for n in ("stem.conv", "linear")}
    stem = {r["symmetry"]: r for r in costs if r["layer"] == "stem.conv" and r["model"] == 1}
    assert stem["w"]["full_dimension"] == 9 and len(stem["w"]["swap_squared"]) == 16
    assert stem["w"]["swap_squared_median"] > 0.1 and abs(stem["standard"]["swap_squared_median"]) < 1e-9
    assert abs(stem["sigma"]["swap_squared_median"]) < 1e-9
    spaces = [r for r in records(resnets, "coherence", "--symmetry", "w") if r["model"] == 1]
    assert [r["layer"] for r in spaces][:2] == ["stem.conv", "stage1.0.conv1"] and spaces[-1]["layer"] == "output"
    assert all(r["subspace_dimension"] / r["full_dimension"] <= r["coherence"] + 1e-9 <= 1 + 1e-6 for r in spaces)


def test_the_ridge_estimate_of_a_convolution(resnets: Path) -> None:
    options = ["--neurons", "3", "--betas", "0.1", "--layers", "stem.conv", "--models", "1", "--subsample", "500"]
    [fit] = records(resnets, "cost", "--method", "ridge", "--symmetry", "w", *options)
    assert fit["neurons"] == 3 and all(fit["mse"][i][i] < 1 for i in range(3))
    assert all(fit["swap_squared"][i][i] == 0 for i in range(3))
