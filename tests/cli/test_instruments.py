"""``nid match``, ``nid cost`` and ``nid coherence`` through the real command line, on all four symmetry types."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import execute, records

COMMON = {"result_id", "group", "arch", "dataset", "symmetry", "kappa", "epoch", "lineage"}
MATCH = COMMON | {
    "model_a", "model_b", "layer", "at", "similarity", "optimal", "identity", "random_mean", "random_sd", "random_min",
    "random_max", "share_identity", "permutation",
}  # fmt: skip
COST = COMMON | {
    "model", "layer", "method", "neurons", "subspace_dimension", "full_dimension", "explained_variance", "coherence",
    "cost_squared", "swap_squared",
}  # fmt: skip
COHERENCE = COMMON | {
    "model", "layer", "coherence", "subspace_dimension", "full_dimension", "explained_variance", "anisotropy",
    "anisotropy_mean", "anisotropy_bounds", "share_above_bounds",
}  # fmt: skip
RIDGE = {
    "beta", "objective", "mse", "weight_norm", "gradient_norm", "iterations", "rank_correlation",
    "mahalanobis_swap_squared",
}  # fmt: skip


@pytest.fixture(scope="module")
def copy(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instruments")
    shutil.copytree(lab / ".nid", folder / ".nid")
    return folder


def test_match(copy: Path) -> None:
    found = records(
        execute(copy, "match", "--pairs", "1-2", "--epochs", "0,4", "--similarity", "pearson,dot", "--json")
    )
    assert len(found) == 4 * 2 * 2 * 3 and all(set(r) == MATCH for r in found)
    assert {r["layer"] for r in found} == {0, 1, 2}
    for r in found:
        assert r["identity"] <= r["optimal"] + 1e-9 and r["random_max"] <= r["optimal"] + 1e-9
        assert sorted(r["permutation"]) == list(range(24))
    syre = [r for r in found if r["symmetry"] == "syre" and r["epoch"] == 4 and r["similarity"] == "pearson"]
    standard = [r for r in found if r["symmetry"] == "standard" and r["epoch"] == 4 and r["similarity"] == "pearson"]
    assert min(r["identity"] for r in syre) > max(abs(r["identity"]) for r in standard)
    again = execute(copy, "match", "--pairs", "1-2", "--epochs", "0,4", "--similarity", "pearson,dot", "--json")
    assert records(again) == found
    points = records(
        execute(copy, "match", "--symmetry", "w", "--at", "post_linear,post_norm", "--json", "--random", "0")
    )
    assert {r["at"] for r in points} == {"post_linear", "post_norm"} and points[0]["random_mean"] is None


def test_cost(copy: Path) -> None:
    found = records(execute(copy, "cost", "--models", "1", "--json"))
    assert len(found) == 4 * 4 and all(set(r) >= COST for r in found)
    for r in found:
        swap = np.array(r["swap_squared"])
        assert swap.shape == (r["neurons"],) * 2 and (swap == swap.T).all() and (np.diag(swap) == 0).all()
        if r["symmetry"] in ("standard", "sigma"):
            assert np.abs(swap).max() < 1e-9 and np.array(r["residual"]).max() == 0
        else:
            assert np.median(np.abs(swap[np.triu_indices(len(swap), 1)])) > 0.01
    assert records(execute(copy, "cost", "--models", "1", "--json")) == found
    assert execute(copy, "cost", "--models", "1", "--export", "cost.parquet").returncode == 0
    frame = pd.read_parquet(copy / "cost.parquet")
    first = np.stack(frame["swap_squared"][0])
    np.testing.assert_allclose(first, found[0]["swap_squared"])
    assert (
        execute(copy, "cost", "--models", "1", "--layers", "3", "--symmetry", "w", "--export", "c.csv").returncode == 0
    )
    with open(copy / "c.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100 and (rows[12]["i"], rows[12]["j"]) == ("1", "2")
    w = next(r for r in found if r["symmetry"] == "w" and r["layer"] == 3)
    assert float(rows[12]["cost_squared"]) == pytest.approx(w["cost_squared"][1][2])


def test_cost_by_ridge_stands_beside_mahalanobis(copy: Path) -> None:
    arguments = (
        "cost",
        "--symmetry",
        "w",
        "--symmetry",
        "standard",
        "--models",
        "1",
        "--method",
        "ridge",
        "--layers",
        "0,3",
    )
    found = records(execute(copy, *arguments, "--neurons", "5", "--betas", ".01,1", "--json"))
    assert len(found) == 2 * 2 * 2 and all(set(r) >= COST | RIDGE for r in found)
    for r in found:
        assert r["neurons"] == 5 and r["beta"] in (0.01, 1.0)
        objective, mse = np.array(r["objective"]), np.array(r["mse"])
        np.testing.assert_allclose(objective, mse / r["beta"] + np.array(r["cost_squared"]), rtol=1e-6)
        # At fixed beta the best objective is at most that of doing nothing, and of keeping one's own weights.
        assert (objective > 0).all() and (np.array(r["iterations"]) >= 0).all()
    few = execute(
        copy, *arguments, "--neurons", "2", "--betas", "1", "--solver", "adamw", "--iterations", "5", "--json"
    )
    assert all(np.all(np.array(r["iterations"]) == 5) for r in records(few))


def test_coherence(copy: Path) -> None:
    found = records(execute(copy, "coherence", "--models", "1", "--json"))
    assert len(found) == 4 * 5 and all(set(r) == COHERENCE for r in found)
    assert [r["layer"] for r in found[:5]] == [0, 1, 2, 3, "output"]
    for r in found:
        assert r["subspace_dimension"] / r["full_dimension"] - 1e-9 <= r["coherence"] <= 1 + 1e-9
        if r["symmetry"] == "w" and r["layer"] != "output":
            assert r["anisotropy_mean"] > 0 and len(r["anisotropy"]) == (10 if r["layer"] == 3 else 24)
        else:
            assert r["anisotropy_mean"] in (0.0, None)
    for name in ("c.parquet", "c.csv", "c.jsonl"):
        assert execute(copy, "coherence", "--models", "1", "--export", name).returncode == 0
    assert list(pd.read_parquet(copy / "c.parquet")["layer"][:5]) == ["0", "1", "2", "3", "output"]
    whole = records(execute(copy, "coherence", "--symmetry", "w", "--explained-variance", "1", "--json"))
    assert all(r["explained_variance"] == pytest.approx(1) for r in whole)


def test_weight_alignment(copy: Path) -> None:
    found = records(execute(copy, "lmc", "--symmetry", "standard", "--align", "none,weight", "--json"))
    loss = {a: sum(r["train_loss_barrier"] for r in found if r["align"] == a) for a in ("none", "weight")}
    assert loss["weight"] < loss["none"] and all(r["status"] == "ok" for r in found)


def test_the_synthetic_experiment(tmp_path: Path) -> None:
    assert execute(tmp_path, "coherence", "synthetic").returncode == 3 and not list(tmp_path.iterdir())
    assert execute(tmp_path, "train", "--epochs", "0", "--width", "8").returncode == 0
    assert execute(tmp_path, "coherence", "--json", "synthetic").returncode == 2
    small = [
        "--copies",
        "3",
        "--width",
        "16",
        "--outer-seeds",
        "1",
        "--epochs",
        "2",
        "--points",
        "5",
        "--num-pairs",
        "2",
    ]
    found = records(execute(tmp_path, "coherence", "synthetic", *small, "--json"))
    assert len(found) == 2 * 3 * 2
    for r in found:
        assert r["coherence"] == pytest.approx(1 / r["active_copies"]) and len(r["test_loss"]) == len(r["lambdas"]) == 5
        ends = max(r["test_loss"][0], r["test_loss"][-1])
        assert r["barrier_mid"] == pytest.approx(r["test_loss"][2] - ends)
        assert r["barrier_peak"] == pytest.approx(max(r["test_loss"]) - ends)
    assert records(execute(tmp_path, "coherence", "synthetic", *small, "--json")) == found
    one = [*small[:-1], "1"]
    fewer = records(execute(tmp_path, "coherence", "synthetic", *one, "--json"))
    assert fewer == [r for r in found if r["pair"] == 0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("match", "--at", "pre_norm"),
        ("match", "--similarity", "cosine"),
        ("match", "--random", "-1"),
        ("cost", "--method", "lasso"),
        ("cost", "--explained-variance", "0"),
        ("cost", "--layers", "9"),
        ("cost", "--betas", ".1"),
        ("cost", "--layers", "x"),
        ("cost", "--method", "ridge", "--betas", "0"),
        ("cost", "--method", "ridge", "--neurons", "0"),
        ("cost", "--method", "ridge", "--solver", "sgd"),
        ("coherence", "--explained-variance", "1.5"),
        ("coherence", "synthetic", "--families", "other"),
        ("coherence", "synthetic", "--copies", "0"),
        ("train", "--dataset", "mnist-coherence", "--data", "coherence=2"),
    ],
    ids=" ".join,
)
def test_bad_settings_are_usage_errors(copy: Path, arguments: tuple[str, ...], monkeypatch, capsys) -> None:
    from nid_cli.cli.app import run

    monkeypatch.chdir(copy)
    assert run(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and "nid itself" not in printed.err and printed.out == ""


def test_results_of_every_kind_travel_with_their_group(copy: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(copy / ".nid", source / ".nid")
    arguments = ("cost", "--group", "mlp-digits-w-k1", "--models", "1", "--json")
    expected = records(execute(source, *arguments))
    target = tmp_path / "target"
    target.mkdir()
    assert execute(source, "group", "export", "mlp-digits-w-k1", "../w.tar").returncode == 0
    assert execute(target, "register", "../w.tar").returncode == 0
    assert records(execute(target, *arguments)) == expected
    files = {p.name for p in (target / ".nid/results").iterdir()}
    assert len(files) >= 4
    assert execute(target, "group", "rm", "mlp-digits-w-k1", "--yes").returncode == 0
    assert execute(target, "db", "gc").returncode == 0
    assert not list((target / ".nid/results").glob("*.safetensors"))
    assert json.loads(execute(target, "group", "list", "--json").stdout)["records"] == []
