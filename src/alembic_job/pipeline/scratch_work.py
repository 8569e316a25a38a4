"""What all that works in a scratch database shares: its own connections, the server, processes of the project's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import DeadlineExceeded, Defect, Interrupted
from alembic_job.gateways import databases, embedded, postgres, programs, scratch
from alembic_job.gateways.apart import Killed, TookTooLong, apart
from alembic_job.gateways.postgres import query
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.pipeline.failure import classify
from alembic_job.settings import Settings
from alembic_job.watch import Watch

_LONGEST = 14 * 86_400.0  # seconds for one process, where no deadline is shorter


class Server(NamedTuple):
    """Where the scratch database is made: a login and a connection beside it, and what to call it.

    `own`: it is the database's own server. `passwords`: see `Scratch`; there are some where it is an embedded one with
    the roles of another. `programs` are its own, where it brings some: it is an embedded one.
    """

    dsn: Dsn
    words: str
    beside: Connection
    own: bool = False
    passwords: dict[str, str] | None = None
    programs: programs.Programs | None = None


def reworded(reason: BaseException) -> BaseException:
    """What the server said on one of our own connections, and what ended the work, in its own words."""
    if isinstance(reason, psycopg2.Error):
        return classify(reason, None, None, in_project=False)
    if isinstance(reason, Interrupted | DeadlineExceeded):
        return type(reason)(str(reason), hint="nothing but the scratch database was changed, which is gone")
    return reason


class ScratchWork:
    """One piece of such work; signals and the deadline interrupt its connections."""

    name = "alembic-job rehearsal"  # of its connections
    what = "the rehearsal"  # for people

    def __init__(self, settings: Settings, log: Log, watch: Watch, learn_secret: Callable[[str], None]) -> None:
        self._settings, self._log, self._watch, self._learn_secret = settings, log, watch, learn_secret
        self._identity = Identity()
        self._name = scratch.name_of(self._identity.run_id)
        self._cancelled: list[Connection] = []
        watch.cancel = self._cancel

    def _connected(self, dsn: Dsn) -> Connection:
        """A connection of our own, which a signal interrupts. Raises `JobError`."""
        try:
            connection = postgres.connect(dsn, self.name)
        except psycopg2.OperationalError as error:
            problem = postgres.connect_error(error)
            raise problem.kind(f"{dsn.redacted()}: {problem.message}", hint=problem.hint) from error
        self._cancelled.append(connection)
        return connection

    def _cancel(self, _terminate: bool) -> None:
        for connection in self._cancelled:
            if not connection.closed:
                connection.cancel()

    def _settle(self) -> None:
        """What follows tidies up: nothing interrupts it."""
        self._watch.settle()
        self._cancelled.clear()

    def _other_server(self, dsn: Dsn, stack: ExitStack) -> Server:
        """The one that MIGRATE_REHEARSAL_URL names."""
        self._learn_secret(dsn.password)
        words = dsn.redacted().partition("://")[2].rpartition("/")[0].rpartition("@")[2]
        return Server(dsn, words, stack.enter_context(closing(self._connected(dsn))))

    def _embedded_server(self, major: int, folder: Path, stack: ExitStack) -> Server:
        """One of that major or newer, in the folder. Raises `SettingsError` (20) where there is none."""
        made = stack.enter_context(scratch.embedded_server(major, folder))
        self._learn_secret(made.password)
        dsn = _login(made)
        beside = stack.enter_context(closing(self._connected(dsn)))
        brought = programs.Programs(made.bin, made.major)
        return Server(dsn, f"an embedded server of PostgreSQL {made.major}", beside, programs=brought)

    @contextmanager
    def _database(self, server: Server, locale: dict[str, str | None]) -> Iterator[Dsn]:
        """The scratch database, empty; dropped in the end."""
        beside = server.beside
        place = scratch.dsn_of(beside, server.dsn, self._name)
        again = self._rescue(place, beside).connect
        with scratch.database(beside, self._name, locale, again, self._settle, self._log):
            yield place

    def _remade(self, beside: Connection, place: Dsn, locale: dict[str, str | None]) -> None:
        """The same, empty again."""
        query(beside, databases.filled(beside, "DROP DATABASE {} WITH (FORCE)", sql.Identifier(self._name)))
        with databases.made(beside, self._name, locale, self._rescue(place, beside), self._log):
            pass

    def _give(self, original: Connection, server: Server) -> None:
        """Whoever migrates may make anything in the scratch database: what it was granted by hand is not there."""
        owner = self._settings.role or (original.info.user if server.passwords is not None else None)
        if owner is not None:
            text, beside = "ALTER DATABASE {} OWNER TO {}", server.beside
            query(beside, databases.filled(beside, text, sql.Identifier(self._name), sql.Identifier(owner)))

    def _rescue(self, place: Dsn, beside: Connection) -> databases.Rescue:
        return databases.Rescue(
            partial(postgres.connect, databases.at(place, beside.info.dbname), self.name), self._settle
        )

    def _programs(self, server: Server) -> programs.Programs:
        """pg_dump for the scratch database. Raises `SettingsError` (20)."""
        major = server.beside.server_version // 10_000
        return server.programs or programs.find_programs(self._settings.pg_bindir, major)

    def _apart(self, function: Callable[[], Any]) -> Any:
        """Runs what loads the project in a process of its own."""
        try:
            return apart(function, self._watch.left(_LONGEST))
        except TookTooLong:
            self._watch.check()
            raise
        except (Killed, EOFError) as error:
            raise Defect(f"a way of {self.what}: {error}") from error


def _login(made: embedded.Server) -> Dsn:
    login = {"host": "127.0.0.1", "port": str(made.port), "user": "postgres", "password": made.password}
    return Dsn(login | {"dbname": "postgres"})
