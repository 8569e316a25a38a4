"""`plan --rehearse`: the pending migrations, up, down and up again, on a copy of the database, which is then dropped.

Each way runs in a process of its own, in which every connection of the project's is led to the copy. The database
itself is only read: for a dump, where no backup of it will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, Refused
from alembic_job.gateways import (
    backups,
    database_properties,
    databases,
    pg_dump,
    pg_restore,
    postgres,
    programs,
    scratch,
)
from alembic_job.gateways.archives import Archive
from alembic_job.gateways.backups import Manifest
from alembic_job.gateways.folders import FolderStore
from alembic_job.gateways.postgres import query
from alembic_job.gateways.redirected import Redirect, Scratch
from alembic_job.gateways.schema_dump import schema_of
from alembic_job.logs.events import Log
from alembic_job.pipeline import rehearsal_leg
from alembic_job.pipeline.backups import choose
from alembic_job.pipeline.rehearsal_leg import Leg, Way
from alembic_job.pipeline.rehearsal_report import Rehearsal, Ways, nothing_pending, report_of
from alembic_job.pipeline.scratch_work import ScratchWork, Server, reworded
from alembic_job.rules.schema_text import compare
from alembic_job.settings import EMBEDDED, Settings
from alembic_job.steps.pooler import check_pooler
from alembic_job.watch import Watch


def rehearse(settings: Settings, log: Log, learn_secret: Callable[[str], None]) -> Rehearsal:
    """Runs the rehearsal. The result's `error` says why the migrations cannot be applied, if they cannot.

    Raises `JobError` where it could not be held: `Refused` (26) if env.py connects to another database, `LoginFailed`
    (21) if the role may not make one, and what dump and restore raise. The scratch database is gone in any case.
    """
    with Watch(settings.deadline) as watch:
        try:
            return Rehearsing(settings, log, watch, learn_secret).run()
        except BaseException as error:
            watch.settle()
            raise reworded(watch.stopped or error) from error


class _Copy(NamedTuple):
    """The scratch database, filled."""

    redirect: Redirect
    dsn: Dsn
    programs: programs.Programs


class Rehearsing(ScratchWork):
    """One rehearsal: what its steps share."""

    def run(self) -> Rehearsal:
        """The sentence: find the database, copy it, go up, down and up again, compare."""
        rehearsal_leg.prepare()
        source = self._source()
        with scratch.folder(self._log) as folder, closing(self._connected(source)) as original:
            check_pooler(original, source, self._log)
            if self._is_there(original):
                return nothing_pending(original.info.dbname)
            with self._server(original, source, folder) as server:
                private = folder / "private"
                archive = self._archive(original, source, private)
                with self._copied(original, source, server, archive) as copy:
                    found = self._up_down_up(copy)
                    taken = archive.file is not None and archive.file.parent == private
                    return self._reported(found, copy, server, archive.manifest, taken)

    def _source(self) -> Dsn:
        """The database that is rehearsed: the settings', else where env.py would connect to."""
        dsn = self._settings.own()
        if dsn is None:
            found: Dsn = self._apart(partial(rehearsal_leg.ways, self._settings, self._log))
            dsn = self._settings.login(found)
        self._learn_secret(dsn.password)
        return dsn

    def _is_there(self, original: Connection) -> bool:
        """True if it is certain without a copy that nothing is pending."""
        if (self._settings.to or "head") not in ("head", "heads"):
            return False
        rows = scratch.version_rows(original)
        return len(rows) == 1 and rows[0] == self._apart(partial(rehearsal_leg.heads, self._settings, self._log))

    @contextmanager
    def _server(self, original: Connection, source: Dsn, folder: Path) -> Iterator[Server]:
        """The server for the scratch database, as MIGRATE_REHEARSAL_URL says, without what killed rehearsals left."""
        with ExitStack() as stack:
            if self._settings.rehearsal_url == EMBEDDED:
                server = self._embedded(original, folder, stack)
            elif (dsn := self._settings.rehearsal) is not None:
                server = self._other_server(dsn, stack)
            else:
                login = scratch.dsn_of(original, source, original.info.dbname)
                beside = stack.enter_context(closing(databases.beside(login, original.info.dbname, self.name)))
                self._cancelled.append(beside)
                server = Server(login, "the same server", beside, own=True)
            scratch.check_may(server.beside, server.words)
            scratch.clear_abandoned(server.beside, self._log)
            yield server

    def _embedded(self, original: Connection, folder: Path, stack: ExitStack) -> Server:
        made = self._embedded_server(original.server_version // 10_000, folder, stack)
        passwords = scratch.copy_roles(original, made.beside)
        for password in passwords.values():
            self._learn_secret(password)
        password = passwords.get("postgres", made.dsn.password)
        return made._replace(dsn=Dsn(made.dsn.parameters | {"password": password}), passwords=passwords)

    # The copy.

    def _archive(self, original: Connection, source: Dsn, folder: Path) -> Archive:
        """The newest backup of the database if it is at its revisions, else a dump taken now."""
        if found := self._backup(original):
            return found
        settings, store = self._settings, FolderStore(folder)
        options = pg_dump.DumpOptions(
            bindir=settings.pg_bindir,
            run_id=self._identity.run_id,
            compress=settings.backup_compress,
            verify="list",
            heartbeat=settings.heartbeat,
        )
        return Archive(store, pg_dump.dump(source, store, options, self._log))

    def _backup(self, original: Connection) -> Archive | None:
        if not self._settings.backup_url:
            return None
        store, name = backups.store_of(self._settings.backup_url), original.info.dbname
        mine = [each for each in store.manifests() if each.database == name]
        if not mine:
            return None
        archive = Archive(store, choose(store, mine, None), self._settings.backup_identity)
        manifest = archive.manifest
        usable = not manifest.partial and archive.exists() and archive.readable()
        if not usable or not _is_at(original, manifest.revisions):
            self._log.info("rehearsal.backup_passed_over", backup=manifest.name, revision=manifest.revision)
            return None
        if archive.file:  # else its hash is found while it flows into the scratch database
            pg_restore.check(archive.file, manifest)
        return archive

    @contextmanager
    def _copied(self, original: Connection, source: Dsn, server: Server, archive: Archive) -> Iterator[_Copy]:
        """The scratch database with the archive in it; dropped in the end."""
        locale = {} if server.passwords is not None else archive.manifest.locale
        with self._database(server, locale) as place:
            self._fill(original, place, server, archive)
            redirect = self._redirect(original, source, server, place)
            yield _Copy(redirect, place, self._programs(server))

    def _fill(self, original: Connection, place: Dsn, server: Server, archive: Archive) -> None:
        found = pg_restore.find(self._settings.pg_bindir, archive.manifest)
        beside, jobs = server.beside, self._settings.backup_jobs if archive.file else 1
        try:
            pg_restore.restore(found, place, archive.source, jobs, beside.server_version // 10_000)
        except JobError as error:
            hint, message = error.hint, f"the copy cannot be made on {server.words}: {error}"
            if server.passwords is not None and "extension" in message:
                hint = "an embedded server has no extensions: let MIGRATE_REHEARSAL_URL name a server that has them"
            raise type(error)(message, hint=hint, **error.fields) from error
        name = self._name
        self._take_over(original, server)
        with closing(self._connected(place)) as inside:
            scratch.cut_off(inside, name)
            database_properties.analyze(inside, name, self._log)

    def _take_over(self, original: Connection, server: Server) -> None:
        """Gives the scratch database the owner, privileges and settings of the original, where the roles are there."""
        if server.own:
            database_properties.take_over(server.beside, original.info.dbname, self._name, self._log)
        elif server.passwords is not None:
            scratch.copy_settings(original, server.beside, self._name, self._log)

    def _redirect(self, original: Connection, source: Dsn, server: Server, place: Dsn) -> Redirect:
        """From the original to the scratch database."""
        with closing(self._connected(place)) as inside:
            to = Scratch(place, postgres.identity(inside), server.own, server.passwords or {})
        known = [each for each in (source, self._settings.database, self._settings.direct) if each is not None]
        command = self._settings.password_command or ()
        return Redirect(postgres.identity(original), known, to, self._settings.login, command)

    # The ways.

    def _up_down_up(self, copy: _Copy) -> Ways:
        """As far as it can be gone."""
        first = self._leg(copy, Way("look"))
        if first.error is not None or not first.pending:
            return Ways(first, first)
        before = self._schema(copy)
        up = self._leg(copy, Way("up"))
        if up.error is not None:
            return Ways(first, up)
        after = self._schema(copy)
        down = self._leg(copy, _back(up))
        if down.error is not None:
            return Ways(first, up, down)
        new = [(table.schema, table.name) for table in up.tables if not table.existed]
        undone = compare(before, self._schema(copy, new), ("before", "after up and down"))
        again = self._leg(copy, Way("up"))
        if again.error is not None:
            return Ways(first, up, down, again, undone)
        redone = compare(after, self._schema(copy), ("after up", "after up, down and up"))
        return Ways(first, up, down, again, undone, redone)

    def _reported(self, ways: Ways, copy: _Copy, server: Server, manifest: Manifest, taken: bool) -> Rehearsal:
        where = {
            "database": copy.dsn.place[2],
            "server": server.words,
            "server_version": server.beside.server_version,
            "backup": None if taken else manifest.name,
            "taken_at": manifest.taken_at,
        }
        return report_of(manifest.database, where, ways)

    def _schema(self, copy: _Copy, without: list[tuple[str, str]] | None = None) -> str:
        return schema_of(copy.programs, copy.dsn, self._settings.history_schema, without or ())

    def _leg(self, copy: _Copy, way: Way) -> Leg:
        """Raises what ended it, unless that is a finding: a revision that failed, or anything on the way down."""
        leg: Leg = self._apart(partial(rehearsal_leg.walk, self._settings, self._log, copy.redirect, way))
        for secret in leg.secrets:
            self._learn_secret(secret)
        error = leg.error
        if error is not None and (
            isinstance(error, Refused) or ("revision" not in error.fields and way.kind != "down")
        ):
            raise error
        return leg


def _back(up: Leg) -> Way:
    """The way down after this one up."""
    back = {table.label: tuple(each["revision"] for each in table.revisions) for table in up.tables}
    heads = [head for table in up.tables for head in table.heads]
    return Way("down", back, heads[0] if len(heads) == 1 else "base")


def _is_at(connection: Connection, revisions: dict[str, list[str]]) -> bool:
    """True if the version tables of a backup have the same rows in the database now."""
    for label, heads in revisions.items():
        schema, _, name = label.partition(".")
        statement = sql.SQL("SELECT version_num::text FROM {} ORDER BY 1").format(sql.Identifier(schema, name))
        try:
            now = [head for [head] in query(connection, statement.as_string(connection))]
        except psycopg2.errors.UndefinedTable:
            return False
        if now != sorted(heads):
            return False
    return True
