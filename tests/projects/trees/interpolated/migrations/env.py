import os

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
section = config.config_ini_section
for name in ("DB_USER", "DB_PASS", "DB_HOST", "DB_NAME"):
    config.set_section_option(section, name, os.environ[name])

engine = engine_from_config(config.get_section(section), prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
