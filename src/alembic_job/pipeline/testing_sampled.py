"""`test --data`: the pending revisions up, down and up again, on some rows of the real database.

Its schema and these rows are copied into a scratch database, on an embedded server unless MIGRATE_REHEARSAL_URL names
another. The database itself is read in one transaction. Of the rows nothing is told but how many there are.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotWritten, JobError, LoginFailed, Refused
from alembic_job.gateways import pg_restore, programs, roles, row_marks, sampling, scratch
from alembic_job.gateways.redirected import Redirect
from alembic_job.gateways.sampling import Sample
from alembic_job.gateways.schema_dump import schema_of
from alembic_job.gateways.snapshot import Snapshot
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url, rehearsal_leg, testing_leg
from alembic_job.pipeline.rehearsing import Rehearsing
from alembic_job.pipeline.scratch_work import Server
from alembic_job.pipeline.status import look
from alembic_job.pipeline.testing_discretion import without_detail
from alembic_job.pipeline.testing_leg import Script
from alembic_job.pipeline.testing_report import report_of
from alembic_job.pipeline.testing_walk import PATIENT, Walking
from alembic_job.rules.row_changes import Rows
from alembic_job.settings import EMBEDDED, Settings
from alembic_job.steps.pooler import check_pooler

_SECTIONS = ("pre-data", "post-data")  # tables; what their rows must not be in the way of: indexes, keys, triggers
_NOT_COMPARED: dict[str, Any] = {
    "compared": False,
    "reason": "only the pending revisions are tried on data",
    "differences": [],
}
_NOTHING = "nothing is pending: only pending revisions are tried on data"


def listed(settings: Settings, log: Log) -> tuple[Script, ...]:
    """What would be tried, by the database's version table. Raises `JobError`."""
    with exported_url(settings):
        _, tables = look(settings, log)
    return _scripts(settings, log, _heads({each.label: each.heads for each in tables}))


