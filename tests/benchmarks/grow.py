"""A large registry, grown by copies of a small real one, and how long commands take on it.

    python tests/benchmarks/grow.py FOLDER [--groups 25000]

Trains four small models of each of two symmetry types on digits, measures their connectivity, and copies groups with
their runs, models, epochs, checkpoints and results until there are so many. Every copy has a name, a key, hashes and
result ids of its own; checkpoints are named but not there. Then it times listings and readings, each a whole process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

RESULTS_A_GROUP = 12
KAPPAS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def nid(folder: Path, *arguments: str) -> str:
    """Runs ``nid`` in ``folder``; returns what it prints."""
    command = [sys.executable, "-m", "nid_cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def seed(folder: Path, epochs: int) -> None:
    """A small real registry: two groups of four models with all their pairs measured twice."""
    folder.mkdir(parents=True, exist_ok=True)
    for symmetry in ("w", "standard"):
        small = (
            ("--width", "4", "--depth", "2", "--num-fixed", "1")
            if symmetry == "w"
            else ("--width", "4", "--depth", "2")
        )
        nid(
            folder,
            "train",
            "--symmetry",
            symmetry,
            *small,
            "--epochs",
            str(epochs),
            "--save-every",
            "10",
            "--seeds",
            "4",
        )
    nid(folder, "lmc", "--points", "5")


def _rows(connection: sqlite3.Connection, table: str, column: str, values: list[int]) -> list[dict]:
    marks = ",".join("?" * len(values))
    found = connection.execute(f"SELECT * FROM {table} WHERE {column} IN ({marks})", values)
    return [dict(row) for row in found]


def grow(database: Path, groups: int) -> None:
    """Copies the groups of a registry in turn until there are ``groups``."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = OFF")
        sources = [dict(row) for row in connection.execute("SELECT * FROM groups ORDER BY id")]
        contents = []
        for source in sources:
            models = _rows(connection, "models", "group_id", [source["id"]])
            ids = [model["id"] for model in models]
            contents.append(
                {
                    "runs": _rows(connection, "runs", "group_id", [source["id"]]),
                    "models": models,
                    "epochs": _rows(connection, "epochs", "model_id", ids),
                    "checkpoints": _rows(connection, "checkpoints", "model_id", ids),
                    "results": _rows(connection, "results", "group_id", [source["id"]]),
                }
            )
        next_id = {
            table: connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] + 1
            for table in ("groups", "runs", "models", "checkpoints", "results")
        }
        for copy in range(len(sources), groups):
            index = copy % len(sources)
            _copy(connection, sources[index], contents[index], copy, next_id)
        connection.commit()
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(connection: sqlite3.Connection, group: dict, content: dict, copy: int, next_id: dict[str, int]) -> None:
    tag = f"{copy:08x}"

    def put(table: str, rows: list[dict]) -> None:
        if rows:
            marks = ",".join(f":{name}" for name in rows[0])
            connection.executemany(f"INSERT INTO {table} ({','.join(rows[0])}) VALUES ({marks})", rows)

    def numbered(table: str, rows: list[dict]) -> tuple[list[dict], dict[int, int]]:
        first = next_id[table]
        next_id[table] += len(rows)
        fresh = [row | {"id": first + i} for i, row in enumerate(rows)]
        return fresh, {row["id"]: first + i for i, row in enumerate(rows)}

    kappa = KAPPAS[copy % len(KAPPAS)] if group["kappa"] != "null" else None
    settings = json.loads(group["settings"])
    if kappa is not None:
        settings["kappa"] = [kappa] * len(settings["kappa"])
    (new,), moved = numbered("groups", [group])
    new |= {
        "key": tag + group["key"][8:],
        "name": f"{group['name']}-{copy}",
        "kappa": json.dumps(kappa),
        "settings": json.dumps(settings, sort_keys=True, separators=(",", ":")),
    }
    put("groups", [new])
    runs, run_ids = numbered("runs", content["runs"])
    put("runs", [row | {"hash": tag + row["hash"][8:], "group_id": new["id"]} for row in runs])
    models, model_ids = numbered("models", content["models"])
    put("models", [row | {"group_id": new["id"], "run_id": run_ids[row["run_id"]]} for row in models])
    put("epochs", [row | {"model_id": model_ids[row["model_id"]]} for row in content["epochs"]])
    checkpoints, _ = numbered("checkpoints", content["checkpoints"])
    put(
        "checkpoints",
        [row | {"model_id": model_ids[row["model_id"]], "path": f"{row['path']}.{tag}"} for row in checkpoints],
    )
    results, _ = numbered("results", content["results"])
    put(
        "results",
        [
            row
            | {"key": tag + row["key"][8:], "result_id": tag + row["result_id"][8:], "group_id": new["id"]}
            | {side: row[side] and model_ids[row[side]] for side in ("model_a", "model_b")}
            for row in results
        ],
    )
    assert moved


LISTINGS: dict[str, tuple[str, ...]] = {
    "nid group list": ("group", "list"),
    "nid group list --json": ("group", "list", "--json"),
    "nid group list --symmetry w --kappa 1": ("group", "list", "--symmetry", "w", "--kappa", "1"),
    "nid group show": ("group", "show", "mlp-digits-standard"),
    "nid lmc of one group": ("lmc", "--group", "mlp-digits-standard", "--points", "5"),
}
COLUMNS = ["group", "epoch", "train_error_barrier", "distance"]
READING = f"""
import time
import pandas
from nid_cli import open_registry
lab = open_registry()
began = time.perf_counter()
print(len(lab.results("lmc", columns={COLUMNS})), time.perf_counter() - began)
"""


def timed(what: Callable[[], object], runs: int = 5) -> float:
    """The median seconds of a call."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measure(folder: Path) -> Iterator[str]:
    """One line a command: median seconds of whole processes, beside Python with SQLAlchemy alone."""
    bare = timed(lambda: subprocess.run([sys.executable, "-c", "import sqlalchemy"], check=True))
    yield f"{bare:6.2f} s  python -c 'import sqlalchemy'"
    for name, arguments in LISTINGS.items():
        yield f"{timed(lambda arguments=arguments: nid(folder, *arguments)):6.2f} s  {name}"  # type: ignore[misc]
    done = subprocess.run([sys.executable, "-c", READING], cwd=folder, check=True, capture_output=True, text=True)
    count, seconds = done.stdout.split()
    yield f"{float(seconds):6.2f} s  lab.results('lmc', columns={COLUMNS}): {count} records"


def main() -> None:
    """Grows and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", type=int, default=25_000)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    database = given.folder / ".nid/registry.db"
    if not database.exists():
        shutil.rmtree(given.folder, ignore_errors=True)
        seed(given.folder, given.epochs)
        grow(database, given.groups)
    print(f"{database.stat().st_size / 1e9:.2f} GB")
    for line in measure(given.folder):
        print(line, flush=True)


if __name__ == "__main__":
    main()
