"""What a sweep has before it and how long that takes, by the registry's own figures or by an epoch that is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nid_cli.pipeline import engines
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines.jobs import Place
from nid_cli.pipeline.sweeps import costs
from nid_cli.pipeline.sweeps.timing import seconds_of_an_epoch
from nid_cli.pipeline.sweeps.trainings import Wanted, standing
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_reading
from nid_cli.specs import RunSpec


@dataclass(frozen=True)
class PlannedRun:
    """One run: models asked for, those that have ended, and the seconds that one worker takes for the others."""

    name: str
    asked: int
    ended: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep; ``workers`` train side by side."""

    runs: Sequence[PlannedRun]
    workers: int

    @property
    def seconds(self) -> float:
        """The time that all take, side by side."""
        return costs.time_of(
            [run.seconds / max(1, run.asked - run.ended) for run in self.runs for _ in range(run.asked - run.ended)],
            self.workers,
        )

    def summary(self) -> dict[str, Any]:
        """In numbers, and in a sentence."""
        models, there = sum(run.asked for run in self.runs), sum(run.ended for run in self.runs)
        missing = models - there
        time = f"about {_duration(self.seconds)} with {self.workers} at a time" if missing else "nothing to train"
        sentence = f"{len(self.runs)} trainings of {models} models, {there} there and {missing} missing: {time}"
        numbers = {"trainings": len(self.runs), "models": models, "there": there, "missing": missing}
        return {**numbers, "workers": self.workers, "seconds": self.seconds, "sentence": sentence}


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def plan(context: Context, wanted: Sequence[Wanted], engine: str, place: Place) -> Plan:
    """What there is and what is missing. Nothing is written; an epoch is timed where nothing like it is recorded."""
    there = standing(context, wanted)
    left = [own for own, found in zip(wanted, there, strict=True) if found.ended < own.request.seeds]
    known = _measured(context, [own.request.spec for own in left])
    seconds: dict[str, float] = {}
    for own in left:
        spec = own.request.spec
        an_epoch = known.get(spec.hash)
        if an_epoch is None:
            an_epoch = seconds_of_an_epoch(context, own.request)
            known = {**known, **_alike(own, left, an_epoch, known)}
        seconds[spec.hash] = an_epoch * spec.length
    runs = [
        PlannedRun(
            found.group or own.shown,
            own.request.seeds,
            found.ended,
            seconds.get(own.request.spec.hash, 0.0) * (own.request.seeds - found.ended),
        )
        for own, found in zip(wanted, there, strict=True)
    ]
    workers = place.workers or (engines.choose(engine, place).slots() if engine == "local" else 1)
    return Plan(runs, workers)


def _alike(
    timed: Wanted, left: Sequence[Wanted], seconds: float, known: Mapping[str, float | None]
) -> dict[str, float]:
    """What the other runs of the same architecture and data take, by their relative costs."""
    spec = timed.request.spec
    share = seconds / _an_epoch(timed)
    return {
        own.request.spec.hash: share * _an_epoch(own)
        for own in left
        if known.get(own.request.spec.hash) is None and _kind(own.request.spec) == _kind(spec)
    }


def _an_epoch(own: Wanted) -> float:
    return own.cost / own.request.seeds / max(1, own.request.spec.length)


def _kind(spec: RunSpec) -> tuple[str, str]:
    return spec.network.arch, spec.data.name


def longest_first(context: Context, wanted: Sequence[Wanted]) -> list[Wanted]:
    """The runs in the order in which they are best begun: those whose models take longest first.

    By the registry's seconds an epoch where it knows some, else by what their specifications tell.
    """
    known = _measured(context, [own.request.spec for own in wanted])
    pairs = [(known.get(own.request.spec.hash), _an_epoch(own)) for own in wanted]
    measured = [(seconds, cost) for seconds, cost in pairs if seconds is not None]
    rate = sum(seconds for seconds, _ in measured) / sum(cost for _, cost in measured) if measured else 1.0

    def length(place: int) -> float:
        seconds, cost = pairs[place]
        return (cost * rate if seconds is None else seconds) * wanted[place].request.spec.length

    return [wanted[place] for place in sorted(range(len(wanted)), key=lambda place: -length(place))]


def _measured(context: Context, specs: Sequence[RunSpec]) -> Mapping[str, float | None]:
    path = locate(context.registry)
    if path is None or not path.exists() or not specs:
        return {}
    with open_for_reading(context.registry).read() as connection:
        return costs.seconds_an_epoch(connection, specs)
