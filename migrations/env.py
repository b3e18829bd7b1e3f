"""Alembic's environment: runs on the connection that nid hands over, inside its transaction."""

from alembic import context
from sqlalchemy import create_engine

from nid_cli.registry.tables import VERSION_TABLE, metadata


def run(connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    run(connection)
else:  # developers: alembic -c migrations/alembic.ini -x db=FILE revision --autogenerate -m "..."
    engine = create_engine(f"sqlite:///{context.get_x_argument(as_dictionary=True)['db']}")
    with engine.connect() as own:
        run(own)
