"""sweeps with their groups and commands, and the workers that trained models

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("last_run_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
        sa.UniqueConstraint("name", "hash", name=op.f("uq_sweeps_name_hash")),
    )
    op.create_table(
        "sweep_groups",
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name=op.f("fk_sweep_groups_sweep_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_sweep_groups_group_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep_id", "group_id", name=op.f("pk_sweep_groups")),
    )
    op.create_index(op.f("ix_sweep_groups_group_id"), "sweep_groups", ["group_id"], unique=False)
    # Alembic adds a column and its reference in two steps, of which SQLite has no second.
    op.execute(
        "ALTER TABLE invocations ADD COLUMN sweep_id INTEGER CONSTRAINT fk_invocations_sweep_id REFERENCES sweeps (id)"
    )
    op.add_column("models", sa.Column("worker", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "worker")
    with op.batch_alter_table("invocations") as table:
        table.drop_column("sweep_id")
    op.drop_index(op.f("ix_sweep_groups_group_id"), table_name="sweep_groups")
    op.drop_table("sweep_groups")
    op.drop_table("sweeps")
