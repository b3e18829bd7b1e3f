"""The command line starts at once: help and completion import little, say all, and in the order of the work."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from nid_cli.cli.app import app
from nid_cli.cli.commands import COMMANDS, load
from tests.conftest import Run, execute

WORDS = [
    "train",
    "sweep",
    "register",
    "group",
    "symmetries",
    "lmc",
    "match",
    "similarity",
    "merge",
    "cost",
    "coherence",
    "ntk",
    "table",
    "align",
    "plot",
    "ui",
    "db",
]
WORDS += ["doctor"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_of_a_command_what_the_command_says_of_itself(name: str) -> None:
    assert " ".join((load(name).help or "").split("\n\n")[0].split()) == COMMANDS[name].summary


def test_help_has_every_command_in_the_order_of_the_work_and_cuts_nothing_off(nid: Run) -> None:
    shown = " ".join(nid("--help").stdout.split())
    assert list(COMMANDS) == WORDS and "..." not in shown.replace("[ARGS]...", "")
    places = [shown.index(f"{name} {entry.summary}") for name, entry in COMMANDS.items()]
    assert places == sorted(places)
    panels = [shown.index(f"{panel}:") for panel in dict.fromkeys(entry.panel for entry in COMMANDS.values())]
    assert panels == sorted(panels)


@pytest.mark.parametrize("name", [name for name, entry in COMMANDS.items() if entry.group])
def test_groups_of_commands_cut_nothing_off(name: str, nid: Run) -> None:
    shown = " ".join(nid(name, "-h").stdout.split())
    for command in load(name).commands.values():
        assert " ".join(command.help.split("\n\n")[0].split()) in shown


def on_a_terminal(*arguments: str, folder: Path, columns: int = 80, **environment: str) -> str:
    """What a command shows whose three streams are one terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nid_cli", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, close_fds=True,
        env=os.environ | {"COLUMNS": str(columns), "LINES": "50", "TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux's word for the end of a terminal
        pass
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode(errors="replace")


@pytest.mark.parametrize("columns", [80, 132])
def test_help_on_a_terminal_is_in_panels(columns: int, tmp_path: Path) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal("--help", folder=tmp_path, columns=columns))
    assert all(f"─ {panel} ─" in shown for panel in dict.fromkeys(e.panel for e in COMMANDS.values()))
    plain = " ".join(shown.replace("│", " ").split())
    assert all(f"{name} {entry.summary}" in plain for name, entry in COMMANDS.items())
    assert "Exit codes: 0 done" in plain and max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize("command", [("lmc",), ("group", "show"), ("plot", "cost"), ("coherence", "synthetic")])
def test_help_of_commands_on_a_terminal_is_in_panels_too(command: tuple[str, ...], tmp_path: Path) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(*command, "--help", folder=tmp_path, columns=80))
    assert "─ Options ─" in shown and "Examples:" in shown and f"nid {' '.join(command)}" in shown
    assert "--registry" in shown and max(map(len, shown.splitlines())) <= 80


def test_training_on_a_terminal_shows_the_whole_above_its_models(tmp_path: Path) -> None:
    shown = on_a_terminal(
        "train", "--width", "4", "--depth", "2", "--epochs", "40", "--seeds", "2", "--workers", "1", folder=tmp_path
    )
    assert "of 2 models done" in shown and "model 1" in shown
    assert shown.index("models ") < shown.index("model 1")


LIGHT = """
import sys
from nid_cli.cli.app import run
run(sys.argv[1:])
heavy = ("sqlalchemy", "torch", "numpy", "pandas", "matplotlib", "scipy", "sklearn", "rich", "jinja2")
sys.stderr.write(str([name for name in heavy if name in sys.modules]))
"""


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("lmc", "--help"), ("train", "--help"), ("train", "--dry-run"), ("plot", "--help")],
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.endswith("[]"), done.stderr[-300:]


