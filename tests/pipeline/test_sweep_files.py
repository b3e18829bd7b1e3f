"""Sweeps as files: grids are products, what cannot be is one sentence, and the shipped ones can be run."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nid_cli.errors import NidError, NotFoundError, UsageError
from nid_cli.pipeline.sweeps import file, shipped
from nid_cli.recipes import resolve, usual_seeds
from nid_cli.recipes.tables import GENERAL, OWN, RECIPES

VALUES: dict[str, st.SearchStrategy] = {
    "width": st.integers(1, 99),
    "lr": st.sampled_from([0.5, 1, 1.0, 2.5]),
    "symmetry": st.sampled_from(["w", "syre"]),
    "tied": st.booleans(),
    "kappa": st.one_of(st.integers(0, 3), st.lists(st.sampled_from([0, 0.5, 1]), min_size=1, max_size=3)),
    "num_fixed": st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), min_size=1, max_size=3)),
    "data": st.dictionaries(
        st.sampled_from(["k", "sep"]), st.one_of(st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=3))
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A ``[[train]]`` table: values, lists of them, in any order of keys."""
    names = draw(st.lists(st.sampled_from(list(VALUES)), unique=True))
    return {
        name: draw(VALUES[name] if name == "data" else st.lists(VALUES[name], min_size=1, max_size=3)) for name in names
    }


def write(folder: Path, document: dict[str, Any] | str, name: str = "s.toml") -> str:
    path = folder / name
    path.write_text(document if isinstance(document, str) else tomli_w.dumps(document), encoding="utf-8")
    return str(path)


def slow(table: dict[str, Any]) -> list[dict[str, Any]]:
    """All combinations of a table, the first key slowest, by recursion; equal ones stay."""
    if not table:
        return [{}]
    (name, values), *rest = table.items()
    if name == "data":
        values = [dict(own) for own in slow_data(values)] if values else [None]
    return [({} if value is None else {name: value}) | others for value in values for others in slow(dict(rest))]


def slow_data(table: dict[str, Any]) -> list[tuple[tuple[str, Any], ...]]:
    several = [[(k, v) for v in (own if isinstance(own, list) else [own])] for k, own in table.items()]
    return list(product(*several))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(tables(), min_size=1, max_size=3))
