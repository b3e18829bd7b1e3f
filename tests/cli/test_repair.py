"""``nid lmc --repair`` through the command line: a variant of each curve beside the plain one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Terminal

CURVES = ("lmc", "--align", "none,activation", "--points", "5", "--pairs", "1-2")


@pytest.fixture
def there(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """The lab, to be written to."""
    shutil.copytree(lab / ".nid", tmp_path / ".nid")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    return Terminal(tmp_path, capsys)


def test_repair_is_a_variant_of_its_own_with_the_same_ends(there: Terminal) -> None:
    standard = (*CURVES, "--symmetry", "standard")
    plain = there.records(*standard)
    exact, closed = (there.records(*standard, "--repair", how) for how in ("exact", "closed"))
    assert there.records(*standard) == plain
    assert len({r["result_id"] for r in (*plain, *exact, *closed)}) == 6
    assert [r["repair"] for r in (*plain, *exact, *closed)] == [None] * 2 + ["exact"] * 2 + ["closed"] * 2
    for one, two, three in zip(plain, exact, closed, strict=True):
        assert one["distance"] == two["distance"] == three["distance"]
        assert two["not_repaired"] is None and two["not_shifted"] is None and not two["bn_reset"]
        for curve in (two["test_loss"], three["test_loss"]):
            assert [curve[0], curve[-1]] == [one["test_loss"][0], one["test_loss"][-1]]
            assert all(a != b for a, b in zip(curve[1:-1], one["test_loss"][1:-1], strict=True))
    assert all(a["test_loss"] != b["test_loss"] for a, b in zip(exact, closed, strict=True))


def test_repair_brings_merged_networks_back(there: Terminal) -> None:
    """Of aligned networks without norms: the accuracy at 1/2 rises."""
    train = ("train", "--symmetry", "standard", "--norm", "none", "--depth", "6", "--width", "64", "--epochs", "20")
    assert there(*train, "--seeds", "2", "--name", "deep") == 0, there.errors
    options = ("lmc", "--group", "deep", "--align", "activation", "--points", "3")
    [plain], [exact] = (there.records(*options, *how) for how in ((), ("--repair", "exact")))
    assert exact["train_accuracy_mid"] > plain["train_accuracy_mid"] + 2
    assert exact["train_loss_barrier"] < 0.8 * plain["train_loss_barrier"]


def test_what_permutations_are_not_applicable_to_is_repaired_without_them(there: Terminal) -> None:
    none, activation = there.records(*CURVES, "--symmetry", "sigma", "--repair", "exact")
    assert none["status"] == "ok" and none["repair"] == "exact"
    assert activation["status"] == "not_applicable" and activation["repair"] == "exact"


def test_the_table_and_figures_say_it(there: Terminal, tmp_path: Path) -> None:
    chosen = ("--symmetry", "standard", "--pairs", "1-2", "--points", "3", "--repair", "exact")
    drawn = ("plot", "lmc", *chosen, "--out", "curve.svg", "--export", "curve.json")
    assert there(*drawn) != 0 and "nid lmc" in there.errors and "--repair exact" in there.errors
    assert there("lmc", *chosen) == 0 and "activation, exact repair" in there.printed
    assert there(*drawn) == 0, there.errors
    assert all(row["repair"] == "exact" for row in json.loads((tmp_path / "curve.json").read_text())["records"])
    assert there("plot", "barrier", "--against", "epoch", "--epochs", "4", *chosen, "--out", "barrier.svg") == 0, (
        there.errors
    )
    for name in ("curve.svg", "barrier.svg"):
        assert "exact repair" in (tmp_path / name).read_text()


def test_bad_requests_are_one_sentence(there: Terminal, tmp_path: Path) -> None:
    assert there("lmc", "--repair", "exakt") == 2 and "did you mean exact" in there.errors.lower()
    assert there("lmc", "--repair", "exact", "--bn-reset") == 2 and "leave --bn-reset out" in there.errors
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    train = ("train", "--arch", "flat.py:build", "--symmetry", "standard", "--epochs", "1", "--name", "flat")
    assert there(*train) == 0, there.errors
    assert there("lmc", "--group", "flat", "--repair", "exact") == 2 and "to repair" in there.errors
