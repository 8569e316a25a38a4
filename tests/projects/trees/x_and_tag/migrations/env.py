import os

from alembic import context
from sqlalchemy import create_engine, text

x = context.get_x_argument(as_dictionary=True)
if context.get_x_argument() != ["schema=store", "flag", "equation=a=b"]:
    raise ValueError(f"-x lost something: {context.get_x_argument()}")
if context.get_tag_argument() != "release 1.4":
    raise ValueError(f"--tag lost: {context.get_tag_argument()!r}")

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {x['schema']}"))
    connection.execute(text(f"SET search_path TO {x['schema']}"))
    connection.commit()
    connection.dialect.default_schema_name = x["schema"]
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
