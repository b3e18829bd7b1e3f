"""accuracy at the midpoint, stored with every result of lmc

Older records hold the error barrier at 1/2 and the accuracies of the ends, which determine it.

Revision ID: 0003
Revises: 0002
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SPLITS = ("train", "val", "test")
RESULTS = sa.table("results", sa.column("id"), sa.column("kind"), sa.column("record"))


def _midpoint(record: dict, split: str) -> float | None:
    """The accuracy at 1/2: a point of the curve where it is one, else the ends' mean minus the error's rise there."""
    accuracies, lambdas = record[f"{split}_accuracy"], record["lambdas"]
    if accuracies is None:
        return None
    if 0.5 in lambdas:
        return accuracies[lambdas.index(0.5)]
    return (accuracies[0] + accuracies[-1]) / 2 - record[f"{split}_error_barrier_mid"]


def upgrade() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.select(RESULTS.c.id, RESULTS.c.record).where(RESULTS.c.kind == "lmc")).all()
    for row in rows:
        record = json.loads(row.record)
        middle = {f"{split}_accuracy_mid": _midpoint(record, split) for split in SPLITS}
        text = json.dumps(record | middle)
        connection.execute(RESULTS.update().where(RESULTS.c.id == row.id).values(record=text))


def downgrade() -> None:
    pass  # an older program ignores the field
