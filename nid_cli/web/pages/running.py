"""What is at work: trainings, sweeps and analyses with their progress; and what was cut off, with what goes on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from nid_cli.errors import UsageError
from nid_cli.pipeline.sweeps import file
from nid_cli.registry import activity
from nid_cli.registry.activity import Command, Ended, Training
from nid_cli.specs import Selection
from nid_cli.web.desk import Desk
from nid_cli.web.links import Words, address, group_address

NOTHING = Ended(models=0, epochs=0, spent=0.0)
MOST_TRAININGS = 200


def count(desk: Desk) -> int:
    """How many commands are at work."""
    with desk.read() as connection:
        return len(activity.commands_at_work(connection)[0])


def show(desk: Desk, words: Words) -> dict[str, Any]:
    """What the page says."""
    moment = datetime.now(UTC)
    with desk.read() as connection:
        alive, gone = activity.commands_at_work(connection)
        ids = [command.id for command in alive]
        at_work = activity.trainings(connection, ids, ("training",))
        ended = activity.ended(connection, ids)
        results = {command.id: activity.results_since(connection, command) for command in alive}
        swept = {own.sweep_id: activity.of_sweep(connection, own.sweep_id) for own in alive if own.sweep_id is not None}
        over = [*reversed(gone), *activity.cut_off(connection)]
        left = activity.trainings(connection, [command.id for command in over], ("training", "interrupted"))
    return {
        "commands": [
            _command(
                command,
                [own for own in at_work if own.invocation == command.id],
                ended.get(command.id, NOTHING),
                results[command.id],
                Sweep.of(command, swept),
                moment,
            )
            for command in alive
        ],
        "cut_off": [
            _cut_off(command, own)
            for command in over
            if (own := [model for model in left if model.invocation == command.id]) or command.command != "train"
        ],
        "moment": moment.isoformat(timespec="milliseconds"),
    }


@lru_cache(maxsize=16)
def _models_of(name: str, text: str) -> int | None:
    """How many models a sweep makes; None where its text is of another nid."""
    try:
        return file.of_text(name, text).models
    except UsageError:
        return None


@dataclass(frozen=True)
class Sweep:
    """The sweep that a command is a part of: how many models it makes, and how many are there, and at their end."""

    models: int
    there: int
    ended: int

    @classmethod
    def of(cls, command: Command, swept: Mapping[int, tuple[str, int, int]]) -> Sweep | None:
        """That of a command; None where it is a part of none."""
        if command.sweep is None or command.sweep_id is None:
            return None
        text, there, ended = swept[command.sweep_id]
        models = _models_of(command.sweep, text)
        return None if models is None else cls(models=max(models, there), there=there, ended=ended)


def _command(
    command: Command, own: Sequence[Training], ended: Ended, results: int, sweep: Sweep | None, moment: datetime
) -> dict[str, Any]:
    elapsed = max((moment - datetime.fromisoformat(command.started_at)).total_seconds(), 0.001)
    done, total = epochs_of(own, ended, sweep)
    rate = epochs_a_minute(own, ended, elapsed)
    models = len(own) + ended.models
    return {
        **_words(command),
        "elapsed": duration(elapsed),
        "models": sweep.models if sweep else models,
        "ended": sweep.ended if sweep else ended.models,
        "done": done,
        "total": total,
        "share": done / total if total else None,
        "rate": rate,
        "left": duration((total - done) * 60 / rate) if rate and total else None,
        "results": results,
        "results_a_minute": results * 60 / elapsed if results else None,
        "trainings": [_training(training) for training in own[:MOST_TRAININGS]],
        "more": max(0, len(own) - MOST_TRAININGS),
    }


def epochs_of(own: Sequence[Training], ended: Ended, sweep: Sweep | None = None) -> tuple[int, int]:
    """How many epochs of a command's models are done, and how many there are in all.

    What a sweep has not begun counts as so many epochs as the others have on the mean.
    """
    done = ended.epochs + sum(min(training.done, training.length) for training in own)
    total = ended.epochs + sum(training.length for training in own)
    models = ended.models + len(own)
    if sweep is not None and models:
        total += round((sweep.models - sweep.there) * total / models)
    return done, total


def epochs_a_minute(own: Sequence[Training], ended: Ended, elapsed: float) -> float | None:
    """How fast a command's trainings go, all together; None before the first epoch.

    Models are trained side by side: as many as the seconds of all their epochs make of the time that has passed.
    """
    known = [training.seconds for training in own if training.seconds]
    spent = sum(training.spent for training in own) + ended.spent
    epochs = sum(training.done for training in own) + ended.epochs
    if not epochs or not spent:
        return None
    seconds = sum(known) / len(known) if known else spent / epochs
    beside = min(max(spent / elapsed, 1.0), max(1, len(known) or ended.models))
    return 60 * beside / seconds


def _training(training: Training) -> dict[str, Any]:
    return {
        "group": training.group,
        "address": group_address(training.group),
        "model": training.model,
        "done": training.done,
        "length": training.length,
        "loss": training.train_loss,
        "accuracy": training.train_accuracy,
        "rate": 60 / training.seconds if training.seconds else None,
        "left": duration((training.length - training.done) * training.seconds) if training.seconds else None,
    }


def _cut_off(command: Command, own: Sequence[Training]) -> dict[str, Any]:
    groups = dict.fromkeys(training.group for training in own)
    return {
        **_words(command),
        "status": "interrupted" if command.status == "running" else command.status,
        "ended_at": command.ended_at or command.last_sign,
        "models": len(own),
        "groups": [{"name": name, "address": group_address(name)} for name in list(groups)[:6]],
    }


def _words(command: Command) -> dict[str, Any]:
    machine = command.machine
    return {
        "id": command.id,
        "name": command.command,
        "line": shlex.join(command.argv),
        "sweep": command.sweep,
        "sweep_address": address("/", Selection(sweep=(command.sweep,))) if command.sweep else None,
        "host": machine.get("host"),
        "cpus": machine.get("cpus"),
        "device": command.device,
        "pid": command.pid,
        "started_at": command.started_at,
    }


def duration(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min" if minutes >= 10 or not whole % 60 else f"{minutes} min {whole % 60} s"
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"
