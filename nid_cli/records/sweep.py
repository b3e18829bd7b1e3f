"""Sweeps, as ``nid sweep`` shows them."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import Record, column


@dataclass(frozen=True, kw_only=True)
class SweepPart(Record):
    """One part of a sweep: a run that is trained, an analysis, or a figure."""

    schema = "nid.sweep/1"

    part: str = column("train, measure or plot")
    name: str = column("The group, the analysis, or the figure with its file")
    status: str = column("there, missing, done, failed or waiting (for trainings that are not there)")
    asked: int | None = column("How many models, or results, it is about", default=None)
    there: int | None = column("How many of them the registry has", default=None)
    new: int | None = column("How many of them this command made", default=None)
    seconds: float | None = column("Estimated time of what is missing, of one worker", "s", default=None)
    problem: str | None = column("What went wrong, in a sentence", default=None)


@dataclass(frozen=True, kw_only=True)
class ShippedSweep(Record):
    """A sweep that comes with nid."""

    schema = "nid.sweeps/1"

    name: str = column("What nid sweep knows it by")
    trainings: int = column("How many runs it trains")
    models: int = column("How many models these have")
    title: str = column("What it is")
