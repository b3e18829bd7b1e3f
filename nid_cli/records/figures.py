"""Drawn figures, and the list of those that there are."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import Record, column


@dataclass(frozen=True, kw_only=True)
class FigureFile(Record):
    """A figure, or a report, in its file."""

    schema = "nid.plot/1"

    figure: str = column("Which figure")
    path: str = column("Its file")
    sha256: str = column("SHA-256 of the file")
    result_ids: list[str] = column("The results that it shows")


@dataclass(frozen=True, kw_only=True)
class FigureListing(Record):
    """One figure of ``nid plot --list``."""

    schema = "nid.figures/1"

    figure: str = column("Its name")
    needs: list[str] = column("The commands whose results it shows")
    description: str = column("What it shows", title="shows")
