"""The schema and its migrations, locations, locks and files."""

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from nid_cli import files
from nid_cli.errors import IntegrityError, NidError, NotFoundError, RegistryError
from nid_cli.registry import artifacts, backup, location, locks, schema
from nid_cli.registry.database import Registry, explain
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.registry.tables import SCHEMA_REVISION, VERSION_TABLE, metadata


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return open_for_writing(tmp_path / "registry.db", create=True)


def test_there_is_one_head_and_the_code_knows_it() -> None:
    assert ScriptDirectory.from_config(schema.alembic_config()).get_heads() == [SCHEMA_REVISION]


def test_the_migrated_schema_is_the_declared_one(registry: Registry) -> None:
    with registry.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_connections_are_as_promised(registry: Registry) -> None:
    with registry.read() as connection:
        pragma = {n: connection.exec_driver_sql(f"PRAGMA {n}").scalar() for n in ("journal_mode", "foreign_keys")}
        assert pragma == {"journal_mode": "wal", "foreign_keys": 1}
    assert backup.BUSY_TIMEOUT_S >= 10


def test_a_newer_registry_is_refused_and_left_alone(registry: Registry) -> None:
    with sqlite3.connect(registry.path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for opening in (open_for_reading, open_for_writing):
        with pytest.raises(RegistryError, match="newer nid"):
            opening(registry.path)


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    for opening in (open_for_reading, open_for_writing):
        with pytest.raises(RegistryError, match="not a nid registry"):
            opening(path)
    (tmp_path / "text.db").write_text("no database at all " * 100)
    with pytest.raises(RegistryError, match="not a readable nid registry"):
        open_for_reading(tmp_path / "text.db")


def test_reading_never_creates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    with pytest.raises(NotFoundError):
        open_for_reading(None)
    with pytest.raises(NotFoundError):
        open_for_writing(None)
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_registry_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    monkeypatch.chdir(tmp_path)
    made = open_for_writing(None, create=True)
    assert made.path == tmp_path / ".nid/registry.db"
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert open_for_reading(None).path == made.path
    monkeypatch.setenv("NID_REGISTRY", str(tmp_path / "elsewhere.db"))
    with pytest.raises(NotFoundError, match="elsewhere"):
        open_for_reading(None)


def test_writers_take_turns(registry: Registry) -> None:
    """Read-modify-write from many threads loses nothing: each writer holds the lock from its first statement."""
    with registry.write() as connection:
        connection.exec_driver_sql("CREATE TABLE counter (n INTEGER)")
        connection.exec_driver_sql("INSERT INTO counter VALUES (0)")

    def add() -> None:
        for _ in range(20):
            with registry.write() as connection:
                n = connection.exec_driver_sql("SELECT n FROM counter").scalar()
                connection.exec_driver_sql(f"UPDATE counter SET n = {n + 1}")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with registry.read() as connection:
        assert connection.exec_driver_sql("SELECT n FROM counter").scalar() == 80


def test_a_failed_transaction_leaves_nothing(registry: Registry) -> None:
    with pytest.raises(ZeroDivisionError), registry.write() as connection:
        connection.exec_driver_sql("CREATE TABLE half (n)")
        raise ZeroDivisionError
    with registry.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'half'").scalar() == 0


def test_network_file_systems_get_a_rollback_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "file_system", lambda path: "nfs4")
    made = open_for_writing(tmp_path / "registry.db", create=True)
    with made.read() as connection:
        assert made.on_network and connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"


def test_files_are_written_whole_and_verified(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file.bin"
    digest = files.write_atomic(path, b"content")
    assert artifacts.read_verified(path, digest) == b"content" and [p.name for p in path.parent.iterdir()] == [
        "file.bin"
    ]
    path.write_bytes(b"Content")
    with pytest.raises(IntegrityError):
        artifacts.read_verified(path, digest)
    path.unlink()
    with pytest.raises(IntegrityError):
        artifacts.read_verified(path, digest)
    with pytest.raises(NidError):
        files.write_atomic(tmp_path / "a/b", b"a folder is in the way")


def test_sealed_files_notice_damage(tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    assert files.read_sealed(path) is None
    files.write_sealed(path, b"content")
    assert files.read_sealed(path) == b"content"
    path.write_bytes(path.read_bytes()[:-1])
    assert files.read_sealed(path) is None


def test_a_lock_makes_the_second_wait_and_names_the_first(tmp_path: Path) -> None:
    told: list[str] = []
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with locks.hold(tmp_path / "lock", lambda holder: (told.append(holder), entered.set())):
            order.append("second")

    with locks.hold(tmp_path / "lock", told.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"] and "process" in told[0]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("database disk image is malformed", 5),
        ("malformed database schema (x)", 5),
        ("file is not a database", 4),
        ("database is locked", 4),
        ("database or disk is full", 1),
        ("disk I/O error", 1),
    ],
)
def test_what_sqlite_says_becomes_a_documented_code_and_a_hint(reason: str, code: int, tmp_path: Path) -> None:
    error = explain(reason, tmp_path / "registry.db")
    assert error.exit_code == code and error.hint and "registry.db" in error.message


def test_an_empty_file_becomes_a_registry_only_where_one_may_be_made(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.touch()
    with pytest.raises(RegistryError, match="not a nid registry"):
        open_for_writing(path)
    assert path.stat().st_size == 0
    assert open_for_writing(path, create=True).revision() == SCHEMA_REVISION
