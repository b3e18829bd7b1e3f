"""``nid table`` and ``nid plot relate`` through the real command line: an independent join, correlations, refusals."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from scipy.stats import kendalltau, spearmanr

from nid_cli import open_registry
from nid_cli.pipeline.engines import ENGINES
from nid_cli.records.table import Joined
from tests.conftest import Terminal

SMALL = ("--width", "6", "--depth", "3", "--epochs", "2", "--save-every", "1", "--seeds", "3")
KAPPAS = ("0", "0.5", "2", "5")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Five groups that are measured, and one that is not."""
    from nid_cli.cli.app import run

    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("NID_REGISTRY", raising=False)
        patch.setitem(ENGINES, "local", ENGINES["here"])
        for kappa in KAPPAS:
            assert run(["train", "--symmetry", "w", "--kappa", kappa, "--name", f"w{kappa}", *SMALL]) == 0
        assert run(["train", "--name", "plain", *SMALL]) == 0
        for command in (
            ["lmc", "--points", "3", "--align", "none,activation", "--epochs", "all"],
            ["lmc"],
            ["match", "--epochs", "all"],
            ["cost", "--epochs", "all"],
            ["cost", "--explained-variance", "0.5"],
            ["coherence"],
        ):
            assert run(command) == 0
        assert run(["train", "--symmetry", "sigma", "--name", "late", *SMALL]) == 0
        yield folder


def printed(terminal: Terminal, *words: str) -> str:
    assert terminal(*words) == 0, terminal.errors
    return terminal.printed


def records(terminal: Terminal, *words: str) -> list[dict[str, Any]]:
    return terminal.records("table", *words)


def measured(folder: Path, analysis: str) -> list[dict[str, Any]]:
    return open_registry(folder / ".nid").results(analysis).to_dict("records")


