"""The trainings of a sweep: what is asked for, what is there, and all that is missing through one pool."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nid_cli.errors import NidError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines.jobs import Place
from nid_cli.pipeline.sweeps import costs, shards
from nid_cli.pipeline.training.outcome import Trained
from nid_cli.pipeline.training.requests import Request, Seen, requested
from nid_cli.pipeline.training.run import RunInTraining
from nid_cli.pipeline.training.session import Session
from nid_cli.pipeline.training.train import work_off
from nid_cli.registry import groups, runs, sweeps
from nid_cli.registry.database import Registry
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.registry.sweeps import Sweep


@dataclass(frozen=True)
class Wanted:
    """One run of a sweep; ``name`` of its group, where the file gives one."""

    request: Request
    name: str | None = None

    @property
    def shown(self) -> str:
        """What its group is called, or would be where the name is free."""
        return self.name or groups.generated_name(self.request.spec)

    @property
    def cost(self) -> float:
        """What all its models cost, relative to other runs, by the specification alone."""
        return self.request.seeds * costs.relative_cost(self.request.spec, self.request.description)

    @cached_property
    def cost_an_epoch(self) -> float:
        """The same of one epoch of one model."""
        return costs.cost_an_epoch(self.request.spec, self.request.description)


@dataclass(frozen=True)
class Standing:
    """What a registry has of a run: its group's name (None: not there), and how many of its models have ended."""

    group: str | None
    ended: int


@dataclass(frozen=True)
class Done:
    """What became of a run: its outcome, or the error that kept it from being trained."""

    wanted: Wanted
    outcome: Trained | None
    error: NidError | None


def wanted(context: Context, trainings: Iterable[Mapping[str, Any]]) -> list[Wanted]:
    """The runs that tables of settings ask for, each once: with the most seeds that any of them asks for.

    Raises:
        NotFoundError, UsageError: a table makes no training; the sentence says which.
    """
    seen, found = Seen(), dict[str, Wanted]()
    for number, settings in enumerate(trainings, 1):
        own = {name: value for name, value in settings.items() if name != "name"}
        try:
            if "name" in settings:
                groups.check_name(str(settings["name"]))
            request = requested(context, own, seen)
        except NidError as error:
            raise type(error)(f"training {number} ({_words(own)}): {error.message}", error.hint) from None
        before = found.get(request.spec.hash)
        if before is not None:
            seeds = max(before.request.seeds, request.seeds)
            save_every = math.gcd(before.request.save_every, request.save_every)
            request = replace(request, seeds=seeds, save_every=save_every)
        found[request.spec.hash] = Wanted(request, settings.get("name") or (before.name if before else None))
    names = [own.name for own in found.values() if own.name is not None]
    if taken := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two trainings would call their group {sorted(taken)[0]}", "give each a name of its own")
    return list(found.values())


def _words(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items()) or "all defaults"


def of_share(asked: Sequence[Wanted], index: int, count: int) -> list[Wanted]:
    """The runs of one share (see :func:`shards.share`), which cost the same by their specifications alone."""
    costs = {own.request.spec.hash: own.cost for own in asked}
    mine = shards.share(costs, index, count)
    return [own for own in asked if own.request.spec.hash in mine]


def standing(context: Context, asked: Sequence[Wanted]) -> list[Standing]:
    """What the registry has of each run; nothing is written."""
    path = locate(context.registry)
    if path is None or not path.exists():
        return [Standing(None, 0) for _ in asked]
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        names = runs.groups_of_runs(connection, [own.request.spec.hash for own in asked])
        members = runs.ended_members(connection, list(names))
    return [
        Standing(
            names.get(own.request.spec.hash),
            sum(member <= own.request.seeds for member in members.get(own.request.spec.hash, ())),
        )
        for own in asked
    ]


def recorded(context: Context, name: str, text: str) -> Context:
    """The context of a sweep's parts, where it was run before; nothing is written."""
    path = locate(context.registry)
    if path is None or not path.exists():
        return context
    with open_for_reading(context.registry).read() as connection:
        return replace(context, sweep=sweeps.find(connection, name, text))


def begin(context: Context, name: str, text: str) -> tuple[Context, Sweep]:
    """Records that a sweep is run, in the registry, which is made where there is none; the context of its parts."""
    registry: Registry = open_for_writing(context.registry, create=True)
    with registry.write() as connection:
        sweep = sweeps.find_or_create(connection, name, text)
        sweeps.touch(connection, sweep.id)
    return replace(context, sweep=sweep.id, registry=registry.path), sweep


def train(context: Context, asked: Sequence[Wanted], engine: str, place: Place, stack: int | None = None) -> list[Done]:
    """Trains what is missing, in the given order; a run that cannot be trained keeps no other from it.

    Raises:
        Interrupted: the user stopped it; the same call goes on.
        NidError: there is nothing to train on, or the registry refuses.
    """
    with ExitStack() as exits:
        session = Session(context, exits, "sweep")
        all_runs = [RunInTraining(session, own.request, own.name, stack) for own in asked]
        missing = []
        for run in all_runs:
            try:
                if not run.find():
                    missing.append(run)
            except NidError as error:
                run.error = error
        _link(context, all_runs)
        work_off(session, missing, engine, place, strict=False)
        _link(context, missing)  # another command may have trained some meanwhile
    return [Done(own, run.outcome, run.error) for own, run in zip(asked, all_runs, strict=True)]


def _link(context: Context, all_runs: Sequence[RunInTraining]) -> None:
    """Groups that this command did not train are the sweep's as well."""
    group_ids = [run.outcome.group.id for run in all_runs if run.outcome is not None]
    registry = open_for_writing(context.registry)
    with registry.write() as connection:
        for group_id in group_ids:
            assert context.sweep is not None
            sweeps.add_group(connection, context.sweep, group_id)
