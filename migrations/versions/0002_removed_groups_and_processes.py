"""removed groups, and the processes of commands

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("groups", sa.Column("deleted_at", sa.Text(), nullable=True))
    op.create_index(op.f("ix_groups_deleted_at"), "groups", ["deleted_at"], unique=False)
    op.add_column("invocations", sa.Column("process", sa.Text(), nullable=True))
    op.add_column("invocations", sa.Column("heartbeat_at", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("invocations", "heartbeat_at")
    op.drop_column("invocations", "process")
    op.drop_index(op.f("ix_groups_deleted_at"), table_name="groups")
    op.drop_column("groups", "deleted_at")
