"""Versions of SQLite that are known to damage databases like ours."""

from __future__ import annotations

import sqlite3

Version = tuple[int, ...]

# The WAL-reset race (https://sqlite.org/wal.html#walresetbug): two processes that write or checkpoint at the same
# moment can, very rarely, lose or damage committed pages. In 3.7.0 to 3.51.2; mended in 3.51.3 and on two branches.
WAL_RESET_MENDED: Version = (3, 51, 3)
WAL_RESET_BRANCHES: dict[Version, Version] = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}


def has_wal_reset_fault(version: Version = sqlite3.sqlite_version_info) -> bool:
    """Whether this version of SQLite has the WAL-reset race."""
    return version < WAL_RESET_BRANCHES.get(version[:2], WAL_RESET_MENDED)
