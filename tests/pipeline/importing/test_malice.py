"""Registries, archives, files and names made to do harm: refused with a sentence, or shown harmlessly; nothing runs.

(Pickles with a payload and YAML with tags are among the damages in test_register.py.)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import struct
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Terminal

CHECKPOINT = "runs/c936e0c35c598b42/model-0001/epoch-000002.safetensors"


def change(database: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement, values)
        connection.commit()


def with_header(header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


ABSURD = {
    "a header of four exabytes": struct.pack("<Q", 2**62) + b"{}",
    "a header that is not JSON": struct.pack("<Q", 4) + b"abcd",
    "more elements than there are": with_header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 16]}}),
    "an overflowing shape": with_header({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]}}),
    "overlapping tensors": with_header(
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("a", "b")}
    )
    + bytes(4),
    "deep nesting": with_header(b"[" * 100_000),
    "nothing": b"",
    "a pickle": b"cos\nsystem\n(S'touch pwned'\ntR.",
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_weights_are_refused(terminal: Terminal, kind: str) -> None:
    """Even where the registry vouches for them."""
    (terminal.database.parent / CHECKPOINT).write_bytes(ABSURD[kind])
    digest = hashlib.sha256(ABSURD[kind]).hexdigest()
    change(terminal.database, "UPDATE checkpoints SET sha256 = ? WHERE path = ?", digest, CHECKPOINT)
    assert terminal("lmc", "--group", "baseline", "--points", "5") == 5, terminal.errors
    assert terminal.errors.startswith("error: ") and not Path("pwned").exists()


EVIL = [
    "x'); DROP TABLE groups; --",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "<script>alert(1)</script>",
    "\x1b]0;owned\x07\x1b[2J",
    "../../outside",
    "/etc/passwd",
    "-rf",
    "a\nb",
    "a\u202eb",
    "",
    "x" * 101,
]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_is_a_name(terminal: Terminal, name: str) -> None:
    with closing(sqlite3.connect(terminal.database)) as connection:
        before = list(connection.iterdump())
        for words in (("group", "rename", "baseline", "--", name), ("train", f"--name={name}", "--epochs", "1")):
            assert terminal(*words) == 2 and "\x1b" not in terminal.errors
        assert terminal("group", "show", "--", name) == 3 and "\x1b" not in terminal.errors
        assert list(connection.iterdump()) == before
    # In somebody else's registry it may stand all the same.
    theirs = Path("theirs/.nid")
    shutil.copytree(".nid", theirs)
    change(theirs / "registry.db", "UPDATE groups SET name = ?, note = ? WHERE id = 1", name, name)
    assert terminal("group", "list", "--registry", "theirs") == 0
    assert not any(c in terminal.printed for c in "\x1b\x07\u202e") and len(terminal.printed.splitlines()) == 4
    assert terminal("register", "theirs/.nid") == 5 and "\x1b" not in terminal.errors
    assert not Path("pwned").exists() and "baseline" in [g["name"] for g in terminal.records("group", "list")]


@pytest.mark.parametrize("text", EVIL)
def test_a_note_is_text(terminal: Terminal, text: str) -> None:
    assert terminal("group", "note", "baseline", "--", text) == 0 and "\x1b" not in terminal.errors
    assert terminal.records("group", "show", "baseline")[0]["note"] == text
    assert terminal("group", "show", "baseline") == 0 and "\x1b" not in terminal.printed


def _link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "link to a folder", "device", "absolute", "above"])
def test_an_archive_stays_in_its_place(terminal: Terminal, kind: str) -> None:
    outside = terminal.folder / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    payload = tarfile.TarInfo(".nid/way/planted" if kind == "link to a folder" else ".nid/planted")
    if kind in ("absolute", "above"):
        payload = tarfile.TarInfo(str(outside / "planted") if kind == "absolute" else "../../../outside/planted")
    payload.size = 3
    links = {
        "symbolic link": _link(".nid/registry.db", str(outside / "secret"), tarfile.SYMTYPE),
        "hard link": _link(".nid/registry.db", str(outside / "secret"), tarfile.LNKTYPE),
        "link to a folder": _link(".nid/way", str(outside), tarfile.SYMTYPE),
        "device": _link(".nid/registry.db", "", tarfile.CHRTYPE),
    }
    with tarfile.open("bad.tar", "w") as tar:
        if kind in links:
            tar.addfile(links[kind])
        tar.addfile(payload, io.BytesIO(b"bad"))
    assert terminal("register", "bad.tar") in (1, 3) and terminal.errors.startswith("error: ")
    assert [p.name for p in outside.iterdir()] == ["secret"] and (outside / "secret").read_text() == "secret"
    assert len(terminal.records("group", "list")) == 3


def test_a_packed_archive_is_not_unfolded(terminal: Terminal) -> None:
    """A few bytes could become a full disk."""
    assert terminal("group", "export", "baseline", "plain.tar") == 0
    Path("packed.tar").write_bytes(gzip.compress(Path("plain.tar").read_bytes()))
    assert terminal("register", "packed.tar") == 1 and "cannot be unpacked" in terminal.errors
    assert terminal("register", "plain.tar") == 0


def test_nothing_is_read_or_written_through_a_link_out_of_the_folder(terminal: Terminal) -> None:
    outside = terminal.folder / "outside"
    outside.mkdir()
    checkpoint = terminal.database.parent / CHECKPOINT
    shutil.move(checkpoint, outside / "weights")
    checkpoint.symlink_to(outside / "weights")
    assert terminal("lmc", "--group", "baseline", "--points", "5") == 5 and "outside" in terminal.errors
    assert {f["problem"] for f in terminal.records("db", "check", code=5)} == {"outside"}
    checkpoint.unlink()
    shutil.move(terminal.database.parent / "runs", outside / "runs")
    os.symlink(outside / "runs", terminal.database.parent / "runs")
    before = sorted(outside.rglob("*"))
    assert terminal("train", "--width", "4", "--depth", "2", "--epochs", "1", "--seed", "8", "--seeds", "1") == 5
    assert terminal("db", "gc") == 5 and sorted(outside.rglob("*")) == before
