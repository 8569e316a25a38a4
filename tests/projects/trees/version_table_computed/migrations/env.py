import os

from alembic import context
from sqlalchemy import engine_from_config, pool
from sqlalchemy.schema import CreateSchema

config = context.config
service = os.environ["SERVICE_NAME"].title().replace("-", "")
engine = engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.", poolclass=pool.NullPool)

with engine.begin() as connection:
    connection.execute(CreateSchema(f"{service} Versions", if_not_exists=True))

with engine.connect() as connection:
    context.configure(
        connection=connection,
        version_table=f"alembic_version_{service}",
        version_table_schema=f"{service} Versions",
        include_schemas=True,
    )
    with context.begin_transaction():
        context.run_migrations()
