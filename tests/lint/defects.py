"""Planted defects: what is wrong with a revision, and the rule that has to find it, at the line marked `# !`."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

_SCRIPT = '''"""{message}

Revision ID: {revision}
Revises: {down}
Create Date: {created}

"""
{top}import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}


def upgrade() -> None:
{up}

{back}'''
_BACK = "\ndef downgrade() -> None:\n"


@dataclass(frozen=True)
class Defect:
    """Bodies of `upgrade` and `downgrade` (`None`: there is no such function) and the rule of lint that they break.

    Without a line marked `# !` only the file counts. `after` says what it follows: the defect before it, else a
    revision of the sample project. `tested` is what `alembic-job test` has to report of it, in a text with `words`.
    Lint need not find what has no rule, `test` not what is not `tested`.
    """

    rule: str
    up: str
    down: str | None = 'op.execute("SELECT 1")'
    message: str = "A change"
    created: str = "2026-01-01 00:00:00"
    top: str = ""
    after: str = ""
    tested: str = ""
    words: str = ""

    def script(self, revision: str, down: str) -> str:
        back = "" if self.down is None else _BACK + _body(self.down) + "\n"
        given = {"message": self.message, "created": self.created, "top": self.top and self.top + "\n"}
        return _SCRIPT.format(revision=revision, down=self.after or down, up=_body(self.up), back=back, **given)


def _body(code: str) -> str:
    return textwrap.indent(textwrap.dedent(code).strip(), "    ")


def line_marked(script: str) -> int | None:
    """The line of the mark, if there is one."""
    return next((number for number, line in enumerate(script.splitlines(), 1) if line.endswith("# !")), None)


ADD = 'op.add_column("users", sa.Column("note{}", sa.Text()))'
DROP = 'op.drop_column("users", "note{}")'
LABEL = "op.execute(\"ALTER TYPE order_status ADD VALUE 'lost'\")"

DEFECTS = (
    Defect("missing-downgrade", ADD.format(1), None, tested="one way", words="it has no downgrade()"),
    Defect("missing-downgrade", 'op.execute("UPDATE users SET name = email WHERE name IS NULL")', None),
    Defect("empty-downgrade", ADD.format(2), "pass  # nothing", tested="downgrade_differs", words="+    note2 text"),
    Defect(
        "empty-downgrade",
        "op.execute(\"CREATE TYPE mood AS ENUM ('good', 'bad')\")",
        '"""Stays."""\nreturn None',
        tested="downgrade_differs",
        words="+CREATE TYPE public.mood AS ENUM (",
    ),
    Defect(
        "downgrade-not-inverse",
        """
        op.create_table(  # !
            "jobs",
            sa.Column("id", sa.BigInteger(), primary_key=True),
            sa.Column("state", sa.Enum("new", "done", name="job_state")),
        )
        """,
        'op.drop_table("jobs")',
        tested="downgrade_differs",
        words="+CREATE TYPE public.job_state AS ENUM (",
    ),
    Defect(
        "downgrade-not-inverse",
        f"{ADD.format(3)}\n{ADD.format(4)}  # !",
        DROP.format(3),
        tested="downgrade_differs",
        words="+    note4 text",
    ),
    Defect(
        "downgrade-not-inverse",
        'op.drop_constraint("uq_users_email", "users")  # !',
        tested="downgrade_differs",
        words="-    ADD CONSTRAINT uq_users_email UNIQUE (email)",
    ),
    Defect("non-linear-dates", ADD.format(6), DROP.format(6), created="2025-12-31 23:59:59"),
    Defect("non-linear-dates", ADD.format(7), DROP.format(7), created="2024-02-29T10:00:00+02:00"),
    Defect("no-message", ADD.format(8), DROP.format(8), message="empty message"),
    Defect("no-message", ADD.format(9), DROP.format(9), message=""),
    Defect(
        "data-and-schema",
        f'{ADD.format(10)}\nop.execute("UPDATE users SET note10 = name WHERE note10 IS NULL")  # !',
        DROP.format(10),
    ),
    Defect(
        "data-and-schema",
        """
        op.bulk_insert(sa.table("products", sa.column("sku", sa.Text())), [{"sku": "A-1"}])  # !
        op.alter_column("products", "name", server_default="?")
        """,
        'op.alter_column("products", "name", server_default=None)',
    ),
    Defect(
        "not-transactional",
        'op.create_index("ix_users_name", "users", ["name"], postgresql_concurrently=True)  # !',
        'op.drop_index("ix_users_name")',
        tested="upgrade_failed",
        words="CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
    ),
    Defect(
        "not-transactional",
        'op.execute("VACUUM ANALYZE orders")  # !',
        tested="upgrade_failed",
        words="VACUUM cannot run inside a transaction block",
    ),
    Defect("commits-itself", 'op.execute("COMMIT")  # !'),
    Defect(
        "commits-itself",
        'bind = op.get_bind()\nbind.execute(sa.text("DELETE FROM users WHERE id < 0"))\nbind.commit()  # !',
    ),
    Defect("imports-models", "User.__table__", top="from app.models import User  # !"),
    Defect("imports-models", "import app.models.order as orders  # !\nassert orders"),
    Defect(
        "formatted-sql",
        """
        for row in op.get_bind().execute(sa.text("SELECT id, name FROM users")):
            op.execute(f"UPDATE users SET name = '{row.name.title()}' WHERE id = {row.id}")  # !
        """,
    ),
    Defect(
        "formatted-sql",
        """
        import os
        owner = os.environ.get("OWNER", "app")
        op.execute("UPDATE users SET name = '%s' WHERE id = 1" % owner)  # !
        """,
    ),
    Defect(
        "enum-value-used",
        f"{LABEL}\nop.execute(\"UPDATE orders SET status = 'lost' WHERE id < 0\")  # !",
        tested="upgrade_failed",
        words="New enum values must be committed before they can be used",
    ),
    Defect(
        "enum-value-used",
        LABEL.replace("lost", "gone")
        + '\nop.alter_column("orders", "status", server_default=sa.text("\'gone\'::order_status"))  # !',
        tested="upgrade_failed",
        words="New enum values must be committed before they can be used",
    ),
    Defect(
        "invalid-sql",
        'op.execute("UPDATE orders SET status")  # !',
        tested="upgrade_failed",
        words="syntax error at end of input",
    ),
    Defect(
        "invalid-sql",
        'op.execute("SELECT 1")',
        'op.execute("DROP TALBE orders")  # !',
        tested="downgrade_failed",
        words='syntax error at or near "TALBE"',
    ),
    Defect("empty-revision", "pass", "pass"),
    Defect("empty-revision", '"""Nothing yet."""', "..."),
    Defect("not-rendered", "assert sa.inspect(op.get_bind()).get_table_names()"),
    Defect("not-rendered", 'op.get_bind().execute(sa.text("SELECT count(*) FROM users")).scalar_one()'),
    Defect("ignore-without-reason", ADD.format(11) + "  # alembic-job: ignore[data-and-schema]", DROP.format(11)),
    Defect("ignore-without-reason", ADD.format(12) + "  # alembic-job: ignore because I can", DROP.format(12)),
    Defect("unused-ignore", ADD.format(13) + "  # alembic-job: ignore[invalid-sql] it was once", DROP.format(13)),
    Defect(
        "unused-ignore", ADD.format(14), DROP.format(14), top="# alembic-job: ignore[no-mesage] a name that is none"
    ),
    Defect(
        "squawk/require-concurrent-index-creation",
        'op.create_index("ix_orders_status", "orders", ["status"])  # !',
        'op.drop_index("ix_orders_status")',
    ),
    Defect(
        "squawk/adding-required-field",
        'op.add_column("users", sa.Column("age", sa.Integer(), nullable=False))  # !',
        'op.drop_column("users", "age")',
    ),
    Defect(
        "squawk/constraint-missing-not-valid",
        'op.create_check_constraint("ck_users_name", "users", "name <> \'\'")  # !',
        'op.drop_constraint("ck_users_name", "users")',
    ),
    Defect(
        "squawk/changing-column-type",
        'op.alter_column("products", "quantity", type_=sa.BigInteger())  # !',
        'op.alter_column("products", "quantity", type_=sa.Integer())',
    ),
    Defect("squawk/renaming-column", 'op.alter_column("users", "name", new_column_name="called")  # !'),
    Defect(
        "squawk/ban-truncate-cascade", 'op.execute("TRUNCATE users CASCADE")\nop.execute("ALTER TABLE users ADD b int")'
    ),
)
# Those that are a matter of the whole project: two revisions that follow one, one id in two files.
FORK = (
    Defect("multiple-heads", ADD.format(20), DROP.format(20)),
    Defect("multiple-heads", ADD.format(21), DROP.format(21)),
)
TWIN = (
    Defect("duplicate-revision", ADD.format(22), DROP.format(22)),
    Defect("duplicate-revision", ADD.format(23), DROP.format(23)),
)
# What looks like a defect and is none.
FINE = (
    # Filling a table that the revision makes, and a downgrade in other words.
    """
