import asyncio
import os

from alembic import context
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

config = context.config


def do_run_migrations(connection) -> None:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def run_async_migrations() -> None:
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        await connection.run_sync(do_run_migrations)


connectable = config.attributes.get("connection", None)
if connectable is None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(run_async_migrations())
else:
    do_run_migrations(connectable)
