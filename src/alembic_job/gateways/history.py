"""What the job's own schema tells of a version table: the scripts as they were applied, what was executed, every run.

Rows are known by the version table's name, not by the database's identity: they stay true in a restored copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job import __version__
from alembic_job.errors import HistoryHidden
from alembic_job.gateways import own_schema
from alembic_job.gateways.postgres import query
from alembic_job.gateways.rendering import Rendered

_ABSENT = (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName, psycopg2.errors.InsufficientPrivilege)
_SCRIPT = (
    *("version_table", "revision", "down_revisions", "depends_on", "branch_labels", "message", "source"),
    *("file_hash", "downgrade", "not_rendered", "adopted", "run_id"),
)
_RUN = (
    *("run_id", "version_table", "command", "job_version", "image", "host", "heads_before", "planned"),
    "evidence",
)
_STEP = ("run_id", "version_table", "revision", "down", "statements", "seconds", "lock_seconds", "finished_at")
_ROWS = 500  # written by one statement
_encode = json.JSONEncoder(ensure_ascii=False).encode
_LINK = ("version_table", "revision", "down_revisions", "depends_on")
_APPLIED = (
    *("finished_at", "revision", "down", "seconds", "lock_seconds", "statements", "run_id", "command"),
    *("job_version", "image", "host", "login", "message"),
)
_STAMPED = ("finished_at", "revision", "command", "from", "to", "run_id", "job_version", "image", "host", "login")
_OTHERS = """
    WITH table_ AS (SELECT c.oid, c.relowner, c.relacl, c.relname FROM pg_class c JOIN pg_namespace n
                    ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = 'scripts'),
    has (what, whom) AS (
        SELECT 'owner of the schema', nspowner FROM pg_namespace WHERE nspname = %s
        UNION SELECT 'owner of the table ' || relname, relowner FROM table_
        UNION SELECT lower(a.privilege_type) || ' on the table ' || relname, a.grantee
        FROM table_, aclexplode(relacl) a WHERE a.privilege_type IN ('INSERT', 'UPDATE', 'TRIGGER'))
    SELECT what, CASE whom WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(whom) END FROM has
    WHERE whom NOT IN (SELECT oid FROM pg_roles WHERE rolname IN (current_user, session_user, %s)) ORDER BY 1, 2"""


class Archived(NamedTuple):
    """A revision's script as it was when it was applied, and the way back. Ids are those of Alembic.

    `adopted`: it had been applied by somebody else, and was recorded as it was found later.
    """

    revision: str
    down_revisions: tuple[str, ...]
    depends_on: tuple[str, ...]
    branch_labels: tuple[str, ...]
    message: str
    source: str | None
    file_hash: str
    downgrade: Rendered
    adopted: bool


class Link(NamedTuple):
    """A recorded revision, and what it is built upon."""

    revision: str
    down_revisions: tuple[str, ...]
    depends_on: tuple[str, ...]


class Executed(NamedTuple):
    """A revision that was applied, or reverted: its statements with their seconds."""

    revision: str
    down: bool
    statements: tuple[tuple[str, float], ...]
    seconds: float
    lock_seconds: float
    finished_at: datetime


class Begun(NamedTuple):
    """A run that is about to change something: who, and from which heads through which revisions."""

    run_id: str
    command: str
    image: str | None
    host: str
    before: tuple[str, ...]
    planned: tuple[str, ...]
    evidence: str | None = None  # JSON: what it loses


class History:
    """The rows of one version table (`label`). Methods raise `psycopg2.Error`; to readers what is absent is empty."""

    def __init__(self, connection: Connection, schema: str, label: str) -> None:
        self._connection, self._schema, self._label = connection, schema, label

    # Reading.

    def scripts(self) -> dict[str, Archived]:
        """Every script that was recorded, by revision."""
        rows = self._read(
            "SELECT revision, down_revisions, depends_on, branch_labels, message, source, file_hash, downgrade,"
            " not_rendered, adopted FROM {} WHERE version_table = %s",
            "scripts",
            self._label,
        )
        return {row[0]: _archived(row) for row in rows}

    def hashes(self) -> dict[str, str]:
        """The hash of every script that was recorded, by revision."""
        return dict(self._read("SELECT revision, file_hash FROM {} WHERE version_table = %s", "scripts", self._label))

    def links(self, before: str = "") -> dict[str, Link]:
        """What each recorded revision is built upon; `before` is SQL that goes first, in the same transaction.

        Raises `HistoryHidden` (21): whether there is nothing, or it may not be looked at, matters to who asks.
        """
        statement = f"{before}SELECT {', '.join(_LINK[1:])} FROM {{}} WHERE {_LINK[0]} = %s"
        try:
            rows = query(self._connection, self._sql(statement, "scripts"), self._label)
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
            return {}
        except psycopg2.errors.InsufficientPrivilege as error:
            raise self._hidden(error) from error
        return {name: Link(name, tuple(down), tuple(depends)) for name, down, depends in rows}

    def _hidden(self, error: psycopg2.Error) -> HistoryHidden:
        role, schema = self._connection.info.user, self._schema
        return HistoryHidden(
            f"role {role} may not read the history: {' '.join(str(error).split())}",
            hint=f"as the owner: GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ({', '.join(_LINK)}) ON"
            f" {schema}.scripts TO {role}",
        )

    def statements(self, revision: str) -> list[str]:
        """What was executed, for people, when this revision was applied last; empty if that is not known."""
        statement = (
            "SELECT statements FROM {} WHERE version_table = %s AND revision = %s AND NOT down"
            " ORDER BY finished_at DESC LIMIT 1"
        )
        rows = self._read(statement, "steps", self._label, revision)
        return [sql for sql, _ in json.loads(rows[0][0])] if rows else []

    def seconds(self) -> dict[str, float]:
        """How long each revision took when it was applied last, without its waiting for locks."""
        statement = (
            "SELECT DISTINCT ON (revision) revision, greatest(seconds - lock_seconds, 0) FROM {}"
            " WHERE version_table = %s AND NOT down ORDER BY revision, finished_at DESC"
        )
        return {revision: float(seconds) for revision, seconds in self._read(statement, "steps", self._label)}

    def consents(self) -> set[str]:
        """The revisions whose rollback may lose data, as was said beforehand."""
        rows = self._read("SELECT revision FROM {} WHERE version_table = %s", "consents", self._label)
        return {revision for [revision] in rows}

    def applied(self) -> list[dict[str, Any]]:
        """What was executed, the oldest first: each revision with the run that did it."""
        statement = (
            "SELECT s.finished_at, s.revision, s.down, s.seconds, s.lock_seconds, s.statements, s.run_id, r.command,"
            " r.job_version, r.image, r.host, r.login, coalesce(c.message, '') FROM {} s"
            " LEFT JOIN {runs} r USING (run_id, version_table) LEFT JOIN {scripts} c USING (version_table, revision)"
            " WHERE s.version_table = %s ORDER BY s.finished_at, s.revision"
        )
        rows = self._read(statement, "steps", self._label)
        return [{**dict(zip(_APPLIED, row, strict=True)), "statements": json.loads(row[5])} for row in rows]

    def stamps(self) -> list[dict[str, Any]]:
        """The runs that did something else than revisions, the oldest first: from which heads to which.

        What a reset has applied came after it: its time is that of its beginning.
        """
        statement = (
            "SELECT CASE command WHEN 'reset' THEN started_at ELSE finished_at END, NULL, command, heads_before,"
            " heads_after, run_id, job_version, image, host, login FROM {} WHERE version_table = %s"
            " AND command IN ('stamp', 'reset', 'seed') AND outcome = 'done' ORDER BY 1"
        )
        rows = self._read(statement, "runs", self._label)
        return [dict(zip(_STAMPED, row, strict=True)) for row in rows]

    def others(self, role: str | None) -> list[str]:
        """Who else may write what is executed from these tables, as `what: whom`: then nothing of it must be executed.

        `role` is the one that migrates, if it is not the login itself.
        """
        rows = query(self._connection, _OTHERS, self._schema, self._schema, role)
        return [f"{what}: {whom}" for what, whom in rows]

    def _read(self, statement: str, table: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return query(self._connection, self._sql(statement, table), *values)
        except _ABSENT:
            return []

    # Writing.

    def make(self) -> None:
        own_schema.make(self._connection, self._schema)

    def keep(self, scripts: Iterable[Archived], run_id: str, *, repaired: bool = False) -> None:
        """Records these as they are now. What was recorded as applied stays where the new one is merely adopted.

        Of what is `repaired` it stays as it was who recorded it, when, and whether that was an adoption.
        """
        rows = [
            (
                self._label,
                each.revision,
                *(each.down_revisions, each.depends_on, each.branch_labels),
                *(each.message, each.source, each.file_hash),
                _encode(each.downgrade.as_json()[0]) if not each.downgrade.reason else None,
                _encode(each.downgrade.as_json()[1:]) if each.downgrade.reason else None,
                each.adopted,
                run_id,
            )
            for each in scripts
        ]
        changes = ", ".join(f"{name} = excluded.{name}" for name in (_SCRIPT[2:-2] if repaired else _SCRIPT[2:]))
        newly = "" if repaired else ", recorded_at = clock_timestamp() WHERE NOT excluded.adopted"
        self._insert(
            "scripts",
            _SCRIPT,
            rows,
            f"ON CONFLICT (version_table, revision) DO UPDATE SET {changes}{newly}",
        )

    def begin(self, run: Begun) -> None:
        """A run is about to change something."""
        row = (run.run_id, self._label, run.command, __version__, run.image, run.host, run.before, run.planned)
        self._insert("runs", _RUN, [(*row, run.evidence)], "ON CONFLICT (run_id, version_table) DO NOTHING")

    def end(self, run_id: str, outcome: str, exit_code: int, after: Sequence[str] | None, error: str | None) -> None:
        """It is over; `after` are the heads, where they are known."""
        statement = (
            "UPDATE {} SET finished_at = clock_timestamp(), outcome = %s, exit_code = %s, heads_after = %s, error = %s"
            " WHERE run_id = %s AND version_table = %s"
        )
        heads = None if after is None else list(after)
        query(self._connection, self._sql(statement, "runs"), outcome, exit_code, heads, error, run_id, self._label)

    def executed(self, run_id: str, done: Iterable[Executed]) -> None:
        """Revisions that were applied or reverted, and are committed."""
        rows = [
            (
                run_id,
                self._label,
                each.revision,
                each.down,
                _encode(each.statements),
                each.seconds,
                each.lock_seconds,
                each.finished_at.isoformat(),
            )
            for each in done
        ]
        self._insert("steps", _STEP, rows, "ON CONFLICT (run_id, version_table, revision) DO NOTHING")

    def consent(self, revision: str) -> None:
        """The rollback of this revision may lose data."""
        row = (self._label, revision)
        self._insert("consents", ("version_table", "revision"), [row], "ON CONFLICT DO NOTHING")

    def withdraw(self, revisions: Iterable[str]) -> None:
        """What was said of these no longer holds."""
        query(
            self._connection,
            self._sql("DELETE FROM {} WHERE version_table = %s AND revision = ANY(%s)", "consents"),
            self._label,
            list(revisions),
        )

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], conflict: str) -> None:
        """As JSON: a thousand scripts are one value to be quoted, not twelve thousand."""
        names = ", ".join(columns)
        statement = f"INSERT INTO {{}} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{{}}, %s) {conflict}"
        for start in range(0, len(rows), _ROWS):
            objects = [dict(zip(columns, row, strict=True)) for row in rows[start : start + _ROWS]]
            query(self._connection, self._sql(statement, table), _encode(objects))

    def _sql(self, statement: str, table: str) -> str:
        for mark, name in (("{}", table), ("{runs}", "runs"), ("{scripts}", "scripts")):
            quoted = sql.Identifier(self._schema, name).as_string(self._connection)
            statement = statement.replace(mark, quoted.replace("%", "%%"))
        return statement


def labels(connection: Connection, schema: str) -> list[str]:
    """The version tables that the history tells of. Raises `psycopg2.Error`, but not where there is no history."""
    name = sql.Identifier(schema, "scripts").as_string(connection)
    runs = sql.Identifier(schema, "runs").as_string(connection)
    try:
        rows = query(connection, f"SELECT version_table FROM {name} UNION SELECT version_table FROM {runs} ORDER BY 1")
    except _ABSENT:
        return []
    return [label for [label] in rows]


def _archived(row: tuple[Any, ...]) -> Archived:
    *names, downgrade, not_rendered, adopted = row
    revision, down, depends, labels, message, source, file_hash = names
    statements = json.loads(downgrade) if downgrade is not None else []
    reason = json.loads(not_rendered) if not_rendered is not None else ["", ""]
    rendered = Rendered.of_json([statements, *reason])
    graph = (tuple(down), tuple(depends), tuple(labels))
    return Archived(revision, *graph, message, source, file_hash, rendered, adopted)