def completed(words: str, folder: Path, **environment: str) -> tuple[list[str], str]:
    """What a shell is offered at the end of ``words``; and the heavy modules that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.replace("run(sys.argv[1:])", "run()").replace("sys.argv", "['nid']"), ],
        cwd=folder, capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("NID_")}
        | {"_NID_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        | environment,
    )  # fmt: skip
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("nid ", WORDS),
        ("nid co", ["cost", "coherence"]),
        ("nid train --dataset mn", ["mnist", "mnist-coherence"]),
        ("nid train --symmetry ", ["standard", "w", "sigma", "syre"]),
        ("nid lmc --align none,", ["none,activation", "none,weight", "none,learned"]),
        ("nid match --at post_linear,post_n", ["post_linear,post_norm"]),
        ("nid plot barrier --kind m", ["max", "mid"]),
        ("nid plot tr", ["training"]),
        ("nid lmc --columns group,model", ["group,model_a", "group,model_b"]),
        ("nid coherence synthetic --columns barrier", ["barrier_mid", "barrier_peak"]),
        ("nid plot lmc --overlay ", ["paper"]),
        ("nid plot cost --across ", ["layer"]),
        ("nid match --epochs ", ["last", "all"]),
    ],
)
def test_shells_are_offered_what_there_is_without_heavy_imports(
    words: str, expected: list[str], tmp_path: Path
) -> None:
    offered, imported = completed(words, tmp_path)
    assert offered == expected
    assert "sqlalchemy" not in imported and "torch" not in imported, imported


def test_names_of_layers_are_completed(lab: Path) -> None:
    assert completed("nid cost --layers linear.0,linear.", lab)[0] == [
        "linear.0,linear.1", "linear.0,linear.2", "linear.0,linear.3"
    ]  # fmt: skip


def test_a_mistyped_command_is_told_the_nearest_one(tmp_path: Path) -> None:
    for wrong, right in (("trian", "train"), ("coherance", "coherence")):
        done = execute(tmp_path, wrong, "--json")
        assert done.returncode == 2 and f"hint: did you mean {right}?" in done.stderr and wrong in done.stderr
    done = execute(tmp_path, "zzz")
    assert done.returncode == 2 and "choose from train, sweep, register" in done.stderr and "hint" not in done.stderr


def test_names_of_groups_are_completed(lab: Path) -> None:
    assert completed("nid lmc --group mlp-digits-s", lab)[0] == [
        "mlp-digits-sigma", "mlp-digits-standard", "mlp-digits-syre-k1"
    ]  # fmt: skip


def every_parameter(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """All parameters of all commands."""
    found = [(path, parameter) for parameter in command.params]
    for name, own in getattr(command, "commands", {}).items():
        found += every_parameter(own, (*path, name))
    return found


# What is chosen by name is completed in every command that has it.
CHOSEN = {"arch", "dataset", "symmetry", "norm", "activation", "optimizer", "device", "pairs", "align", "at"} | {
    "similarity", "method", "solver", "split", "group", "kind", "against",
    "columns", "layers", "overlay", "across", "epochs",
}  # fmt: skip


def test_every_completion_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no registry, none is offered; nothing raises."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    parameters = [found for name in COMMANDS for found in every_parameter(load(name), (name,))]
    context = typer.main.get_command(app).make_context("nid", [], resilient_parsing=True)
    called = set()
    words = [(path, p) for path, p in parameters if p.name in CHOSEN and p.type.name == "text"]  # else a number
    without = {(path, p.name) for path, p in words if p._custom_shell_complete is None}
    assert without == set()
    for path, parameter in parameters:
        if getattr(parameter, "_custom_shell_complete", None) is not None:
            parameter.shell_complete(context, "")
            called.add((path[0], parameter.name))
    assert {("train", name) for name in ("arch", "dataset", "symmetry", "norm", "activation", "optimizer")} <= called
    assert {("lmc", "align"), ("lmc", "group"), ("cost", "method"), ("cost", "solver"), ("group", "name")} <= called
