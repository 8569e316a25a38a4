from logging.config import fileConfig  # noqa: F401

from alembic import context
from shop.settings import settings
from sqlalchemy import engine_from_config, pool

config = context.config


def get_url() -> str:
    return str(settings.sqlalchemy_database_uri)


def run_migrations_online() -> None:
    configuration = config.get_section(config.config_ini_section)
    assert configuration is not None
    configuration["sqlalchemy.url"] = get_url()
    connectable = engine_from_config(configuration, prefix="sqlalchemy.", poolclass=pool.NullPool)
    with connectable.connect() as connection:
        context.configure(connection=connection, target_metadata=None, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()


run_migrations_online()
