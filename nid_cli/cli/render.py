"""What a command shows: records on stdout, everything else on stderr; the only Rich console."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from nid_cli.pipeline.context import Progress, silent


class OutputClosed(Exception):
    """Whoever read our stdout has gone (``nid group list | head -1``)."""


def emit(text: str, end: str = "\n") -> None:
    """Text on stdout, at once, so that a closed pipe is noticed here and not at exit.

    Raises:
        OutputClosed: nobody reads it any more.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        # Python flushes stdout again at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputClosed from None


def say(sentence: str) -> None:
    """One line to the user, on stderr, without control characters: a name from a file must not steer the terminal."""
    if sys.stderr is None:
        return
    with suppress(OSError):  # a terminal that has closed
        print("".join(c if c.isprintable() else " " for c in sentence), file=sys.stderr, flush=True)


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return ",".join(cell(item) for item in value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout: drawn on a terminal, tab-separated and unwrapped elsewhere."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout is None or not sys.stdout.isatty():
        emit("\n".join("\t".join(row) for row in ([*columns], *cells)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], (int, float, type(None))) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(c) for c in row))
    Console().print(drawn)


def progress_lines() -> bool:
    """Whether progress may be drawn: stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress function: bars with time left on a terminal's stderr, nothing elsewhere."""
    if not progress_lines():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.3g}/{task.total:g}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, Any] = {}

    def update(what: str, done: float, total: float, detail: str = "") -> None:
        if done < total:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, detail=detail)
            bars.update(tasks[what], completed=done, total=total, detail=detail)
        elif what in tasks:
            bars.remove_task(tasks.pop(what))

    with bars:
        yield update
