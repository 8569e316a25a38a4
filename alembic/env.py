"""How Alembic reaches this project's models and database."""

from logging.config import fileConfig
from typing import Any

from alembic import context
from app.database import database_url
from app.models import Base
from sqlalchemy import create_engine, pool

OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "compare_type": True,
    "compare_server_default": True,
    # An index built CONCURRENTLY commits what came before it: let that be whole revisions.
    "transaction_per_migration": True,
}


def run_migrations_offline() -> None:
    """Writes the SQL (`alembic upgrade head --sql`); no database, not even its address, is needed."""
    context.configure(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    """Runs the migrations in the database of DATABASE_URL."""
    with create_engine(database_url(), poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
