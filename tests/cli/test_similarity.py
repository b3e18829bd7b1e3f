"""``nid similarity`` through the real command line, on every kind of network, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from nid_cli import open_registry
from nid_cli.pipeline.engines import ENGINES
from nid_cli.records import Similarity
from tests.conftest import Terminal
from tests.own import module_of, save_states, write_code

SPLITS = ("train", "val", "test")
VALUES = ("agreement", "jensen_shannon", "logit_cosine", "error_overlap")
SMALL = ("--seeds", "2", "--epochs", "2", "--save-every", "1")
GROUPS = {
    "standard": ("--width", "8", "--depth", "3", "--seeds", "3"),
    "sigma": ("--width", "8", "--depth", "3", "--symmetry", "sigma"),
    "bare": ("--width", "4", "--depth", "2", "--norm", "none"),
    "w": ("--width", "8", "--depth", "3", "--symmetry", "w"),
    "resnet": ("--arch", "resnet", "--depth", "8", "--width", "1", "--data", "train-size=60"),
    "vit": ("--arch", "vit", "--width", "8", "--depth", "1", "--heads", "2", "--data", "train-size=60"),
    "gpt": (
        "--arch", "gpt", "--dataset", "grammar", "--width", "8", "--depth", "1", "--heads", "2",
        "--data", "samples=60", "--data", "test-samples=20", "--data", "length=12",
    ),
    "gcn": ("--arch", "gcn", "--dataset", "sbm", "--width", "8", "--data", "nodes=60", "--data", "links=120"),
    "labels": (
        "--dataset", "multilabel-subspace", "--data", "samples=300", "--data", "test-samples=60", "--data", "d=16",
        "--data", "k=4", "--width", "8", "--depth", "2",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A group of each kind, two epochs each, and a network that was taken in without its initialization."""
    from nid_cli.cli.app import run

    folder = tmp_path_factory.mktemp("similarity")
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
    return Terminal(folder, capsys)


def test_every_kind_of_network(there: Terminal) -> None:
    found = there.records("similarity")
    assert len(found) == 2 * (3 + len(GROUPS) - 1 + 1)
    assert there.errors.count("\n") == 1 and there.errors.startswith("own: no update cosines")
    declared = {column.name for column in Similarity.columns()}
    for r in found:
        assert r.keys() == declared
        if (r["group"], r["align"]) == ("sigma", "activation"):
            assert r["status"] == "not_applicable" and "sigma" in r["reason"]
            assert r["cka"] is r["train_agreement"] is r["update_cosine"] is None
            continue
        assert r["status"] == "ok"
        for split in SPLITS:
            agreement, divergence, cosine, overlap = (r[f"{split}_{name}"] for name in VALUES)
            assert 0 <= agreement <= 1 and 0 <= divergence <= np.log(2) and -1 <= cosine <= 1
            assert overlap is None or overlap <= agreement
        assert len(r["layers"]) == len(r["sites"]) == len(r["cka"]) == len(r["cka_debiased"]) > 0
        assert len(set(map(str, r["layers"]))) == len(r["layers"])
        assert all(value is None or 0 <= value <= 1 + 1e-9 for value in r["cka"])
        if r["group"] == "own":
            assert r["update_cosine"] is r["since_epoch"] is None and "nid register --init" in r["reason"]
        else:
            assert r["since_epoch"] == 0 and r["reason"] is None and abs(r["update_cosine"]) < 1
            assert set(r["update_cosine_by_parameter"]) and abs(max(r["update_cosine_by_parameter"].values())) <= 1
    for r, other in zip(found[::2], found[1::2], strict=True):  # an alignment changes the updates alone
        if other["status"] == "ok":
            same = [name for name in r if name not in ("result_id", "align", "lineage") and "update" not in name]
            assert {name: r[name] for name in same} == {name: other[name] for name in same}
    assert there("db", "check") == 0, there.errors


