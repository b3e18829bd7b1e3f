"""Groups between registries: names, results and files arrive; nothing is overwritten; nothing is taken on trust."""

from __future__ import annotations

import hashlib
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


def sweeps_in(folder: Path) -> list[tuple[object, ...]]:
    """Each sweep with its times and groups, and each command of a sweep."""
    with sqlite3.connect(folder / ".nid/registry.db") as connection:
        linked = connection.execute(
            "SELECT s.name, s.text, s.hash, s.created_at, s.last_run_at, g.key FROM sweeps s "
            "LEFT JOIN sweep_groups ON sweep_id = s.id LEFT JOIN groups g ON g.id = group_id ORDER BY s.name, g.key"
        ).fetchall()
        calls = connection.execute(
            "SELECT argv, started_at, s.hash FROM invocations JOIN sweeps s ON s.id = sweep_id ORDER BY started_at"
        ).fetchall()
    return linked + calls


def as_sweep(folder: Path, text: str, moment: str, *names: str) -> None:
    """Makes a sweep of groups, as if all their models had been trained by it."""
    with sqlite3.connect(folder / ".nid/registry.db") as connection:
        values = ("s", text, hashlib.sha256(text.encode()).hexdigest(), "2020", moment)
        insert = "INSERT INTO sweeps (name, text, hash, created_at, last_run_at) VALUES (?, ?, ?, ?, ?)"
        sweep = connection.execute(insert, values).lastrowid
        for name in names:
            [group] = connection.execute("SELECT id FROM groups WHERE name = ?", (name,)).fetchone()
            connection.execute("INSERT INTO sweep_groups VALUES (?, ?)", (sweep, group))
            connection.execute(
                "UPDATE invocations SET sweep_id = ? WHERE id IN (SELECT invocation_id FROM models WHERE group_id = ?)",
                (sweep, group),
            )


def test_sweeps_arrive_with_their_groups_and_commands_once(theirs: Path, tmp_path: Path) -> None:
    as_sweep(theirs, "a", "2021", W, "mlp-digits-standard")
    as_sweep(theirs, "b", "2022", "mlp-digits-sigma")
    ours = tmp_path / "ours"
    ours.mkdir()
    assert {o["status"] for o in records(execute(ours, "register", "../theirs", "--json"))} == {"imported"}
    arrived = sweeps_in(ours)
    assert arrived == sweeps_in(theirs) and len(arrived) == 6
    assert {o["status"] for o in records(execute(ours, "register", "../theirs", "--json"))} == {"known"}
    assert sweeps_in(ours) == arrived
    listed = records(execute(ours, "group", "list", "--sweep", "s", "--json"))
    assert [group["name"] for group in listed] == ["mlp-digits-sigma"]


def test_parts_of_a_sweep_become_one(theirs: Path, tmp_path: Path) -> None:
    """Registries that each trained a share of the same sweep."""
    shards = []
    for place, name in enumerate((W, "mlp-digits-standard")):
        shards.append(tmp_path / f"shard{place}")
        shutil.copytree(theirs / ".nid", shards[-1] / ".nid")
        as_sweep(shards[-1], "a", f"202{place}", name)
    ours = tmp_path / "ours"
    ours.mkdir()
    for shard in reversed(shards):
        assert execute(ours, "register", str(shard)).returncode == 0
    listed = records(execute(ours, "group", "list", "--sweep", "s", "--json"))
    assert {group["name"] for group in listed} == {W, "mlp-digits-standard"}
    with sqlite3.connect(ours / ".nid/registry.db") as connection:
        assert connection.execute("SELECT name, last_run_at FROM sweeps").fetchall() == [("s", "2021")]


def test_a_sweep_that_is_not_what_was_recorded_is_refused(theirs: Path, tmp_path: Path) -> None:
    as_sweep(theirs, "a", "2021", W)
    with sqlite3.connect(theirs / ".nid/registry.db") as connection:
        connection.execute("UPDATE sweeps SET text = 'another'")
    ours = tmp_path / "ours"
    ours.mkdir()
    done = execute(ours, "register", "../theirs")
    assert done.returncode == 5 and "the sweep s " in done.stderr
