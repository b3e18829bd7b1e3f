"""Runs, their models, epochs and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select
from sqlalchemy.dialects.sqlite import insert

from nid_cli.registry.groups import next_number
from nid_cli.registry.invocations import now
from nid_cli.registry.sweeps import said_of
from nid_cli.registry.tables import checkpoints, epochs, groups, inserted_id, invocations, models, runs, sweeps
from nid_cli.specs import RunSpec, canonical_json


@dataclass(frozen=True)
class Checkpoint:
    """One recorded file of effective weights and buffers."""

    epoch: int
    path: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """One member of a group: ``number`` within the group, ``member`` within its run, checkpoints by epoch."""

    id: int
    number: int
    member: int
    group_id: int
    run_id: int
    invocation_id: int
    status: str
    failed_epoch: int | None
    init_seed: int | None
    order_seed: int | None
    mask_seed: int | None
    source_path: str | None
    source_index: int | None
    checkpoints: dict[int, Checkpoint]

    @property
    def seeds(self) -> dict[str, int | None]:
        """The seeds that made it; None where they were never stored."""
        return {"init": self.init_seed, "order": self.order_seed, "mask": self.mask_seed}


# In what is recorded of a model's worker: the numbers of the models that were trained side by side.
STACKED = "stacked"
# Beside the folders of models that were copied from it: the network that they were until they parted.
TRUNK = "trunk"


def model_folder(run_hash: str, member: int) -> str:
    """Where a model's checkpoints lie, within the registry's folder."""
    return f"runs/{run_hash[:16]}/model-{member:04d}"


def find_run(connection: Connection, spec: RunSpec) -> tuple[int, int] | None:
    """(run id, group id) of the run with this specification."""
    row = connection.execute(select(runs.c.id, runs.c.group_id).where(runs.c.hash == spec.hash)).one_or_none()
    return (row.id, row.group_id) if row else None


def groups_of_runs(connection: Connection, hashes: Sequence[str]) -> dict[str, str]:
    """The names of the groups of the runs with these hashes, by hash; those that are not there are left out."""
    found: dict[str, str] = {}
    for start in range(0, len(hashes), 500):
        query = select(runs.c.hash, groups.c.name).join(groups, groups.c.id == runs.c.group_id)
        query = query.where(runs.c.hash.in_(hashes[start : start + 500]), groups.c.deleted_at.is_(None))
        found.update({row.hash: row.name for row in connection.execute(query)})
    return found


def ended_members(connection: Connection, hashes: Sequence[str]) -> dict[str, list[int]]:
    """The members of runs, by the runs' hashes, that are complete or have failed."""
    found: dict[str, list[int]] = {digest: [] for digest in hashes}
    for start in range(0, len(hashes), 500):
        query = select(runs.c.hash, models.c.member).join(models, models.c.run_id == runs.c.id)
        query = query.where(runs.c.hash.in_(hashes[start : start + 500]), models.c.status.in_(("complete", "failed")))
        for row in connection.execute(query):
            found[row.hash].append(row.member)
    return found


def trained_here(connection: Connection, group_id: int) -> list[tuple[RunSpec, list[Model]]]:
    """The runs of a group that nid trained itself, with their members, in the order they were made."""
    query = select(runs.c.id, runs.c.specification).where(runs.c.group_id == group_id)
    rows = connection.execute(query.where(runs.c.seed.is_not(None), runs.c.source.is_(None)).order_by(runs.c.id))
    return [(RunSpec.from_dict(json.loads(row.specification)), models_of(connection, run_id=row.id)) for row in rows]


def create_run(
    connection: Connection,
    spec: RunSpec,
    run_hash: str,
    group_id: int,
    mask_seed: int | None,
    invocation_id: int,
    source: Mapping[str, Any] | None = None,
) -> int:
    """A new run of a group; returns its id. ``run_hash`` is the specification's own unless the run is imported."""
    inserted = connection.execute(
        runs.insert().values(
            hash=run_hash,
            group_id=group_id,
            specification=canonical_json(spec.canonical()),
            seed=spec.seed,
            mask_seed=mask_seed,
            source=canonical_json(dict(source)) if source else None,
            invocation_id=invocation_id,
            created_at=now(),
        )
    )
    return inserted_id(inserted)


def find_or_create_run(
    connection: Connection,
    spec: RunSpec,
    run_hash: str,
    group_id: int,
    mask_seed: int | None,
    invocation_id: int,
    source: Mapping[str, Any],
) -> int:
    """The imported run with this hash, made where there is none; returns its id."""
    found: int | None = connection.execute(select(runs.c.id).where(runs.c.hash == run_hash)).scalar()
    return found or create_run(connection, spec, run_hash, group_id, mask_seed, invocation_id, source)


