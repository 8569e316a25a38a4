from alembic import context
from shop_models import metadata
from sqlalchemy import engine_from_config, pool

config = context.config
with engine_from_config(config.get_section("alembic"), poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
