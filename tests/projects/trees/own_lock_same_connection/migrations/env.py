import os
from contextlib import contextmanager

from alembic import context
from sqlalchemy import create_engine, text


@contextmanager
def locked(connection):
    if not connection.scalar(text("SELECT pg_try_advisory_lock(72707369)")):
        raise RuntimeError("another process migrates")
    connection.commit()
    try:
        yield
    finally:
        connection.execute(text("SELECT pg_advisory_unlock_all()"))
        connection.commit()


with create_engine(os.environ["DATABASE_URL"]).connect() as connection, locked(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
