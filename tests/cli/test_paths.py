"""``nid lmc --pairs epochs``: two epochs of one model, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nid_cli import open_registry
from nid_cli.analysis.lmc import interpolate
from nid_cli.metrics import evaluate
from nid_cli.pipeline.analyses.lab import lab_of
from nid_cli.pipeline.context import Context
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.selection import select_models
from nid_cli.specs import SPLITS, Selection
from tests.conftest import Run, execute, records

PATHS = ("lmc", "--pairs", "epochs")


@pytest.fixture
def copy(lab: Path, tmp_path: Path) -> Path:
    shutil.copytree(lab / ".nid", tmp_path / ".nid")
    return tmp_path


def test_the_usual_path_is_from_the_first_to_the_last_epoch_unaligned(copy: Path) -> None:
    found = records(execute(copy, *PATHS, "--symmetry", "w", "--json"))
    assert [(r["model_a"], r["model_b"]) for r in found] == [(1, 1), (2, 2), (3, 3)]
    assert {(r["epoch_a"], r["epoch"], r["align"], r["status"]) for r in found} == {(0, 4, "none", "ok")}
    [group] = records(execute(copy, "group", "show", "mlp-digits-w-k1", "--json"))
    for record, member in zip(found, group["members"], strict=True):
        files = {c["epoch"]: c["sha256"] for c in member["checkpoints"]}
        assert record["lineage"]["checkpoints"] == [files[0], files[4]]
        assert record["lineage"]["seeds"][0] == record["lineage"]["seeds"][1]
    assert records(execute(copy, *PATHS, "--symmetry", "w", "--json")) == found


def test_losses_and_rises_are_those_of_a_slow_loop(copy: Path) -> None:
    """Each interpolated network on its own, and the rise over every pair of points."""
    found = records(execute(copy, *PATHS, "--symmetry", "syre", "--epochs", "0,2,4", "--points", "5", "--json"))
    assert [(r["epoch_a"], r["model_a"]) for r in found] == [(e, m) for e in (0, 2) for m in (1, 2, 3)]
    registry = open_for_writing(copy / ".nid/registry.db")
    lab = lab_of(registry, Context(registry=registry.path, device="cpu"))
    with registry.read() as connection:
        [chosen] = select_models(connection, Selection(symmetry=("syre",)))
    data = lab.data(chosen.group)
    for record in found[1::3]:
        model = chosen.models[record["model_a"] - 1]
        a, b = (lab.model(chosen.group, model, record[name]) for name in ("epoch_a", "epoch"))
        for split in SPLITS:
            losses = [
                evaluate(chosen.group.graph, interpolate(chosen.group.graph, a, b, w), data, split).loss
                for w in record["lambdas"]
            ]
            assert record[f"{split}_loss"] == pytest.approx(losses, rel=1e-5)
            kept = record[f"{split}_loss"]
            slow = max(kept[j] - kept[i] for j in range(len(kept)) for i in range(j + 1))
            assert record[f"{split}_greatest_rise"] == slow


def test_pairs_of_models_keep_their_results_and_have_no_rise(copy: Path) -> None:
    before = records(execute(copy, "lmc", "--symmetry", "w", "--json"))
    assert execute(copy, *PATHS, "--symmetry", "w", "--align", "none,activation").returncode == 0
    assert records(execute(copy, "lmc", "--symmetry", "w", "--json")) == before
    assert {r["epoch_a"] for r in before} == {r["train_greatest_rise"] for r in before} == {None}
    frame = open_registry(copy / ".nid").results("lmc", symmetry="w", epoch_a=0)
    assert list(zip(frame["model_a"], frame["align"], strict=True)) == [
        (m, a) for m in (1, 2, 3) for a in ("none", "activation")
    ]


def test_a_gated_network_has_paths_but_no_aligned_ones(copy: Path) -> None:
    found = records(execute(copy, *PATHS, "--symmetry", "sigma", "--align", "none,weight", "--json"))
    status = {(r["align"], r["status"], r["epoch_a"]) for r in found}
    assert status == {("none", "ok", 0), ("weight", "not_applicable", 0)}


def test_exports_tables_and_the_figure_speak_of_epochs(copy: Path) -> None:
    chosen = ("--group", "mlp-digits-standard", "--epochs", "all")
    missing = execute(copy, "plot", *PATHS, *chosen, "--out", "a.png")
    assert missing.returncode == 3 and "--pairs epochs --align none" in missing.stderr
    done = execute(copy, *PATHS, *chosen, "--export", "a.csv")
    heading = done.stdout.splitlines()[0]
    assert "epoch_a\tepoch\talign\tmodels\ttrain greatest rise (nats)" in heading
    assert len((copy / "a.csv").read_text().splitlines()) == 7
    drawn = execute(copy, "plot", *PATHS, *chosen, "--out", "a.svg", "--export", "a.json", "--json")
    assert len(records(drawn)[0]["result_ids"]) == 6
    rows = json.loads((copy / "a.json").read_text())["records"]
    assert [(r["epoch_a"], r["epoch"], r["count"]) for r in rows] == [(0, 4, 3), (2, 4, 3)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((*PATHS, "--epochs", "4"), 2, "takes two epochs"),
        ((*PATHS, "--epochs", "3,4"), 3, "epoch 3 has no checkpoint"),
        ((*PATHS, "--models", "9"), 3, "has no model 9"),
        (("match", "--pairs", "epochs"), 2, "not two epochs of one"),
        (("plot", "barrier", "--pairs", "epochs", "--out", "a.png"), 2, "not two epochs of one"),
        (("lmc", "--pairs", "epoch"), 2, "nid lmc --pairs epochs"),
    ],
)
def test_what_cannot_be_is_one_sentence(copy: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    before = (copy / ".nid/registry.db").read_bytes()
    done = execute(copy, *arguments)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
    assert (copy / ".nid/registry.db").read_bytes() == before


def test_one_model_suffices_and_one_epoch_does_not(nid: Run) -> None:
    small = ("train", "--width", "8", "--seeds", "1", "--data", "train-size=200")
    assert nid(*small, "--epochs", "0").returncode == 0
    done = nid(*PATHS)
    assert done.returncode == 3 and "one epoch each" in done.stderr and "--save-every 1" in done.stderr
    assert nid(*small, "--epochs", "1").returncode == 0
    [found] = records(nid(*PATHS, "--json"))
    assert (found["epoch_a"], found["epoch"], found["model_a"]) == (0, 1, 1)
