"""``nid merge`` through the real command line, on every kind of network, and what it refuses."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from nid_cli import open_registry
from nid_cli.files import file_sha256
from nid_cli.metrics import evaluate
from nid_cli.nets.permutation import permute
from nid_cli.pipeline.engines import ENGINES
from nid_cli.records import Merged
from nid_cli.specs import MERGES, SPLITS
from nid_cli.specs.merges import ByCycle
from tests.conftest import Terminal
from tests.own import module_of, save_states, write_code

SMALL = ("--seeds", "2", "--epochs", "2", "--save-every", "1")
GROUPS = {
    "standard": ("--width", "8", "--depth", "3", "--seeds", "4"),
    "sigma": ("--width", "8", "--depth", "3", "--symmetry", "sigma"),
    "w": ("--width", "8", "--depth", "3", "--symmetry", "w", "--seeds", "3"),
    "syre": ("--width", "8", "--depth", "2", "--symmetry", "syre"),
    "resnet": ("--arch", "resnet", "--depth", "8", "--width", "1", "--norm", "batch", "--data", "train-size=60"),
    "stream": ("--arch", "resnet", "--depth", "8", "--width", "1", "--norm", "group", "--data", "train-size=60"),
    "vit": ("--arch", "vit", "--width", "8", "--depth", "1", "--heads", "2", "--data", "train-size=60"),
    "gcn": ("--arch", "gcn", "--dataset", "sbm", "--width", "8", "--data", "nodes=60", "--data", "links=120"),
    "labels": (
        "--dataset", "multilabel-subspace", "--data", "samples=300", "--data", "test-samples=60", "--data", "d=16",
        "--data", "k=4", "--width", "8", "--depth", "2",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A group of each kind, and a network that was taken in."""
    from nid_cli.cli.app import run

    folder = tmp_path_factory.mktemp("merge")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("NID_REGISTRY", raising=False)
        patch.setitem(ENGINES, "local", ENGINES["here"])
        for name, own in GROUPS.items():
            assert run(["train", "--name", name, *SMALL, *own]) == 0
        code = module_of(write_code(folder))
        states = [path.name for path in save_states(folder, code, "Conv")]
        register = ["--model", "nets.py:Conv", "--dataset", "digits", "--epoch", "3"]
        assert run(["register", *states, *register, "--name", "own"]) == 0
    yield folder


