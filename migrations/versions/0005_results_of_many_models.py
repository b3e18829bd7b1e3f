"""the models of results that are about more than a pair

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "result_models",
        sa.Column("result_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result_id"], ["results.id"], name=op.f("fk_result_models_result_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_result_models_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("result_id", "place", name=op.f("pk_result_models")),
    )
    op.create_index(op.f("ix_result_models_model_id"), "result_models", ["model_id"], unique=False)


def downgrade() -> None:
    op.execute("DELETE FROM results WHERE id IN (SELECT result_id FROM result_models)")
    op.drop_index(op.f("ix_result_models_model_id"), table_name="result_models")
    op.drop_table("result_models")
