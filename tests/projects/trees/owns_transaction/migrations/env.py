import os

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"], future=True)
with engine.connect() as connection:
    with connection.begin() as transaction:
        context.configure(connection=connection)
        context.run_migrations()
        connection.execute(text("CREATE TABLE IF NOT EXISTS migrated (once int PRIMARY KEY)"))
        transaction.commit()
