import asyncio
import concurrent.futures
import os

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def do_run_migrations(connection) -> None:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def run_async_migrations() -> None:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(do_run_migrations)
    await engine.dispose()


with concurrent.futures.ThreadPoolExecutor(1) as executor:
    executor.submit(asyncio.run, run_async_migrations()).result()
