"""What can be added takes an entry in one table, and what the entry names: ``tests/toys`` adds one of each, and here
they run, through the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
SMALL = ("--dataset", "toy", "--width", "8", "--depth", "3", "--epochs", "2", "--seeds", "2")
# What adding each thing touches, beside new files, their tests and the declarations of a new record.
TABLES = {
    "symmetry type": "nid_cli/specs/symmetries.py",
    "alignment": "nid_cli/specs/alignments.py",
    "data set": "nid_cli/data/catalog.py",
    "analysis": "nid_cli/pipeline/analyses/catalog.py",
    "command": "nid_cli/cli/commands.py",
    "figure": "nid_cli/pipeline/figures/table.py",
    "engine": "nid_cli/pipeline/engines/__init__.py",
}


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python where the toys can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NID_")}
    path = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def nid(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess:
    """Runs ``nid`` with the toys."""
    done = python(folder, "-m", "tests.toys.nid", *arguments)
    assert done.returncode == code, done.stderr
    return done


def records(done: subprocess.CompletedProcess) -> list[dict[str, Any]]:
    """The records of a call with ``--json``."""
    return json.loads(done.stdout)["records"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of the toy symmetry type and two w networks, on the toy data set; connectivity and sizes measured."""
    found = tmp_path_factory.mktemp("toys")
    for symmetry in ("toy", "w"):
        nid(found, "train", "--symmetry", symmetry, "--kappa", "0.5", *SMALL)
    nid(found, "lmc", "--align", "none,toy", "--points", "3")
    nid(found, "toy", "--power", "3")
    return found


def test_a_symmetry_type_keeps_its_rule_in_training(folder: Path) -> None:
    files = sorted((folder / ".nid/runs").rglob("epoch-000002.safetensors"))
    [group] = records(nid(folder, "group", "show", "mlp-toy-toy-k0.5", "--json"))
    own = {member["checkpoints"][-1]["path"] for member in group["members"]}
    states = [load_file(file) for file in files if str(file.relative_to(folder / ".nid")) in own]
    assert len(states) == 2 and group["symmetry"] == "toy"
    for state in states:
        assert all((state[f"linear.{i}.weight"][:, 0] == 0.5).all() for i in range(3))
    assert not states[0]["linear.0.weight"].equal(states[1]["linear.0.weight"])


def test_a_data_set_is_listed_resolved_and_checked(folder: Path) -> None:
    assert 'dataset = "toy"' in nid(folder, "train", "--dry-run", *SMALL).stdout
    wrong = nid(folder, "train", *SMALL, "--data", "spreat=1", code=2)
    assert "choose from" in wrong.stderr or "did you mean" in wrong.stderr
    assert len(records(nid(folder, "group", "list", "--dataset", "toy", "--json"))) == 2


def test_an_alignment_is_measured_keyed_kept_and_drawn(folder: Path) -> None:
    found = records(nid(folder, "lmc", "--align", "toy", "--points", "3", "--json"))
    assert {r["align"] for r in found} == {"toy"} and all(r["status"] == "ok" for r in found)
    # A default of a later parameter is in no key.
    assert all(r["lineage"]["parameters"] == {"align": "toy", "points": 3} for r in found)
    code = (
        "import tests.toys; tests.toys.add(); from nid_cli import open_registry;"
        "frame = open_registry().results('lmc', align='toy');"
        "print([{n: v.tolist() for n, v in row.items()} for row in frame['permutation']])"
    )
    turned = [7, *range(7)]
    assert python(folder, "-c", code).stdout.strip() == str([{"0": turned, "1": turned}] * 2)
    for figure in ("lmc", "barrier"):
        drawn = ("plot", figure, "--align", "none,toy", "--points", "3", "--out", f"{figure}.svg", "--export", "a.json")
        [record] = records(nid(folder, *drawn, "--json"))
        rows = json.loads((folder / "a.json").read_text())["records"]
        assert {row["align"] for row in rows} == {"none", "toy"} and len(record["result_ids"]) == 4
        assert {row["symmetry"] for row in rows} == {"toy", "w"}


