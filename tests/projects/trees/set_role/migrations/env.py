import os

from alembic import context
from sqlalchemy import create_engine, event

engine = create_engine(os.environ["DATABASE_URL"])


@event.listens_for(engine, "connect")
def become_owner(dbapi_connection, _record):
    with dbapi_connection.cursor() as cursor:
        cursor.execute("SET ROLE shop_owner")
    dbapi_connection.commit()


with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
