import os

from alembic import context
from sqlalchemy import create_engine, text

cache = create_engine("sqlite:///cache.db")
with cache.begin() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS runs (id integer primary key)"))
    connection.execute(text("INSERT INTO runs DEFAULT VALUES"))

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        with cache.connect() as other:
            other.execute(text("SELECT count(*) FROM runs"))
            context.run_migrations()
