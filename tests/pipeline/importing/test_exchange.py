"""Groups between registries: names, results and files arrive; nothing is overwritten; nothing is taken on trust."""

from __future__ import annotations

import io
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from tests.conftest import execute, records

W = "mlp-digits-w-k1"


@pytest.fixture
def theirs(lab: Path, tmp_path: Path) -> Path:
    """A colleague's folder, with results."""
    folder = tmp_path / "theirs"
    shutil.copytree(lab / ".nid", folder / ".nid")
    assert execute(folder, "lmc", "--group", W).returncode == 0
    assert execute(folder, "group", "note", W, "from a colleague").returncode == 0
    return folder


def test_all_groups_arrive_with_results_names_and_lineage(theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    done = records(execute(ours, "register", "../theirs/.nid", "--json"))
    assert [o["group"] for o in done] == [r["name"] for r in records(execute(theirs, "group", "list", "--json"))]
    assert records(execute(ours, "group", "show", W, "--json")) == records(
        execute(theirs, "group", "show", W, "--json")
    )
    assert records(execute(ours, "lmc", "--group", W, "--json")) == records(
        execute(theirs, "lmc", "--group", W, "--json")
    )
    again = records(execute(ours, "register", "../theirs", "--json"))
    assert {o["status"] for o in again} == {"known"} and [o["models"] for o in again] == [o["models"] for o in done]
    assert execute(ours, "lmc", "--symmetry", "syre").returncode == 0


def test_a_taken_name_gets_a_suffix_and_equal_groups_join(theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    small = ("--width", "24", "--epochs", "4", "--save-every", "2")
    assert execute(ours, "train", "--symmetry", "w", *small, "--seeds", "1", "--seed", "5").returncode == 0
    assert execute(ours, "train", *small, "--seeds", "1", "--seed", "5").returncode == 0
    done = {o["group"]: o for o in records(execute(ours, "register", "../theirs/.nid", "--json"))}
    assert set(done) == {"mlp-digits-standard", "mlp-digits-w-k1-2", "mlp-digits-sigma", "mlp-digits-syre-k1"}
    assert done["mlp-digits-standard"]["models"] == [2, 3, 4]
    assert execute(ours, "lmc", "--group", "mlp-digits-standard", "--align", "none").returncode == 0


def test_the_same_run_with_other_bytes_is_kept_apart(theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    shutil.copytree(theirs / ".nid", ours / ".nid")
    with sqlite3.connect(ours / ".nid/registry.db") as connection:
        path, old = connection.execute("SELECT path, sha256 FROM checkpoints WHERE epoch = 4").fetchone()
        content = bytearray((ours / ".nid" / path).read_bytes())
        content[-1] ^= 1
        (ours / ".nid" / path).write_bytes(content)
        import hashlib

        connection.execute(
            "UPDATE checkpoints SET sha256 = ? WHERE path = ?", (hashlib.sha256(content).hexdigest(), path)
        )
    done = records(execute(ours, "register", "../theirs/.nid", "--json"))
    changed = [o for o in done if o["status"] == "imported"]
    assert len(changed) == 1 and changed[0]["models"] == [4, 5, 6]
    assert execute(ours, "lmc", "--group", changed[0]["group"], "--pairs", "1-4").returncode == 0
    assert hashlib.sha256((theirs / ".nid" / path).read_bytes()).hexdigest() == old


def test_one_group_as_an_archive(theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    [wrote] = records(execute(theirs, "group", "export", W, "w.tar", "--json"))
    assert wrote["models"] == [1, 2, 3]
    [done] = records(execute(ours, "register", "../theirs/w.tar", "--name", "mine", "--json"))
    assert done["group"] == "mine"
    found = records(execute(ours, "lmc", "--json"))
    assert len(found) == 6 and {r["group"] for r in found} == {"mine"}
    (tmp_path / "unpacked").mkdir()
    with tarfile.open(theirs / "w.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert records(execute(tmp_path / "unpacked", "group", "list", "--json"))[0]["note"] == "from a colleague"
    assert execute(theirs, "group", "export", "nobody", "x.tar").returncode == 3
    assert execute(theirs, "group", "export", W, "x.zip").returncode == 2


def test_damaged_and_malicious_sources_are_refused(theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    target = sorted((theirs / ".nid/fixed").glob("*"))[0]
    content = target.read_bytes()
    target.write_bytes(content[:-1] + b"x")
    assert execute(ours, "register", "../theirs/.nid").returncode == 5
    target.write_bytes(content)
    with sqlite3.connect(theirs / ".nid/registry.db") as connection:
        connection.execute("UPDATE checkpoints SET path = '../../outside' WHERE id = 1")
    done = execute(ours, "register", "../theirs/.nid")
    assert done.returncode == 5 and "outside its folder" in done.stderr
    for name in ("../escape", "/absolute/escape"):
        with tarfile.open(tmp_path / "bad.tar", "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"bad"))
        done = execute(ours, "register", "../bad.tar")
        assert done.returncode in (1, 3) and "Traceback" not in done.stderr and not (tmp_path / "escape").exists()
    assert execute(theirs, "register", ".nid").returncode == 2


def test_taking_over_never_touches_our_own_results(theirs: Path, tmp_path: Path) -> None:
    """Both have the same cost result, with bytes that differ (as between machines)."""
    arguments = ("cost", "--group", W, "--models", "1", "--layers", "0")
    ours = tmp_path / "ours"
    shutil.copytree(theirs / ".nid", ours / ".nid")
    before = set((ours / ".nid/results").iterdir())  # permutations of lmc
    for folder in (theirs, ours):
        assert execute(folder, *arguments).returncode == 0
    [file] = set((ours / ".nid/results").iterdir()) - before
    content = file.read_bytes()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    import hashlib

    file.write_bytes(changed)
    with sqlite3.connect(ours / ".nid/registry.db") as connection:
        connection.execute(
            "UPDATE results SET artifact_sha256 = ? WHERE kind = 'cost'", (hashlib.sha256(changed).hexdigest(),)
        )
        target = file.with_name(file.name[:17] + hashlib.sha256(changed).hexdigest()[:16] + ".safetensors")
        file.rename(target)
        connection.execute("UPDATE results SET artifact_path = ? WHERE kind = 'cost'", (f"results/{target.name}",))
    assert execute(ours, "register", "../theirs/.nid").returncode == 0
    assert execute(ours, *arguments, "--json").returncode == 0 and target.read_bytes() == changed
