"""Disks that are full, read-only, elsewhere or oddly named: a sentence, a documented code, nothing half-written."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from nid_cli import files
from nid_cli.errors import NidError
from nid_cli.registry.opening import open_for_writing
from tests.benchmarks.witness import hashed_files, rows
from tests.conftest import Terminal

TRAIN = (
    "train",
    "--width",
    "4",
    "--depth",
    "2",
    "--epochs",
    "2",
    "--save-every",
    "1",
    "--seeds",
    "1",
    "--workers",
    "1",
)


def limited(folder: Path, size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose files may not grow beyond ``size`` bytes: what a full disk does, for this process alone."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: an error, not a signal
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    command = [sys.executable, "-m", "nid_cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, preexec_fn=limit)


def one_sentence(errors: str) -> bool:
    lines = [line for line in errors.splitlines() if line]
    return bool(lines) and "Traceback" not in errors and any(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize("size", [0, 30_000])
def test_a_full_disk_makes_no_half_registry(tmp_path: Path, size: int) -> None:
    _reference(tmp_path)
    done = limited(tmp_path, size, "register", "run")
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and "run" not in p.parts and p.suffix != ".lock"]
    assert limited(tmp_path, 10**7, "register", "run").returncode == 0


def test_a_full_disk_stops_a_training_which_goes_on(terminal: Terminal) -> None:
    before = rows(terminal.database)
    done = limited(terminal.folder, 35_000, *TRAIN, "--width", "48", "--seed", "9")
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert before <= rows(terminal.database) and hashed_files(terminal.database) >= 16
    assert terminal("db", "check") == 0, terminal.printed
    assert terminal(*TRAIN, "--width", "48", "--seed", "9") == 0 and terminal("db", "check") == 0


def _reference(folder: Path) -> Path:
    from tests.benchmarks.kills import reference_run

    reference_run(folder / "run", 2)
    return folder / "run"


def test_a_full_disk_stops_a_backup_and_a_note(terminal: Terminal) -> None:
    before = rows(terminal.database)
    for words in (("db", "backup", "copy.db"), ("group", "note", "baseline", "x" * 9000)):
        done = limited(terminal.folder, 4096, *words)
        assert done.returncode in (1, 4) and one_sentence(done.stderr), done.stderr
    assert not (terminal.folder / "copy.db").exists() and rows(terminal.database) == before
    assert terminal("db", "check") == 0


@pytest.fixture
def read_only(terminal: Terminal) -> Iterator[Path]:
    """The frozen registry where nobody may write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        shutil.copytree(terminal.folder, folder)
        everything = [Path(name), folder, *folder.rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in everything:
            path.chmod(stat.S_IRWXU)


def _give_up_privileges() -> None:
    """Root may write everywhere; without these two capabilities it is held to permissions as everybody is."""
    if os.geteuid() == 0:
        drop, dac_override, dac_read_search = 24, 1, 2
        for capability in (dac_override, dac_read_search):
            if ctypes.CDLL(None, use_errno=True).prctl(drop, capability, 0, 0, 0):
                os._exit(99)


def as_reader(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of a user who may not write there."""
    command = [sys.executable, "-m", "nid_cli", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, preexec_fn=_give_up_privileges
    )
    if done.returncode == 99:
        pytest.skip("root cannot give up its privileges here")
    return done


def test_reading_needs_no_permission_to_write(read_only: Path) -> None:
    for words in (("group", "list"), ("group", "show", "baseline"), ("db", "check"), ("db", "path")):
        done = as_reader(read_only, *words)
        assert done.returncode == 0, done.stderr
    cached = as_reader(read_only, "lmc", "--group", "baseline", "--points", "3", "--json")
    assert cached.returncode == 0, cached.stderr
    with tempfile.TemporaryDirectory() as name:
        drawn = as_reader(read_only, "plot", "training", "--group", "baseline", "--out", f"{name}/a.svg")
        assert drawn.returncode == 0 and "may only be read" in drawn.stderr, drawn.stderr
        assert Path(f"{name}/a.svg").exists()
    for words in (("group", "note", "baseline", "x"), ("group", "rm", "baseline", "--yes"), ("db", "gc")):
        done = as_reader(read_only, *words)
        assert done.returncode in (1, 4) and one_sentence(done.stderr), (words, done.stderr)
    doctor = as_reader(read_only, "doctor")
    assert doctor.returncode == 1 and "write test" in doctor.stderr
    with tempfile.TemporaryDirectory() as name:
        assert as_reader(read_only, "db", "backup", f"{name}/copy.db").returncode == 0


def test_a_folder_that_cannot_be_written_gets_no_registry(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        done = as_reader(Path(name), *TRAIN)
        assert done.returncode == 1 and one_sentence(done.stderr) and "Permission denied" in done.stderr
        assert os.listdir(name) == []


def test_why_a_file_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a read-only mount, even removing what is not there fails."""

    def refuse(*given: object, **options: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(NidError, match=r"cannot write .*out\.json: Read-only file system"):
        files.write_atomic(tmp_path / "out.json", b"{}")


def test_odd_paths_and_moved_folders(terminal: Terminal) -> None:
    odd = terminal.folder / "Größe 100% #1?  дом 中文 'quoted'"
    odd.mkdir()
    (terminal.folder / ".nid").rename(odd / ".nid")
    database = odd / ".nid/registry.db"
    assert len(terminal.records("group", "list", "--registry", str(database))) == 3
    assert terminal("db", "check", "--registry", str(odd)) == 0
    assert terminal("db", "backup", str(odd / "ко пия.db"), "--registry", str(odd)) == 0
    assert terminal("group", "rm", "baseline", "--yes", "--registry", str(odd)) == 0
    assert terminal("db", "restore", str(odd / "ко пия.db"), "--registry", str(odd)) == 0
    assert terminal.records("match", "--group", "baseline", "--registry", str(odd)) and hashed_files(database) == 16
    assert terminal(*TRAIN, "--seed", "5", "--registry", str(odd)) == 0
    assert terminal("db", "path") == 3 and sorted(p.name for p in terminal.folder.iterdir()) == [odd.name]


def test_files_are_made_with_the_users_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        registry = open_for_writing(tmp_path / ".nid/registry.db", create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(registry.path.stat().st_mode) == 0o640
    assert stat.S_IMODE(registry.folder.stat().st_mode) == 0o750