def test_updates_from_checkpoints_and_what_they_are_made_of(there: Terminal) -> None:
    """The cosine from the files themselves; their SHA-256 are in the lineage and in the identity of the result."""
    calls = {"init": 0, "previous": 1}
    found = {since: there.records("similarity", "--group", "w", "--since", since, "--align", "none") for since in calls}
    shown = there.records("group", "show", "w")[0]["members"]
    held = [{c["epoch"]: c for c in member["checkpoints"]} for member in shown]
    for since, before in calls.items():
        [r] = found[since]
        wanted = [own[epoch]["sha256"] for epoch in (2, before) for own in held]
        assert r["lineage"]["checkpoints"] == wanted and r["since_epoch"] == before
        changes = []
        for own in held:
            now, then = (load_file(there.folder / ".nid" / own[epoch]["path"]) for epoch in (2, before))
            changes.append({name: now[name].double() - then[name].double() for name in now})
        fixed = [name for name in changes[0] if "weight" in name and (changes[0][name] == 0).float().mean() > 0.1]
        assert fixed  # what the type fixes has no change
        u, v = (torch.cat([own[name].flatten() for name in sorted(own)]) for own in changes)
        assert r["update_cosine"] == pytest.approx(float(u @ v / (u.norm() * v.norm())), rel=1e-9)
        for name, value in r["update_cosine_by_parameter"].items():
            u, v = (own[name].flatten() for own in changes)
            assert value == pytest.approx(float(u @ v / (u.norm() * v.norm())), rel=1e-9)
    assert found["init"][0]["result_id"] != found["previous"][0]["result_id"]
    first = there.records("similarity", "--group", "w", "--since", "previous", "--align", "none", "--epochs", "1,2")
    assert [r["since_epoch"] for r in first] == [0, 1] and first[1] == found["previous"][0]


