"""The reference code's own results (with its faults mended, see the fixtures' README) against ours, on real MNIST."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import torch.nn.functional as F

from nid_cli.analysis.lmc import interpolate
from nid_cli.cli.app import run
from nid_cli.data.load import load
from nid_cli.graphs import graph_of
from nid_cli.nets.functional import forward
from nid_cli.pipeline.importing import reference

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


def test_matching_agrees(registered: Path, shared: Path) -> None:
    points = {"post_linear": "post_linear", "post_norm": "post_norm", "post_activation_function": "post_activation"}
    records = ours(registered, ["match", "--at", ",".join(points.values()), "--similarity", "pearson,dot"])
    found = {(r["group"], r["layer"], r["at"], r["similarity"]): r for r in records}
    compared = 0
    for run_ in json.loads((shared / "fixtures/reference-results/match.json").read_text()):
        for t in run_["matching_results"]:
            kind = "dot" if t["correlation_mode"] == "dot_product" else "pearson"
            r = found[run_["run_key"], int(t["layer"][2:]), points[t["matching_mode"]], kind]
            for name in ("optimal", "identity"):
                # Similarities to 1e-5; mean products, which are not bounded by 1, to that relative.
                assert r[name] == pytest.approx(t["objectives"][name], abs=1e-5, rel=1e-5 if kind == "dot" else 0)
            assert r["permutation"] == t["permutations"]["optimal"]
            assert abs(r["random_mean"]) < 1 or kind == "dot"
            compared += 1
    assert compared == 4 * 3 * 3 * 2


def test_costs_agree(registered: Path, shared: Path) -> None:
    found = {(r["group"], r["layer"]): r for r in ours(registered, ["cost"]) if r["model"] == 1}
    names = {
        "cost_squared": "mahalanobis_distance_squared",
        "swap_squared": "transposition_cost_squared",
        "center_distance": "proj_center_distances",
    }
    compared = 0
    for run_ in pyarrow.parquet.read_table(shared / "fixtures/reference-results/cost.parquet").to_pylist():
        for t in run_["realization_cost_results"]:
            r = found[Path(run_["run_directory"]).name, int(t["layer"].removeprefix("lins."))]
            assert r["subspace_dimension"] == t["subspace_dimension"]
            assert r["coherence"] == pytest.approx(t["subspace_coherence"], abs=1e-4)
            for name, theirs in names.items():
                expected = np.array(t[theirs])
                np.testing.assert_allclose(r[name], expected, atol=1e-4 * max(1e-2, np.abs(expected).max()))
            compared += 1
    assert compared == 16


def test_coherence_agrees(registered: Path, shared: Path) -> None:
    found = {(r["group"], r["layer"]): r for r in ours(registered, ["coherence"]) if r["model"] == 1}
    for run_ in json.loads((shared / "fixtures/reference-results/coherence.json").read_text()):
        for t in run_["coherence_results"]:
            layer = "output" if t["layer"] == "model-output" else int(t["layer"].removeprefix("lins."))
            r = found[run_["run_key"], layer]
            assert (r["subspace_dimension"], r["full_dimension"]) == (t["subspace_dimension"], t["full_dimension"])
            assert r["coherence"] == pytest.approx(t["subspace_coherence"], abs=1e-4)
            assert r["explained_variance"] == pytest.approx(t["explained_variance_ratio"], abs=1e-5)
            if layer == "output":
                continue
            np.testing.assert_allclose(r["anisotropy"], t["anisotropy_operator_norms"], atol=1e-4)
            # Masks here keep at least half of the weights: max(p, 1 - p) = p, and the bounds agree as they are.
            for delta, bound in t["anisotropy_bounds"].items():
                assert r["anisotropy_bounds"][delta] == pytest.approx(bound, rel=1e-4)


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


@pytest.mark.parametrize("name", ["resnet-standard", "resnet-w-kappa2", "resnet-syre-kappa2"])
def test_logits_of_residual_networks_agree(name: str, shared: Path) -> None:
    """Both models, and the network half-way between their effective weights."""
    folder = shared / "fixtures/reference-runs" / name
    directory = reference.open_directory(folder)
    graph = graph_of(directory.spec)
    files = [directory.files[model, 1] for model in (1, 2)]
    a, b = (reference.read_checkpoint(file.read_bytes(), file, directory.spec)[0] for file in files)
    x = torch.from_numpy(np.load(shared / "fixtures/resnet_inputs.npy"))
    theirs = json.loads((folder / "logits.json").read_text())
    for key, state in (("model_1", a), ("model_2", b), ("midpoint", interpolate(graph, a, b, 0.5))):
        expected = torch.tensor(theirs[key])
        assert float((forward(graph, state, x) - expected).abs().max() / expected.abs().max()) < 1e-5