def test_a_grid_is_the_product_of_its_lists(found: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write(tmp_path, {"train": found})
    written = tomllib.loads(Path(path).read_text())["train"]  # tables stand behind values
    sweep = file.read(path)
    expected = [settings for table in written for settings in slow(table)]
    assert sweep.count == len(expected)
    once: list[dict[str, Any]] = []
    for one in expected:
        if one not in once:
            once.append(one)
    assert sweep.trainings == once
    assert [list(settings) for settings in sweep.trainings] == [list(settings) for settings in once]


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = """
title = "Two \\n lines"
[[train]]
batch-size = 32
data = { train-size = [100, 200], val_share = 0.5 }
kappa = [1, [1, 0.5]]
num_fixed = "0.25,linear.3=0"
milestones = [[10, 20]]
symmetry = "w"
[[train]]
name = "mine"
milestones = 10
arch = "nets.py:build"
model_arg = { width = 8, bias = true }
[[measure]]
command = "lmc"
points = 5
[[plot]]
figure = "lmc"
out = "a.pdf"
kappa = [1, 2]
"""
    sweep = file.read(write(tmp_path, text, "my sweep.toml"))
    assert (sweep.name, sweep.title, sweep.text, sweep.count) == ("my sweep", "Two lines", text, 5)
    common = {"batch_size": 32, "num_fixed": "0.25,linear.3=0", "milestones": [10, 20], "symmetry": "w"}
    grid = [
        common | {"data": {"train_size": size, "val_share": 0.5}, "kappa": kappa}
        for size in (100, 200)
        for kappa in (1, [1, 0.5])
    ]
    own = {"name": "mine", "milestones": [10], "arch": "nets.py:build", "model_arg": {"width": 8, "bias": True}}
    assert sweep.trainings == [*grid, own] and sweep.models == 10
    assert sweep.measures == ({"command": "lmc", "points": 5},)
    assert sweep.plots == ({"figure": "lmc", "out": "a.pdf", "kappa": [1, 2]},)


def test_equal_combinations_come_once_and_true_is_not_one(tmp_path: Path) -> None:
    text = "[[train]]\nlr = [1, 1.0, 2]\nwidth = 3\n[[train]]\nwidth = 3\nlr = 2\n[[train]]\ntied = [true, 1]\n"
    sweep = file.read(write(tmp_path, text))
    assert sweep.trainings == [{"lr": 1, "width": 3}, {"lr": 2, "width": 3}, {"tied": True}, {"tied": 1}]
    assert sweep.count == 6 and [type(own["tied"]) for own in sweep.trainings[2:]] == [bool, int]


def test_a_huge_grid_is_counted_and_not_made(tmp_path: Path) -> None:
    lists = "\n".join(f"{name} = {list(range(1, 1001))}" for name in ("width", "depth", "seed", "epochs", "heads"))
    begun = time.process_time()
    sweep = file.read(write(tmp_path, f"[[train]]\n{lists}"))
    assert sweep.count == 1000**5 and time.process_time() - begun < 5
    with pytest.raises(UsageError) as error:
        file.check_size(sweep, yes=False)
    assert "1,000,000,000,000,000 trainings" in error.value.message and "--yes" in (error.value.hint or "")
    file.check_size(sweep, yes=True)


def test_ten_thousand_trainings_need_no_yes(tmp_path: Path) -> None:
    text = f"[[train]]\nseed = {list(range(100))}\nwidth = {list(range(1, 101))}"
    file.check_size(file.read(write(tmp_path, text)), yes=False)
    with pytest.raises(UsageError):
        file.check_size(file.read(write(tmp_path, f"{text}\n[[train]]\nsymmetry = 'w'")), yes=False)


WRONG = {
    "an unknown key": ("[[trian]]\nwidth = 1", "unknown key 'trian'", "did you mean train?"),
    "an unknown setting": ("[[train]]\nkapa = 1", "[[train]] 1: unknown setting 'kapa'", "did you mean kappa?"),
    "an unknown one with a dash": ("[[train]]\nbatchsize = 1", "'batchsize'", "did you mean batch-size?"),
    "the second table": ("[[train]]\n[[train]]\nwidht = 1", "[[train]] 2: unknown setting", "did you mean width?"),
    "no TOML": ("[[train]\n", "is not TOML: ", None),
    "a key twice": ("[[train]]\nwidth = 1\nwidth = 2", "is not TOML: ", None),
    "a setting twice": ("[[train]]\nbatch-size = 1\nbatch_size = 2", "stands there twice", None),
    "a parameter twice": ("[[train]]\ndata = { a-b = 1, a_b = 2 }", "data.a_b stands there twice", None),
    "nothing": ("title = 'x'", "has no [[train]], [[measure]] or [[plot]]", None),
    "an empty file": ("", "has no [[train]], [[measure]] or [[plot]]", None),
    "one table": ("[train]\nwidth = 1", "train must be tables", "write [[train]] above each"),
    "no table": ("train = [1]", "train must be tables", "write [[train]] above each"),
    "a title that is none": ("title = 1\n[[train]]", "title must be a text", None),
    "an empty list": ("[[train]]\nwidth = []", "width is an empty list", None),
    "an empty list of data": ("[[train]]\ndata = { k = [] }", "data.k is an empty list", None),
    "a list in a list": ("[[train]]\nwidth = [[1, 2]]", "width has a list in its list", "one list is a grid"),
    "a list three deep": ("[[train]]\nkappa = [[[1]]]", "kappa has a list in its list that holds more", None),
    "a date": ("[[train]]\nlr = 2020-01-01", "lr must be a number, a text", None),
    "a table of a setting": ("[[train]]\nlr = { a = 1 }", "lr must be a number, a text", None),
    "data that are no table": ("[[train]]\ndata = 3", "data must be a table", "data = { key = [1, 2] }"),
    "data in data": ("[[train]]\ndata = { k = { a = 1 } }", "data.k must be a number", None),
    "seeds that are no number": ("[[train]]\nseeds = 'many'", "seeds must be a whole number", None),
    "seeds that are half": ("[[train]]\nseeds = [1, 2.5]", "seeds must be a whole number", None),
    "one name of two": ("[[train]]\nname = 'a'\nkappa = [1, 2]", "makes 2 trainings", "leave name out"),
    "no command": ("[[measure]]\npoints = 3", "[[measure]] 1: command must be there", None),
    "no text of a command": ("[[measure]]\ncommand = 3", "[[measure]] 1: command must be there", None),
    "no figure": ("[[plot]]\nout = 'a.pdf'", "[[plot]] 1: figure must be there", None),
    "no out": ("[[plot]]\nfigure = 'lmc'\nout = ''", "[[plot]] 1: out must be there", None),
    "one file of two figures": (
        "[[plot]]\nfigure = 'lmc'\nout = 'a/b.pdf'\n[[plot]]\nfigure = 'match'\nout = './a/../a/b.pdf'",
        "[[plot]] 1 and 2 both write",
        "give each its own out",
    ),
    "endless nesting": (f"a = {'[' * 100_000}", "is not TOML", None),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_is_one_sentence(kind: str, tmp_path: Path) -> None:
    text, said, hint = WRONG[kind]
    with pytest.raises(UsageError) as error:
        file.read(write(tmp_path, text))
    assert said in error.value.message and "\n" not in error.value.message and "s.toml" in error.value.message
    assert hint is None or hint in (error.value.hint or "")


@given(st.text(alphabet='[]{}="abc1,.\n train\\#', max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_sweep_or_a_sentence(tmp_path: Path, text: str) -> None:
    try:
        file.read(write(tmp_path, text))
    except NidError as error:
        assert "\n" not in error.message


def test_files_and_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cannot read .*No such file"):
        file.read(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(NotFoundError, match="cannot read"):
        file.read(str(tmp_path / "folder.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        file.read(str(tmp_path / "bytes.toml"))
    with pytest.raises(UsageError, match="cannot be the name"):
        file.read(str(tmp_path / "\x1b]0;owned\x07.toml"))
    with pytest.raises(NotFoundError) as error:
        file.read("quik")
    assert error.value.hint == "did you mean quick?"
    with pytest.raises(NotFoundError) as error:
        file.read("something/else")
    assert "paper-mnist" in (error.value.hint or "") and ".toml" in (error.value.hint or "")


def test_the_shipped_sweeps_are_listed() -> None:
    found = {sweep.name: sweep for sweep in file.listing()}
    assert list(found) == shipped.names()
    assert all(sweep.title and sweep.plots and sweep.measures for sweep in found.values())
    assert {name: (sweep.count, sweep.models) for name, sweep in found.items()} == {
        "kappa-digits": (22, 88),
        "paper-cifar": (4, 16),
        "paper-mnist": (19, 38),
        "prediction-digits": (50, 174),
        "prediction-mnist": (17, 34),
        "quick": (2, 8),
    }


@pytest.mark.parametrize("name", shipped.names())
def test_trainings_of_shipped_sweeps_are_runs_of_their_own(name: str) -> None:
    sweep = file.read(name)
    hashes = [resolve(settings)[0].hash for settings in sweep.trainings]
    assert len(set(hashes)) == len(hashes) == sweep.count
    assert sum(resolve(settings)[1]["seeds"] for settings in sweep.trainings) == sweep.models


def test_the_usual_number_of_seeds_is_that_of_the_recipe() -> None:
    for arch, dataset in [(arch, "digits") for arch in GENERAL] + list(RECIPES):
        recipe = {**GENERAL[arch], **RECIPES.get((arch, dataset), {})}
        assert usual_seeds({"arch": arch, "dataset": dataset}) == recipe["seeds"]
    assert usual_seeds({"arch": "nets.py:build"}) == OWN["seeds"] and usual_seeds({}) == GENERAL["mlp"]["seeds"]


def test_reading_a_sweep_imports_no_torch() -> None:
    code = (
        "import sys; from nid_cli.pipeline.sweeps import costs, file, shards; file.listing();"
        "print(sorted({'torch', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