def test_an_analysis_is_a_command_and_its_records_are_read_everywhere(folder: Path) -> None:
    found = records(nid(folder, "toy", "--power", "3", "--json"))
    assert len(found) == 12 and {r["layer"] for r in found} == {"linear.0", "linear.1", "linear.2"}
    few = nid(folder, "toy", "--power", "3", "--columns", "layer,size", "--export", "-")
    assert json.loads(few.stdout)["schema"] == "nid.toy/1"
    assert records(few) == [{"layer": r["layer"], "size": r["size"]} for r in found]
    code = (
        "import tests.toys; tests.toys.add(); from nid_cli import open_registry;"
        "frame = open_registry().results('toy', symmetry='w');"
        "print([float(rows.sum()) for rows in frame['rows']])"
    )
    kept = json.loads(python(folder, "-c", code).stdout)
    assert kept == pytest.approx([r["size"] for r in found if r["symmetry"] == "w"])
    assert "power must be at least 1" in nid(folder, "toy", "--power", "0", code=2).stderr
    assert "Measure the size of layers." in nid(folder, "--help").stdout


def test_a_figure_is_listed_drawn_exported_and_names_what_it_needs(folder: Path) -> None:
    listed = {r["figure"]: r["needs"] for r in records(nid(folder, "plot", "--list", "--json"))}
    assert listed["toy"] == ["nid toy"]
    missing = nid(folder, "plot", "toy", "--power", "5", "--out", "toy.pdf", code=3)
    assert "run: nid toy --power 5" in missing.stderr
    [record] = records(nid(folder, "plot", "toy", "--power", "3", "--out", "toy.pdf", "--json"))
    assert len(record["result_ids"]) == 12 and (folder / "toy.pdf").read_bytes()[:4] == b"%PDF"
    sizes = sorted(r["size"] for r in records(nid(folder, "toy", "--power", "3", "--json")))
    bounds = ("--sizes", f"{sizes[3]},{sizes[6]}", "--export", "-")
    few = records(nid(folder, "plot", "toy", "--power", "3", "--out", "toy.pdf", *bounds))
    assert sorted(row["size"] for row in few) == sizes[3:7]
    assert "sizes must be like" in nid(folder, "plot", "toy", "--sizes", "1,x", "--out", "toy.pdf", code=2).stderr
    shown = nid(folder, "plot", "toy", "--help").stdout
    assert "--power " in shown and "--word " in shown and "nid plot toy --out toy.pdf" in shown


def test_the_report_has_all_of_them(folder: Path) -> None:
    nid(folder, "plot", "report", "--compute", "--points", "3", "--out", "report.html")
    page = (folder / "report.html").read_text()
    assert "mlp-toy-toy-k0.5" in page and "Sizes of layers." in page
    assert "Toy: 12 results" in page and '.results("toy"' in page.replace("&#34;", '"')


def test_an_engine_trains_the_same_models(tmp_path: Path) -> None:
    call = ("train", "--width", "4", "--depth", "2", "--epochs", "1", "--seeds", "2", "--device", "cpu", "--json")
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours = python(tmp_path / "ours", "-m", "nid_cli", *call)
    theirs = python(tmp_path / "theirs", "-m", "tests.toys.engine", *call)
    assert "2 models, 1 epoch, 2 at a time" in ours.stderr or "2 models, 1 epoch, 1 at a time" in ours.stderr
    ready, told = theirs.stderr.splitlines()
    assert ready == "the toy engine is ready" and told.endswith("training 2 of 2 models, 1 epoch, backwards")
    assert records(ours) == records(theirs) != []
    for file in (tmp_path / "ours/.nid/runs").rglob("*.safetensors"):
        assert (tmp_path / "theirs" / file.relative_to(tmp_path / "ours")).read_bytes() == file.read_bytes()


def test_the_page_on_contributing_names_each_table() -> None:
    page = ROOT / "docs/contributing.md"
    if not page.exists():
        pytest.skip("docs/contributing.md is not there")
    text = page.read_text()
    assert [path for path in TABLES.values() if path not in text] == []
    assert all((ROOT / path).exists() for path in TABLES.values())
