import os
from pathlib import Path

from alembic import context
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

assert not context.is_offline_mode()
HEAD = "9d2f7c3e8b34"
assert context.get_head_revision() == HEAD
assert context.get_head_revisions() == (HEAD,)
asked = context.get_revision_argument()
assert asked in (HEAD, "5b8e4d6a1c22", "-1"), asked
assert context.get_tag_argument() is None
assert context.get_x_argument() == []
config = context.config
assert config.get_main_option("script_location") == "migrations"
assert Path(config.config_file_name).name == "alembic.ini"
assert config.config_ini_section == "alembic"
assert config.attributes.get("connection") is None
assert ScriptDirectory.from_config(config).get_current_head() == HEAD
assert context.script.dir and isinstance(context.script, ScriptDirectory)

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    migration_context = context.get_context()
    assert migration_context.get_current_revision() in (None, HEAD, "5b8e4d6a1c22")
    assert context.get_bind() is connection
    assert context.is_transactional_ddl()
    with context.begin_transaction():
        context.run_migrations()
    assert migration_context.bind is connection
