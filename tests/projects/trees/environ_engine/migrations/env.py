import os

from alembic import context
from sqlalchemy import create_engine

url = os.environ["DATABASE_URL"]
if url.startswith("postgres://"):  # Heroku
    url = url.replace("postgres://", "postgresql://", 1)
engine = create_engine(url, pool_pre_ping=True)

with engine.connect() as connection:
    context.configure(connection=connection, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
