"""``nid db check``: what is wrong with a registry and its files, and what to do about it. No torch."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from dataclasses import dataclass

from nid_cli import files
from nid_cli.errors import IntegrityError, NidError, RegistryError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.lineage import writing_files
from nid_cli.records.housekeeping import Finding
from nid_cli.registry import backup, inventory
from nid_cli.registry.database import Registry, explain
from nid_cli.registry.inventory import Found, Recorded
from nid_cli.registry.location import find
from nid_cli.registry.opening import open_for_reading

RESTORE = "nid db restore FILE brings a backup back"


@dataclass(frozen=True)
class Checked:
    """The outcome of a check, and how much it looked at."""

    findings: list[Finding]
    files: int
    bytes: int
    leftovers: int


def check(context: Context) -> Checked:
    """Holds the database and every recorded file against what they should be.

    Raises:
        NotFoundError: there is no registry. RegistryError: it is locked, or of another version.
    """
    path = find(context.registry)
    context.progress("database", 0, 1, "")
    try:
        wrong = backup.problems(path)
    except sqlite3.OperationalError as error:
        raise explain(str(error), path) from None
    findings = [Finding("database", str(path), problem, RESTORE) for problem in wrong]
    context.progress("database", 1, 1, "")
    try:
        registry = open_for_reading(context.registry)
        return _check_files(context, registry, findings)
    except (RegistryError, IntegrityError):
        if not findings:
            raise
        return Checked(findings, 0, 0, 0)  # too damaged to be read any further


def _check_files(context: Context, registry: Registry, findings: list[Finding]) -> Checked:
    size = 0
    with ExitStack() as stack:
        if registry.can_write:
            stack.enter_context(writing_files(registry, context))
        present = list(inventory.files(registry))
        with registry.read() as connection:
            named = inventory.recorded(connection)
            others = list(inventory.unrecorded(connection, registry, present))
        for done, file in enumerate(named):
            context.progress("files", done, len(named), file.path)
            finding, read = _verify(registry, file)
            size += read
            findings += [finding] if finding else []
    findings += [_unrecorded(file) for file in others if file.kind in ("superseded", "orphan")]
    context.progress("files", len(named), len(named), "")
    return Checked(findings, len(named), size, sum(file.kind == "leftover" for file in others))


def _verify(registry: Registry, file: Recorded) -> tuple[Finding | None, int]:
    """What is wrong with a recorded file, and how many bytes were read."""
    if file.removed:
        remedy = "nid db gc deletes this removed group"
    elif file.group is None:
        remedy = "the same command with --force computes it again"
    else:
        again = f"nid group rm --yes {file.group}, nid db gc, and make it again"
        remedy = f"copy it back from where you have it; or {again}"
    try:
        path = registry.file(file.path)
    except IntegrityError as error:
        return Finding("outside", file.path, f"{file.what}: {error.message}", "do not trust this registry"), 0
    if not path.is_file():
        return Finding("missing", file.path, f"{file.what} is not there", remedy), 0
    try:
        digest, size = files.file_sha256(path), path.stat().st_size
    except NidError as error:
        return Finding("missing", file.path, f"{file.what}: {error.message}", remedy), 0
    if digest != file.sha256:
        return Finding("differs", file.path, f"{file.what} is not the file that was recorded", remedy), size
    return None, size


def _unrecorded(file: Found) -> Finding:
    what = {"orphan": "no row names this file", "superseded": "the state of an optimizer whose training has ended"}
    return Finding(file.kind, file.path, what[file.kind], "nid db gc removes it")
