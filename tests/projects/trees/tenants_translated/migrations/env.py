import os

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"])

for schema in ("acme", "globex"):
    with engine.begin() as setup:
        setup.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    with engine.connect().execution_options(schema_translate_map={None: schema, "tenant": schema}) as connection:
        context.configure(connection=connection, version_table=f"version_{schema}", version_table_schema="public")
        with context.begin_transaction():
            context.run_migrations(tenant=schema)
