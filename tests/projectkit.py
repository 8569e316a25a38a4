"""Writes small Alembic projects for tests."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

INI = """\
[alembic]
script_location = %(here)s/migrations
prepend_sys_path = .
"""

ENV = """\
import os
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def revision_text(number: int, upgrade: str, downgrade: str = "pass", down: str | None = None) -> str:
    """A revision file `r<number>`; `upgrade` and `downgrade` are bodies of Python."""
    parent = down if down is not None else (f"r{number - 1}" if number > 1 else None)
    return (
        f'"""step {number}"""\nimport time\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        f"revision = 'r{number}'\ndown_revision = {parent!r}\n\n\ndef upgrade():\n"
        + textwrap.indent(textwrap.dedent(upgrade).strip(), "    ")
        + "\n\n\ndef downgrade():\n"
        + textwrap.indent(textwrap.dedent(downgrade).strip(), "    ")
        + "\n"
    )


def sql(statement: str) -> str:
    """The body of an upgrade that executes one statement."""
    return f"op.execute({statement!r})"


def make_project(folder: Path, upgrades: Sequence[str], *, env: str = ENV, ini: str = INI) -> Path:
    """A project whose revisions r1, r2, … have these bodies of `upgrade`."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text(ini)
    (folder / "migrations" / "env.py").write_text(env)
    (folder / "migrations" / "script.py.mako").write_text("")
    for number, upgrade in enumerate(upgrades, 1):
        add_revision(folder, number, upgrade)
    return folder


def add_revision(folder: Path, number: int, upgrade: str, downgrade: str = "pass", down: str | None = None) -> Path:
    file = folder / "migrations" / "versions" / f"r{number}_.py"
    file.write_text(revision_text(number, upgrade, downgrade, down))
    return file
