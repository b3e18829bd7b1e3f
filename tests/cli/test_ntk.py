"""``nid ntk`` through the real command line: models and pairs, what they read, and what cannot be measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nid_cli import open_registry
from nid_cli.analysis.class_samples import draw_samples
from nid_cli.analysis.kernel_values import compare, spectrum
from nid_cli.analysis.parameters import NtkParameters
from nid_cli.analysis.tangent_kernel import tangent_kernel
from nid_cli.analysis.tangent_network import TangentNetwork
from nid_cli.pipeline.analyses.lab import lab_of
from nid_cli.pipeline.context import Context
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.selection import select_models
from nid_cli.specs import Selection, derive_seed
from tests.conftest import Run, execute, in_process, records

COMMON = {"result_id", "group", "arch", "dataset", "symmetry", "kappa", "epoch", "lineage", "status", "reason"}
SPECTRUM = {
    "trace", "frobenius_norm", "greatest_eigenvalue", "least_eigenvalue", "mean_eigenvalue", "median_eigenvalue",
    "condition_number", "effective_rank",
}  # fmt: skip
COMPARISON = {"cka", "cosine", "change"}
EARLIER = {f"{which}_{name}" for which in ("init", "previous") for name in COMPARISON}
LINEAR = {"linear_mse", "linear_relative_error", "linear_cosine", "linear_agreement"}
MODEL = COMMON | SPECTRUM | EARLIER | LINEAR | {"model", "split", "samples", "previous_epoch"}
NTK = ("ntk", "--samples", "20")


@pytest.fixture(scope="module")
def copy(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ntk")
    shutil.copytree(lab / ".nid", folder / ".nid")
    return folder


@pytest.fixture
def nid(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in the folder of the copy, in this process."""
    return in_process(copy, monkeypatch)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in an empty folder, in this process."""
    return in_process(tmp_path, monkeypatch)


def kernels(folder: Path, group: str, samples: int = 20, split: str = "train") -> dict[tuple[int, int], torch.Tensor]:
    """The kernels of a group by model and epoch, computed past the command line."""
    context = Context(registry=folder / ".nid/registry.db")
    registry = open_for_writing(context.registry)
    with registry.read() as connection:
        [selected] = select_models(connection, Selection(group=(group,), epochs="all"))
    lab, own = lab_of(registry, context), selected.group
    drawn = draw_samples(lab.data(own), split, samples, derive_seed(0, "ntk", split))
    return {
        (m.number, epoch): tangent_kernel(
            TangentNetwork(own.graph, lab.model(own, m, epoch), lab.trainable(own)), drawn
        )
        for m in selected.models
        for epoch in selected.epochs
    }


def test_models_are_measured_against_their_beginning_and_the_epoch_before(copy: Path, nid: Run) -> None:
    done = nid(*NTK, "--epochs", "all", "--models", "1,2", "--json")
    found = records(done)
    assert len(found) == 4 * 3 * 2 and all(set(r) == MODEL for r in found) and "no comparison" not in done.stderr
    for r in found:
        assert r["status"] == "ok" and (r["split"], r["samples"]) == ("train", 20)
        assert r["mean_eigenvalue"] == pytest.approx(r["trace"] / 20)
        assert 1 <= r["effective_rank"] <= 20 and r["previous_epoch"] == {0: None, 2: 0, 4: 2}[r["epoch"]]
        if r["epoch"] == 0:
            assert (r["init_change"], r["linear_mse"], r["linear_agreement"]) == (0, 0, 1)
            assert r["init_cka"] == pytest.approx(1) and r["previous_cka"] is None
        else:
            assert 0 < r["init_cka"] < 1 and r["init_change"] > 0 and r["linear_mse"] > 0
        if r["epoch"] == 2:
            assert all(r[f"init_{name}"] == r[f"previous_{name}"] for name in COMPARISON)
    by_hand = kernels(copy, "mlp-digits-w-k1")
    [own] = [r for r in found if (r["symmetry"], r["model"], r["epoch"]) == ("w", 2, 4)]
    assert {n: own[n] for n in SPECTRUM} == pytest.approx(vars(spectrum(by_hand[2, 4])))
    for which, epoch in (("init", 0), ("previous", 2)):
        expected = vars(compare(by_hand[2, 4], by_hand[2, epoch]))
        assert {n: own[f"{which}_{n}"] for n in COMPARISON} == pytest.approx(expected)
    # The same call again finds all of it.
    assert records(nid(*NTK, "--epochs", "all", "--models", "1,2", "--json")) == found


def test_what_a_result_reads_is_in_its_lineage(copy: Path, nid: Run) -> None:
    [group] = records(nid("group", "show", "mlp-digits-syre-k1", "--json"))
    files = {c["epoch"]: c["sha256"] for c in group["members"][0]["checkpoints"]}
    found = records(nid(*NTK, "--group", "mlp-digits-syre-k1", "--models", "1", "--epochs", "all", "--json"))
    read = {r["epoch"]: r["lineage"]["checkpoints"] for r in found}
    assert read == {0: [files[0]], 2: [files[2], files[0]], 4: [files[4], files[0], files[2]]}


def test_pairs_stand_alone_or_are_named(copy: Path, nid: Run) -> None:
    found = records(nid(*NTK, "--symmetry", "w", "--symmetry", "sigma", "--pairs", "--json"))
    assert [(r["symmetry"], r["model_a"], r["model_b"]) for r in found] == [
        (symmetry, *pair) for symmetry in ("w", "sigma") for pair in ((1, 2), (1, 3), (2, 3))
    ]
    assert all(set(r) == COMMON | COMPARISON | {"model_a", "model_b", "split", "samples"} for r in found)
    by_hand = kernels(copy, "mlp-digits-w-k1")
    expected = vars(compare(by_hand[3, 4], by_hand[1, 4]))
    assert {n: found[1][n] for n in COMPARISON} == pytest.approx(expected)
    again = records(nid(*NTK, "--symmetry", "w", "--pairs", "1-3", "--json"))
    assert again == [found[1]]
    assert records(nid(*NTK, "--symmetry", "w", "--json", "--pairs")) == found[:3]


def test_workers_find_the_same(copy: Path, nid: Run) -> None:
    asked = (*NTK, "--symmetry", "w", "--epochs", "all", "--json")
    here = records(nid(*asked))
    there = records(execute(copy, *asked, "--force", "--workers", "2"))
    assert len(here) == len(there) == 9
    for one, other in zip(here, there, strict=True):
        numbers = {n: v for n, v in one.items() if isinstance(v, float)}
        assert {n: other[n] for n in numbers} == pytest.approx(numbers, rel=1e-6, abs=1e-9)
        assert one["lineage"]["checkpoints"] == other["lineage"]["checkpoints"]


def test_the_table_the_figure_and_the_command_that_it_needs(copy: Path, nid: Run) -> None:
    missing = nid("plot", "ntk", "--symmetry", "w", "--samples", "10", "--split", "test", "--out", "k.png")
    assert missing.returncode == 3
    assert "nid ntk --symmetry w --epochs all --samples 10 --split test" in missing.stderr
    drawn = nid(
        "plot", "ntk", "--symmetry", "w", "--samples", "10", "--split", "test", "--compute", "--out", "k.png",
        "--export", "k.json",
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    rows = json.loads((copy / "k.json").read_text())["records"]
    assert [(r["epoch"], r["count"]) for r in rows] == [(0, 3), (2, 3), (4, 3)]
    table = nid(*NTK, "--symmetry", "w", "--symmetry", "sigma").stdout.splitlines()
    assert len(table) == 3 and table[0].startswith("group\tepoch\tmodels\ttrace\teffective rank\tCKA to epoch 0")
    assert len(nid(*NTK, "--symmetry", "w", "--pairs").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (("--samples", "33"), "digits: 33 samples cannot be equally many of each of 10 classes", "--samples 30"),
        (("--samples", "5000"), "digits: the train split has 1295 samples, fewer than 5000", "--samples 1150 at most"),
        (("--samples", "200", "--split", "val", "--pairs"), "digits: the val split has 143", "--samples 70 at most"),
        (("--samples", "1"), "samples must lie between 2 and 10000, not 1", ""),
        (("--split", "tset"), "unknown split 'tset'", "did you mean test?"),
        (("--pairs", "1-9"), "there is no model 9 to pair", ""),
    ],
)
def test_what_cannot_be_measured_is_a_sentence_and_changes_nothing(
    copy: Path, nid: Run, arguments: tuple[str, ...], sentence: str, hint: str
) -> None:
    before = (copy / ".nid/registry.db").read_bytes()
    done = nid("ntk", *arguments)
    assert done.returncode in (2, 3) and sentence in done.stderr and hint in done.stderr
    assert (copy / ".nid/registry.db").read_bytes() == before


@pytest.mark.parametrize(
    ("epoch", "known", "also", "lacks"),
    [
        (5, {0, 2, 5, 9}, (0, 2), False),
        (2, {0, 2, 5}, (0,), False),
        (5, {2, 5}, (2,), True),
        (2, {2, 5}, (), True),
        (0, {0, 2}, (), False),
    ],
)
def test_models_are_compared_with_what_is_saved_before(epoch: int, known: set, also: tuple, lacks: bool) -> None:
    parameters = NtkParameters()
    assert parameters.also(epoch, known) == also
    assert ("--init" in (parameters.lacking(epoch, also) or "")) == lacks


SWEEP = """
[[measure]]
command = "ntk"
symmetry = "w"
samples = 30
epochs = "all"
export = "sweep.csv"

[[measure]]
command = "ntk"
symmetry = "w"
samples = 30
pairs = "all"

[[plot]]
figure = "ntk"
symmetry = "w"
samples = 30
out = "sweep.png"
"""


def test_a_sweep_measures_exports_and_draws_it_and_a_notebook_reads_it(copy: Path, nid: Run) -> None:
    (copy / "kernels.toml").write_text(SWEEP)
    parts = records(nid("sweep", "kernels.toml", "--json"))
    assert [(p["part"], p["name"], p["problem"]) for p in parts] == [
        ("measure", "ntk", None), ("measure", "ntk", None), ("plot", "ntk sweep.png", None),
    ]  # fmt: skip
    assert (copy / "sweep.png").stat().st_size > 0
    assert len((copy / "sweep.csv").read_text().splitlines()) == 1 + 3 * 3
    archive = open_registry(copy / ".nid/registry.db")
    models = archive.results("ntk", symmetry="w", samples=30)
    pairs = archive.results("ntk-pairs", ["model_a", "model_b", "cka"], symmetry="w", samples=30)
    assert sorted(zip(models["model"], models["epoch"], strict=True)) == [(m, e) for m in (1, 2, 3) for e in (0, 2, 4)]
    assert list(pairs["model_b"] - pairs["model_a"]) == [1, 2, 1] and pairs["cka"].between(0, 1).all()


NET = """
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
"""


def saved(folder: Path, name: str, seed: int) -> str:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    torch.save(net.state_dict(), folder / name)
    return name


def test_a_model_without_an_initialization_is_measured_alone(tmp_path: Path, alone: Run) -> None:
    (tmp_path / "net.py").write_text(NET)
    files = [saved(tmp_path, f"{name}.pt", seed) for seed, name in enumerate("abcd")]
    network = ("--model", "net.py:net", "--dataset", "digits")
    assert alone("register", *files[:2], *network, "--epoch", "3", "--name", "without").returncode == 0
    done = alone(*NTK, "--json")
    found = records(done)
    assert [r["model"] for r in found] == [1, 2] and all(r[name] is None for r in found for name in EARLIER | LINEAR)
    assert all(r["trace"] > 0 and r["status"] == "ok" for r in found)
    assert done.stderr.count("without: no comparison with the initialization") == 1
    assert "nid register --init" in done.stderr and all(r["reason"] in done.stderr for r in found)
    shutil.rmtree(tmp_path / ".nid")
    given = ("--init", files[2], "--init", files[3], "--epoch", "3", "--name", "with")
    registered = alone("register", *files[:2], *network, *given)
    assert registered.returncode == 0, registered.stderr
    done = alone(*NTK, "--group", "with", "--json")
    assert "no comparison" not in done.stderr
    for r in records(done):
        assert r["previous_epoch"] == 0 and r["init_cka"] is not None and r["linear_relative_error"] > 0


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (("--arch", "gcn", "--dataset", "sbm", "--data", "nodes=40", "--data", "links=60"), "not_applicable"),
        (("--dataset", "multilabel-subspace", "--data", "samples=80", "--data", "test-samples=20", "--data", "d=16",
          "--data", "k=3"), "ok"),
    ],
)  # fmt: skip
def test_graphs_and_labels(alone: Run, settings: tuple[str, ...], status: str) -> None:
    small = ("--width", "6", "--depth", "2", "--epochs", "1", "--seeds", "2", "--workers", "1")
    trained = alone("train", *settings, *small)
    assert trained.returncode == 0, trained.stderr
    found: list[dict[str, Any]] = records(alone(*NTK, "--json")) + records(alone(*NTK, "--pairs", "--json"))
    assert [r["status"] for r in found] == [status] * 3
    if status == "ok":
        assert all(r["reason"] is None and r["trace"] > 0 and 0 <= r["linear_agreement"] <= 1 for r in found[:2])
    else:
        assert all("one graph" in r["reason"] and r.get("trace", r.get("cka")) is None for r in found)
        assert alone(*NTK).stdout.count("not applicable") == 1
