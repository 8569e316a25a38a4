"""`check --live`: what the database has that its migrations would not make, and the reverse.

A scratch database is migrated to where the database is, and both schemas are compared as pg_dump writes them. The
database itself is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotProven, LoginFailed
from alembic_job.gateways import embedded, pg_restore, programs, scratch
from alembic_job.gateways.postgres import query
from alembic_job.gateways.schema_dump import schema_of
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url, rehearsal_leg, testing_leg
from alembic_job.pipeline.lacking import lacking
from alembic_job.pipeline.rehearsing import Rehearsing
from alembic_job.pipeline.scratch_work import Server, reworded
from alembic_job.pipeline.status import look
from alembic_job.pipeline.testing_leg import Course, Walked
from alembic_job.pipeline.testing_verdicts import Step, Verdicts
from alembic_job.rules.schema_objects import (
    Difference,
    Object,
    as_spelled,
    differences,
    foreign_schemas,
    is_foreign,
    objects,
)
from alembic_job.settings import EMBEDDED, Settings
from alembic_job.steps.pooler import check_pooler
from alembic_job.watch import Watch

# Not compared: who owns what and who may use it; nobody waits for a lock for long.
_OPTIONS = ("--no-owner", "--no-acl", "--no-tablespaces", "--lock-wait-timeout=60s")
# Relations with the table that a sequence belongs to.
_RELATIONS = """
    SELECT n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
         AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_class t ON t.oid = d.refobjid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
_TAKES_NOTHING = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool"
_ELSEWHERE = "pip install 'alembic-job[embedded]'; or let MIGRATE_REHEARSAL_URL name another server"
_MAY_NOT_READ = "GRANT pg_read_all_data TO this role; or let MIGRATE_FOREIGN name what it may not read"
_VERSIONS_DIFFER = (
    "the scratch server is PostgreSQL {}, the database's is {}: what these only write in other words is different, too"
)


class Live(NamedTuple):
    """One version table of the database: what it holds, and the revisions that lead there, in order."""

    schema: str
    name: str
    heads: tuple[str, ...]
    revisions: tuple[str, ...]


def drift(settings: Settings, log: Log, learn_secret: Callable[[str], None]) -> dict[str, Any]:
    """What differs, by object. Differences are no errors.

    Raises `RevisionUnknown` (28) where the database holds a revision that the scripts lack, `MigrationFailed` (23)
    where they cannot be applied to an empty database, and what rehearsals raise.
    """
    with Watch(settings.deadline) as watch:
        try:
            return _Drift(settings, log, watch, learn_secret).found()
        except BaseException as error:
            watch.settle()
            raise reworded(watch.stopped or error) from error


def lived(settings: Settings, log: Log) -> list[Live]:
    """The version tables of the database. Raises `RevisionUnknown` (28), and what loading env.py raises."""
    with exported_url(settings):
        project, tables = look(settings, log)
    found = []
    for each in tables:
        if unknown := project.lacks(each.heads):
            raise lacking(None, each.label, unknown)
        scripts = testing_leg.scripts(settings, log, each.heads) if each.heads else ()
        revisions = tuple(script.revision for script in scripts)
        found.append(Live(each.table.schema, each.table.name, tuple(sorted(each.heads)), revisions))
    return found


