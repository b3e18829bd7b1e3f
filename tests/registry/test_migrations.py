"""Upgrades of populated registries: nothing is lost, and a kill on the way leaves the old one as it was.

``frozen/REVISION.tar.gz`` is a small ``.nid`` folder of each schema, made by the program of that time: trained groups
(one training cut off by a kill), results with and without files, a figure, a note.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from nid_cli.registry import backup, opening, schema
from nid_cli.registry.database import Registry
from nid_cli.registry.tables import SCHEMA_REVISION, metadata
from nid_cli.specs import SPLITS, RunSpec, stable_hash
from tests.conftest import execute, records

FROZEN = Path(__file__).parent / "frozen"
MIDPOINTS = {f"{split}_accuracy_mid" for split in SPLITS}
REVISIONS = sorted(path.name.removesuffix(".tar.gz") for path in FROZEN.iterdir())


@pytest.fixture(params=REVISIONS)
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the registry of an older schema."""
    with tarfile.open(FROZEN / f"{request.param}.tar.gz") as tar:
        tar.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def rows(path: Path) -> dict[str, list[dict]]:
    """All rows by table, as the file has them; the state of runs and of figures' files is not compared."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
            for table in metadata.tables
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        }


def test_every_older_revision_has_a_frozen_registry() -> None:
    assert set(REVISIONS) == set(schema.revisions()) - {SCHEMA_REVISION}


def test_an_upgrade_loses_nothing(frozen: Path) -> None:
    path = frozen / ".nid/registry.db"
    before = rows(path)
    refused = execute(frozen, "group", "list")
    assert refused.returncode == 4 and "nid db upgrade" in refused.stderr and rows(path) == before
    revision = Registry(path).revision()
    [done] = records(execute(frozen, "db", "upgrade", "--json"))
    assert (done["from"], done["to"]) == (revision, SCHEMA_REVISION) and revision in REVISIONS
    after = rows(path)
    for table, old in before.items():
        assert len(after[table]) == len(old)
        for was, now in zip(old, after[table], strict=True):
            # The training that was cut off is recognized as interrupted; everything else stands as it was.
            changed = {"status", "ended_at"} | ({"record"} if table == "results" else set())
            assert {k: v for k, v in now.items() if k in was and k not in changed} == {
                k: v for k, v in was.items() if k not in changed
            }
    for was, now in zip(before["results"], after["results"], strict=True):
        old, new = json.loads(was["record"]), json.loads(now["record"])
        assert {k: v for k, v in new.items() if k in old} == old
        assert (new.keys() - old.keys()) == (MIDPOINTS if was["kind"] == "lmc" and revision < "0003" else set())
    if revision < "0004":
        assert {m["worker"] for m in after["models"]} == {i["sweep_id"] for i in after["invocations"]} == {None}
    assert after["result_models"] == []
    assert [m["status"] for m in after["models"]] == [
        {"training": "interrupted"}.get(m["status"], m["status"]) for m in before["models"]
    ]
    assert rows(path.with_name(f"registry.db.before-{SCHEMA_REVISION}")) == before
    assert execute(frozen, "db", "check").returncode == 0
    names = [r["name"] for r in records(execute(frozen, "group", "list", "--json"))]
    assert names == [g["name"] for g in before["groups"] if not g.get("deleted_at")]
    cached = execute(frozen, "lmc", "--points", "3", "--group", "baseline", "--json")
    assert len(records(cached)) == 2


def test_a_kill_in_the_middle_of_an_upgrade_leaves_the_old_version(frozen: Path) -> None:
    path = frozen / ".nid/registry.db"
    before, revision = hashlib.sha256(path.read_bytes()).hexdigest(), Registry(path).revision()
    code = (
        "import os, signal, sys; from pathlib import Path; from nid_cli.registry import opening, schema\n"
        "upgrade = schema.upgrade\n"
        "def die(connection): upgrade(connection); os.kill(os.getpid(), signal.SIGKILL)\n"
        "schema.upgrade = die; opening.open_for_writing(Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=frozen, timeout=60)
    assert killed.returncode == -9
    assert backup.problems(path) == [] and hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert Registry(path).revision() == revision
    upgraded = opening.open_for_writing(path)
    assert upgraded.revision() == SCHEMA_REVISION and not list(path.parent.glob(".*.tmp*"))


def test_a_colleagues_older_registry_is_taken_over_and_left_alone(frozen: Path, tmp_path: Path) -> None:
    path = frozen / ".nid/registry.db"
    before = path.read_bytes()
    ours = tmp_path / "ours"
    ours.mkdir()
    done = records(execute(ours, "register", str(frozen / ".nid"), "--json"))
    assert {o["status"] for o in done} == {"imported"} and len(done) == 3
    assert path.read_bytes() == before and execute(ours, "db", "check").returncode == 0


def test_hashes_and_keys_of_older_registries_are_those_of_today(frozen: Path) -> None:
    """A specification outlives new fields: no run or group that is there is orphaned by one."""
    found = rows(frozen / ".nid/registry.db")
    for run in found["runs"]:
        assert RunSpec.from_dict(json.loads(run["specification"])).hash == run["hash"]
    for group in found["groups"]:
        spec = RunSpec.from_dict(json.loads(group["settings"]) | {"seed": None})
        assert stable_hash({"settings": spec.shared(), "fixed": group["fixed_hash"]}) == group["key"]
        assert json.loads(group["settings"]) == spec.shared()


def is_by_weights(row: dict, revision: str | None) -> bool:
    """Its first start has been another since: it is computed anew, and not taken for today's."""
    return str(revision) < "0003" and row["kind"] == "lmc" and json.loads(row["record"])["align"] == "weight"


ASKED = {
    "lmc": (("--points", "3"), ("--points", "4", "--align", "weight")),
    "match": ((),),
    "similarity": (("--group", "baseline"),),
    "cost": (("--models", "1", "--layers", "0"),),
}


def test_results_of_older_registries_are_found_by_todays_keys(frozen: Path) -> None:
    path = frozen / ".nid/registry.db"
    old, revision = rows(path)["results"], Registry(path).revision()
    before = {row["result_id"]: row["kind"] for row in old if not is_by_weights(row, revision)}
    anew = {row["result_id"] for row in old if is_by_weights(row, revision)}
    found = {}
    for analysis, calls in ASKED.items():
        for call in calls:
            done = records(execute(frozen, analysis, *call, "--json"))
            found |= {r["result_id"]: r for r in done}
    assert before.keys() <= found.keys() and not anew & found.keys()
    assert all(
        found[i]["train_accuracy_mid"] == found[i]["train_accuracy"][1]
        for i, kind in before.items()
        if kind == "lmc" and len(found[i]["lambdas"]) == 3
    )