def test_the_same_call_again_computes_nothing(there: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    first = there.records("similarity", "--group", "standard", "--pairs", "1-2,2-3")
    assert len(first) == 4
    monkeypatch.setattr("nid_cli.pipeline.analyses.similarity.measure", None)
    assert there.records("similarity", "--group", "standard", "--pairs", "1-2,2-3") == first


def test_epochs_and_sites(there: Terminal) -> None:
    at = ("--at", "post_linear,post_activation", "--align", "none")
    found = there.records("similarity", "--group", "standard", "--group", "vit", "--epochs", "all", *at)
    assert there.errors == ""  # some epochs have something before them
    first = [r for r in found if r["epoch"] == 0]
    assert len(found) == 3 * len(first) and all("nothing has changed yet" in r["reason"] for r in first)
    sites = {(r["group"], r["at"]): r["sites"] for r in found}
    assert sites["standard", "post_linear"] == ["post_linear"] * 2
    assert set(sites["vit", "post_activation"]) == {"post_linear", "post_norm", "post_activation"}
    layers = {(r["group"], r["at"]): r["layers"] for r in found}
    assert layers["standard", "post_linear"] == [0, 1] and all(isinstance(n, str) for n in layers["vit", "post_linear"])


def test_a_sentence_says_why_there_are_no_updates(there: Terminal) -> None:
    assert there("similarity", "--group", "standard", "--group", "sigma", "--epochs", "0", "--pairs", "1-2") == 0
    [said] = there.errors.splitlines()
    assert said.startswith("standard, sigma: no update cosines at epoch 0") and said.endswith("with --epochs")
    assert there("similarity", "--group", "own", "--since", "previous") == 0
    assert "epoch 3 is the first one saved; choose later epochs with --epochs" in there.errors
    assert "\t-\n" in there.printed


def test_an_initialization_that_comes_later_is_counted_from(there: Terminal) -> None:
    [before] = there.records("similarity", "--group", "own", "--align", "none")
    torch.manual_seed(7)
    starts = []
    for seed in (0, 1):
        state = torch.load(f"conv{seed}.pt", weights_only=True)
        torch.save(state | {"head.bias": torch.randn(10)}, f"start{seed}.pt")
        starts += ["--init", f"start{seed}.pt"]
    again = ("register", "conv0.pt", "conv1.pt", "--model", "nets.py:Conv", "--epoch", "3", "--dataset", "digits")
    assert there(*again, *starts) == 0, there.errors
    [after] = there.records("similarity", "--group", "own", "--align", "none")
    assert there.errors == "" and after["result_id"] != before["result_id"] and after["cka"] == before["cka"]
    own = after["update_cosine_by_parameter"]
    assert own.pop("head.bias") == pytest.approx(after["update_cosine"]) and set(own.values()) == {None}


def test_exports_and_frames(there: Terminal) -> None:
    chosen = ("similarity", "--group", "standard", "--group", "vit", "--pairs", "1-2")
    found = there.records(*chosen)
    for name in ("s.json", "s.jsonl", "s.csv", "s.parquet"):
        assert there(*chosen, "--export", name) == 0, there.errors
    assert json.loads(Path("s.json").read_text())["records"] == found
    frame = pd.read_parquet("s.parquet")
    assert list(frame["cka"][0]) == found[0]["cka"] and frame["update_cosine"][0] == found[0]["update_cosine"]
    with open("s.csv") as file:
        [first, *_] = csv.DictReader(file)
    assert json.loads(first["cka"]) == found[0]["cka"]
    assert json.loads(first["update_cosine_by_parameter"]) == found[0]["update_cosine_by_parameter"]
    table = open_registry().results("similarity", group="vit", align="none")
    assert table["test_agreement"][0] == found[2]["test_agreement"] and table["layers"][0] == found[2]["layers"]
    assert there(*chosen, "--columns", "group,align,update_cosine") == 0
    assert len(there.printed.splitlines()) == 5


def test_the_figure_and_the_report(there: Terminal) -> None:
    chosen = ("--group", "standard", "--group", "sigma")
    assert there("plot", "similarity", *chosen, "--out", "s.svg") == 3 and "run: nid similarity" in there.errors
    assert there("plot", "similarity", *chosen, "--compute", "--out", "s.svg", "--export", "s.json") == 0, there.errors
    rows = json.loads(Path("s.json").read_text())["records"]
    assert {(r["group"], r["align"]) for r in rows} == {
        ("standard", "none"), ("standard", "activation"), ("sigma", "none"),
    }  # fmt: skip
    assert there("plot", "report", "--group", "standard", "--out", "r.html") == 0, there.errors
    page = Path("r.html").read_text()
    assert "Similarity of predictions, layers and updates" in page and "debiased CKA by layer" in page
    linked, anchors = set(re.findall(r'href="#([^"]+)"', page)), re.findall(r'id="([^"]+)"', page)
    assert linked <= set(anchors) and {f"group-1-{model}-{epoch}" for model in (1, 2, 3) for epoch in (0, 2)} <= linked


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--align", "weights"), 2, "did you mean weight?"),
        (("--at", "pre_norm"), 2, "unknown recording point 'pre_norm'"),
        (("--since", "start"), 2, "unknown start of updates 'start'"),
        (("--group", "standard", "--pairs", "1-9"), 3, "there is no model 9 to pair"),
        (("--group", "standard", "--pairs", "epochs"), 2, "measures pairs of models"),
        (("--group", "standard", "--models", "1"), 3, "no selected group has two complete models"),
        (("--group", "own", "--epochs", "0"), 3, "epoch 0 has no checkpoint of every selected model"),
        (("--group", "labels", "--at", "post_activation,post_norm"), 0, ""),
        (("--group", "gone"), 3, "gone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_a_sentence(there: Terminal, arguments: tuple[str, ...], code: int, said: str) -> None:
    assert there("similarity", *arguments) == code
    assert said in there.errors and "Traceback" not in there.errors


def test_a_site_that_no_network_has_is_refused(there: Terminal) -> None:
    assert there("similarity", "--group", "bare", "--at", "post_norm") == 2
    assert "no neurons of the selected networks are recorded at post_norm" in there.errors
    assert "--at post_linear,post_activation" in there.errors
