"""Groups, as ``nid group`` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nid_cli.records.base import GROUP, Column, Record, column

NAME = Column("name", "str", "The group's name.")


@dataclass(frozen=True, kw_only=True)
class GroupSummary(Record):
    """One group of ``nid group list``."""

    schema = "nid.group/1"
    about = (NAME, *GROUP[1:])

    models: int = column("How many models it has")
    complete: int = column("How many of them are trained to their end, or imported")
    status: dict[str, int] = column("How many models are in each state: complete, training, interrupted or failed")
    epochs: list[int] = column("The epochs of which all complete models have checkpoints")
    fixed_hash: str | None = column("SHA-256 of the fixed tensors; None where nothing is fixed")
    note: str = column("The user's note")
    created_at: str = column("When it was made, ISO 8601 in UTC", title="created")


@dataclass(frozen=True, kw_only=True)
class GroupDetails(GroupSummary):
    """One group in full, as ``nid group show`` gives it."""

    settings: dict[str, Any] = column("The specification that its members share", kind="dict")
    data_fingerprint: str | None = column("SHA-256 of the data that its numbers are measured on; None where none are")
    results: int = column("How many results it has")
    members: list[dict[str, Any]] = column(
        "Its models: status, seeds, source, last metrics, checkpoints, lineage", kind="list[dict]"
    )


@dataclass(frozen=True, kw_only=True)
class GroupChange(Record):
    """What became of a group that was renamed, restored or exported, or got a note; only what applies is there."""

    schema = "nid.group/1"
    about = (NAME,)

    renamed_from: str = column("Its name before")
    restored_from: str = column("The name that was asked for")
    removed: bool = column("Whether it was removed")
    note: str = column("Its new note")
    models: list[int] = column("The models in the archive")
    path: str = column("The archive")
    sha256: str = column("SHA-256 of the archive")
    bytes: int = column("Size of the archive", "bytes")
