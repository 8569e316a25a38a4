import os

import psycopg2
from alembic import context
from sqlalchemy import create_engine


def connect():
    return psycopg2.connect(os.environ["SHOP_DSN"])


with create_engine("postgresql+psycopg2://", creator=connect).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