def run_hash(connection: Connection, run_id: int) -> str:
    """The hash of a run."""
    return str(connection.execute(select(runs.c.hash).where(runs.c.id == run_id)).scalar_one())


def models_by_source(connection: Connection, sha256s: Sequence[str]) -> dict[str, Model]:
    """For each file of a run directory (by SHA-256) that was imported before, the model that it belongs to."""
    found: dict[str, int] = {}
    for start in range(0, len(sha256s), 500):
        query = select(checkpoints.c.source_sha256, checkpoints.c.model_id)
        query = query.join(models, models.c.id == checkpoints.c.model_id).where(models.c.source_index.is_not(None))
        query = query.where(checkpoints.c.source_sha256.in_(sha256s[start : start + 500]))
        found.update({row.source_sha256: row.model_id for row in connection.execute(query)})
    owners = connection.execute(
        select(models, runs.c.mask_seed)
        .join(runs, runs.c.id == models.c.run_id)
        .where(models.c.id.in_(set(found.values())))
    )
    by_id = {row.id: _model(row, {}) for row in owners}
    return {digest: by_id[model_id] for digest, model_id in found.items()}


def sources_of(connection: Connection, group_id: int) -> dict[str, list[tuple[int, int]]]:
    """For each file (by SHA-256) that a group's checkpoints were made of: (model id, epoch), of each."""
    query = select(checkpoints.c.source_sha256, checkpoints.c.model_id, checkpoints.c.epoch)
    query = query.join(models, models.c.id == checkpoints.c.model_id)
    found: dict[str, list[tuple[int, int]]] = {}
    for row in connection.execute(query.where(models.c.group_id == group_id)):
        if row.source_sha256 is not None:
            found.setdefault(row.source_sha256, []).append((row.model_id, row.epoch))
    return found


def add_model(
    connection: Connection, *, group_id: int, run_id: int, member: int, invocation_id: int, **columns: Any
) -> int:
    """Appends a model to a group; returns its id. ``columns``: seeds, status, source."""
    inserted = connection.execute(
        models.insert().values(
            group_id=group_id,
            run_id=run_id,
            member=member,
            number=next_number(connection, group_id),
            invocation_id=invocation_id,
            created_at=now(),
            **columns,
        )
    )
    return inserted_id(inserted)


def _model(row: Row[Any], own: dict[int, Checkpoint]) -> Model:
    columns = {f.name: getattr(row, f.name) for f in fields(Model) if f.name != "checkpoints"}
    return Model(checkpoints=own, **columns)


def models_of(connection: Connection, *, group_id: int | None = None, run_id: int | None = None) -> list[Model]:
    """The models of a group or of a run, in order, with their checkpoints."""
    return _models(connection, models.c.group_id == group_id if run_id is None else models.c.run_id == run_id)


def models_of_groups(connection: Connection, group_ids: Sequence[int]) -> dict[int, list[Model]]:
    """The models of each group, in order, with their checkpoints."""
    found: dict[int, list[Model]] = {group_id: [] for group_id in group_ids}
    for start in range(0, len(group_ids), 500):
        for model in _models(connection, models.c.group_id.in_(group_ids[start : start + 500])):
            found[model.group_id].append(model)
    return found


def _models(connection: Connection, chosen: ColumnElement[bool]) -> list[Model]:
    rows = connection.execute(
        select(models, runs.c.mask_seed)
        .join(runs, runs.c.id == models.c.run_id)
        .where(chosen)
        .order_by(models.c.number)
    ).all()
    found: dict[int, dict[int, Checkpoint]] = {row.id: {} for row in rows}
    query = select(checkpoints).join(models, models.c.id == checkpoints.c.model_id).where(chosen)
    for row in connection.execute(query.order_by(checkpoints.c.epoch)):
        found[row.model_id][row.epoch] = Checkpoint(row.epoch, row.path, row.sha256)
    return [_model(row, found[row.id]) for row in rows]


def set_status(connection: Connection, model_ids: Iterable[int], status: str, **columns: int | None) -> None:
    """Moves models to a state of ``tables.MODEL_STATES``; ``columns``: failed_epoch, invocation_id."""
    connection.execute(models.update().where(models.c.id.in_(list(model_ids))).values(status=status, **columns))


