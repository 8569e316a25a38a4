"""A project of as many revisions as asked for: stock ini and env.py, every kind of everyday change in turn."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.projects.project import TREES

_REVISION = '''"""{title}

Revision ID: {revision}
Revises: {down}

"""
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {back}
'''

# A table of five revisions: what each does to it, and takes back.
_CHANGES = (
    (
        "create",
        'op.create_table("{table}", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.Text()))',
        'op.drop_table("{table}")',
    ),
    (
        "column",
        'op.add_column("{table}", sa.Column("size", sa.Integer(), server_default="0", nullable=False))',
        'op.drop_column("{table}", "size")',
    ),
    (
        "index",
        'op.create_index("ix_{table}_name", "{table}", ["name"])',
        'op.drop_index("ix_{table}_name", table_name="{table}")',
    ),
    (
        "data",
        "op.execute(\"INSERT INTO {table} (id, name) SELECT n, 'name ' || n FROM generate_series(1, 3) n\")",
        'op.execute("DELETE FROM {table}")',
    ),
    (
        "constraint",
        'op.create_check_constraint("ck_{table}_size", "{table}", "size >= 0")',
        'op.drop_constraint("ck_{table}_size", "{table}")',
    ),
)


def revision_ids(count: int) -> list[str]:
    """The ids of a generated project's revisions, in order."""
    return [f"{number:012x}" for number in range(1, count + 1)]


def write_project(folder: Path, count: int) -> list[str]:
    """Writes a project of `count` revisions (the ini's URL is Alembic's placeholder); returns their ids in order."""
    shutil.copytree(TREES / "_env", folder, dirs_exist_ok=True)
    versions = folder / "migrations" / "versions"
    versions.mkdir()
    ids = revision_ids(count)
    for number, revision in enumerate(ids):
        change, up, back = _CHANGES[number % len(_CHANGES)]
        table = f"table_{number // len(_CHANGES):04}"
        down = ids[number - 1] if number else None
        text = _REVISION.format(
            title=f"{table}: {change}",
            revision=revision,
            down=down,
            up=up.format(table=table),
            back=back.format(table=table),
        )
        (versions / f"{revision}_{table}_{change}.py").write_text(text)
    return ids
