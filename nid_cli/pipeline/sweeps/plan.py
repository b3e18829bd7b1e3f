"""What a sweep has before it and how long that takes, by the registry's own figures or by an epoch that is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nid_cli.errors import NidError
from nid_cli.pipeline import engines
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines.jobs import Place
from nid_cli.pipeline.sweeps import costs
from nid_cli.pipeline.sweeps.timing import seconds_of_an_epoch
from nid_cli.pipeline.sweeps.trainings import Wanted, standing
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_reading


@dataclass(frozen=True)
class PlannedRun:
    """One run: models asked for, those that have ended, and the seconds that one worker takes for one model.

    ``problem``: why it cannot be trained, as far as was found.
    """

    name: str
    asked: int
    ended: int
    seconds: float
    problem: str | None = None

    @property
    def missing(self) -> int:
        """How many models are to be trained."""
        return max(0, self.asked - self.ended)


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep; ``workers`` train side by side."""

    runs: Sequence[PlannedRun]
    workers: int

    @property
    def seconds(self) -> float:
        """The time that all take, side by side."""
        return costs.time_left([run.seconds for run in self.runs for _ in range(run.missing)], self.workers)

    def summary(self) -> dict[str, Any]:
        """In numbers, and in a sentence."""
        models, missing = sum(run.asked for run in self.runs), sum(run.missing for run in self.runs)
        time = f"about {_duration(self.seconds)} with {self.workers} at a time" if missing else "nothing to train"
        sentence = f"{len(self.runs)} trainings of {models} models, {models - missing} there, {missing} missing: {time}"
        numbers = {"trainings": len(self.runs), "models": models, "there": models - missing, "missing": missing}
        return {**numbers, "workers": self.workers, "seconds": self.seconds, "sentence": sentence}


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def plan(context: Context, wanted: Sequence[Wanted], engine: str, place: Place) -> Plan:
    """What there is and what is missing, without writing; where the registry has trained nothing, an epoch is timed."""
    there = standing(context, wanted)
    left = [own for own, found in zip(wanted, there, strict=True) if found.ended < own.request.seeds]
    known = _measured(context, left)
    problems: dict[str, str] = {}
    for timed in sorted(left, key=lambda own: own.cost, reverse=True) if not known else []:
        try:
            rate = seconds_of_an_epoch(context, timed.request) / timed.cost_an_epoch
        except NidError as error:
            problems[timed.request.spec.hash] = error.message
            continue
        known = {own.request.spec.hash: rate * own.cost_an_epoch for own in left}
        break
    runs = [
        PlannedRun(
            name=found.group or own.shown,
            asked=own.request.seeds,
            ended=found.ended,
            seconds=known.get(own.request.spec.hash, 0.0) * own.request.spec.length,
            problem=problems.get(own.request.spec.hash),
        )
        for own, found in zip(wanted, there, strict=True)
    ]
    workers = place.workers or (engines.choose(engine, place).slots() if engine == "local" else 1)
    return Plan(runs, workers)


def longest_first(context: Context, wanted: Sequence[Wanted]) -> list[Wanted]:
    """The runs in the order in which they are best begun, so that no long one is left for the end.

    By the registry's seconds an epoch where it has some, else by what their specifications tell.
    """
    known = _measured(context, wanted)

    def length(own: Wanted) -> float:
        return known.get(own.request.spec.hash, own.cost_an_epoch) * own.request.spec.length

    return sorted(wanted, key=length, reverse=True)


def _measured(context: Context, wanted: Sequence[Wanted]) -> dict[str, float]:
    """Seconds an epoch by the hash of the run, of all of them; nothing where the registry has trained nothing."""
    path = locate(context.registry)
    if path is None or not path.exists() or not wanted:
        return {}
    requests = [own.request for own in wanted]
    texts = {r.spec.network.graph: r.description for r in requests if r.spec.network.graph and r.description}
    with open_for_reading(context.registry).read() as connection:
        found = costs.seconds_an_epoch(connection, [request.spec for request in requests], texts)
    return {digest: seconds for digest, seconds in found.items() if seconds is not None}