@pytest.fixture
def there(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """A copy of it."""
    folder = shutil.copytree(workshop, tmp_path / "copy")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    short = replace(MERGES["cycle"], parameters=ByCycle(steps=4, random_starts=0))
    monkeypatch.setitem(MERGES, "cycle", short)
    return Terminal(folder, capsys)


def test_every_kind_of_network(there: Terminal) -> None:
    found = there.records("merge")
    assert len(found) == len(MERGES) * (len(GROUPS) + 1)
    declared = {column.name for column in Merged.columns()} - Merged.large()
    for r in found:
        assert r.keys() == declared and r["repair"] is None and r["bn_reset"] is False
        assert r["models"] == list(range(1, len(r["models"]) + 1)) and len(r["lineage"]["seeds"]) == len(r["models"])
        if r["group"] == "sigma" and r["align"] != "none":
            assert r["status"] == "not_applicable" and "sigma" in r["reason"]
            assert r["objective"] is r["test_accuracy"] is r["pairwise_cycle_error"] is None
            continue
        assert r["status"] == "ok" and r["reason"] is None
        for split in SPLITS:
            assert 0 <= r[f"{split}_accuracy"] <= 100 and 0 < r[f"{split}_best_loss"] <= r[f"{split}_parts_loss"]
            assert r[f"{split}_parts_accuracy"] <= r[f"{split}_best_accuracy"] + 1e-9
            # The mean of distributions is no worse than the mean of their losses.
            assert r[f"{split}_ensemble_loss"] <= r[f"{split}_parts_loss"] + 1e-9
        several = len(r["models"]) > 2 and r["align"] != "none"
        assert (r["pairwise_cycle_error"] is not None) == several
    by_group = {name: [r for r in found if r["group"] == name] for name in (*GROUPS, "own")}
    for own in by_group.values():
        values = [r["objective"] for r in own if r["status"] == "ok"]
        assert all(later >= earlier * (1 - 1e-9) for earlier, later in itertools.pairwise(values))
        parts = [{name: value for name, value in r.items() if "parts" in name or "ensemble" in name} for r in own]
        assert all(part == parts[0] for r, part in zip(own, parts, strict=True) if r["status"] == "ok")
    standard = [r["objective"] for r in by_group["standard"]]
    assert standard[0] < standard[1] < standard[3]
    assert there("db", "check") == 0, there.errors


def test_the_merge_is_the_mean_of_the_files(there: Terminal) -> None:
    """Without alignment by the files alone; aligned by the recorded permutations; the lineage names every file."""
    archive = open_registry()
    shown = there.records("group", "show", "w")[0]["members"]
    files = [member["checkpoints"][-1] for member in shown]
    states = [load_file(there.folder / ".nid" / own["path"]) for own in files]
    [none, cycle] = there.records("merge", "--group", "w", "--align", "none,cycle")
    for r in (none, cycle):
        assert r["lineage"]["checkpoints"] == [own["sha256"] for own in files]
        assert [own["order"] for own in r["lineage"]["seeds"]] == [m["seeds"]["order"] for m in shown]
    model = archive.load("w", 1)
    mean = {name: torch.stack([own[name].double() for own in states]).mean(0).float() for name in states[0]}
    data = _data(there)
    for split in SPLITS:
        metrics = evaluate(model.graph, mean, data, split)
        assert none[f"{split}_accuracy"] == pytest.approx(metrics.accuracy)
        assert none[f"{split}_loss"] == pytest.approx(metrics.loss, rel=1e-5)
        each = [evaluate(model.graph, own, data, split).accuracy for own in states]
        assert none[f"{split}_parts_accuracy"] == pytest.approx(sum(each) / 3)
    assert there("merge", "--group", "w", "--align", "cycle", "--out", "m.safetensors") == 0
    [kept] = archive.results("merge", group="w", align="cycle")["permutations"]
    spaces = {str(space.label): space.name for space in model.graph.spaces}
    moved = [
        permute(model.graph.symmetries.axes, s, {spaces[n]: torch.as_tensor(own[i]) for n, own in kept.items()})
        for i, s in enumerate(states)
    ]
    written = load_file("m.safetensors")
    assert written.keys() == states[0].keys()
    for name, own in written.items():
        torch.testing.assert_close(own, torch.stack([s[name].double() for s in moved]).mean(0).float())
    assert cycle["objective"] == pytest.approx(
        sum(float((a[n].double() * b[n].double()).sum()) for i, a in enumerate(moved) for b in moved[:i] for n in a)
    )


def _data(there: Terminal):
    from nid_cli.pipeline.analyses.lab import lab_of
    from nid_cli.pipeline.context import Context
    from nid_cli.registry.groups import by_name
    from nid_cli.registry.opening import open_for_writing

    context = Context(registry=there.database, device="cpu")
    registry = open_for_writing(there.database)
    with registry.read() as connection:
        return lab_of(registry, context).data(by_name(connection, "w"))


def test_a_written_merge_is_registered_and_measured_like_any_model(there: Terminal) -> None:
    [r] = there.records("merge", "--group", "own", "--align", "many")
    for name in ("m.safetensors", "m.pt"):
        assert there("merge", "--group", "own", "--align", "many", "--out", name) == 0
        assert f"{name} is the merge of models 1, 2 of own at epoch 3 (result {r['result_id']}" in there.errors
        assert file_sha256(there.folder / name) in there.errors
    torch.load("m.pt", weights_only=True)
    registered = ("register", "m.safetensors", "m.pt", "--model", "nets.py:Conv", "--arch-name", "merged")
    assert there(*registered, "--dataset", "digits", "--name", "merged") == 0, there.errors
    [again] = there.records("merge", "--group", "merged", "--align", "none")
    for split in SPLITS:  # two copies of one network
        assert again[f"{split}_accuracy"] == again[f"{split}_parts_accuracy"] == r[f"{split}_accuracy"]
        assert again[f"{split}_loss"] == pytest.approx(r[f"{split}_loss"], rel=1e-5)


@pytest.mark.parametrize("group", ["standard", "w", "vit", "resnet"])
def test_a_merge_of_networks_of_our_own_is_registered_without_code(there: Terminal, group: str) -> None:
    chosen = ("merge", "--group", group, "--align", "first")
    [r] = there.records(*chosen)
    assert there(*chosen, "--out", "m.safetensors") == 0 and there(*chosen, "--models", "1,2", "--out", "n.pt") == 0
    registered = there.records("register", "m.safetensors", "n.pt", "--group", group)
    assert "the files make a group of their own" in there.errors and len({own["group"] for own in registered}) == 1
    name = registered[0]["group"]
    assert name == f"{group}-files"
    assert there("register", "m.safetensors", "--group", name, "--name", "other") == 2
    assert f"the files join {name}, which has its name" in there.errors
    [shown] = there.records("group", "show", name)
    assert shown["symmetry"] == "standard" and shown["kappa"] is None and shown["arch"] == r["arch"]
    [again] = there.records("lmc", "--group", name, "--align", "none", "--points", "2")
    assert again["test_accuracy"][0] == r["test_accuracy"]
    assert again["test_loss"][0] == pytest.approx(r["test_loss"], rel=1e-5)
    more = there.records("register", "m.safetensors", "--group", name)
    assert [own["status"] for own in more] == ["known"] and there("db", "check") == 0


def test_files_of_gated_networks_are_refused(there: Terminal) -> None:
    assert there("merge", "--group", "sigma", "--align", "none", "--out", "m.pt") == 0
    assert there("register", "m.pt", "--group", "sigma") == 2 and "beside their weights" in there.errors


def test_batch_norms_are_reset_and_layers_repaired(there: Terminal) -> None:
    chosen = ("--group", "resnet", "--align", "none,first")
    plain = there.records("merge", *chosen)
    reset = there.records("merge", *chosen, "--bn-reset")
    for how in ("exact", "closed"):
        repaired = there.records("merge", *chosen, "--repair", how)
        assert {r["repair"] for r in repaired} == {how} and not {r["bn_reset"] for r in repaired} - {False}
        assert all(a["train_loss"] != b["train_loss"] for a, b in zip(plain, repaired, strict=True))
    for before, after in zip(plain, reset, strict=True):
        assert after["bn_reset"] and after["result_id"] != before["result_id"]
        assert after["train_loss"] != before["train_loss"] and after["objective"] == before["objective"]
        assert after["train_parts_loss"] == before["train_parts_loss"]
    assert there("merge", "--group", "resnet", "--align", "first", "--bn-reset", "--out", "r.safetensors") == 0
    assert there("merge", "--group", "standard", "--align", "first", "--repair", "exact", "--out", "s.pt") == 0
    [r] = there.records("merge", "--group", "standard", "--align", "first", "--repair", "exact")
    model = open_registry().load("standard", 1)
    state = torch.load("s.pt", weights_only=True)
    assert evaluate(model.graph, state, _data(there), "test").accuracy == pytest.approx(r["test_accuracy"])


def test_the_same_call_again_computes_nothing_and_a_part_is_another_result(
    there: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("--group", "standard", "--epochs", "1,2", "--align", "none,first")
    first = there.records("merge", *chosen)
    assert [(r["epoch"], r["align"]) for r in first] == [(1, "none"), (1, "first"), (2, "none"), (2, "first")]
    [pair] = there.records("merge", "--group", "standard", "--models", "2,4", "--align", "first")
    assert pair["models"] == [2, 4] and len(pair["lineage"]["checkpoints"]) == 2
    monkeypatch.setattr("nid_cli.pipeline.analyses.merge.measure", None)
    assert there.records("merge", *chosen) == first
    assert there.records("merge", "--group", "standard", "--models", "2,4", "--align", "first") == [pair]


def test_exports_columns_and_frames(there: Terminal) -> None:
    chosen = ("merge", "--group", "standard", "--group", "w", "--align", "none,first")
    found = there.records(*chosen)
    for name in ("m.json", "m.jsonl", "m.csv", "m.parquet"):
        assert there(*chosen, "--export", name) == 0, there.errors
    assert json.loads(Path("m.json").read_text()) == {"schema": "nid.merge/1", "records": found}
    frame = pd.read_parquet("m.parquet")
    assert list(frame["models"][0]) == [1, 2, 3, 4] and frame["test_accuracy"][0] == found[0]["test_accuracy"]
    with open("m.csv") as file:
        [first, *_] = csv.DictReader(file)
    assert json.loads(first["models"]) == [1, 2, 3, 4]
    assert there(*chosen, "--columns", "group,models,align,test_accuracy") == 0
    assert len(there.printed.splitlines()) == 5
    archive = open_registry()
    whole = archive.results("merge", group="w")
    assert list(whole["models"]) == [[1, 2, 3]] * 2 and "permutations" in whole
    part = archive.results("merge", columns=["models", "test_accuracy"], group="w", align="none")
    assert list(part["models"]) == [[1, 2, 3]] and part["test_accuracy"][0] == whole["test_accuracy"][0]


def test_models_keep_their_places_in_another_registry(there: Terminal) -> None:
    """Taken over into a group that has models of its own already, numbers change and results follow."""
    [r] = there.records("merge", "--group", "standard", "--models", "2,4", "--align", "first")
    other = there.folder / "other"
    other.mkdir()
    theirs = ("--registry", str(other / ".nid/registry.db"))
    own = ("train", "--width", "8", "--depth", "3", "--epochs", "2", "--save-every", "1")
    assert there(*own, "--seed", "77", "--seeds", "1", *theirs) == 0, there.errors
    assert there("register", str(there.folder / ".nid"), *theirs) == 0, there.errors
    group = next(g for g in there.records("group", "list", *theirs) if g["models"] == 5)["name"]
    again = there.records("merge", "--group", group, "--models", "3,5", "--align", "first", *theirs)
    assert [(own["result_id"], own["models"]) for own in again] == [(r["result_id"], [3, 5])]
    assert there("db", "check", *theirs) == 0


def test_the_figure_and_the_report(there: Terminal) -> None:
    chosen = ("--group", "standard", "--group", "sigma")
    assert there("plot", "merge", *chosen, "--out", "m.svg") == 3 and "run: nid merge" in there.errors
    assert there("plot", "merge", *chosen, "--compute", "--out", "m.svg", "--export", "m.json") == 0, there.errors
    rows = json.loads(Path("m.json").read_text())["records"]
    assert {(r["group"], r["align"]) for r in rows} == {("standard", n) for n in MERGES} | {("sigma", "none")}
    over = ("--group", "standard", "--counts", "2,3", "--align", "none,first", "--compute", "--export", "c.json")
    assert there("plot", "merge", *over, "--out", "c.svg") == 0, there.errors
    rows = json.loads(Path("c.json").read_text())["records"]
    assert [(r["models"], r["align"]) for r in rows] == [(2, "none"), (2, "first"), (3, "none"), (3, "first")]
    assert there("plot", "report", "--group", "standard", "--out", "r.html") == 0, there.errors
    page = Path("r.html").read_text()
    assert "Many models in one" in page and "1, 2, 3, 4" in page
    linked, anchors = set(re.findall(r'href="#([^"]+)"', page)), re.findall(r'id="([^"]+)"', page)
    assert linked <= set(anchors) and {f"group-1-{model}-2" for model in (1, 2, 3, 4)} <= linked


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--align", "weights"), 2, "unknown alignment 'weights'"),
        (("--align", "cycles"), 2, "did you mean cycle?"),
        (("--models", "1"), 2, "a merge is of two models or more, and --models 1 chooses one"),
        (("--group", "w", "--models", "1,9"), 3, "w has no model 9"),
        (("--group", "standard", "--bn-reset"), 2, "no selected group has batch norms"),
        (("--group", "resnet", "--bn-reset", "--repair", "exact"), 2, "leave --bn-reset out"),
        (("--group", "standard", "--repair", "open"), 2, "unknown repair 'open'"),
        (("--group", "own", "--epochs", "0"), 3, "epoch 0 has no checkpoint of every selected model"),
        (("--out", "m.pt", "--align", "none"), 2, "--out writes one merge, and here are 10 groups"),
        (("--group", "w", "--out", "m.pt"), 2, "here are 4 alignments (none, first, many, cycle)"),
        (("--group", "w", "--epochs", "all", "--align", "none", "--out", "m.pt"), 2, "3 epochs (0, 1, 2)"),
        (("--group", "w", "--align", "none", "--out", "m.zip"), 2, "must end in .safetensors or .pt or .pth"),
        (("--group", "w", "--align", "none", "--out", "no/m.pt"), 2, "the folder of --out 'no/m.pt' does not exist"),
        (
            ("--group", "sigma", "--align", "cycle", "--out", "m.pt"),
            2,
            "there is no such merge of sigma: the fixed gates",
        ),
        (
            ("--group", "stream", "--align", "none", "--repair", "exact", "--out", "m.pt"),
            2,
            "biases that its network lacks",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_a_sentence(there: Terminal, arguments: tuple[str, ...], code: int, said: str) -> None:
    assert there("merge", *arguments) == code
    assert said in there.errors and "Traceback" not in there.errors and not list(there.folder.glob("m.*"))


@pytest.mark.parametrize(
    ("counts", "said"),
    [("1,2", "--counts 1,2 asks for 1"), ("2,x", "counts must"), ("2,9", "no model 5")],
)
def test_bad_counts_are_a_sentence(there: Terminal, counts: str, said: str) -> None:
    assert there("plot", "merge", "--group", "standard", "--counts", counts, "--compute", "--out", "m.pdf") in (2, 3)
    assert said in there.errors and "Traceback" not in there.errors


def test_one_model_in_a_group_is_said(terminal: Terminal) -> None:
    assert terminal("merge", "--group", "mlp-digits-syre-k1") == 3
    assert "no selected group has two complete models" in terminal.errors
