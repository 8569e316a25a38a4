"""Step 2: what can be known before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from alembic_job.errors import LoginFailed, ProjectError, Refused
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.project import Project
from alembic_job.logs.events import Log
from alembic_job.model import VersionTable

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

_TABLE = """
    SELECT (SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), oid, datname)
            FROM pg_database WHERE datname = current_database()),
           n.nspname, current_schema()
    FROM (SELECT to_regclass('{name}') AS oid) found
    LEFT JOIN pg_class c ON c.oid = found.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"""

_OTHER_TABLES = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{own}')
    AND n.nspname !~ '^pg_(toast|temp)' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
    AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"""


def ask(context: MigrationContext, sql: str) -> list[tuple[Any, ...]]:
    """Runs a query on the project's own connection and leaves no transaction behind that was not there before."""
    connection = context.connection
    assert connection is not None
    with kept_transaction(context):
        return [tuple(row) for row in connection.exec_driver_sql(sql.replace("%", "%%") if "%" in sql else sql)]


class kept_transaction:
    """Ends the transaction that SQLAlchemy begins by itself for what is asked inside, unless one was open before.

    An open one would hold a snapshot while the run waits, and Alembic would take it for the caller's.
    """

    def __init__(self, context: MigrationContext) -> None:
        self.connection = context.connection
        self.was_open = bool(getattr(self.connection, "in_transaction", lambda: True)())

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        rollback = getattr(self.connection, "rollback", None)
        if not self.was_open and rollback is not None:
            rollback()


def version_table(context: MigrationContext) -> VersionTable:
    """Where the version table is, or will be, as the project's own connection sees it."""
    schema, name = context.version_table_schema, context.version_table
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name) if part)
    [[database, found, current]] = ask(context, _TABLE.format(name=quoted.replace("'", "''")))
    return VersionTable(database, found or schema or current or "public", name, found is not None)


def current_heads(context: MigrationContext) -> tuple[str, ...]:
    """What the version table holds, sorted; no transaction is left open."""
    with kept_transaction(context):
        return tuple(sorted(context.get_current_heads()))


def check_target(project: Project, target: str) -> None:
    """The target exists, and is one head unless it was named otherwise. Raises `ProjectError` (22)."""
    heads = project.heads()
    if target == "head" and len(heads) > 1:
        names = ", ".join(sorted(heads))
        raise ProjectError(
            f"Multiple head revisions: {names}",
            hint=f"join them with {merge_command(heads)} and commit the new file; or name heads (--to heads) if the "
            "branches are meant",
        )
    if not any(sign in target for sign in "+-@:"):  # relative and branch targets depend on the database
        with project_errors():
            project.script.get_revisions(target)


def merge_command(heads: Iterable[str]) -> str:
    """What joins these heads, for people."""
    return f"`alembic-job merge -m 'merge heads' {' '.join(sorted(heads))}`"


def check_target_early(project: Project, target: str, *, down: bool = False) -> None:
    """The same before env.py is loaded, as far as that can be: revisions may need what env.py sets up first.

    To go `down` to a revision that only the history knows is possible.
    """
    from alembic.util import CommandError

    try:
        project.heads()
    except ProjectError as error:
        if not isinstance(error.__cause__, CommandError | SyntaxError):
            return
        raise
    if not down:
        check_target(project, target)


def check_new_database(context: MigrationContext, table: VersionTable, policy: str, own_schema: str, log: Log) -> None:
    """A database without a version table but with other tables: a warning, or `Refused` (26) under `empty`."""
    if table.exists:
        return
    names = [name for [name] in ask(context, _OTHER_TABLES.format(own=own_schema.replace("'", "''")))]
    if not names:
        return
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    message = f"the database has no {table.label} but {len(names)} other tables: {shown}"
    if policy == "empty":
        raise Refused(
            message,
            hint="check that this is the right database; if its schema is already right, `alembic-job stamp REVISION` "
            "says so; MIGRATE_NEW_DATABASE=any migrates it as it is",
        )
    log.warning("database.not_empty", message=message, tables=len(names))


def check_privileges(context: MigrationContext, table: VersionTable) -> None:
    """May this role write the version table, or make it? Raises `LoginFailed` (21) with the GRANT that is missing."""
    schema = table.schema.replace("'", "''")
    name = f'"{table.schema}"."{table.name}"'.replace("'", "''")
    checked = (
        f"has_table_privilege('{name}', 'INSERT') AND has_table_privilege('{name}', 'DELETE')"
        if table.exists
        else f"coalesce(has_schema_privilege((SELECT oid FROM pg_namespace WHERE nspname = '{schema}'), 'CREATE'),"
        " has_database_privilege(current_database(), 'CREATE'))"
    )
    [[allowed, role]] = ask(context, f"SELECT {checked}, current_user")
    if not allowed:
        what = f"INSERT, UPDATE, DELETE ON {table.label}" if table.exists else f"CREATE ON SCHEMA {table.schema}"
        raise LoginFailed(
            f"role {role} may not {'write ' + table.label if table.exists else 'create tables in ' + table.schema}",
            hint=f"as the owner: GRANT {what} TO {role}; or migrate with a role that owns the schema",
        )
