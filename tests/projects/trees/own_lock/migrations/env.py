import os

from alembic import context
from sqlalchemy import create_engine, text

KEY = 1

engine = create_engine(os.environ["DATABASE_URL"])
with engine.connect() as guard:
    guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": KEY})
    try:
        with engine.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('alembic'))"))
                connection.execute(text("SELECT pg_advisory_xact_lock(1, 1)"))
                context.run_migrations()
    finally:
        guard.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": KEY})
