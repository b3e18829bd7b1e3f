"""Shared fixtures: small specifications, the real command line, and the shared material where it is present."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from nid_cli.recipes import resolve
from nid_cli.specs import RunSpec

# Two workers of tests on two cores: more threads than that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What commands keep for the user is kept for the tests alone.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="nid-tests-")

SHARED = Path(os.environ.get("NID_SHARED", Path(__file__).resolve().parents[2] / "shared"))

# A loaded machine is no failure.
hypothesis.settings.register_profile("nid", deadline=None)
hypothesis.settings.load_profile("nid")

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with fixtures and the real MNIST."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared fixtures are not at {SHARED}")
    return SHARED


def small_spec(**options: Any) -> RunSpec:
    """A small digits MLP: 64-12-12-10, one epoch."""
    return resolve({"width": 12, "depth": 3, "epochs": 1, **options})[0]


def execute(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs ``nid`` as a user would, in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "nid_cli", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("NID_")} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def nid(tmp_path: Path) -> Run:
    """The command line in an empty folder; ``ok`` asserts success and returns stdout."""
    return lambda *arguments, **environment: execute(tmp_path, *arguments, **environment)


def in_process(folder: Path, patch: pytest.MonkeyPatch) -> Run:
    """The command line in this process, in ``folder``; models are trained here too, so that no import is waited for."""
    from nid_cli.cli.app import run
    from nid_cli.pipeline.engines import ENGINES

    patch.chdir(folder)
    patch.delenv("NID_REGISTRY", raising=False)
    patch.setitem(ENGINES, "local", ENGINES["here"])

    def call(*arguments: str) -> subprocess.CompletedProcess:
        printed, said = io.StringIO(), io.StringIO()
        patch.setattr(sys, "argv", ["nid", *arguments])  # what the lineage says
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            code = run(list(arguments))
        return subprocess.CompletedProcess(arguments, code, printed.getvalue(), said.getvalue())

    return call


class Terminal:
    """The command line in this process, in a folder that has a registry: cheap enough to be called often."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture) -> None:
        self.folder, self.capsys = folder, capsys
        self.database = folder / ".nid/registry.db"
        self.errors = ""

    def __call__(self, *arguments: str) -> int:
        """Runs one command; returns its exit code."""
        from nid_cli.cli.app import run

        self.capsys.readouterr()
        code = run(list(arguments))
        self.printed, self.errors = self.capsys.readouterr()
        return code

    def records(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """The records of a command that must end with ``code``."""
        assert self(*arguments, "--json") == code, self.errors
        return json.loads(self.printed)["records"]


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """The frozen registry of the first schema, upgraded: groups baseline (w), mlp-digits-standard and, cut off by a
    kill, mlp-digits-syre-k1; results of three analyses."""
    from nid_cli.registry.opening import open_for_writing

    with tarfile.open(Path(__file__).parent / "registry/frozen/0001.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    terminal = Terminal(tmp_path, capsys)
    open_for_writing(terminal.database)
    return terminal


def records(done: subprocess.CompletedProcess) -> list[dict[str, Any]]:
    """The records of a ``--json`` call that must have worked."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["records"]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry: two small models of each symmetry type on digits. Read it, do not write to it."""
    folder = tmp_path_factory.mktemp("lab")
    small = ("--width", "24", "--epochs", "4", "--save-every", "2", "--seeds", "3")
    with pytest.MonkeyPatch.context() as patch:
        run = in_process(folder, patch)
        for symmetry in ("standard", "w", "sigma", "syre"):
            assert run("train", "--symmetry", symmetry, *small).returncode == 0
    return folder
