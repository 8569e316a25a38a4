import os

from alembic import context
from sqlalchemy import create_engine

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection, upgrade_token="shop_up", downgrade_token="shop_down")
    with context.begin_transaction():
        context.run_migrations(tenant="acme", engine_name="shop", dry=False)
