"""Records that share some values, together: what tables and figures are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from nid_cli.records.base import Row

R = TypeVar("R", bound=Row)


def cells(records: Iterable[R], *keys: str) -> dict[tuple[Any, ...], list[R]]:
    """Records by the values of ``keys``, in the order of their first."""
    found: dict[tuple[Any, ...], list[R]] = {}
    for record in records:
        found.setdefault(tuple(record.get(key) for key in keys), []).append(record)
    return found