@pytest.fixture
def terminal(workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(workshop)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    return Terminal(workshop, capsys)


def test_each_row_is_the_mean_of_what_was_recorded(workshop: Path, terminal: Terminal) -> None:
    """Joined again by loops over all records."""
    found = records(terminal)
    assert [row["group"] for row in found] == [*(f"w{kappa}" for kappa in KAPPAS), "plain", "late"]
    for row in found[:-1]:
        own = [r for a in ("lmc", "match", "cost", "coherence") for r in measured(workshop, a)]
        own = [r for r in own if r["group"] == row["group"] and r["epoch"] == 2]
        lmc = [r for r in own if "lambdas" in r and len(r["lambdas"]) == 9]
        for align, suffix in (("none", ""), ("activation", "_activation")):
            for name in ("test_error_barrier", "val_loss_barrier_mid", "train_accuracy_mid", "distance"):
                wanted = [r[name] for r in lmc if r["align"] == align]
                assert len(wanted) == 3 and row[name + suffix] == pytest.approx(fmean(wanted))
        match = [r for r in own if "share_identity" in r]
        assert len(match) == 6  # three pairs, two hidden layers
        assert row["share_identity"] == pytest.approx(fmean(r["share_identity"] for r in match))
        assert row["identifiability"] == pytest.approx(fmean(r["identity"] / r["optimal"] for r in match))
        cost = [r for r in own if "swap_index" in r and r["layer"] in (0, 1) and r["explained_variance"] > 0.9]
        assert len(cost) == 6
        assert row["swap_index"] == pytest.approx(fmean(r["swap_index"] for r in cost))
        assert row["median_swap_squared"] == pytest.approx(fmean(r["swap_squared_median"] for r in cost))
        layers = [r for r in own if "anisotropy_mean" in r and r["layer"] in (0, 1)]
        assert row["coherence"] == pytest.approx(fmean(r["coherence"] for r in layers))
        assert {r["result_id"] for r in (*lmc, *match, *cost, *layers)} == set(row["result_ids"])
    assert found[4]["swap_index"] == pytest.approx(1 / 6)  # standard: every swap is free
    assert found[-1]["swap_index"] is None and found[-1]["result_ids"] == []
    assert found[0]["fixed_share"] > 0 and found[0]["width"] == 6 and found[0]["models"] == 3


def test_results_of_other_parameters_are_never_mixed_in(terminal: Terminal) -> None:
    usual = records(terminal, "--group", "w2", "--columns", "test_error_barrier,swap_index")
    other = records(
        terminal, "--group", "w2", "--points", "3", "--explained-variance", "0.5",
        "--columns", "test_error_barrier,swap_index",
    )  # fmt: skip
    assert usual[0].keys() == {"test_error_barrier", "swap_index"}
    assert usual[0]["swap_index"] != other[0]["swap_index"]
    points = records(terminal, "--group", "w2", "--points", "5", "--columns", "test_error_barrier")
    assert points == [{"test_error_barrier": None}]


def test_epochs_are_rows_and_what_is_missing_is_named_with_its_command(terminal: Terminal) -> None:
    words = ("--group", "w2", "--epochs", "all", "--columns", "epoch,share_identity,coherence")
    lines = [line.split("\t") for line in printed(terminal, "table", *words).splitlines()]
    assert [line[0] for line in lines] == ["epoch", "0", "1", "2"]
    assert lines[1][2] == lines[2][2] == "-" != lines[3][2] and "-" not in [line[1] for line in lines]
    assert terminal.errors == "not all of coherence is recorded: nid coherence --group w2 --epochs all\n"


def test_correlations_are_those_of_the_table(terminal: Terminal) -> None:
    words = ("--correlate", "swap_index,share_identity", "--correlate", "kappa,identifiability")
    document = json.loads(printed(terminal, "table", *words, "--by", "symmetry", "--json"))
    rows = [r for r in document["records"] if r["swap_index"] is not None]
    first, among_w, *_ = document["summary"]["correlations"]
    x, y = [r["swap_index"] for r in rows], [r["share_identity"] for r in rows]
    assert first["groups"] == 5 and first["missing"] == ["late"]
    assert first["spearman"] == pytest.approx(spearmanr(x, y).statistic)
    assert first["kendall"] == pytest.approx(kendalltau(x, y).statistic)
    low, high = first["spearman_interval"]
    assert -1 <= low <= first["spearman"] <= high <= 1
    assert (among_w["among"], among_w["groups"]) == ("symmetry w", 4)
    kappa = next(c for c in document["summary"]["correlations"] if c["x"] == "kappa")
    assert kappa["groups"] == 4 and set(kappa["missing"]) == {"plain", "late"}
    assert printed(terminal, "table", *words).splitlines()[0].split("\t")[:4] == ["x", "y", "among", "groups"]


def test_exports_and_frames_have_the_same_rows(workshop: Path, terminal: Terminal, tmp_path: Path) -> None:
    printed(terminal, "table", "--export", str(tmp_path / "t.csv"))
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    frame = open_registry(workshop / ".nid").table(["swap_index"])
    assert [float(r["swap_index"] or "nan") for r in rows] == pytest.approx(list(frame["swap_index"]), nan_ok=True)
    printed(terminal, "table", "--columns", "group,swap_index", "--export", str(tmp_path / "t.parquet"))
    assert (tmp_path / "t.parquet").stat().st_size > 0


def test_the_figure_has_a_mark_for_each_group(terminal: Terminal, tmp_path: Path) -> None:
    export = tmp_path / "rows.json"
    printed(terminal, "plot", "relate", "--out", str(tmp_path / "relate.svg"), "--export", str(export))
    rows = json.loads(export.read_text())["records"]
    assert [row["group"] for row in rows] == ["plain", "w0", "w0.5", "w2", "w5"]
    assert {"swap_index", "share_identity", "result_ids"} <= rows[0].keys()
    words = ("--x", "median_swap_squared", "--y", "test_error_barrier", "--log-x", "--columns", "2")
    printed(terminal, "plot", "relate", *words, "--epochs", "all", "--compute", "--out", str(tmp_path / "all.png"))


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("table", "--columns", "swap_indx"), 2, "the table has no column swap_indx\nhint: did you mean swap_index?"),
        (("table", "--columns", "zzz"), 2, "hint: nid table --list-columns names all"),
        (("table", "--correlate", "swap_index"), 2, "--correlate takes two columns"),
        (("table", "--correlate", "arch,swap_index"), 2, "arch is not a number in every row"),
        (("table", "--given", "kappa"), 2, "--given is of correlations"),
        (("table", "--correlate", "distance,distance"), 2, "a correlation is of different columns"),
        (("table", "--correlate", "distance,kappa", "--given", "kappa"), 2, "a correlation is of different columns"),
        (("ntk", "--pairs", "1-1"), 2, "pairs are of two models, and 1-1 names one"),
        (("table", "--group", "w2", "--correlate", "kappa,distance"), 3, "1 of the selected groups have both"),
        (("table", "--at", "nowhere"), 2, "unknown recording point"),
        (("table", "--group", "nobody"), 3, "no group"),
        (("plot", "relate", "--x", "swap", "--out", "x.pdf"), 2, "the table has no column swap"),
        (("plot", "relate", "--group", "late", "--out", "x.pdf"), 3, "no selected group has both swap_index and share"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    terminal: Terminal, words: tuple[str, ...], code: int, sentence: str
) -> None:
    assert terminal(*words) == code
    assert terminal.printed == "" and sentence in terminal.errors and "Traceback" not in terminal.errors


