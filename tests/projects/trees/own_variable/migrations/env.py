import os
import sys

from alembic import context
from sqlalchemy import create_engine

if "SHOP_DSN" not in os.environ:
    sys.exit("SHOP_DSN is not set")

with create_engine(os.environ["SHOP_DSN"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