def upgrade() -> None:
    op.create_table("roles", sa.Column("id", sa.BigInteger(), primary_key=True), sa.Column("name", sa.Text()))
    op.create_index("ix_roles_name", "roles", ["name"])
    op.execute("INSERT INTO roles (id, name) VALUES (1, 'admin')")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS public.roles")
""",
    # A revision that must not be undone, and says so; SQL that is put together from constants.
    """
TABLES = ("users", "orders")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"COMMENT ON TABLE {table} IS 'of the shop'")


def downgrade() -> None:
    raise NotImplementedError("the comments stay")
""",
    # DDL takes no parameters.
    """
def upgrade() -> None:
    import os

    owner = os.environ.get("OWNER", "app")
    op.execute(f"COMMENT ON TABLE users IS 'of {owner}'")


def downgrade() -> None:
    op.execute("COMMENT ON TABLE users IS NULL")
""",
    # An enum that is made anew by renaming, and committed values.
    """
def upgrade() -> None:
    op.execute("ALTER TYPE order_status RENAME TO order_status_old")
    op.execute("CREATE TYPE order_status AS ENUM ('open', 'closed')")
    op.execute("DROP TYPE order_status_old")
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE order_status ADD VALUE 'lost'")
    op.execute("UPDATE users SET name = 'lost' WHERE id < 0")


def downgrade() -> None:
    op.execute("ALTER TYPE order_status RENAME TO order_status_new")
    op.execute("CREATE TYPE order_status AS ENUM ('pending')")
    op.execute("DROP TYPE order_status_new")
""",
    # A Session on the revision's connection commits nothing; the comment above the line holds for it.
    """
def upgrade() -> None:
    with sa.orm.Session(bind=op.get_bind()) as session:
        session.commit()
    # alembic-job: ignore[squawk/prefer-timestamp-tz] the customer's clock, wherever that is
    op.add_column("users", sa.Column("woken", sa.DateTime()))


def downgrade() -> None:
    op.drop_column("users", "woken")
""",
)