class _Drift(Rehearsing):
    """One comparison: what its steps share."""

    name = "alembic-job check"
    what = "the check"

    def found(self) -> dict[str, Any]:
        """The sentence: find the database and where it is, migrate an empty one to there, compare."""
        rehearsal_leg.prepare()
        source = self._source()
        with scratch.folder(self._log) as folder, closing(self._connected(source)) as original:
            check_pooler(original, source, self._log)
            tables: list[Live] = self._apart(partial(lived, self._settings, self._log))
            self._settings = self._placed(original)
            with self._server(original, source, folder) as server, self._database(server, {}) as place:
                self._take_over(original, server)
                self._give(original, server)
                self._migrate(original, source, server, place, tables)
                archive = folder / "private" / "schema"
                compared = self._compared(original, source, server, place, tables, archive)
                return self._told(original, server, tables, compared)

    def _placed(self, original: Connection) -> Settings:
        """With an embedded server, where nothing is said and no database can be made on the database's own."""
        if self._settings.rehearsal_url is not None:
            return self._settings
        try:
            if query(original, _TAKES_NOTHING) == [(True,)]:
                raise LoginFailed(
                    "no database to compare with can be made on a server that is read only", hint=_ELSEWHERE
                )
            scratch.check_may(original, "the database's server", "to compare with")
        except LoginFailed:
            with suppress(LookupError):
                embedded.program_folder()
                return self._settings.but(rehearsal_url=EMBEDDED)
            raise
        return self._settings

    def _migrate(self, original: Connection, source: Dsn, server: Server, place: Dsn, tables: list[Live]) -> None:
        """Raises what ends it."""
        redirect = self._redirect(original, source, server, place)
        steps = {f"{each.schema}.{each.name}": tuple(Step(one, "apply") for one in each.revisions) for each in tables}
        mine = self._settings.but(transaction="per-revision")
        course = Course((), _nothing, by_table=steps)
        walked: Walked = self._apart(partial(testing_leg.walk, mine, self._log, redirect, course, Verdicts()))
        for secret in walked.secrets:
            self._learn_secret(secret)
        if (error := walked.error) is None:
            return
        hint = error.hint
        if walked.at is not None:
            hint = "the revisions must be able to make the schema anew: `alembic-job test` tells which cannot"
        if server.passwords is not None and "extension" in str(error):
            hint = "an embedded server has no extensions: let MIGRATE_REHEARSAL_URL name a server that has them"
        raise type(error)(f"no schema to compare with, on {server.words}: {error}", hint=hint, **error.fields)

    def _compared(
        self, original: Connection, source: Dsn, server: Server, place: Dsn, tables: list[Live], archive: Path
    ) -> list[Difference]:
        major = max(original.server_version, server.beside.server_version) // 10_000
        found = server.programs or programs.find_programs(self._settings.pg_bindir, major)
        expected = self._expected(found, place, tables)
        actual = self._objects(found, original, source, tables)
        compared = differences(expected, actual)
        if any(each.how == "different" for each in compared):
            with suppress(BackupNotProven, LoginFailed):  # what cannot be restored is compared as it is
                self._restore_anew(found, server, place, archive)
                actual = as_spelled(actual, expected, self._expected(found, place, tables))
        return differences(expected, actual)

    def _expected(self, found: programs.Programs, place: Dsn, tables: list[Live]) -> dict[Object, str]:
        with closing(self._connected(place)) as inside:
            return self._objects(found, inside, place, tables)

    def _restore_anew(self, found: programs.Programs, server: Server, place: Dsn, archive: Path) -> None:
        """Makes the scratch database again, from its own dump."""
        options = [*_OPTIONS, "--format=custom", f"--file={archive}"]
        schema_of(found, place, self._settings.history_schema, (), options)
        self._remade(server.beside, place, {})
        pg_restore.restore(found, place, archive, 1, server.beside.server_version // 10_000)

    def _objects(
        self, found: programs.Programs, connection: Connection, dsn: Dsn, tables: list[Live]
    ) -> dict[Object, str]:
        """Those of one database that are neither foreign nor the job's nor Alembic's. Raises `LoginFailed` (21)."""
        patterns = self._settings.foreign or ()
        without = [(each.schema, each.name) for each in tables] + list(_foreign(connection, patterns))
        role = [f"--role={self._settings.role}"] if self._settings.role else []
        try:
            text = schema_of(found, dsn, self._settings.history_schema, without, [*_OPTIONS, *role])
        except LoginFailed as error:
            raise LoginFailed(str(error), hint=_MAY_NOT_READ) from error
        schemas = foreign_schemas(patterns)
        return {
            each: body
            for each, body in objects(text).items()
            if not is_foreign(patterns, each.schema, each.name)
            and not any(each.kind == "SCHEMA" and fnmatchcase(each.name, schema) for schema in schemas)
        }

    def _told(
        self, original: Connection, server: Server, tables: list[Live], compared: list[Difference]
    ) -> dict[str, Any]:
        versions = server.beside.server_version // 10_000, original.server_version // 10_000
        return {
            "database": original.info.dbname,
            "revisions": {f"{each.schema}.{each.name}": list(each.heads) for each in tables},
            "scratch": {"server": server.words, "server_version": server.beside.server_version},
            "foreign": list(self._settings.foreign or ()),
            "differences": [{"how": each.how, **each.what._asdict(), "diff": list(each.diff)} for each in compared],
            "notes": [_VERSIONS_DIFFER.format(*versions)] if versions[0] != versions[1] else [],
        }


def _nothing() -> str:
    """No schema is looked at on the way."""
    return ""


def _foreign(connection: Connection, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The relations that are foreign, and sequences of foreign tables."""
    for schema, name, owner_schema, owner in query(connection, _RELATIONS) if patterns else ():
        if is_foreign(patterns, schema, name) or (owner and is_foreign(patterns, owner_schema, owner)):
            yield schema, name


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""
    at = ", ".join(f"{', '.join(heads) or '(nothing)'} in {label}" for label, heads in found["revisions"].items())
    lines = [f"{'database':<11}{found['database']}, at {at}", f"{'compared':<11}with {found['scratch']['server']}"]
    lines += [f"{'note':<11}{note}" for note in found["notes"]]
    for each in found["differences"]:
        name = f"{each['schema']}.{each['name']}" if each["schema"] else each["name"]
        lines += [f"{each['how']:<11}{each['kind'].lower()} {name}", *(f"{'':<13}{line}" for line in each["diff"][2:])]
    if not found["differences"]:
        lines.append(f"{'the same':<11}the database is what its migrations make")
    return "\n".join(lines)