def record_worker(connection: Connection, model_ids: Iterable[int], worker: Mapping[str, Any]) -> None:
    """What trains models from here on (host, device, versions; nothing where it is what their invocation says).

    That models were ``stacked`` stays: it has changed the rounding of what goes on.
    """
    for model_id, earlier in _workers(connection, model_ids):
        _set_worker(connection, model_id, {k: v for k, v in earlier.items() if k == STACKED} | dict(worker))


def record_stack(connection: Connection, model_id: int, numbers: Sequence[int]) -> None:
    """Beside which models of its group a model is trained, itself among them."""
    for _, earlier in _workers(connection, [model_id]):
        _set_worker(connection, model_id, {**earlier, STACKED: list(numbers)})


def forget_workers(connection: Connection, model_ids: Iterable[int]) -> None:
    """Models begin anew: what is known of earlier trainings of them is not theirs."""
    for model_id in model_ids:
        _set_worker(connection, model_id, {})


def _workers(connection: Connection, model_ids: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
    query = select(models.c.id, models.c.worker).where(models.c.id.in_(list(model_ids)))
    return [(row.id, json.loads(row.worker) if row.worker else {}) for row in connection.execute(query)]


def _set_worker(connection: Connection, model_id: int, worker: Mapping[str, Any]) -> None:
    text = canonical_json(dict(worker)) if worker else None
    connection.execute(models.update().where(models.c.id == model_id).values(worker=text))


def invocations_of(connection: Connection, model_ids: Sequence[int]) -> set[int]:
    """The invocations that last worked on these models."""
    return set(connection.execute(select(models.c.invocation_id).where(models.c.id.in_(model_ids))).scalars())


def record_epoch(connection: Connection, model_id: int, epoch: int, values: Mapping[str, float | None]) -> None:
    """Metrics of one epoch (``train_loss`` ... ``test_accuracy``, ``seconds``); a repetition replaces them."""
    row = {"model_id": model_id, "epoch": epoch, **values}
    connection.execute(insert(epochs).values(row).on_conflict_do_update(index_elements=["model_id", "epoch"], set_=row))


def record_checkpoint(
    connection: Connection,
    model_id: int,
    checkpoint: Checkpoint,
    size: int,
    source_sha256: str | None = None,
) -> None:
    """A file that is already safe on disk; a repetition replaces the row."""
    row = {
        "model_id": model_id,
        "epoch": checkpoint.epoch,
        "path": checkpoint.path,
        "sha256": checkpoint.sha256,
        "bytes": size,
        "source_sha256": source_sha256,
        "created_at": now(),
    }
    kept = {k: v for k, v in row.items() if k != "created_at"}
    connection.execute(
        insert(checkpoints).values(row).on_conflict_do_update(index_elements=["model_id", "epoch"], set_=kept)
    )


def metrics_of(
    connection: Connection, model_ids: Sequence[int], epoch: int | None = None
) -> dict[int, list[dict[str, Any]]]:
    """Rows of ``epochs`` by model, in order; only one epoch's where it is given."""
    query = select(epochs).where(epochs.c.model_id.in_(model_ids)).order_by(epochs.c.model_id, epochs.c.epoch)
    if epoch is not None:
        query = query.where(epochs.c.epoch == epoch)
    found: dict[int, list[dict[str, Any]]] = {model_id: [] for model_id in model_ids}
    for row in connection.execute(query).mappings():
        found[row["model_id"]].append({k: v for k, v in row.items() if k != "model_id"})
    return found


def lineage_of(connection: Connection, model_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By model: the command that made it, versions, machine, the working folder's commit, times.

    ``worker``: host, device and versions of what trained it last, where they are not the command's, and the models that
    it was ``stacked`` with, if it was; ``sweep``: name and
    hash of the sweep that the command was a part of, None where it was of none.
    """
    query = (
        select(models.c.id.label("model"), models.c.worker, invocations)
        .add_columns(sweeps.c.name.label("sweep"), sweeps.c.hash.label("sweep_hash"))
        .join(invocations, invocations.c.id == models.c.invocation_id)
        .outerjoin(sweeps, sweeps.c.id == invocations.c.sweep_id)
    )
    found = {}
    for row in connection.execute(query.where(models.c.id.in_(model_ids))):
        found[row.model] = {
            "command": json.loads(row.argv),
            "versions": json.loads(row.versions),
            "machine": json.loads(row.machine),
            "device": row.device,
            "worker": row.worker and json.loads(row.worker),
            "git_commit": row.git_commit,
            "git_dirty": row.git_dirty,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "status": row.status,
            "sweep": said_of(row),
        }
    return found
