import os

from alembic import context
from sqlalchemy import create_engine, event, text

engine = create_engine(
    os.environ["DATABASE_URL"],
    connect_args={"options": "-c statement_timeout=61000 -csearch_path=store,public", "application_name": "shop-migrations"},
)


@event.listens_for(engine, "connect")
def set_timeouts(dbapi_connection, _record):
    cursor = dbapi_connection.cursor()
    cursor.execute("SET idle_in_transaction_session_timeout = '62s'")
    cursor.close()
    dbapi_connection.commit()


@event.listens_for(engine, "before_cursor_execute", retval=True)
def comment(connection, cursor, statement, parameters, execution_context, many):
    return statement + " -- shop", parameters


with engine.begin() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS store"))

with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        connection.execute(text("SET LOCAL lock_timeout = '63s'"))
        context.run_migrations()
