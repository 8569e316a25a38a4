import os

from alembic import context
from sqlalchemy import create_engine, text

config = context.config
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS store"))
    connection.commit()
    config.attributes["prefix"] = "shop_"
    context.configure(connection)
    with context.begin_transaction():
        context.run_migrations()
