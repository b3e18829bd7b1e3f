"""``nid db``, ``nid group rm|restore``, ``nid doctor``: damage is found, backups hold, nothing in use goes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from nid_cli.registry import invocations, locks, processes
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.registry.sqlite_faults import has_wal_reset_fault
from nid_cli.registry.tables import SCHEMA_REVISION
from tests.conftest import Terminal

CHECKPOINT = "runs/c936e0c35c598b42/model-0001/epoch-000001.safetensors"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def execute_sql(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_sound_registry_is_clean(terminal: Terminal) -> None:
    assert terminal("db", "check") == 0 and terminal.printed == "" and "16 files" in terminal.errors
    assert terminal.records("db", "check") == [] and terminal.records("db", "gc", "--dry-run") == []
    assert terminal("db", "path") == 0 and terminal.printed.strip() == str(terminal.database)


def test_every_damage_is_found_with_what_to_do(terminal: Terminal) -> None:
    folder = terminal.database.parent
    flip(folder / CHECKPOINT)
    (folder / CHECKPOINT).with_name("epoch-000002.safetensors").unlink()
    flip(next((folder / "results").iterdir()))
    (folder / "fixed/stray.safetensors").write_bytes(b"nobody knows me")
    (folder / CHECKPOINT).with_name("resume.bin").write_bytes(b"of a training that has ended")
    execute_sql(terminal.database, "UPDATE checkpoints SET path = '../../outside' WHERE id = 12")
    found = terminal.records("db", "check", code=5)
    problems = {f["problem"]: f for f in found}
    assert sorted(f["problem"] for f in found) == [
        "differs", "differs", "missing", "orphan", "orphan", "outside", "superseded",
    ]  # fmt: skip
    assert problems["missing"]["path"].endswith("epoch-000002.safetensors")
    assert problems["superseded"]["path"].endswith("resume.bin")
    assert all(f["advice"] for f in found) and "group rm --yes baseline" in problems["missing"]["advice"]
    assert terminal("lmc", "--group", "baseline", "--epochs", "1") == 5 and "SHA-256" in terminal.errors


def test_a_damaged_database_is_found_and_a_backup_brings_it_back(terminal: Terminal) -> None:
    assert terminal("db", "backup", "copy.db") == 0
    listed = terminal.records("group", "list")
    whole = terminal.database.read_bytes()
    for wrecked in (
        whole[:4096] + os.urandom(8192) + whole[12288:],
        whole[: len(whole) // 2],
        b"no database " * 1000,
    ):
        for log in terminal.database.parent.glob("registry.db-*"):
            log.unlink()
        terminal.database.write_bytes(wrecked)
        found = terminal.records("db", "check", code=5)
        assert {f["problem"] for f in found} == {"database"} and "db restore" in found[0]["advice"]
        assert terminal("group", "list") in (4, 5) and "db restore" in terminal.errors
        assert terminal("db", "backup", "useless.db") in (4, 5) and not (terminal.folder / "useless.db").exists()
        assert terminal("db", "restore", "copy.db") == 0, terminal.errors
        assert terminal.records("group", "list") == listed and terminal("db", "check") == 0
    execute_sql(terminal.database, "DELETE FROM runs WHERE id = 1")  # without PRAGMA foreign_keys
    assert "refers to" in terminal.records("db", "check", code=5)[0]["what"]


def test_a_backup_is_consistent_while_others_write_and_never_overwrites(terminal: Terminal) -> None:
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        registry = open_for_writing(terminal.database)
        n = 0
        while not stop.is_set():
            n += 1
            with registry.write() as connection:  # both or neither
                connection.exec_driver_sql(f"UPDATE groups SET note = '{n}'")
                connection.exec_driver_sql(f"UPDATE architectures SET name = '{n}'")
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        for _ in range(10):
            assert terminal("db", "backup", "copy.db", "--force") == 0, terminal.errors
            with closing(sqlite3.connect("copy.db")) as connection:
                notes = connection.execute("SELECT note FROM groups UNION SELECT name FROM architectures").fetchall()
                assert len(notes) == 1
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    finally:
        stop.set()
        writer.join()
    (terminal.folder / ".copy.db.1.tmp").write_bytes(b"of a backup that was killed")
    os.utime(terminal.folder / ".copy.db.1.tmp", (0, 0))
    assert terminal("db", "backup", "copy.db", "--force") == 0
    assert terminal("db", "backup", "copy.db") == 2 and terminal("db", "backup", "no/folder.db") == 2
    assert terminal("db", "backup", str(terminal.database), "--force") == 2
    os.mkfifo(terminal.folder / "pipe")
    assert terminal("db", "backup", "pipe", "--force") == 2
    assert not list(terminal.folder.glob(".*tmp*"))


def test_restoring_keeps_what_was_there_and_refuses_what_is_no_backup(terminal: Terminal) -> None:
    assert terminal("db", "backup", "copy.db") == 0
    assert terminal("group", "rename", "baseline", "changed") == 0
    [done] = terminal.records("db", "restore", "copy.db")
    assert "baseline" in [g["name"] for g in terminal.records("group", "list")]
    kept = [g["name"] for g in terminal.records("group", "list", "--registry", done["kept"])]
    assert "changed" in kept and "baseline" not in kept
    (terminal.folder / "text.db").write_text("text " * 1000)
    execute_sql(terminal.folder / "other.db", "CREATE TABLE mine (x)")
    for name, code in (("text.db", 5), ("other.db", 4), ("missing.db", 3), (str(terminal.database), 2)):
        assert terminal("db", "restore", name) == code, terminal.errors
    assert terminal("db", "restore", "copy.db", "--registry", "elsewhere/.nid/registry.db") == 0
    assert len(terminal.records("group", "list", "--registry", "elsewhere")) == 3


def test_a_removed_group_is_gone_until_it_is_restored(terminal: Terminal) -> None:
    shown = terminal.records("group", "show", "baseline")
    assert terminal("group", "rm", "baseline") == 2 and terminal("group", "rm", "baseline", "--yes") == 0
    assert "baseline" not in [g["name"] for g in terminal.records("group", "list")]
    for words in (("group", "show", "baseline"), ("group", "rename", "baseline", "x"), ("lmc", "--group", "baseline")):
        assert terminal(*words) == 3
        assert "nid group restore baseline" in terminal.errors
    assert terminal("group", "rename", "mlp-digits-standard", "baseline") == 0  # its name is free
    assert terminal.records("group", "restore", "baseline")[0]["name"] == "baseline-2"
    assert terminal("group", "restore", "baseline") == 3
    assert terminal("group", "rename", "baseline", "other") == 0
    assert terminal("group", "rename", "baseline-2", "baseline") == 0
    assert terminal.records("group", "show", "baseline") == shown
    assert terminal("group", "rm", "baseline", "--yes") == 0
    dry = terminal.records("db", "gc", "--dry-run")
    assert dry[0]["what"] == "baseline" and len(dry) == 1 + 6 + 1 + 1
    assert [r | {"removed": True} for r in dry] == terminal.records("db", "gc")
    assert terminal("group", "restore", "baseline") == 3 and terminal("db", "check") == 0
    assert len(list((terminal.database.parent / "runs").iterdir())) == 2


def test_training_or_registering_what_was_removed_brings_it_back(terminal: Terminal) -> None:
    words = ("train", "--width", "4", "--depth", "2", "--epochs", "2", "--save-every", "1", "--seeds", "2")
    assert terminal("group", "rm", "mlp-digits-standard", "--yes") == 0
    assert not any(r["trained_now"] for r in terminal.records(*words)) and "is restored" in terminal.errors
    assert terminal("db", "backup", "copy.db") == 0
    shutil.copytree(".nid", "theirs/.nid")
    assert terminal("group", "rm", "mlp-digits-standard", "--yes") == 0
    assert terminal("register", "theirs/.nid") == 0
    [found] = terminal.records("group", "list", "--group", "mlp-digits-standard")
    assert found["models"] == 2 and terminal("db", "check") == 0


def test_gc_waits_for_nobody_and_takes_nothing_in_use(terminal: Terminal) -> None:
    registry = open_for_reading(terminal.database)
    stray = registry.folder / "results/stray.safetensors"
    stray.write_bytes(b"written, and not recorded yet")
    with locks.hold(registry.file(locks.FILES), lambda holder: None, shared=True):
        for words in (("db", "gc"), ("db", "gc", "--dry-run"), ("db", "restore", "copy.db")):
            terminal("db", "backup", "copy.db", "--force")
            assert terminal(*words) == 4 and "another command" in terminal.errors
    assert stray.exists()
    assert [r["kind"] for r in terminal.records("db", "gc")] == ["orphan"] and not stray.exists()
    resume = registry.folder / "runs/b5482c98552dda7d/model-0001/resume.bin"
    assert resume.exists(), "an interrupted training keeps what it needs to go on"


def test_runs_whose_process_is_gone_are_recognized(terminal: Terminal) -> None:
    """By process identity on this machine, by heartbeat on others."""
    registry = open_for_writing(terminal.database)
    origin = invocations.describe("train", ("nid", "train"))
    here, pid = processes.place(), os.getpid()
    elsewhere = "elsewhere/boot/pid:[1] 4711 99"
    cases = {
        (processes.identity(), "2000-01-01T00:00:00.000+00:00"): True,  # alive, whatever its heartbeat
        (f"{here} {pid} 1", invocations.now()): False,  # the number was used again
        (f"{here} 4194304 1", invocations.now()): False,
        (elsewhere, invocations.now()): True,
        (elsewhere, "2000-01-01T00:00:00.000+00:00"): False,
        (None, "2000-01-01T00:00:00.000+00:00"): False,
    }
    ids = {}
    with registry.write() as connection:
        for process, sign in cases:
            made = invocations.begin(connection, origin | {"process": process})
            connection.exec_driver_sql(f"UPDATE invocations SET heartbeat_at = '{sign}' WHERE id = {made}")
            ids[made] = process, sign
        connection.exec_driver_sql(f"UPDATE models SET status = 'training', invocation_id = {made} WHERE id = 5")
    assert terminal("group", "list") == 0 and "1 interrupted" in terminal.printed
    with registry.read() as connection:
        alive = {ids[call.id] for call in invocations.running(connection)}
        assert connection.exec_driver_sql("SELECT status FROM models WHERE id = 5").scalar() == "interrupted"
    assert alive == {case for case, expected in cases.items() if expected}
    assert terminal("db", "gc") == 4  # the other machine may be writing


def test_what_another_machine_trains_is_not_removed(terminal: Terminal) -> None:
    origin = invocations.describe("train", ("nid", "train")) | {"process": "elsewhere/boot/pid:[1] 4711 99"}
    with open_for_writing(terminal.database).write() as connection:
        made = invocations.begin(connection, origin)
        connection.exec_driver_sql(f"UPDATE models SET status = 'training', invocation_id = {made} WHERE id = 5")
    assert terminal("group", "rm", "mlp-digits-syre-k1", "--yes") == 2 and "is being trained" in terminal.errors
    assert terminal.records("group", "show", "mlp-digits-syre-k1")[0]["status"] == {"training": 1}


def test_the_doctor_tells_versions_locations_and_troubles(terminal: Terminal) -> None:
    registry = open_for_writing(terminal.database)
    with registry.write() as connection:
        origin = invocations.describe("lmc", ("nid", "lmc"))
        invocations.begin(connection, origin | {"process": f"{processes.place()} 4194304 1"})
    seen = {o["what"]: o for o in terminal.records("doctor")}
    assert seen.keys() >= {
        "nid",
        "torch",
        "sqlite",
        "device",
        "threads",
        "data",
        "registry",
        "free space",
        "write test",
    }
    assert seen["registry"]["value"] == str(terminal.database) and seen["schema"]["value"] == SCHEMA_REVISION
    assert "nid lmc" in seen["stale runs"]["value"] and seen["write test"]["status"] == "ok"
    assert {o["what"]: o for o in terminal.records("doctor")}["stale runs"]["value"] == "none"
    assert seen["sqlite"]["status"] == ("warning" if has_wal_reset_fault() else "ok")
    assert not list(terminal.database.parent.glob(".*"))
    terminal.database.write_bytes(b"wrecked" * 1000)
    assert {o["what"]: o["status"] for o in terminal.records("doctor", code=1)}["registry"] == "problem"
    assert "free space" in terminal.printed and "write test" in terminal.printed


@pytest.mark.parametrize(
    ("version", "faulty"),
    [
        *(((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True)),
        *(((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False)),
    ],
)
def test_versions_of_sqlite_with_known_faults(version: tuple[int, ...], faulty: bool) -> None:
    assert has_wal_reset_fault(version) is faulty


def test_every_document_names_its_schema(terminal: Terminal) -> None:
    for words in (("db", "check"), ("db", "path"), ("db", "gc", "--dry-run"), ("db", "upgrade"), ("doctor",)):
        assert terminal(*words, "--json") == 0
        assert json.loads(terminal.printed)["schema"].startswith("nid.")
