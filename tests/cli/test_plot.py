"""``nid plot`` through the command line, in this process: what it needs, says, draws, exports and records."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from nid_cli.cli.app import run
from nid_cli.pipeline.figures.table import FIGURES

SYNTHETIC = "--copies 2 --width 8 --outer-seeds 1 --num-pairs 1 --epochs 1 --points 3"
# For each figure, options that draw it from two small groups.
CALLS = {
    "lmc": "--symmetry w --symmetry sigma --points 3",
    "barrier": "--symmetry w --align none,weight --pairs 1-2 --points 3",
    "match": "--group mlp-digits-w-k1 --pairs 1-2 --at post_linear --against epoch",
    "similarity": "--symmetry w --symmetry sigma --align none --since previous --split val",
    "merge": "--symmetry w --symmetry sigma --align none,first --counts 2,3",
    "cost": "--kind scatter --symmetry w --kappa 1 --models 1 --layers 0 --neurons 3",
    "coherence": "--group mlp-digits-w-k1 --epochs 0,4",
    "synthetic": SYNTHETIC,
    "summary": "--group mlp-digits-w-k1 --models 1,2",
}


@pytest.fixture(scope="module")
def folder(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the lab that may be written to, and becomes fuller from test to test."""
    target = tmp_path_factory.mktemp("plot")
    shutil.copytree(lab / ".nid", target / ".nid")
    return target


def nid(command: str) -> int:
    """One command line, in this process."""
    return run(shlex.split(command))


@pytest.mark.parametrize("figure", CALLS)
def test_the_named_command_makes_exactly_what_is_missing(figure: str, folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    call = f"plot {figure} {CALLS[figure]} --out {figure}.svg"
    assert nid(call) == 3
    said = capsys.readouterr().err
    assert "are not in the registry" in said and not Path(f"{figure}.svg").exists()
    commands = said.partition("run: ")[2].partition(" (or add --compute)")[0].split(" && ")
    for command in commands:
        assert command.startswith("nid ") and nid(command.removeprefix("nid ")) == 0
    capsys.readouterr()
    assert nid(f"{call} --json") == 0
    [record] = json.loads(capsys.readouterr().out)["records"]
    assert record["figure"] == figure and Path(f"{figure}.svg").read_bytes().startswith(b"<?xml")
    with sqlite3.connect(folder / ".nid/registry.db") as database:
        query = "SELECT count(*) FROM results WHERE result_id IN (SELECT value FROM json_each(?))"
        [found] = database.execute(query, [json.dumps(record["result_ids"])]).fetchone()
        [recorded] = database.execute("SELECT sha256 FROM figures WHERE figure = ?", [figure]).fetchone()
    assert found == len(record["result_ids"]) > 0 and recorded == record["sha256"]
    first = Path(f"{figure}.svg").read_bytes()
    assert nid(call) == 0 and Path(f"{figure}.svg").read_bytes() == first  # the same results, the same bytes


def test_compute_makes_what_is_missing(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    call = "plot match --symmetry syre --pairs 2-3 --at post_norm --out m.png --columns 1"
    assert nid(call) == 3 and nid(f"{call} --compute") == 0 and nid(call) == 0
    content = Path("m.png").read_bytes()
    width = int.from_bytes(content[16:20], "big")
    assert width == round(3.25 * 300) and b"pHYs" in content
    assert nid(f"{call} --small") == 0 and len(Path("m.png").read_bytes()) < 0.5 * len(content)


def test_values_of_others_lie_over_ours(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    call = "plot match --symmetry syre --pairs 1-2 --at post_linear --compute --out m.svg"
    assert nid(f"{call} --export theirs.json") == 0
    plain = Path("m.svg").read_bytes()
    assert nid(f"{call} --overlay theirs.json --export both.json") == 0 and Path("m.svg").read_bytes() != plain
    both = json.loads(Path("both.json").read_text())["records"]
    assert [row.get("source") for row in both] == [None] * (len(both) // 2) + ["theirs"] * (len(both) // 2)
    capsys.readouterr()
    assert nid(f"{call} --overlay paper") == 2 and "the paper has no values" in capsys.readouterr().err
    assert nid(f"{call} --overlay nowhere.json") == 3


def test_a_pdf_carries_its_fonts(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    assert nid("plot training --out t.pdf --split test") == 0
    content = Path("t.pdf").read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content


def test_exports_hold_what_is_drawn(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    assert nid("cost --symmetry w --models 2 --export cost.json") == 0
    call = "plot cost --symmetry w --models 2-3 --out c.pdf --export"
    for ending in ("json", "jsonl", "csv", "parquet"):
        assert nid(f"{call} c.{ending}") == 0
    rows = json.loads(Path("c.json").read_text())["records"]
    costs = json.loads(Path("cost.json").read_text())["records"]
    assert len(rows) == 4 and [r["models"] for r in rows] == [[2]] * 4  # one model, the first
    for row in rows:
        [source] = [c for c in costs if c["result_id"] == row["result_ids"][0]]
        drawn = np.array(row["signed_root_swap"])
        np.testing.assert_allclose(drawn * np.abs(drawn), source["swap_squared"], atol=1e-9)
    assert (
        pyarrow.parquet.read_table("c.parquet").column("signed_root_swap").to_pylist()[0] == rows[0]["signed_root_swap"]
    )
    with open("c.csv") as file:
        [first, *_] = [r for r in csv.DictReader(file) if (r["i"], r["j"]) == ("0", "1")]
    assert float(first["signed_root_swap"]) == rows[0]["signed_root_swap"][0][1]
    capsys.readouterr()
    assert nid("plot training --symmetry w --out t.svg --export -") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "nid.plot.training/1" and {r["model"] for r in document["records"]} == {1, 2, 3}
    assert [r["epoch"] for r in document["records"] if r["model"] == 1] == [0, 1, 2, 3, 4]


def test_the_list_describes_every_figure(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert nid("plot --list --json") == 0
    found = json.loads(capsys.readouterr().out)["records"]
    assert [r["figure"] for r in found] == [*FIGURES, "report"] and all(r["needs"] and r["description"] for r in found)
    assert nid("plot --list") == 0 and len(capsys.readouterr().out.splitlines()) == len(FIGURES) + 2


@pytest.mark.parametrize(
    "call",
    [
        "",
        "pie --out a.pdf",
        "lmc --out a.bmp",
        "lmc --out no/such/a.pdf",
        "lmc --out a.pdf --columns 3",
        "barrier --out a.pdf --against nothing",
        "barrier --out a.pdf --kind wall",
        "barrier --out a.pdf --symmetry standard --align none --points 2 --pairs 1-2 --compute",
        "match --out a.pdf --similarity cosine",
        "cost --out a.pdf --kind pie",
        "cost --out a.pdf --across k",
        "cost --out a.pdf --layers 9",
        "coherence --out a.pdf --against kappa",
        "synthetic --out a.pdf --copies 0",
        "synthetic --out a.pdf --symmetry w",
        "training --out a.pdf --split all",
        "training --out a.pdf --epochs 1",
        "summary --out a.pdf",
        "training --out a.pdf --export a.xls",
    ],
)
def test_bad_requests_are_usage_errors_and_draw_nothing(call: str, folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    assert nid(f"plot {call}") == 2
    printed = capsys.readouterr()
    assert "nid itself" not in printed.err and printed.out == "" and not Path("a.pdf").exists()
