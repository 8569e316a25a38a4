from alembic import context
from shop.db import url
from sqlalchemy import create_engine

config = context.config
assert config.config_file_name is None or config.config_file_name.endswith("alembic.ini")

with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
