"""Networks in archives and registries of strangers: a description that must not run is refused before it does."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nid_cli.specs import canonical_json
from tests.conftest import Terminal
from tests.own import module_of, save_states, write_code

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry that has one network that was taken in."""
    from nid_cli.cli.app import run

    folder = tmp_path_factory.mktemp("stranger")
    paths = save_states(folder, module_of(write_code(folder)), "Conv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("NID_REGISTRY", raising=False)
        assert run(["register", *(p.name for p in paths), "--model", "nets.py:Conv", "--dataset", "digits"]) == 0
    return folder


@pytest.fixture
def there(strangers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    folder = shutil.copytree(strangers, tmp_path / "stranger")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    return Terminal(folder, capsys)


def tamper(database: Path, change: Change, consistent: bool = True) -> None:
    """Changes the description in a registry; ``consistent``: the hashes, too, as one who means harm would."""
    with closing(sqlite3.connect(database)) as connection:
        [(text, settings)] = connection.execute(
            "SELECT specification, settings FROM architectures JOIN groups ON groups.architecture_id = architectures.id"
        )
        data = json.loads(text)
        change(data)
        text = canonical_json(data)
        connection.execute("UPDATE architectures SET specification = ?", (text,))
        if consistent:
            digest = hashlib.sha256(text.encode()).hexdigest()
            connection.execute("UPDATE architectures SET hash = ?", (digest,))
            settings = canonical_json(json.loads(settings) | {"graph": digest})
            connection.execute("UPDATE groups SET settings = ?", (settings,))
        connection.commit()


def call_of(data: dict[str, Any], function: str) -> dict[str, Any]:
    """The first call of a function."""
    return next(call for call in data["calls"] if call["function"].startswith(function))


def renamed(data: dict[str, Any]) -> None:
    """A stored tensor whose name leads out of a folder."""
    text = json.dumps(data).replace('"stem.weight"', '"../../stem.weight"')
    data.clear()
    data.update(json.loads(text))


def larger(data: dict[str, Any]) -> None:
    """A convolution padded to terabytes, which says that it is small."""
    convolution = call_of(data, "conv2d")
    convolution["args"][4:5] = [[1_000_000, 1_000_000]]


def looping(data: dict[str, Any]) -> None:
    """A call that reads its own value."""
    relu = call_of(data, "relu")
    text = json.dumps(relu["args"]).replace(relu_source(relu), relu["name"])
    relu["args"] = json.loads(text)


def relu_source(relu: dict[str, Any]) -> str:
    """What a call reads."""
    return json.dumps(relu["args"]).split('"')[-2]


STRANGE: dict[str, Change] = {
    "an operation outside the list": lambda data: call_of(data, "relu").update(function="system.default"),
    "a function of Python's": lambda data: call_of(data, "relu").update(function="__import__"),
    "terabytes": larger,
    "a loop": looping,
    "a path": renamed,
    "another version": lambda data: data.update(version=99),
    "entries of its own": lambda data: data.update(code="print(1)"),
    "a space that is a path": lambda data: data.update(pinned=["../x"]),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_an_archive_with_a_strange_network_is_refused(there: Terminal, kind: str, tmp_path: Path) -> None:
    tamper(there.database, STRANGE[kind])
    with tarfile.open("strange.tar", "w") as tar:
        tar.add(there.folder / ".nid", ".nid")
    mine = str(tmp_path / "mine/.nid/registry.db")
    assert there("train", "--width", "4", "--depth", "2", "--epochs", "0", "--seeds", "1", "--registry", mine) == 0
    before = there.records("group", "list", "--registry", mine)
    assert there("register", "strange.tar", "--registry", mine) == 5, there.errors
    assert there.errors.count("error: ") == 1 and "Traceback" not in there.errors
    assert there.records("group", "list", "--registry", mine) == before
    assert not list((tmp_path / "mine").rglob("*epoch-000001*"))


@pytest.mark.parametrize("kind", STRANGE)
def test_in_a_registry_it_is_refused_before_it_runs(
    there: Terminal, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper(there.database, STRANGE[kind])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr("nid_cli.analysis.lmc.record", never)
    for command in (("lmc", "--points", "2"), ("symmetries", "Conv-digits-standard")):
        assert there(*command) == 5, there.errors
        assert "it ran" not in there.errors


def test_another_description_than_the_recorded_one_is_refused(there: Terminal) -> None:
    tamper(there.database, lambda data: data.update(pinned=["conv1"]), consistent=False)
    assert there("lmc", "--points", "2") == 5
    assert "SHA-256 differs" in there.errors


def test_a_content_that_is_a_path_is_refused(there: Terminal) -> None:
    with closing(sqlite3.connect(there.database)) as connection:
        [(settings,)] = connection.execute("SELECT settings FROM groups")
        settings = canonical_json(json.loads(settings) | {"content": "../../etc/passwd"})
        connection.execute("UPDATE groups SET settings = ?", (settings,))
        connection.commit()
    assert there("lmc", "--points", "2") == 5
    assert "no SHA-256" in there.errors


def test_a_constant_of_another_shape_is_refused(there: Terminal) -> None:
    from safetensors.torch import load_file, save_file

    path = next((there.folder / ".nid/runs").rglob("*.safetensors"))
    tensors = load_file(path)
    save_file({**tensors, "scale": tensors["scale"].repeat(8)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with closing(sqlite3.connect(there.database)) as connection:
        connection.execute(
            "UPDATE checkpoints SET sha256 = ? WHERE path LIKE ?", (digest, f"%{path.parent.parent.name}%")
        )
        connection.commit()
    assert there("lmc", "--points", "2") == 5
    assert "does not hold the network" in there.errors
