from alembic import context
from shop import create_app

with create_app().connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
