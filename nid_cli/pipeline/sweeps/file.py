"""A sweep: a TOML file of trainings, analyses and figures. No torch."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nid_cli.errors import NotFoundError, UsageError, unknown
from nid_cli.pipeline.sweeps import shipped
from nid_cli.pipeline.sweeps.grid import Grid, frozen, located
from nid_cli.pipeline.sweeps.grid import read as read_grid
from nid_cli.recipes import usual_seeds

TITLE = "title"
# The tables of a sweep, each with the keys that must be there.
TABLES: dict[str, tuple[str, ...]] = {"train": (), "measure": ("command",), "plot": ("figure", "out")}
# More trainings than this are run only on demand.
MANY = 10_000


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep as its file says it.

    ``name`` is that of the file without its ending, or of a shipped sweep. ``measures``: the options of each analysis
    by name, its ``command`` among them; ``plots``: those of each figure, its ``figure`` and ``out`` among them.
    """

    name: str
    title: str
    text: str
    grids: tuple[Grid, ...]
    measures: tuple[dict[str, Any], ...]
    plots: tuple[dict[str, Any], ...]

    @property
    def count(self) -> int:
        """How many trainings its grids make, before any is made; those that stand there twice count twice."""
        return sum(grid.count for grid in self.grids)

    @cached_property
    def trainings(self) -> list[dict[str, Any]]:
        """The settings of each training in the file's order, once each; ``name`` is the group's, where it is given."""
        found: dict[Any, dict[str, Any]] = {}
        for grid in self.grids:
            for settings in grid.combinations():
                found.setdefault(frozen(settings), settings)
        return list(found.values())

    @property
    def models(self) -> int:
        """How many models the trainings make."""
        return sum(settings.get("seeds", usual_seeds(settings)) for settings in self.trainings)


def check_size(sweep: Sweep, yes: bool) -> None:
    """Keeps a slip in a grid from becoming a year of trainings.

    Raises:
        UsageError: the sweep has more than ``MANY`` trainings, and ``yes`` was not said.
    """
    if sweep.count > MANY and not yes:
        raise UsageError(f"{sweep.name} makes {sweep.count:,} trainings", "--yes runs so many")


def read(given: str) -> Sweep:
    """The sweep of a file (``.toml``; its paths count from the current folder), or a shipped one by its name.

    Raises:
        NotFoundError: no such file, or no such name; the hint names the nearest.
        UsageError: the file is no sweep.
    """
    if not given.endswith(shipped.ENDING):
        return _parsed(given, given, _shipped(given))
    path = Path(given)
    if not path.name.isprintable():
        raise UsageError(f"{given!r} cannot be the name of a sweep's file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotFoundError(f"cannot read {given}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{given} is no text in UTF-8") from None
    return _parsed(path.name.removesuffix(shipped.ENDING), given, text)


def of_text(name: str, text: str) -> Sweep:
    """A sweep as a registry has recorded it; no file or code that it names is read.

    Raises:
        UsageError: the text is no sweep.
    """
    return _parsed(name, name, text)


def listing() -> list[Sweep]:
    """The shipped sweeps by name."""
    return [read(name) for name in shipped.names()]


def _shipped(name: str) -> str:
    known = shipped.names()
    if name not in known:
        hint = unknown("sweep", name, known).hint
        raise NotFoundError(
            f"there is no sweep {name!r}", hint or f"shipped are {', '.join(known)}; the name of a file ends in .toml"
        )
    return shipped.text_of(name)


def _parsed(name: str, where: str, text: str) -> Sweep:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not TOML: {' '.join(str(error).split())}") from None
    for key in document:
        if key not in (TITLE, *TABLES):
            raise located(where, unknown("key", key, (TITLE, *TABLES)))
    title = document.get(TITLE, "")
    if not isinstance(title, str):
        raise UsageError(f"{where}: title must be a text")
    tables = {kind: _tables(where, kind, document.get(kind, [])) for kind in TABLES}
    if not any(tables.values()):
        raise UsageError(f"{where} has no [[train]], [[measure]] or [[plot]] table")
    grids = []
    for number, table in enumerate(tables["train"], 1):
        try:
            grids.append(read_grid(table))
        except UsageError as error:
            raise located(f"{where}, [[train]] {number}", error) from None
    _refuse_one_file(where, tables["plot"])
    return Sweep(
        name=name,
        title=" ".join(title.split()),
        text=text,
        grids=tuple(grids),
        measures=tuple(tables["measure"]),
        plots=tuple(tables["plot"]),
    )


def _tables(where: str, kind: str, given: Any) -> list[dict[str, Any]]:
    """The tables of one kind, each with what it must have."""
    if not isinstance(given, list) or not all(isinstance(table, Mapping) for table in given):
        raise UsageError(f"{where}: {kind} must be tables", f"write [[{kind}]] above each")
    for number, table in enumerate(given, 1):
        for key in TABLES[kind]:
            if not isinstance(table.get(key), str) or not table[key]:
                raise UsageError(f"{where}, [[{kind}]] {number}: {key} must be there, a text")
    return given


def _refuse_one_file(where: str, plots: list[dict[str, Any]]) -> None:
    """Each figure needs a file of its own."""
    seen: dict[str, int] = {}
    for number, plot in enumerate(plots, 1):
        first = seen.setdefault(os.path.abspath(plot["out"]), number)
        if first != number:
            raise UsageError(
                f"{where}: [[plot]] {first} and {number} both write {plot['out']}", "give each its own out"
            )
