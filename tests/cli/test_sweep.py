"""Sweeps through the command line: what is missing is done, once, and what fails keeps nothing else from it."""

from __future__ import annotations

import json
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nid_cli.pipeline.engines import ENGINES
from nid_cli.pipeline.engines.here import Here
from nid_cli.pipeline.training.session import Session
from tests.cli.test_train import tree
from tests.conftest import Terminal

SMALL = "width = 4\ndepth = 2\nepochs = 2\ndata = { train-size = 100 }\n"
GRID = f"""
title = "A small one"
[[train]]
symmetry = "w"
kappa = [0, 1]
seeds = 2
{SMALL}
[[train]]
symmetry = "standard"
seeds = 2
{SMALL}
[[measure]]
command = "lmc"
align = "none"
points = 3
[[measure]]
command = "coherence"
export = "coherence.csv"
[[plot]]
figure = "barrier"
symmetry = ["w", "standard"]
align = "none"
points = 3
out = "barrier.svg"
"""


@pytest.fixture
def there(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """An empty folder. Models are trained in this process: its workers would take longer to start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    monkeypatch.setitem(ENGINES, "local", ENGINES["here"])
    return Terminal(tmp_path, capsys)


def count(terminal: Terminal, table: str) -> int:
    with closing(sqlite3.connect(terminal.database)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def rows(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["part"], r["name"], r["status"], r["asked"], r["there"], r["new"]) for r in records]


def test_a_sweep_does_what_is_missing_and_nothing_twice(there: Terminal) -> None:
    Path("grid.toml").write_text(GRID)
    other = "--width 4 --depth 2 --epochs 2 --data train-size=100 --seeds 3 --symmetry syre"
    assert there("train", *shlex.split(other)) == 0
    first = there.records("sweep", "grid.toml")
    trained = [("train", f"mlp-digits-{name}", "done", 2, 2, 2) for name in ("w-k0", "w-k1", "standard")]
    figure = ("plot", "barrier barrier.svg", "done", None, None, None)
    # Of its own three groups alone, not of the group that was there before.
    assert rows(first) == [
        *trained,
        ("measure", "lmc", "done", 3, 3, 3),
        ("measure", "coherence", "done", 18, 18, 18),
        figure,
    ]
    assert Path("barrier.svg").exists() and len(Path("coherence.csv").read_text().splitlines()) == 19
    known, calls = tree(there.folder), count(there, "invocations")
    Path("coherence.csv").unlink()
    again = there.records("sweep", "grid.toml")
    assert [r["status"] for r in again] == ["there", "there", "there", "there", "done", "there"]
    assert Path("coherence.csv").exists() and tree(there.folder) == known and count(there, "invocations") == calls
    Path("barrier.svg").unlink()
    assert [r["status"] for r in there.records("sweep", "grid.toml")][-1] == "done"
    assert there("db", "check") == 0


def test_rows_point_to_their_sweep(there: Terminal) -> None:
    Path("grid.toml").write_text(GRID)
    there.records("sweep", "grid.toml")
    [member, _] = there.records("group", "show", "mlp-digits-w-k1")[0]["members"]
    assert member["lineage"]["sweep"]["name"] == "grid"
    assert {r["lineage"]["sweep"]["name"] for r in there.records("lmc", "--align", "none", "--points", "3")} == {"grid"}
    assert len(there.records("group", "list", "--sweep", "grid")) == 3


def test_a_changed_sweep_does_only_what_is_missing(there: Terminal) -> None:
    Path("grid.toml").write_text(GRID)
    there.records("sweep", "grid.toml")
    known = tree(there.folder)
    Path("grid.toml").write_text(GRID.replace("kappa = [0, 1]", "kappa = [1, 2]").replace("seeds = 2", "seeds = 3", 1))
    found = there.records("sweep", "grid.toml")
    assert "has changed since it was run last" in there.errors
    assert rows(found)[:4] == [
        ("train", "mlp-digits-w-k1", "done", 3, 3, 1),
        ("train", "mlp-digits-w-k2", "done", 3, 3, 3),
        ("train", "mlp-digits-standard", "there", 2, 2, 0),
        ("measure", "lmc", "done", 7, 7, 5),
    ]
    assert known.items() <= tree(there.folder).items()


def test_what_fails_fails_alone(there: Terminal) -> None:
    Path("fails.toml").write_text(
        f'[[train]]\nlr = [0.001, 1e30]\nseeds = 2\noptimizer = "sgd"\n{SMALL}'
        f'[[train]]\ndataset = "mnist"\n{SMALL}'
        '[[measure]]\ncommand = "lmc"\nalign = "none"\n[[measure]]\ncommand = "match"\nlayers = "nothing"\n'
    )
    found = there.records("sweep", "fails.toml", "--data-dir", str(there.folder), code=1)
    assert [(r["part"], r["status"]) for r in found] == [
        ("train", "done"), ("train", "failed"), ("train", "failed"), ("measure", "done"), ("measure", "failed"),
    ]  # fmt: skip
    assert "diverged" in found[1]["problem"] or "not finite" in found[1]["problem"]
    assert all(record["problem"] in there.errors for record in found if record["problem"])
    assert [r["status"] for r in there.records("group", "list")] == [{"complete": 2}, {"failed": 2}]


def test_a_plan_writes_nothing(there: Terminal) -> None:
    Path("grid.toml").write_text(GRID)
    assert there("sweep", "grid.toml", "--dry-run", "--json") == 0
    plan = json.loads(there.printed)
    assert not (there.folder / ".nid").exists() and not Path("coherence.csv").exists()
    assert {r["status"] for r in plan["records"]} == {"missing", "waiting"}
    assert (plan["summary"]["trainings"], plan["summary"]["models"], plan["summary"]["missing"]) == (3, 6, 6)
    assert plan["summary"]["seconds"] > 0 and "timing an epoch" in there.errors
    there.records("sweep", "grid.toml")
    there("sweep", "grid.toml", "--dry-run", "--json")
    plan = json.loads(there.printed)
    assert plan["summary"]["seconds"] == 0 and plan["summary"]["missing"] == 0
    assert [r["status"] for r in plan["records"]] == ["there"] * 6 and "timing" not in there.errors
    Path("barrier.svg").unlink()
    assert [r["status"] for r in there.records("sweep", "grid.toml", "--dry-run")][-1] == "missing"


def test_parts_are_about_the_groups_of_the_trainings_as_they_are_now(there: Terminal) -> None:
    generator = np.random.default_rng(0)
    text = '[[train]]\ndataset = "own.npz"\nwidth = 4\ndepth = 2\nepochs = 1\nseeds = 2\n'
    Path("own.toml").write_text(text + '[[measure]]\ncommand = "lmc"\nalign = "none"\npoints = 3\n')
    for _ in range(2):  # the same text, other data
        np.savez(
            "own.npz",
            train_inputs=generator.normal(size=(40, 3)).astype("float32"), train_targets=np.arange(40) % 2,
            test_inputs=generator.normal(size=(10, 3)).astype("float32"), test_targets=np.arange(10) % 2,
        )  # fmt: skip
        assert rows(there.records("sweep", "own.toml"))[1] == ("measure", "lmc", "done", 1, 1, 1)
    assert len(there.records("group", "list", "--sweep", "own")) == 2
    Path("a").mkdir()
    Path("a/own.toml").write_text(Path("own.toml").read_text().replace("width = 4", "width = 5"))
    assert rows(there.records("sweep", "a/own.toml"))[1] == ("measure", "lmc", "done", 1, 1, 1)
    assert [r["status"] for r in there.records("sweep", "own.toml")] == ["there", "there"]


def test_nothing_is_measured_where_nothing_was_trained(there: Terminal) -> None:
    assert there("train", *shlex.split("--width 4 --depth 2 --epochs 1 --data train-size=100")) == 0
    Path("fails.toml").write_text(f'[[train]]\nlr = 1e30\noptimizer = "sgd"\n{SMALL}[[measure]]\ncommand = "lmc"\n')
    assert [r["status"] for r in there.records("sweep", "fails.toml", code=1)] == ["failed", "waiting"]
    assert "no training of the sweep has a model" in there.errors


def test_what_no_training_needs_is_let_go(there: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    held, most, sessions = set[str](), list[int](), list[Session]()
    share, forget, begin = Here.share, Here.forget, Session.begin

    def hold(self: Here, key: str, value: Any) -> None:
        held.add(key)
        most.append(len(held))
        share(self, key, value)

    def drop(self: Here, key: str) -> None:
        held.remove(key)
        forget(self, key)

    def note(self: Session) -> Any:
        sessions.append(self)
        return begin(self)

    monkeypatch.setattr(Here, "share", hold)
    monkeypatch.setattr(Here, "forget", drop)
    monkeypatch.setattr(Session, "begin", note)
    own = SMALL.replace("train-size = 100", "train-size = [100, 110, 120]")
    Path("three.toml").write_text(f"[[train]]\nsymmetry = 'w'\n{own}[[train]]\ndataset = 'mnist'\nepochs = 1\n")
    there.records("sweep", "three.toml", "--data-dir", str(there.folder), code=1)
    assert len(most) == 6 and max(most) == 2 and not held  # data and fixed tensors, of one run at a time
    assert sessions and not sessions[0]._data


def test_two_sweeps_do_not_draw_into_one_file(there: Terminal) -> None:
    Path("grid.toml").write_text(GRID)
    Path("other.toml").write_text(GRID.replace("kappa = [0, 1]", "kappa = [3]"))
    there.records("sweep", "grid.toml")
    drawn = Path("barrier.svg").read_bytes()
    assert there("sweep", "other.toml") == 2
    assert "a figure of the sweep grid" in there.errors and Path("barrier.svg").read_bytes() == drawn
    assert len(there.records("group", "list")) == 3
    Path("barrier.svg").unlink()
    assert there("sweep", "other.toml") == 0


def test_a_plan_says_which_data_are_not_there(there: Terminal) -> None:
    Path("some.toml").write_text(f'[[train]]\ndataset = "mnist"\n[[train]]\nseeds = 2\n{SMALL}')
    plan = there.records("sweep", "some.toml", "--dry-run", "--data-dir", str(there.folder))
    assert [r["status"] for r in plan] == ["missing", "missing"] and "mnist" in plan[0]["problem"]
    assert plan[1]["seconds"] > 0 and plan[1]["problem"] is None and not (there.folder / ".nid").exists()


def test_shards_are_joined(there: Terminal) -> None:
    Path("grid.toml").write_text(GRID)
    shares = [there.records("sweep", "grid.toml", "--shard", f"{i}/2") for i in (0, 1)]
    names = [{r["name"] for r in share} for share in shares]
    assert all(names) and not names[0] & names[1] and len(names[0] | names[1]) == 3
    assert "without --shard" in there.errors and not (there.folder / ".nid").exists()
    assert there.records("sweep", "grid.toml", "--shard", "0/2")[0]["status"] == "there"
    for _ in range(2):
        assert there("register", "shards/0/.nid", "shards/1/.nid") == 0
    assert len(there.records("group", "list", "--sweep", "grid")) == 3
    found = there.records("sweep", "grid.toml")
    assert [(r["part"], r["status"]) for r in found] == [("train", "there")] * 3 + [
        ("measure", "done"), ("measure", "done"), ("plot", "done"),
    ]  # fmt: skip
    assert "has changed" not in there.errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[train]]\nkapa = 1\n", "kappa"),
        ('[[measure]]\ncommand = "lcm"\n', "lmc"),
        ('[[measure]]\ncommand = "lmc"\npoint = 3\n', "points"),
        ('[[measure]]\ncommand = "lmc"\npoints = "x"\n', "points"),
        ('[[measure]]\ncommand = "lmc"\nregistry = "elsewhere"\n', "registry"),
        ('[[measure]]\ncommand = "group list"\n', "unknown analysis"),
        ('[[measure]]\ncommand = "lmc"\nexport = "nowhere/a.csv"\n', "nowhere"),
        ('[[plot]]\nfigure = "lmcc"\nout = "a.pdf"\n', "lmcc"),
        ('[[plot]]\nfigure = "lmc"\nout = "a.jpeg"\n', ".pdf"),
        ('[[plot]]\nfigure = "lmc"\nout = "a.pdf"\n[[plot]]\nfigure = "match"\nout = "./a.pdf"\n', "a.pdf"),
        ("[[train]]\nseed = [" + ",".join(map(str, range(10_001))) + "]\n", "--yes"),
        ("[[train]]\narch = 'resnet'\ndataset = 'digits'\nheads = 3\n", "heads"),
        ("[[train]\n", "TOML"),
        ("[[train]]\nname = 'a/b'\n", "a/b"),
        ('[[measure]]\ncommand = "lmc"\nexport = "-"\n', "not stdout"),
        ('[[measure]]\ncommand = "lmc"\nbn-reset = "yes"\n', "[[measure]] 1"),
        (
            '[[measure]]\ncommand = "lmc"\nexport = "a.csv"\n[[measure]]\ncommand = "cost"\nexport = "./a.csv"\n',
            "a.csv",
        ),
    ],
)
def test_bad_sweeps_get_a_sentence(there: Terminal, text: str, said: str) -> None:
    Path("bad.toml").write_text(text)
    assert there("sweep", "bad.toml") == 2, there.errors
    assert said in there.errors and "Traceback" not in there.errors
    assert len(there.errors.strip().splitlines()) <= 2 and not (there.folder / ".nid").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("quick", "--shard", "5/4"), 2, "3/4"),
        (("quick", "--shard", "x"), 2, "0/4"),
        (("quik",), 3, "quick"),
        (("nothing.toml",), 3, "nothing.toml"),
        ((), 2, "--list"),
        (("quick", "--engine", "rai"), 2, "ray"),
        (("quick", "--address", "a:1"), 2, "--engine ray"),
        (("quick", "--workers", "0"), 2, "at least 1"),
        (("quick", "--device", "cuda:7"), 2, "cuda:7"),
        (("quick", "--engine", "ray", "--address", "127.0.0.1:1"), 1, "127.0.0.1:1"),
        (("quick", "--stack", "0"), 2, "stack"),
    ],
)
def test_bad_calls_get_a_sentence(there: Terminal, arguments: tuple[str, ...], code: int, said: str) -> None:
    assert there("sweep", *arguments) == code, there.errors
    assert said in there.errors and not (there.folder / ".nid").exists()


def test_shipped_sweeps_are_listed_and_shown(there: Terminal) -> None:
    assert {"quick", "kappa-digits", "paper-mnist", "paper-cifar"} <= {
        r["name"] for r in there.records("sweep", "--list")
    }
    assert there("sweep", "quick", "--show") == 0
    Path("mine.toml").write_text(there.printed)
    assert len(there.records("sweep", "mine.toml", "--dry-run")) == 4
