import os

from alembic import context
from sqlalchemy import create_engine

with create_engine(os.environ["DATABASE_URL"], isolation_level="AUTOCOMMIT").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
