"""Rows of trainings: those that a run begins with, and what messages add to them, in short transactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nid_cli.errors import RegistryError
from nid_cli.pipeline.fixed import mask_seed
from nid_cli.pipeline.training.tasks import EpochDone, Failed, Finished
from nid_cli.registry import groups, invocations, runs
from nid_cli.registry.groups import FixedFile, Group
from nid_cli.registry.runs import Checkpoint, Model
from nid_cli.specs import RunSpec, derive_seed

if TYPE_CHECKING:
    from sqlalchemy import Connection


def init_seed(spec: RunSpec, member: int) -> int:
    """The seed of a member's initialization; copies of one network share theirs."""
    assert spec.seed is not None
    return derive_seed(spec.seed, "init", member if spec.spawn_epoch is None else 1)


def refuse_training_elsewhere(connection: Connection, spec: RunSpec) -> None:
    """The caller holds the run's lock, which keeps this machine's processes apart; elsewhere heartbeats do.

    Raises:
        RegistryError: another machine trains this run.
    """
    found = runs.find_run(connection, spec)
    members = runs.models_of(connection, run_id=found[0]) if found else []
    busy = runs.invocations_of(connection, [m.id for m in members if m.status == "training"])
    for call in invocations.running(connection):
        if call.id in busy and not call.is_here and call.is_alive:
            raise RegistryError(
                f"{call} trains this; its last sign of life came at {call.last_sign}",
                "wait for it; five minutes without a sign and it is taken for gone",
            )


def prepare(
    connection: Connection,
    spec: RunSpec,
    seeds: int,
    name: str | None,
    fixed: FixedFile | None,
    fingerprint: str,
    invocation: int,
    description: str | None,
) -> tuple[Group, list[Model]]:
    """Group, run and models in the registry, and the models that are left to train."""
    assert spec.seed is not None
    group = groups.find_or_create(
        connection,
        spec=spec,
        fixed=fixed,
        data_fingerprint=fingerprint,
        name=name,
        description=description,
    )
    groups.agree_on_data(connection, group, fingerprint)
    found = runs.find_run(connection, spec)
    run_id = found[0] if found else runs.create_run(connection, spec, spec.hash, group.id, mask_seed(spec), invocation)
    present = {m.member for m in runs.models_of(connection, run_id=run_id)}
    for member in range(1, seeds + 1):
        if member not in present:
            runs.add_model(
                connection,
                group_id=group.id,
                run_id=run_id,
                member=member,
                invocation_id=invocation,
                status="training",
                init_seed=init_seed(spec, member),
                order_seed=derive_seed(spec.seed, "order", member),
            )
    members = runs.models_of(connection, run_id=run_id)
    left = [m for m in members if m.member <= seeds and m.status not in ("complete", "failed")]
    # We hold the run's lock: whoever trained these models before is gone.
    invocations.abandon(connection, runs.invocations_of(connection, [m.id for m in left]) - {invocation})
    runs.set_status(connection, [m.id for m in left], "training", invocation_id=invocation)
    runs.forget_workers(connection, [m.id for m in left if not m.checkpoints])
    runs.record_worker(connection, [m.id for m in left if m.checkpoints], {})
    return group, left


def record(
    connection: Connection, epochs: Iterable[EpochDone], checkpoints: Iterable[tuple[int, Checkpoint, int]]
) -> None:
    """Writes epochs, and (model id, checkpoint, bytes) of files that are safe on disk."""
    for done in epochs:
        runs.record_epoch(connection, done.model_id, done.epoch, done.values)
    for model_id, checkpoint, size in checkpoints:
        runs.record_checkpoint(connection, model_id, checkpoint, size)


def record_end(connection: Connection, message: Finished | Failed) -> None:
    """Writes how a training ended: a model that diverged has failed, one whose worker met an error can go on."""
    match message:
        case Finished(model_id):
            runs.set_status(connection, [model_id], "complete")
        case Failed(model_id, None, _):
            runs.set_status(connection, [model_id], "interrupted")
        case Failed(model_id, epoch, _):
            runs.set_status(connection, [model_id], "failed", failed_epoch=epoch)
