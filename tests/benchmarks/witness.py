"""What the kill and crowd harnesses see of a registry, without nid's own code: committed rows, and files by hash."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

# What identifies a row for good: a command that goes on may add rows, and never takes one back.
IDENTITIES = {
    "groups": "key, name",
    "runs": "hash",
    "models": "id, run_id, member, number",
    "checkpoints": "model_id, epoch, path, sha256",
    "epochs": "model_id, epoch",
    "results": "key",
    "invocations": "id, argv, pid",
}

Rows = set[tuple]


def rows(database: Path) -> Rows:
    """The rows that are committed at this moment; none where there is no registry yet."""
    if not database.exists():
        return set()
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
        connection.execute("BEGIN")
        return {
            (table, *row)
            for table, columns in IDENTITIES.items()
            for row in connection.execute(f"SELECT {columns} FROM {table}")
        }


def hashed_files(database: Path) -> int:
    """How many files the rows name; each is there and has its SHA-256."""
    queries = (
        "SELECT path, sha256 FROM checkpoints",
        "SELECT DISTINCT fixed_path, fixed_sha256 FROM groups WHERE fixed_path IS NOT NULL",
        "SELECT artifact_path, artifact_sha256 FROM results WHERE artifact_path IS NOT NULL",
    )
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
        named = [row for query in queries for row in connection.execute(query)]
    for path, sha256 in named:
        found = hashlib.sha256((database.parent / path).read_bytes()).hexdigest()
        assert found == sha256, f"{path} is not what its row says"
    return len(named)


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of each weights file below ``folder``, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }
