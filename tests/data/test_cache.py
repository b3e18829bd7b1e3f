"""Data sets kept as bytes: the same tensors, read anew where anything changed, and no library for what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nid_cli.data import cache
from nid_cli.data.cache import Tensors, cached
from nid_cli.data.load import load


class Reader:
    """A source of tensors that counts how often it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reads = folder, 0

    def __call__(self) -> Tensors:
        self.reads += 1
        return {path.name: torch.tensor(list(path.read_bytes())) for path in sorted(self.folder.iterdir())}


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "a").write_bytes(b"abc")
    (folder / "b").write_bytes(b"de")
    return Reader(folder)


def read(reader: Reader, name: str = "letters", place: str = "place") -> Tensors:
    return cached(name, reader.folder, reader.folder.parent / place, reader)


def equal(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_kept_is_what_was_read(reader: Reader) -> None:
    first, second = read(reader), read(reader)
    assert equal(first, second) and reader.reads == 1


@pytest.mark.parametrize("change", ["size", "time", "new", "gone", "folder"])
def test_a_change_of_any_source_is_noticed(change: str, reader: Reader) -> None:
    read(reader)
    file = reader.folder / "a"
    if change == "size":
        file.write_bytes(b"abcd")
    elif change == "time":
        file.write_bytes(b"xyz")
        os.utime(file, ns=(1, 1))
    elif change == "new":
        (reader.folder / "c").write_bytes(b"f")
    elif change == "gone":
        file.unlink()
    else:
        (reader.folder / "below").mkdir()
        reader = type(reader)(reader.folder)
        reader.__call__ = dict  # type: ignore[method-assign]
        found = cached("letters", reader.folder, reader.folder.parent / "place", lambda: {"new": torch.ones(1)})
        assert list(found) == ["new"]
        return
    assert equal(read(reader), reader()) and reader.reads == 3
    assert len(list((reader.folder.parent / "place").iterdir())) == 1  # the older one is removed


def test_damaged_bytes_are_noticed_and_read_anew(reader: Reader) -> None:
    first = read(reader)
    [file] = (reader.folder.parent / "place").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert equal(read(reader), first) and reader.reads == 2
    file.write_bytes(b"")
    assert equal(read(reader), first) and reader.reads == 3
    assert equal(read(reader), first) and reader.reads == 3


def test_names_and_folders_are_kept_apart(reader: Reader, tmp_path: Path) -> None:
    read(reader)
    read(reader, "others")
    other = Reader(tmp_path / "elsewhere")
    other.folder.mkdir()
    (other.folder / "a").write_bytes(b"ABC")
    os.utime(other.folder / "a", ns=(os.stat(reader.folder / "a").st_mtime_ns,) * 2)
    (other.folder / "b").write_bytes(b"DE")
    os.utime(other.folder / "b", ns=(os.stat(reader.folder / "b").st_mtime_ns,) * 2)
    assert read(other)["a"].tolist() == list(b"ABC") and other.reads == 1
    assert read(reader)["a"].tolist() == list(b"abc") and reader.reads == 2


def test_a_place_that_cannot_be_written_goes_without(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert equal(read(reader, place="file"), read(reader, place="file")) and reader.reads == 2


def test_nothing_is_kept_of_what_is_not_there(reader: Reader, tmp_path: Path) -> None:
    found = cached("letters", tmp_path / "nowhere", tmp_path / "place", reader)
    assert equal(found, reader()) and not (tmp_path / "place").exists()


WARM = """
import sys
from pathlib import Path
from nid_cli.data.load import load
print(load("mnist", {}, Path(sys.argv[1])).fingerprint(), "torchvision" in sys.modules)
"""


def test_mnist_is_there_again_without_torchvision(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", WARM, str(shared / "data")],
            capture_output=True, text=True, check=True, env=environment,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert [imported for _, imported in said] == ["True", "False"] and said[0][0] == said[1][0]
    monkeypatch.setattr(cache, "users_cache", lambda: tmp_path / "none")
    monkeypatch.setattr("nid_cli.data.images.users_cache", lambda: tmp_path / "none")
    assert load("mnist", {}, shared / "data").fingerprint() == said[0][0]
