"""What a run has: found where there is nothing to train, and read when all is trained. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nid_cli.pipeline.context import Context
from nid_cli.pipeline.removal import bring_back
from nid_cli.pipeline.training.requests import Request
from nid_cli.registry import groups, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.runs import Model

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Trained:
    """The outcome: the group, the run's models asked for, which of them this call trained, and what went wrong.

    ``metrics``: of each model's last epoch, by its id; empty where it has none.
    """

    group: Group
    models: list[Model]
    metrics: dict[int, dict[str, Any]]
    trained: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Whether there is a model to measure."""
        return any(model.status == "complete" for model in self.models)


def already(registry: Registry, request: Request, name: str | None, context: Context) -> Trained | None:
    """The outcome if there is nothing to train."""
    spec = request.spec
    with registry.read() as connection:
        if (found := runs.find_run(connection, spec)) is None:
            return None
        members = [m for m in runs.models_of(connection, run_id=found[0]) if m.member <= request.seeds]
        if len(members) < request.seeds or any(m.status not in ("complete", "failed") for m in members):
            return None
        group = groups.by_id(connection, found[1])
    if group.deleted_at is not None:
        bring_back(registry, context, group.key, name)
    with registry.read() as connection:
        group = groups.by_id(connection, group.id)
        metrics = _last_metrics(connection, members)
    if name is not None and name != group.name:
        context.say(f"the group is already called {group.name}; nid group rename {group.name} {name} renames it")
    wanted = {e for e in range(spec.length + 1) if e % request.save_every == 0}
    if not wanted <= set(members[0].checkpoints) and members[0].status == "complete":
        context.say("the checkpoints are those of the first training; --save-every acts on new models only")
    problems = [
        f"model {m.number} diverged in epoch {m.failed_epoch}: its loss was not a number"
        for m in members
        if m.status == "failed"
    ]
    return Trained(group, members, metrics, problems=problems)


def outcome_of(registry: Registry, request: Request, group: Group, trained: list[int], problems: list[str]) -> Trained:
    """What a run has after its training.

    Args:
        trained: the numbers of the models that were trained now; ``problems``: what went wrong with them.
    """
    with registry.read() as connection:
        run = runs.find_run(connection, request.spec)
        assert run is not None
        members = [m for m in runs.models_of(connection, run_id=run[0]) if m.member <= request.seeds]
        metrics = _last_metrics(connection, members)
    return Trained(group, members, metrics, trained, problems)


def _last_metrics(connection: Connection, members: Sequence[Model]) -> dict[int, dict[str, Any]]:
    found = runs.metrics_of(connection, [model.id for model in members])
    return {model_id: rows[-1] if rows else {} for model_id, rows in found.items()}