def _heads(tables: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Raises `Refused` (26) where version tables are at different revisions."""
    heads = {tuple(sorted(each)) for each in tables.values()}
    if len(heads) > 1:
        at = "; ".join(f"{label}: {', '.join(each) or 'nothing'}" for label, each in tables.items())
        raise Refused(
            f"the version tables are at different revisions ({at}), which cannot be tried together",
            hint="`alembic-job plan --rehearse` goes through each of them",
        )
    return next(iter(heads), ())


def _scripts(settings: Settings, log: Log, heads: tuple[str, ...]) -> tuple[Script, ...]:
    return testing_leg.scripts(settings, log, settings.to or "heads", heads)


class Sampled(Walking, Rehearsing):
    """One such test: what its steps share."""

    on_rows = True
    _original: Connection
    _source_dsn: Dsn
    _private: Path
    _sample: Sample
    _notes: tuple[str, ...] = ()

    def tried(self, most: int) -> dict[str, Any]:
        """The sentence: find the database, copy some of its rows, go through what is pending."""
        rehearsal_leg.prepare()
        if self._settings.rehearsal_url is None:
            self._settings = self._settings.but(rehearsal_url=EMBEDDED)
        source = self._source_dsn = self._source()
        self._mine = self._settings.but(transaction="per-revision")
        with scratch.folder(self._log) as folder, closing(self._connected(source)) as original:
            check_pooler(original, source, self._log)
            if self._is_there(original):
                words = {"server": "nothing", "server_version": original.server_version, "notes": [_NOTHING]}
                return report_of((), frozenset(), self._verdicts, {}, _NOT_COMPARED, words)
            with self._server(original, source, folder) as server:
                self._original, self._where, self._private = original, server, folder / "private"
                self._take(most)
                return self._in_copy(server)

    def _take(self, most: int) -> None:
        """Schema and rows, as they are at one moment, into files."""
        major = max(self._original.server_version, self._where.beside.server_version) // 10_000
        self._bins = self._where.programs or programs.find_programs(self._settings.pg_bindir, major)
        with Snapshot(self._original, ()) as seen:
            if self._where.passwords is None:
                self._locale = seen.locale
            for section in _SECTIONS:
                self._dump(section, seen.snapshot)
            self._sample = self._sampled(most)

    def _sampled(self, most: int) -> Sample:
        try:
            return sampling.take(self._original, most, self._settings.history_schema, self._private)
        except OSError as error:
            raise BackupNotWritten(
                f"the rows cannot be written to {self._private}: {error.strerror}",
                hint="let TMPDIR name a folder with room, or copy fewer rows by --data-rows",
            ) from error
        except psycopg2.errors.InsufficientPrivilege as error:
            raise LoginFailed(
                f"the rows cannot all be read: {error.diag.message_primary}",
                hint="GRANT pg_read_all_data TO this role; where row security is in the way, ALTER ROLE … BYPASSRLS",
            ) from error

    def _dump(self, section: str, snapshot: str) -> None:
        options = [f"--section={section}", "--format=custom", f"--file={self._private / section}", *PATIENT]
        options += [f"--snapshot={snapshot}"] + ([f"--role={self._settings.role}"] if self._settings.role else [])
        schema_of(self._bins, self._source_dsn, self._settings.history_schema, (), options)

    def _in_copy(self, server: Server) -> dict[str, Any]:
        with self._database(server, self._locale) as self._place:
            self._refill()
            self._tables = self._walked(()).tables
            scripts = self._pending()
            self._go(scripts, self._course(scripts, frozenset()))
            tables = sum(1 for table in self._sample.tables if table.rows)
            words = {
                "server": server.words,
                "server_version": server.beside.server_version,
                "notes": [*self._notes, *([] if scripts else [_NOTHING])],
                "data": {"database": self._original.info.dbname, "tables": tables, "rows": self._sample.rows},
            }
            return report_of(scripts, frozenset(), self._verdicts, self._unreached, _NOT_COMPARED, words)

    def _pending(self) -> tuple[Script, ...]:
        heads = _heads({table.label: table.heads for table in self._tables})
        found: tuple[Script, ...] = self._apart(partial(_scripts, self._settings, self._log, heads))
        return found

    # What `Walking` asks for.

    def _lead(self) -> Redirect:
        return self._redirect(self._original, self._source_dsn, self._where, self._place)

    def _count(self) -> dict[str, Rows]:
        without = {(table.schema, table.name) for table in self._tables}
        return row_marks.rows_of(self._connected(self._place), self._settings.history_schema, without)

    def _refill(self) -> None:
        """The schema's tables, the rows, then all that is made of rows."""
        self._take_over(self._original, self._where)
        self._give(self._original, self._where)
        self._lend()
        before, after = _SECTIONS
        with closing(self._connected(self._place)) as inside:
            self._restore(before)
            scratch.cut_off(inside, self._name)
            sampling.put(inside, self._sample)
            self._restore(after)
            scratch.cut_off(inside, self._name)
            sampling.refresh(inside)

    def _lend(self) -> None:
        """On an embedded server who only reads in the database migrates the copy."""
        if self._where.passwords is None:
            return
        role = self._settings.role or self._original.info.user
        if owners := roles.owners_unless_may_migrate(self._original, role):
            roles.lend(self._where.beside, owners, role)
            database = self._original.info.dbname
            self._notes = (f"{role} may not migrate {database}: in the copy it may do what the owners may",)

    def _restore(self, section: str) -> None:
        """Raises what ends it, without what rows have in them."""
        major = self._where.beside.server_version // 10_000
        try:
            pg_restore.restore(self._bins, self._place, self._private / section, 1, major)
        except JobError as error:
            hint, message = error.hint, f"the copy cannot be made on {self._where.words}: {without_detail(str(error))}"
            if self._where.passwords is not None and "extension" in message:
                hint = "an embedded server has no extensions: let MIGRATE_REHEARSAL_URL name a server that has them"
            raise type(error)(message, hint=hint) from None