def test_a_third_column_leaves_the_correlation_of_two_alone(terminal: Terminal) -> None:
    words = ("table", "--correlate", "swap_index,share_identity", "--json")
    [plain] = json.loads(printed(terminal, *words))["summary"]["correlations"]
    [given] = json.loads(printed(terminal, *words, "--given", "kappa"))["summary"]["correlations"]
    assert given["spearman"] == plain["spearman"] and given["groups"] == plain["groups"] == 5
    assert given["partial_groups"] == 4 and plain["partial_groups"] is None


def test_predictions_have_one_column_whatever_the_alignment() -> None:
    names = [column.name for column in Joined.columns()]
    assert "test_agreement" in names and "test_agreement_weight" not in names and "update_cosine_weight" in names
    assert len(set(names)) == len(names)


def test_richer_results_serve_and_what_older_ones_lack_is_named(workshop: Path, terminal: Terminal) -> None:
    """Last in this file, since it changes the registry."""
    printed(terminal, "train", "--name", "anatomized", *SMALL, "--width", "7")
    printed(terminal, "lmc", "--group", "anatomized", "--anatomy", "--align", "none")
    columns = ("--columns", "test_error_barrier,test_calibrated_loss_barrier")
    [row] = records(terminal, "--group", "anatomized", *columns)
    own = [r for r in measured(workshop, "lmc") if r["group"] == "anatomized"]
    assert row["test_error_barrier"] == pytest.approx(fmean(r["test_error_barrier"] for r in own))
    assert row["test_calibrated_loss_barrier"] == pytest.approx(fmean(r["test_calibrated_loss_barrier"] for r in own))
    assert terminal.errors == ""
    assert records(terminal, "--group", "w2", *columns)[0]["test_calibrated_loss_barrier"] is None
    assert "nid lmc --group w2 --align none --anatomy" in terminal.errors
    with closing(sqlite3.connect(workshop / ".nid/registry.db")) as database:
        database.execute("UPDATE results SET record = json_remove(record, '$.swap_index') WHERE kind = 'cost'")
        database.commit()
    [row] = records(terminal, "--group", "w2", "--columns", "swap_index")
    assert row["swap_index"] is None and "nid cost --group w2 --force" in terminal.errors
    printed(terminal, "cost", "--group", "w2", "--force")
    assert records(terminal, "--group", "w2", "--columns", "swap_index")[0]["swap_index"] is not None
    assert terminal.errors == ""


def test_layers_chosen_by_hand_are_enough_where_they_are_the_hidden_ones(terminal: Terminal) -> None:
    printed(terminal, "cost", "--group", "anatomized", "--layers", "0,1")
    assert records(terminal, "--group", "anatomized", "--columns", "swap_index")[0]["swap_index"] is not None
    assert terminal.errors == ""
