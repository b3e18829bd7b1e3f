"""The result of a command: records on stdout, or as a file in the format of its ending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nid_cli.cli.render import emit, say
from nid_cli.errors import UsageError
from nid_cli.pipeline.choices import some_of
from nid_cli.records import Record, Row
from nid_cli.records.formats import FORMATS, content, document
from nid_cli.records.formats import flat as flat


def check(target: str | None) -> None:
    """Refuses an ``--export`` that could not be written, before any work is done.

    Raises:
        UsageError: an unknown ending, or a folder that is not there.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.suffix not in FORMATS:
        raise UsageError(f"--export {target!r} must end in one of {', '.join(FORMATS)}, or be - for stdout")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of --export {target!r} does not exist", "make it first")


def chosen_columns(text: str | None, *kinds: type[Record]) -> list[str] | None:
    """``group,distance`` as names of fields that records of these kinds have; None stays None.

    Raises:
        UsageError: a name that is none of them.
    """
    declared = dict.fromkeys(column.name for kind in kinds for column in kind.columns())
    return None if text is None else some_of("column", text, declared)


def show(
    kind: type[Record],
    records: Sequence[Row],
    *,
    as_json: bool,
    export: str | None,
    human: Callable[[], None],
    columns: Sequence[str] | None = None,
    summary: Row | None = None,
) -> None:
    """The result of a command: the export where one is asked for, and JSON or the table for people on stdout.

    Args:
        columns: the order of the export's columns, where it is not that of the declaration.
        summary: what the document of ``--json`` says beside its records.
    """
    if export is not None:
        write_rows(kind.schema, records, export, columns or [column.name for column in kind.columns()])
        if export == "-":
            return
    if as_json:
        emit(document(kind.schema, records, summary))
    else:
        human()


def write_rows(schema: str, rows: Sequence[Row], target: str, declared: Sequence[str] = ()) -> None:
    """Writes ``rows`` to ``target`` (``-``: JSON on stdout), whole or not at all.

    Args:
        declared: the order of columns; those that no row has are left out, others come last.
    """
    if target == "-":
        emit(document(schema, rows))
        return
    from nid_cli.files import write_atomic

    path = Path(target)
    write_atomic(path.absolute(), content(schema, rows, path.suffix, declared))
    say(f"wrote {len(rows)} records to {target}")
