"""What is said of registries, installations and imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nid_cli.records.base import Record, column


@dataclass(frozen=True)
class Registered(Record):
    """What became of one source of ``nid register``."""

    schema = "nid.register/1"

    source: str = column("The directory, folder or archive")
    status: str = column("imported, known (nothing new) or skipped")
    group: str | None = column("The group that its models joined", default=None)
    models: Sequence[int] = column("Their numbers there", default=())
    epochs: Sequence[int] = column("Their epochs", default=())
    new_checkpoints: int = column("How many checkpoints were new", default=0)
    reason: str | None = column("Why it was skipped", default=None)


@dataclass(frozen=True)
class Finding(Record):
    """One thing that is wrong with a registry (``nid db check``)."""

    schema = "nid.db.check/1"

    problem: str = column("database, missing, differs, outside, superseded or orphan")
    path: str = column("The file", title="file")
    what: str = column("What is wrong")
    advice: str = column("What to do", title="what to do")


@dataclass(frozen=True)
class Tidied(Record):
    """One thing that ``nid db gc`` removed, or would."""

    schema = "nid.db.gc/1"

    kind: str = column("group, superseded, trunk, leftover or orphan")
    what: str = column("The group, or the file")
    bytes: int = column("Size of the file", "bytes")
    removed: bool = column("Whether it is gone")


@dataclass(frozen=True)
class Observation(Record):
    """One thing that ``nid doctor`` looked at."""

    schema = "nid.doctor/1"

    what: str = column("What was looked at")
    value: str = column("What was seen")
    status: str = column("ok, warning, or problem: something will not work", default="ok")
    advice: str = column("What to do", default="")


@dataclass(frozen=True)
class RegistryPath(Record):
    """Where the registry is (``nid db path``)."""

    schema = "nid.db.path/1"

    path: str = column("The database")


@dataclass(frozen=True, kw_only=True)
class BackedUp(Record):
    """A backup (``nid db backup``)."""

    schema = "nid.db/1"

    path: str = column("The backup")
    groups: int = column("How many groups it holds")
    bytes: int = column("Its size", "bytes")
    sha256: str = column("Its SHA-256")


@dataclass(frozen=True, kw_only=True)
class Restored(Record):
    """A registry that was put back from a backup (``nid db restore``)."""

    schema = "nid.db/1"

    path: str = column("The database")
    backup: str = column("The backup", name="from")
    groups: int = column("How many groups it holds")
    kept: str | None = column("What was there before is kept here")


@dataclass(frozen=True, kw_only=True)
class Upgraded(Record):
    """A registry that has this program's schema now (``nid db upgrade``)."""

    schema = "nid.db/1"

    path: str = column("The database")
    before: str | None = column("Its schema before", name="from")
    to: str = column("Its schema now")
    kept: str | None = column("The old database is kept here")
