"""The schema. What is filtered on is an indexed column; everything else is JSON, stored once as the specification."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    CursorResult,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)


def inserted_id(inserted: CursorResult[Any]) -> int:
    """The primary key that an insert made."""
    key = inserted.inserted_primary_key
    assert key is not None
    return int(key[0])


# The Alembic revision that these tables are; a test holds it against migrations/.
SCHEMA_REVISION = "0005"
VERSION_TABLE = "nid_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

MODEL_STATES = ("training", "complete", "interrupted", "failed")

# Sweeps that were run: what their files said (`hash`: SHA-256 of the text), under the name of the file.
sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("last_run_at", Text, nullable=False),
    UniqueConstraint("name", "hash"),
)

# One row for each command that wrote something: where every other row comes from. Times are ISO 8601, UTC. `process`
# tells whether it still runs (processes.py), `heartbeat_at` does so to other machines.
invocations = Table(
    "invocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("command", Text, nullable=False),
    Column("argv", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("device", Text),
    Column("git_commit", Text),
    Column("git_dirty", Boolean),
    Column("pid", Integer, nullable=False),
    Column("started_at", Text, nullable=False, index=True),
    Column("ended_at", Text),
    Column("status", Text, nullable=False),
    Column("process", Text),
    Column("heartbeat_at", Text),
    Column("sweep_id", ForeignKey("sweeps.id")),
)

architectures = Table(
    "architectures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, index=True),
    Column("specification", Text, nullable=False),
    Column("parameter_count", Integer, nullable=False),
)

# Models that may be interpolated and compared. `key` hashes the settings and the fixed tensors. A removed group
# (`deleted_at`) is there until `nid db gc`, under a name that no other group can want.
groups = Table(
    "groups",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("architecture_id", ForeignKey("architectures.id"), nullable=False),
    Column("arch", Text, nullable=False, index=True),
    Column("dataset", Text, nullable=False, index=True),
    Column("symmetry", Text, nullable=False, index=True),
    Column("kappa", Text, nullable=False, index=True),
    Column("settings", Text, nullable=False),
    Column("fixed_hash", Text),
    Column("fixed_path", Text),
    Column("fixed_sha256", Text),
    Column("data_fingerprint", Text),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_at", Text, nullable=False, index=True),
    Column("deleted_at", Text, index=True),
)

# The groups that a sweep's trainings are in, whoever trained them.
sweep_groups = Table(
    "sweep_groups",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
)

# `source`, for imported runs: where they came from and their configuration there, as JSON.
runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("specification", Text, nullable=False),
    Column("seed", Integer),
    Column("mask_seed", Integer),
    Column("source", Text),
    Column("invocation_id", ForeignKey("invocations.id"), nullable=False),
    Column("created_at", Text, nullable=False),
)

# `number` counts within the group, `member` within the run; both start at 1. `worker`: host, device and versions of the
# worker that trained the model, as JSON, where they are not those of its invocation.
models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("member", Integer, nullable=False),
    Column("init_seed", Integer),
    Column("order_seed", Integer),
    Column("status", Text, nullable=False),
    Column("failed_epoch", Integer),
    Column("source_path", Text),
    Column("source_index", Integer),
    Column("worker", Text),
    Column("invocation_id", ForeignKey("invocations.id"), nullable=False),
    Column("created_at", Text, nullable=False),
    UniqueConstraint("group_id", "number"),
    UniqueConstraint("run_id", "member"),
    CheckConstraint(f"status IN {MODEL_STATES}", name="status"),
)

# Metrics of each finished epoch; the epochs of a resumed training are written again with the same values.
epochs = Table(
    "epochs",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    *(Column(f"{split}_{metric}", Float) for split in ("train", "val", "test") for metric in ("loss", "accuracy")),
    Column("seconds", Float),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("epoch", Integer, nullable=False, index=True),
    Column("path", Text, nullable=False, unique=True),
    Column("sha256", Text, nullable=False, index=True),
    Column("bytes", Integer, nullable=False),
    Column("source_sha256", Text, index=True),
    Column("created_at", Text, nullable=False),
    UniqueConstraint("model_id", "epoch"),
)

# One row for each record of an analysis: `key` hashes all that determines it, its first 16 digits are the result_id.
results = Table(
    "results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("result_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), index=True),
    Column("epoch", Integer, index=True),
    Column("model_a", ForeignKey("models.id", ondelete="CASCADE")),
    Column("model_b", ForeignKey("models.id", ondelete="CASCADE")),
    Column("parameters", Text, nullable=False),
    Column("checkpoints", Text, nullable=False),
    Column("data_fingerprint", Text),
    Column("record", Text, nullable=False),
    Column("artifact_path", Text),
    Column("artifact_sha256", Text),
    Column("invocation_id", ForeignKey("invocations.id"), nullable=False),
    Column("created_at", Text, nullable=False, index=True),
)
Index("ix_results_kind_group_id", results.c.kind, results.c.group_id)

# The models of a result that is about any number of them, in order from 0; `model_a` and `model_b` are null there.
result_models = Table(
    "result_models",
    metadata,
    Column("result_id", ForeignKey("results.id", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), nullable=False, index=True),
)

figures = Table(
    "figures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("figure", Text, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("result_ids", Text, nullable=False),
    Column("invocation_id", ForeignKey("invocations.id"), nullable=False),
    Column("created_at", Text, nullable=False, index=True),
)
