"""The reference code's own results (with its faults mended, see the fixtures' README) against ours, on real MNIST."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nid_cli.cli.app import run
from nid_cli.data.load import load
from nid_cli.nets.functional import forward
from nid_cli.pipeline import reference
from nid_cli.recipes import graph_of

MLPS = ("mlp-standard", "mlp-w-kappa1", "mlp-w-perlayer", "mlp-syre-kappa1")
SIZES = {"train": 54_000, "val": 6_000, "test": 10_000}

# Printed by the reference code: test loss (mean over batches of 64 of their means) and accuracy of models 1 and 2.
PRINTED = {
    "mlp-standard": ((0.1729, 0.9497), (0.1807, 0.9473)),
    "mlp-w-kappa1": ((0.2041, 0.9410), (0.2140, 0.9395)),
    "mlp-w-perlayer": ((0.1943, 0.9451), (0.2017, 0.9399)),
    "mlp-sigma": ((0.1859, 0.9448), (0.1932, 0.9434)),
    "mlp-syre-kappa1": ((0.5604, 0.8284), (0.5702, 0.8238)),
    "mlp-w-batchnorm": ((0.1971, 0.9431), (0.2122, 0.9376)),
}


@pytest.fixture(scope="module")
def registered(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose registry holds the four runs that have results, under their own names."""
    folder = tmp_path_factory.mktemp("reference")
    for name in MLPS:
        registry = str(folder / "registry.db")
        assert (
            run(["register", str(shared / "fixtures/reference-runs" / name), "--name", name, "--registry", registry])
            == 0
        )
    os.environ["NID_DATA_DIR"] = str(shared / "data")
    return folder


def ours(folder: Path, command: list[str]) -> list[dict]:
    target = folder / f"{command[0]}.json"
    assert run([*command, "--registry", str(folder / "registry.db"), "--export", str(target)]) == 0
    return json.loads(target.read_text())["records"]


def test_curves_agree(registered: Path, shared: Path) -> None:
    found = {(r["group"], r["align"]): r for r in ours(registered, ["lmc"])}
    theirs = json.loads((shared / "fixtures/reference-results/lmc.json").read_text())
    assert len(theirs) == 4
    for run_ in theirs:
        for align, key in (("none", "unaligned"), ("activation", "activation_aligned")):
            r, t = found[run_["run_key"], align], run_[f"interpolation_results_{key}"]
            assert r["lambdas"] == pytest.approx(t["lambdas"])
            for split, size in SIZES.items():
                assert r[f"{split}_accuracy"] == pytest.approx(t[f"{split}_accuracy"], abs=1.01 * 100 / size)
                assert r[f"{split}_loss"] == pytest.approx(t[f"{split}_loss"], abs=1e-4)
            assert r["distance"] == pytest.approx(t["distance"], rel=1e-5)
            assert r["normalized_distance"] == pytest.approx(t["normalized_distance"], rel=1e-5)


@pytest.mark.parametrize("name", PRINTED)
def test_test_metrics_agree_with_the_printed_ones(name: str, shared: Path) -> None:
    """As a set: two models train at once there, and whichever ends first prints first."""
    data = load("mnist", {}, shared / "data")
    directory = reference.open_directory(shared / "fixtures/reference-runs" / name)
    found = []
    for model in (1, 2):
        file = directory.files[model, 1]
        state, fixed = reference.read_checkpoint(file.read_bytes(), file, directory.spec)
        graph, losses, right = graph_of(directory.spec), [], 0
        full = state | {k: t for k, t in fixed.items() if k.endswith("gate")}
        for x, y in data.batches("test", 64):
            logits = forward(graph, full, x)
            losses.append(F.cross_entropy(logits, y).item())
            right += int((logits.argmax(1) == y).sum())
        found.append((torch.tensor(losses).mean().item(), right / 10_000))
    for ours_, theirs in zip(sorted(found), sorted(PRINTED[name]), strict=True):
        assert ours_[0] == pytest.approx(theirs[0], abs=6e-5) and ours_[1] == pytest.approx(theirs[1], abs=1e-9)
