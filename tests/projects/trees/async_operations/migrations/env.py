import asyncio
import os

import plugin  # noqa: F401
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def run(connection) -> None:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
