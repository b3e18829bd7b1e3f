"""Bad input: one sentence, a documented exit code, an unchanged registry, never a traceback."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nid_cli.cli.app import run
from nid_cli.cli.commands import COMMANDS, load
from tests.conftest import Run, execute, records

USAGE = [
    ("train", "--arch", "mpl"),
    ("train", "--dataset", "mnits"),
    ("train", "--symmetry", "4"),
    ("train", "--symmetry", "w", "--kappa", "1,2"),
    ("train", "--symmetry", "w", "--kappa", "-1"),
    ("train", "--symmetry", "w", "--kappa", "nan"),
    ("train", "--symmetry", "w", "--kappa", "one"),
    ("train", "--symmetry", "w", "--num-fixed", "64"),
    ("train", "--kappa", "1"),
    ("train", "--epochs", "-1"),
    ("train", "--epochs", "many"),
    ("train", "--seeds", "0"),
    ("train", "--seed", "-1"),
    ("train", "--norm", "group"),
    ("train", "--data", "k"),
    ("train", "--data", "k=3"),
    ("train", "--device", "gpu"),
    ("train", "--device", "cuda:99"),
    ("train", "--workers", "0"),
    ("train", "--name", "a b"),
    ("train", "--bogus"),
    ("train", "--config", "bad.toml"),
    ("nothing",),
    ("group",),
    ("group", "list", "--symmetry", "q"),
    ("group", "rename", "mlp-digits-standard", "mlp-digits-sigma"),
    ("group", "rename", "mlp-digits-standard", "../x"),
    ("group", "show"),
    ("lmc", "--align", "best"),
    ("lmc", "--points", "1"),
    ("lmc", "--pairs", "1"),
    ("lmc", "--epochs", "first"),
    ("lmc", "--models", "x"),
    ("lmc", "--kappa", "x"),
    ("lmc", "--export", "results.xls"),
    ("lmc", "--export", "no/such/folder/results.json"),
    ("plot", "lmc"),
    ("plot", "lmc", "--out", "figure.bmp"),
    ("plot", "lmc", "--out", "a.pdf", "--split", "all"),
]
NOT_FOUND = [
    ("group", "show", "nobody"),
    ("group", "rm", "nobody"),
    ("group", "rename", "nobody", "somebody"),
    ("group", "note", "nobody", "text"),
    ("lmc", "--group", "mlp-digits-sigm"),
    ("lmc", "--epochs", "3"),
    ("lmc", "--models", "9"),
    ("lmc", "--pairs", "1-9"),
    ("lmc", "--kappa", "7"),
    ("plot", "lmc", "--points", "5", "--out", "a.pdf"),
    ("train", "--config", "missing.toml"),
    ("train", "--dataset", "mnist", "--data-dir", "nowhere"),
    ("lmc", "--registry", "nowhere.db"),
]


@pytest.fixture(scope="module")
def copy(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("errors")
    shutil.copytree(lab / ".nid", folder / ".nid")
    (folder / "bad.toml").write_text("arch = [")
    return folder


def state(folder: Path) -> str:
    """Everything in the registry, as text."""
    with sqlite3.connect(folder / ".nid/registry.db") as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(a, 2) for a in USAGE] + [(a, 3) for a in NOT_FOUND],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else str(x),
)
def test_bad_input_is_one_sentence(
    copy: Path, arguments: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(copy)
    before = state(copy)
    assert run(list(arguments)) == code
    printed = capsys.readouterr()
    assert state(copy) == before and printed.out == ""
    lines = printed.err.strip().splitlines()
    if arguments != ("group",):
        assert lines[0].startswith("error: ") and len(lines) <= 2
        assert all(line.startswith("hint: ") for line in lines[1:])


def test_did_you_mean(copy: Path) -> None:
    done = execute(copy, "lmc", "--group", "mlp-digits-sigm")
    assert "did you mean mlp-digits-sigma?" in done.stderr


def test_without_a_registry(nid: Run, tmp_path: Path) -> None:
    for arguments in (("group", "list"), ("lmc",), ("plot", "lmc", "--out", "a.pdf"), ("group", "show", "x")):
        done = nid(*arguments)
        assert done.returncode == 3 and done.stdout == "" and "no registry" in done.stderr
    assert not list(tmp_path.iterdir())
    assert nid("train", "--dataset", "mnist", "--data-dir", "x").returncode == 3
    assert not (tmp_path / ".nid").exists()


@pytest.mark.parametrize("arguments", ["group list --json", "--help", "lmc -h", "--version"])
def test_a_closed_pipe_is_silent(lab: Path, arguments: str) -> None:
    command = f"{sys.executable} -m nid_cli {arguments} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=lab, capture_output=True, text=True, env=dict(os.environ))
    assert done.stderr == "" and done.stdout.strip() == "141"


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture) -> None:
    def walk(command: object, path: list[str]) -> list[list[str]]:
        children = getattr(command, "commands", None)
        if children is None:
            return [path]
        return [found for name, child in children.items() for found in walk(child, [*path, name])]

    paths = [path for name in COMMANDS for path in walk(load(name), [name])]
    assert len(paths) >= 8
    for path in paths:
        assert run([*path, "--help"]) == 0
        text = capsys.readouterr().out
        assert "nid " + path[0] in text and "Example" in text, path


def test_debugging_shows_where(copy: Path) -> None:
    done = execute(copy, "lmc", "--group", "nobody", NID_DEBUG="1")
    assert "Traceback" in done.stderr


def test_group_commands(lab: Path, tmp_path: Path) -> None:
    shutil.copytree(lab / ".nid", tmp_path / ".nid")

    def names(*selectors: str) -> list[str]:
        return [r["name"] for r in records(execute(tmp_path, "group", "list", "--json", *selectors))]

    everything = ["mlp-digits-standard", "mlp-digits-w-k1", "mlp-digits-sigma", "mlp-digits-syre-k1"]
    assert names() == everything
    assert names("--symmetry", "w", "--symmetry", "3") == [everything[1], everything[3]]
    assert names("--kappa", "1") == [everything[1], everything[3]] and names("--kappa", "1,1,1,1") == names(
        "--kappa", "1"
    )
    assert names("--kappa", "0.5") == [] and names("--dataset", "digits", "--arch", "mlp") == everything
    assert names("--kappa", "1", "--symmetry", "w") == [everything[1]]
    assert execute(tmp_path, "group", "rename", "mlp-digits-w-k1", "baseline").returncode == 0
    assert execute(tmp_path, "group", "note", "baseline", "the first").returncode == 0
    [shown] = records(execute(tmp_path, "group", "list", "--group", "baseline", "--json"))
    assert shown["note"] == "the first" and shown["symmetry"] == "w" and len(shown["fixed_hash"]) == 64
    assert execute(tmp_path, "lmc", "--group", "baseline", "--align", "none").returncode == 0
    refused = execute(tmp_path, "group", "rm", "baseline")
    assert refused.returncode == 2 and "3 results" in refused.stderr and "baseline" in names()
    assert execute(tmp_path, "group", "rm", "baseline", "--yes").returncode == 0
    assert "baseline" not in names() and len(list((tmp_path / ".nid/runs").iterdir())) == 4
    assert execute(tmp_path, "db", "gc").returncode == 0
    assert "baseline" not in names() and len(list((tmp_path / ".nid/runs").iterdir())) == 3
    assert len(list((tmp_path / ".nid/fixed").iterdir())) == 2


def test_nothing_outside_the_folder_is_removed(lab: Path, tmp_path: Path) -> None:
    shutil.copytree(lab / ".nid", tmp_path / "in/.nid")
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    with sqlite3.connect(tmp_path / "in/.nid/registry.db") as connection:
        connection.execute("UPDATE checkpoints SET path = '../../victim.txt' WHERE id = 1")
    assert execute(tmp_path / "in", "db", "check").returncode == 5
    assert execute(tmp_path / "in", "group", "rm", "mlp-digits-standard", "--yes").returncode == 0
    for name in ("runs/link.safetensors", "results/folder"):
        (tmp_path / "in/.nid" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in/.nid" / name).symlink_to(victim if "." in name else tmp_path)
    assert execute(tmp_path / "in", "db", "gc").returncode == 0
    assert victim.read_text() == "mine" and not (tmp_path / "in/.nid/runs/link.safetensors").is_symlink()
