import os

from alembic import command, context
from sqlalchemy import create_engine, text

config = context.config
options = config.cmd_opts
function, positional, keywords = options.cmd
if function not in (command.upgrade, command.downgrade) or positional != ["revision"]:
    raise ValueError(f"not alembic upgrade: {options.cmd}")
if (options.x, options.name, options.sql) != (["loud=1"], "alembic", False) or set(keywords) != {"sql", "tag"}:
    raise ValueError(f"the namespace of `alembic upgrade` has more: {options}")
if getattr(options, "autogenerate", False):
    raise ValueError("autogenerate")
for name in ("config", "raiseerr", "revision", "tag"):
    getattr(options, name)

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS started (command text PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO started VALUES ('{function.__name__}') ON CONFLICT DO NOTHING"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
