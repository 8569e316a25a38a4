import os
import sys

from alembic import context
from sqlalchemy import create_engine


def main() -> int:
    with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
        # a look first: this project warns when it is about to migrate
        context.configure(connection=connection)
        if context.get_context().get_current_revision() is None:
            print("a new database")
        connection.rollback()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    return 0


sys.exit(main())
