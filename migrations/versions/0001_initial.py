"""initial

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "architectures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("specification", sa.Text(), nullable=False),
        sa.Column("parameter_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_architectures")),
        sa.UniqueConstraint("hash", name=op.f("uq_architectures_hash")),
    )
    op.create_index(op.f("ix_architectures_name"), "architectures", ["name"], unique=False)
    op.create_table(
        "invocations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("argv", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("git_commit", sa.Text(), nullable=True),
        sa.Column("git_dirty", sa.Boolean(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invocations")),
    )
    op.create_index(op.f("ix_invocations_started_at"), "invocations", ["started_at"], unique=False)
    op.create_table(
        "figures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("figure", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("result_ids", sa.Text(), nullable=False),
        sa.Column("invocation_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_figures_invocation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_figures")),
    )
    op.create_index(op.f("ix_figures_created_at"), "figures", ["created_at"], unique=False)
    op.create_index(op.f("ix_figures_figure"), "figures", ["figure"], unique=False)
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("architecture_id", sa.Integer(), nullable=False),
        sa.Column("arch", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("symmetry", sa.Text(), nullable=False),
        sa.Column("kappa", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("fixed_hash", sa.Text(), nullable=True),
        sa.Column("fixed_path", sa.Text(), nullable=True),
        sa.Column("fixed_sha256", sa.Text(), nullable=True),
        sa.Column("data_fingerprint", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["architecture_id"], ["architectures.id"], name=op.f("fk_groups_architecture_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("key", name=op.f("uq_groups_key")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
    )
    op.create_index(op.f("ix_groups_arch"), "groups", ["arch"], unique=False)
    op.create_index(op.f("ix_groups_created_at"), "groups", ["created_at"], unique=False)
    op.create_index(op.f("ix_groups_dataset"), "groups", ["dataset"], unique=False)
    op.create_index(op.f("ix_groups_kappa"), "groups", ["kappa"], unique=False)
    op.create_index(op.f("ix_groups_symmetry"), "groups", ["symmetry"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("specification", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=True),
        sa.Column("mask_seed", sa.Integer(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("invocation_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_runs_group_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_runs_invocation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("hash", name=op.f("uq_runs_hash")),
    )
    op.create_index(op.f("ix_runs_group_id"), "runs", ["group_id"], unique=False)
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("member", sa.Integer(), nullable=False),
        sa.Column("init_seed", sa.Integer(), nullable=True),
        sa.Column("order_seed", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("failed_epoch", sa.Integer(), nullable=True),
        sa.Column("source_path", sa.Text(), nullable=True),
        sa.Column("source_index", sa.Integer(), nullable=True),
        sa.Column("invocation_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('training', 'complete', 'interrupted', 'failed')", name=op.f("ck_models_status")
        ),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_models_group_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_models_invocation_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_models_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("group_id", "number", name=op.f("uq_models_group_id_number")),
        sa.UniqueConstraint("run_id", "member", name=op.f("uq_models_run_id_member")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_checkpoints_model_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("model_id", "epoch", name=op.f("uq_checkpoints_model_id_epoch")),
        sa.UniqueConstraint("path", name=op.f("uq_checkpoints_path")),
    )
    op.create_index(op.f("ix_checkpoints_epoch"), "checkpoints", ["epoch"], unique=False)
    op.create_index(op.f("ix_checkpoints_sha256"), "checkpoints", ["sha256"], unique=False)
    op.create_index(op.f("ix_checkpoints_source_sha256"), "checkpoints", ["source_sha256"], unique=False)
    op.create_table(
        "epochs",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Float(), nullable=True),
        sa.Column("train_accuracy", sa.Float(), nullable=True),
        sa.Column("val_loss", sa.Float(), nullable=True),
        sa.Column("val_accuracy", sa.Float(), nullable=True),
        sa.Column("test_loss", sa.Float(), nullable=True),
        sa.Column("test_accuracy", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_epochs_model_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "epoch", name=op.f("pk_epochs")),
    )
    op.create_table(
        "results",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("result_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("model_a", sa.Integer(), nullable=True),
        sa.Column("model_b", sa.Integer(), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("checkpoints", sa.Text(), nullable=False),
        sa.Column("data_fingerprint", sa.Text(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("artifact_path", sa.Text(), nullable=True),
        sa.Column("artifact_sha256", sa.Text(), nullable=True),
        sa.Column("invocation_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_results_group_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_results_invocation_id")),
        sa.ForeignKeyConstraint(["model_a"], ["models.id"], name=op.f("fk_results_model_a"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["model_b"], ["models.id"], name=op.f("fk_results_model_b"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
        sa.UniqueConstraint("key", name=op.f("uq_results_key")),
        sa.UniqueConstraint("result_id", name=op.f("uq_results_result_id")),
    )
    op.create_index(op.f("ix_results_created_at"), "results", ["created_at"], unique=False)
    op.create_index(op.f("ix_results_epoch"), "results", ["epoch"], unique=False)
    op.create_index(op.f("ix_results_group_id"), "results", ["group_id"], unique=False)
    op.create_index("ix_results_kind_group_id", "results", ["kind", "group_id"], unique=False)


def downgrade() -> None:

    op.drop_index("ix_results_kind_group_id", table_name="results")
    op.drop_index(op.f("ix_results_group_id"), table_name="results")
    op.drop_index(op.f("ix_results_epoch"), table_name="results")
    op.drop_index(op.f("ix_results_created_at"), table_name="results")
    op.drop_table("results")
    op.drop_table("epochs")
    op.drop_index(op.f("ix_checkpoints_source_sha256"), table_name="checkpoints")
    op.drop_index(op.f("ix_checkpoints_sha256"), table_name="checkpoints")
    op.drop_index(op.f("ix_checkpoints_epoch"), table_name="checkpoints")
    op.drop_table("checkpoints")
    op.drop_table("models")
    op.drop_index(op.f("ix_runs_group_id"), table_name="runs")
    op.drop_table("runs")
    op.drop_index(op.f("ix_groups_symmetry"), table_name="groups")
    op.drop_index(op.f("ix_groups_kappa"), table_name="groups")
    op.drop_index(op.f("ix_groups_dataset"), table_name="groups")
    op.drop_index(op.f("ix_groups_created_at"), table_name="groups")
    op.drop_index(op.f("ix_groups_arch"), table_name="groups")
    op.drop_table("groups")
    op.drop_index(op.f("ix_figures_figure"), table_name="figures")
    op.drop_index(op.f("ix_figures_created_at"), table_name="figures")
    op.drop_table("figures")
    op.drop_index(op.f("ix_invocations_started_at"), table_name="invocations")
    op.drop_table("invocations")
    op.drop_index(op.f("ix_architectures_name"), table_name="architectures")
    op.drop_table("architectures")
