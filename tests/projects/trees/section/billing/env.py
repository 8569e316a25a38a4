from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
options = config.get_section(config.config_ini_section)
with engine_from_config(options, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, version_table=config.get_main_option("version_table"))
    with context.begin_transaction():
        context.run_migrations()
