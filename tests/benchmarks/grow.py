"""A large registry, grown by copies of a small real one, and how long commands take on it.

    python tests/benchmarks/grow.py FOLDER [--groups 25000]

Trains four small models of each of two symmetry types on digits, measures their connectivity, and copies groups with
their runs, models, epochs, checkpoints and results until there are so many. Every copy has a name, a key, hashes and
result ids of its own; checkpoints are named but not there. Then it times pages
of ``nid ui``, and listings and readings, each a whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from nid_cli.specs import canonical_json

KAPPAS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# Everything of a group, by table, and the column that says whose it is.
PARTS = {
    "runs": "group_id",
    "models": "group_id",
    "epochs": "model_id",
    "checkpoints": "model_id",
    "results": "group_id",
}

Row = dict[str, Any]


def nid(folder: Path, *arguments: str) -> str:
    """Runs ``nid`` in ``folder``; returns what it prints."""
    command = [sys.executable, "-m", "nid_cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def seed(folder: Path, epochs: int) -> None:
    """A small real registry: two groups of four models, all pairs of each measured with and without alignment."""
    folder.mkdir(parents=True, exist_ok=True)
    train = f"train --width 4 --depth 2 --seeds 4 --epochs {epochs} --save-every 10".split()
    nid(folder, *train, "--symmetry", "w", "--num-fixed", "1")
    nid(folder, *train, "--symmetry", "standard")
    nid(folder, "lmc", "--points", "5")


class Copier:
    """Writes copies of groups under new ids, names, keys and hashes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        numbered = ("groups", *(table for table in PARTS if table != "epochs"))
        self.next_id = {
            table: connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] + 1 for table in numbered
        }

    def read(self, group: Row) -> dict[str, list[Row]]:
        """Everything of a group, by table."""
        found: dict[str, list[Row]] = {}
        for table, column in PARTS.items():
            ids = [group["id"]] if column == "group_id" else [model["id"] for model in found["models"]]
            marks = ",".join("?" * len(ids))
            rows = self.connection.execute(f"SELECT * FROM {table} WHERE {column} IN ({marks})", ids)
            found[table] = [dict(row) for row in rows]
        return found

    def numbered(self, table: str, rows: list[Row]) -> tuple[list[Row], dict[int, int]]:
        """The rows with ids of their own, and the new id of each old one."""
        ids = {row["id"]: self.next_id[table] + place for place, row in enumerate(rows)}
        self.next_id[table] += len(rows)
        return [row | {"id": ids[row["id"]]} for row in rows], ids

    def write(self, table: str, rows: list[Row]) -> None:
        """Inserts rows."""
        if rows:
            marks = ",".join(f":{name}" for name in rows[0])
            self.connection.executemany(f"INSERT INTO {table} ({','.join(rows[0])}) VALUES ({marks})", rows)

    def copy(self, group: Row, content: dict[str, list[Row]], number: int) -> None:
        """One copy of a group, the ``number``-th of the registry's groups; kappas take turns where it has one."""
        tag = f"{number:08x}"
        kappa = None if group["kappa"] == "null" else KAPPAS[number % len(KAPPAS)]
        settings = json.loads(group["settings"])
        if kappa is not None:
            settings["kappa"] = [kappa] * len(settings["kappa"])
        [new], _ = self.numbered("groups", [group])
        own = {"group_id": new["id"]}
        self.write(
            "groups",
            [
                new
                | {"key": tag + group["key"][8:], "name": f"{group['name']}-{number}", "kappa": json.dumps(kappa)}
                | {"settings": canonical_json(settings)}
            ],
        )
        runs, run_ids = self.numbered("runs", content["runs"])
        self.write("runs", [row | own | {"hash": tag + row["hash"][8:]} for row in runs])
        models, model_ids = self.numbered("models", content["models"])
        self.write("models", [row | own | {"run_id": run_ids[row["run_id"]]} for row in models])
        self.write("epochs", [row | {"model_id": model_ids[row["model_id"]]} for row in content["epochs"]])
        checkpoints, _ = self.numbered("checkpoints", content["checkpoints"])
        moved = [row | {"model_id": model_ids[row["model_id"]], "path": f"{row['path']}.{tag}"} for row in checkpoints]
        self.write("checkpoints", moved)
        results, _ = self.numbered("results", content["results"])
        self.write(
            "results",
            [
                row
                | own
                | {name: tag + row[name][8:] for name in ("key", "result_id")}
                | {side: row[side] and model_ids[row[side]] for side in ("model_a", "model_b")}
                for row in results
            ],
        )


def grow(database: Path, groups: int) -> None:
    """Copies the groups of a registry in turn until there are ``groups``."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = OFF")
        copier = Copier(connection)
        sources = [dict(row) for row in connection.execute("SELECT * FROM groups ORDER BY id")]
        contents = [copier.read(source) for source in sources]
        for number in range(len(sources), groups):
            which = number % len(sources)
            copier.copy(sources[which], contents[which], number)
        connection.commit()
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


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
        yield f"{timed(partial(nid, folder, *arguments)):6.2f} s  {name}"
    done = subprocess.run([sys.executable, "-c", READING], cwd=folder, check=True, capture_output=True, text=True)
    count, seconds = done.stdout.split()
    yield f"{float(seconds):6.2f} s  lab.results('lmc', columns={COLUMNS}): {count} records"


PAGES = {
    "first page": "/",
    "filtered": "/?symmetry=w&kappa=1",
    "searched": "/?search=standard-12",
    "sorted, page 400": "/?sort=kappa&page=400",
    "a group": "/group/mlp-digits-standard",
    "running": "/running",
    "two groups compared": "/compare?group=mlp-digits-standard&group=mlp-digits-standard-3",
    "a figure, gathered anew": "/draw/lmc.svg?group=mlp-digits-standard",
}


def browse(folder: Path) -> Iterator[str]:
    """One line a page of ``nid ui``: median seconds of an answer, and the first where it is a figure."""
    from starlette.testclient import TestClient

    from nid_cli.pipeline.context import Context
    from nid_cli.web.app import application
    from nid_cli.web.desk import Desk
    from nid_cli.web.guard import Rules

    database = folder / ".nid/registry.db"
    desk = Desk(context=Context(registry=database), place=database)
    with TestClient(application(desk, Rules()), base_url="http://localhost") as client:
        client.get("/draw/training.svg?group=mlp-digits-standard")  # what is imported for the first figure
        for name, path in PAGES.items():
            first = timed(partial(client.get, path), runs=1)
            processor = time.process_time()
            again = timed(partial(client.get, path))
            processor = (time.process_time() - processor) / 5
            yield f"{first:6.2f} s, then {again:.2f} s ({processor:.2f} s of the processor)  {name}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield f"{peak:.0f} MB at most; torch imported: {'torch' in sys.modules}"


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
    for line in chain(browse(given.folder), measure(given.folder)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
