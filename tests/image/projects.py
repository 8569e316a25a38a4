"""Small Alembic projects as their owners keep them, written into a folder."""

from __future__ import annotations

from pathlib import Path

_INI = """\
[alembic]
script_location = {location}
prepend_sys_path = .
"""

_ENV = """\
import os

from alembic import context
from sqlalchemy import create_engine
{imports}

with create_engine(os.environ["DATABASE_URL"]{url}).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

_REVISION = '''\
"""{name}"""

from alembic import op

revision = "{name}"
down_revision = {before!r}


def upgrade():
    op.execute("""{up}""")


def downgrade():
    op.execute("""{down}""")
'''


def write_project(
    folder: Path,
    *statements: str,
    location: str = "%(here)s/migrations",
    imports: str = "",
    url: str = "",
) -> Path:
    """A project of one revision per statement, named r1, r2, …; `imports` and `url` go into its env.py.

    Everything is readable for the container's user, whatever the umask here.
    """
    scripts = folder / location.removeprefix("%(here)s/")
    (scripts / "versions").mkdir(parents=True)
    (folder / "alembic.ini").write_text(_INI.format(location=location))
    (scripts / "env.py").write_text(_ENV.format(imports=imports, url=url))
    for number, statement in enumerate(statements, start=1):
        before = f"r{number - 1}" if number > 1 else None
        text = _REVISION.format(name=f"r{number}", before=before, up=statement, down=f"DROP TABLE t{number}")
        (scripts / "versions" / f"r{number}.py").write_text(text)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder
