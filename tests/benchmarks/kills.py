"""Kills whole commands, process group and all, at times drawn uniformly over their undisturbed duration.

    python tests/benchmarks/kills.py [--kills 25] [--only train,register] [--seed 0] [--full]

After each kill: ``nid db check`` is clean, the rows that were committed before are there, every recorded file has its
hash; then the same command finishes, and what it leaves equals what an undisturbed one leaves (a training: byte by
byte). Prints where the kills landed. Anything lost raises AssertionError. The test suite runs a short version.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.witness import hashed_files, rows, tree

REGISTRY = ".nid/registry.db"


@dataclass(frozen=True)
class Case:
    """A command to kill: what stands before it, its words, and what its success leaves (compared for equality)."""

    name: str
    prepare: Callable[[Path], None]
    arguments: tuple[str, ...]
    outcome: Callable[[Path], Any]


@dataclass
class Figures:
    """What was counted."""

    kills: int = 0
    rows: int = 0
    files: int = 0
    phases: Counter[str] = field(default_factory=Counter)


def nid(folder: Path, *arguments: str) -> str:
    """One call of the command line that must succeed, in this process (the killed ones are processes of their own)."""
    from nid_cli.cli.app import run

    out, said = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run(list(arguments))
    assert code == 0, f"nid {' '.join(arguments)} ended with {code}: {out.getvalue()} {said.getvalue()}"
    return out.getvalue()


def reference_run(folder: Path, models: int) -> None:
    """A run directory of the reference code with two checkpoints a model."""
    import torch

    folder.mkdir()
    shapes = {"lins.0.weight": (4, 784), "lins.0.bias": (4,), "lins.1.weight": (10, 4), "lins.1.bias": (10,)}
    for model in range(1, models + 1):
        for epoch in (0, 1):
            torch.manual_seed(1000 * epoch + model)
            state = {name: torch.randn(shape) for name, shape in shapes.items()}
            torch.save({"model_state_dict": state}, folder / f"checkpoint_epoch_{epoch}_model_{model}.pt")
    network = {"name": "mlp_mnist", "input_dim": 784, "hidden_dim": 4, "output_dim": 10, "num_layers": 2, "norm": None}
    config = {
        "dataset": {"name": "mnist", "batch_size": 64, "val_split": 0.1},
        "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.01},
        "training": {"num_epochs": 1, "save_every": 1},
        "num_models": models,
        "seed": 1,
        "model": {**network, "activation": "gelu", "symmetry": 0},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML


def _trained(folder: Path) -> None:
    words = ("--width", "8", "--depth", "2", "--epochs", "1", "--seeds")
    nid(folder, "train", "--symmetry", "w", "--num-fixed", "2", *words, "6")


def _weights(folder: Path) -> Any:
    left = list(folder.rglob("resume.bin"))
    assert not left, f"{left} should be gone"
    return tree(folder / ".nid")


def _records(folder: Path) -> Any:
    with closing(sqlite3.connect(folder / REGISTRY)) as connection:
        return sorted(connection.execute("SELECT key, record FROM results"))


def _backup(folder: Path) -> Any:
    with closing(sqlite3.connect(folder / "copy.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return rows(folder / "copy.db")


def cases(small: bool) -> list[Case]:
    """The four commands; ``small`` ones take little more than their start."""
    epochs, checkpoints = ("60", 60) if small else ("1000", 200)
    train = ("train", "--symmetry", "w", "--num-fixed", "2", "--width", "8", "--depth", "2", "--workers", "2")
    points = "9" if small else "201"
    return [
        Case("train", lambda folder: None, (*train, "--epochs", epochs, "--save-every", "20"), _weights),
        Case("register", lambda f: reference_run(f / "run", checkpoints // 2), ("register", "run"), _weights),
        Case("lmc", _trained, ("lmc", "--points", points), _records),
        Case("backup", _trained, ("db", "backup", "copy.db", "--force"), _backup),
    ]


def start(case: Case, folder: Path) -> subprocess.Popen[bytes]:
    """The command as a process group of its own."""
    command = [sys.executable, "-m", "nid_cli", *case.arguments]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=quiet, stderr=quiet)


def _phase(folder: Path, ended: bool, before: set[tuple], now: set[tuple]) -> str:
    if ended:
        return "after its end"
    if any(folder.glob(".copy.db.*")):
        return "while copying"
    if (folder / "copy.db").exists():
        return "with the copy in its place"
    if not (folder / REGISTRY).exists():
        return "before there was a registry"
    new = Counter(row[0] for row in now - before)
    if not new:
        return "before its first row"
    work = new["checkpoints"] + new["results"]
    return "between rows" if work else "after its first row"


def kill_once(case: Case, template: Path, expected: Any, seconds: float, figures: Figures) -> None:
    """One kill ``seconds`` after the start, and everything that must hold afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "lab"
        shutil.copytree(template, folder)
        before = rows(folder / REGISTRY)
        process = start(case, folder)
        time.sleep(seconds)
        committed = rows(folder / REGISTRY)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        figures.kills += 1
        figures.phases[_phase(folder, ended, before, committed)] += 1
        if (folder / REGISTRY).exists():
            nid(folder, "db", "check")
        assert committed <= rows(folder / REGISTRY), "committed rows are gone"
        figures.files += hashed_files(folder / REGISTRY)
        nid(folder, *case.arguments)
        after = rows(folder / REGISTRY)
        assert committed <= after, "committed rows are gone"
        found = case.outcome(folder)
        assert found >= before if isinstance(found, set) else found == expected, "not what an undisturbed one leaves"
        figures.rows += len(after)
        figures.files += hashed_files(folder / REGISTRY)
        nid(folder, "db", "check")


def run(kills: int, *, small: bool, seed: int = 0, only: tuple[str, ...] = ()) -> dict[str, Figures]:
    """Kills each command ``kills`` times; returns what was counted, by command."""
    draw, counted = random.Random(seed), {}
    for case in cases(small):
        if only and case.name not in only:
            continue
        figures = counted[case.name] = Figures()
        with tempfile.TemporaryDirectory() as scratch:
            template, whole = Path(scratch) / "template", Path(scratch) / "whole"
            template.mkdir()
            case.prepare(template)
            shutil.copytree(template, whole)
            began = time.perf_counter()
            start(case, whole).wait()
            duration = time.perf_counter() - began
            expected = case.outcome(whole)
            for _ in range(kills):
                kill_once(case, template, expected, draw.uniform(0, duration), figures)
    return counted


def main() -> None:
    """The long version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="the commands of the test suite")
    given = parser.parse_args()
    for name in given.only.split(",") if given.only else [case.name for case in cases(given.small)]:
        began = time.perf_counter()
        [(_, figures)] = run(given.kills, small=given.small, seed=given.seed, only=(name,)).items()
        phases = ", ".join(f"{count} {phase}" for phase, count in figures.phases.most_common())
        print(
            f"{name}: {figures.kills} kills survived ({phases}); {figures.rows} rows and {figures.files} files checked"
            f" in {time.perf_counter() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
