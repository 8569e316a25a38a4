from alembic import context
from sqlalchemy import create_engine

arguments = context.get_x_argument(as_dictionary=True)
if "dburl" not in arguments:
    raise SystemExit("usage: alembic -x dburl=...")

with create_engine(arguments["dburl"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
