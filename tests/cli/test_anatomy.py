"""``nid lmc --anatomy`` and ``nid plot anatomy`` through the real command line, on every kind of network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from nid_cli import open_registry
from nid_cli.pipeline.engines import ENGINES
from nid_cli.records import Lmc
from tests.cli.test_similarity import GROUPS, SMALL
from tests.conftest import Terminal
from tests.own import module_of, save_states, write_code

SPLITS = ("train", "val", "test")
OWN = ("ensemble_gain", "merging_cost", "calibrated_loss", "calibrated_loss_barrier")
LAYERS = ("feature_connectivity", "variance_ratio")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A group of each kind, and networks of a class of one's own."""
    from nid_cli.cli.app import run

    folder = tmp_path_factory.mktemp("anatomy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("NID_REGISTRY", raising=False)
        patch.setitem(ENGINES, "local", ENGINES["here"])
        for name, own in GROUPS.items():
            assert run(["train", "--name", name, *SMALL, *own]) == 0
        code = module_of(write_code(folder))
        states = [path.name for path in save_states(folder, code, "Conv")]
        assert run(["register", *states, "--model", "nets.py:Conv", "--dataset", "digits", "--name", "own"]) == 0
    yield folder


@pytest.fixture
def there(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """A copy of it."""
    folder = shutil.copytree(workshop, tmp_path / "copy")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    return Terminal(folder, capsys)


def test_every_kind_of_network(there: Terminal) -> None:
    found = there.records("lmc", "--anatomy", "--points", "3", "--pairs", "1-2", "--align", "none,activation")
    assert len(found) == 2 * (len(GROUPS) + 1)
    declared = {column.name for column in Lmc.columns()} - Lmc.large()
    for r in found:
        assert r.keys() >= declared and r["anatomy"]
        if (r["group"], r["align"]) == ("sigma", "activation"):
            assert r["status"] == "not_applicable" and r["layers"] is r["train_ensemble_gain"] is None
            continue
        assert r["status"] == "ok"
        for split in SPLITS:
            loss, (gain, cost, calibrated, barrier) = r[f"{split}_loss"], (r[f"{split}_{name}"] for name in OWN)
            assert gain[1] >= 0 and gain[0] == gain[2] == cost[0] == cost[2] == 0
            assert cost[1] - gain[1] == pytest.approx(loss[1] - (loss[0] + loss[2]) / 2, abs=1e-5)
            assert barrier == pytest.approx(max(0, calibrated[1] - (calibrated[0] + calibrated[2]) / 2))
        assert len(r["layers"]) > 0 and all(value >= 0 for value in r["inverse_temperature"])
        for name in LAYERS:
            assert [own[1] for own in r[name]] == r[f"{name}_mid"] and len(r[name]) == len(r["layers"])
        assert all(0 <= value <= 2 for value in r["feature_connectivity_mid"] if value is not None)
        if r["align"] == "none":
            gain = {split: r[f"{split}_ensemble_gain"] for split in SPLITS}
            other = next(o for o in found if (o["group"], o["align"]) == (r["group"], "activation"))
            if other["status"] == "ok":  # permuting a network does not change its logits
                assert all(gain[s] == pytest.approx(other[f"{s}_ensemble_gain"], abs=1e-6) for s in SPLITS)
    assert there("db", "check") == 0, there.errors


def test_it_is_a_variant_beside_results_that_stay(there: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("lmc", "--group", "standard", "--pairs", "1-2")
    plain = there.records(*chosen)
    assert not any(r["anatomy"] for r in plain) and all(r["layers"] is None for r in plain)
    assert not any("anatomy" in r["lineage"]["parameters"] for r in plain)
    found = there.records(*chosen, "--anatomy")
    assert {r["result_id"] for r in plain}.isdisjoint(r["result_id"] for r in found)
    for r, other in zip(found, plain, strict=True):
        for split in SPLITS:
            assert r[f"{split}_loss"] == pytest.approx(other[f"{split}_loss"], rel=1e-5)
            assert r[f"{split}_accuracy"] == pytest.approx(other[f"{split}_accuracy"])
    monkeypatch.setattr("nid_cli.analysis.lmc.segments", None)
    assert there.records(*chosen) == plain and there.records(*chosen, "--anatomy") == found


def test_the_table_names_the_worst_layer(there: Terminal) -> None:
    assert there("lmc", "--group", "standard", "--group", "sigma", "--anatomy", "--pairs", "1-2") == 0, there.errors
    heading, *rows = (line.split("\t") for line in there.printed.splitlines())
    assert heading[4:] == [
        "train loss barrier (nats)", "train calibrated loss barrier (nats)", "worst feature connectivity at 1/2",
        "least variance ratio at 1/2",
    ]  # fmt: skip
    found = there.records("lmc", "--group", "standard", "--anatomy", "--pairs", "1-2", "--align", "none")
    [own] = (row for row in rows if row[0] == "standard" and row[2] == "none")
    assert float(own[-2]) == pytest.approx(max(found[0]["feature_connectivity_mid"]), abs=0.006)
    assert float(own[-1]) == pytest.approx(min(found[0]["variance_ratio_mid"]), abs=0.006)
    assert any("not applicable" in row for row in rows)


def test_single_samples_on_demand(there: Terminal) -> None:
    chosen = ("lmc", "--group", "standard", "--group", "labels", "--pairs", "1-2", "--align", "none", "--points", "4")
    asked = (*chosen, "--anatomy", "--per-sample")
    assert there(*asked, "--export", "each.parquet") == 0, there.errors
    assert there(*asked, "--export", "each.json") == 0, there.errors
    rows = pyarrow.parquet.read_table(there.folder / "each.parquet").to_pylist()
    plain = json.loads((there.folder / "each.json").read_text())["records"]
    for row, r in zip(rows, plain, strict=True):
        for name in ("ensemble_gain", "merging_cost"):
            each = r[f"{name}_by_sample"]
            assert json.loads(row[f"{name}_by_sample"]) == each
            for split in SPLITS:
                values = np.array(each[split])
                np.testing.assert_allclose(values.mean(1), r[f"{split}_{name}"], atol=1e-12)
    shapes = {r["group"]: np.array(r["merging_cost_by_sample"]["test"]).shape for r in plain}
    labels = shapes["labels"][1]
    assert shapes == {"standard": (4, 359), "labels": (4, labels)} and labels > 60 and labels % 60 == 0
    frame = open_registry(there.folder).results("lmc", group="standard")
    assert list(frame["anatomy"]) == [True] and len(frame["feature_connectivity"][0]) == 2
    assert there(*chosen, "--per-sample") == 2
    assert "--per-sample goes with --anatomy" in there.errors and "Traceback" not in there.errors


def test_epochs_of_one_model(there: Terminal) -> None:
    [r] = there.records("lmc", "--group", "sigma", "--models", "1", "--pairs", "epochs", "--anatomy")
    assert (r["epoch_a"], r["epoch"]) == (0, 2) and max(r["feature_connectivity_mid"]) > 0
    assert there("plot", "anatomy", "--group", "sigma", "--models", "1", "--pairs", "epochs", "--out", "path.png") == 0


def test_the_figure_names_what_it_lacks_and_exports_what_it_shows(there: Terminal) -> None:
    chosen = ("--group", "standard", "--group", "w", "--group", "resnet")
    assert there("plot", "anatomy", *chosen, "--out", "a.png") == 3
    assert "nid lmc --group standard --group w --group resnet --anatomy" in there.errors
    assert there("plot", "anatomy", *chosen, "--compute", "--out", "a.svg", "--export", "a.json") == 0, there.errors
    rows = json.loads((there.folder / "a.json").read_text())["records"]
    found = there.records("lmc", *chosen, "--anatomy")
    for row in rows:
        own = [r for r in found if (r["group"], r["align"]) == (row["group"], row["align"])]
        assert row["count"] == len(own)
        if row["layer"] is None:
            mean = np.mean([r["test_merging_cost"] for r in own], 0)
            np.testing.assert_allclose(row["test_merging_cost_mean"], mean, atol=1e-12)
        else:
            place = own[0]["layers"].index(row["layer"])
            mean = np.mean([r["variance_ratio_mid"][place] for r in own])
            assert row["variance_ratio_mean"] == pytest.approx(mean)
    both = ("plot", "anatomy", "--group", "standard", "--repair", "none,exact", "--align", "none")
    assert there(*both, "--out", "c.png") == 3
    assert "nid lmc --group standard --align none --repair exact --anatomy" in there.errors.replace("\n", " ")
    assert there(*both, "--compute", "--out", "c.png", "--export", "c.json") == 0, there.errors
    rows = json.loads((there.folder / "c.json").read_text())["records"]
    ratios = {row["repair"]: row["variance_ratio_mean"] for row in rows if row["layer"] == 1}
    assert ratios["exact"] == pytest.approx(1, abs=1e-3) and ratios[None] < 0.99
    assert there(*both[:4], "--repair", "some", "--out", "d.png") == 2 and "exact" in there.errors
    assert there("plot", "anatomy", "--group", "sigma", "--align", "activation", "--compute", "--out", "b.png") == 3
    assert there("plot", "report", *chosen, "--out", "report.html") == 0, there.errors
    page = (there.folder / "report.html").read_text()
    assert "Anatomy" in page and "where along depth merging breaks" in page.lower()
