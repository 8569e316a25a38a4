"""`doctor`, second part: what can be seen once one is logged in, or why one is not."""

from __future__ import annotations

from contextlib import closing

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import DatabaseUnreachable, JobError, LoginFailed
from alembic_job.gateways import locks, own_schema, postgres, surroundings
from alembic_job.gateways.backups import store_of
from alembic_job.gateways.programs import find_programs
from alembic_job.logs.events import Log
from alembic_job.pipeline.diagnosis import Diagnosis
from alembic_job.settings import Settings
from alembic_job.steps.pooler import check_pooler

NAME = "alembic-job doctor"
PATIENCE = 5.0  # seconds for each address, and for the login
_SKEW = 5.0  # seconds by which two clocks may differ before a person is misled by logs
_OLD = 60.0  # seconds after which a transaction that nobody works in is told
_FEW = 5  # connections
_OLDEST, _NEWEST = 14, 18  # majors of PostgreSQL that the job is made for


def look_inside(dsn: Dsn, settings: Settings, log: Log, found: Diagnosis) -> None:
    """Logs in and looks around."""
    try:
        connection = postgres.connect(dsn, NAME, PATIENCE)
    except (psycopg2.Error, JobError) as error:
        found.fail("login", _refused(dsn, postgres.connect_error(error)))
        return
    with closing(connection):
        found.ok("login", f"as {connection.info.user} to database {connection.info.dbname}")
        _tls(connection, found)
        with found.looking("server"):
            _server(connection, found)
        with found.looking("pooler"):
            check_pooler(connection, dsn, log)
            proxied = postgres.is_proxied(connection)
            found.ok("pooler", "one in session mode" if proxied else "none: this is the server itself")
        with found.looking("role"):
            _role(connection, settings, found)
        with found.looking("connections"):
            _connections(connection, found)
        with found.looking("clock"):
            _clock(connection, found)
        with found.looking("sessions"):
            _sessions(connection, found)
        if settings.backup_url:
            with found.looking("backup"):
                _backup(settings, connection.info.server_version // 10000, found)


def _refused(dsn: Dsn, problem: postgres.ConnectProblem) -> JobError:
    error = problem.kind(problem.message, hint=problem.hint)
    if problem.reason == "no such database":
        error.hint = f"create it, or correct the name in the URL{_others(dsn)}"
    elif "pg_hba.conf" in problem.message:
        error.hint = "the server's pg_hba.conf has no line for this user, database, address and encryption: add one"
    elif "SSL" in problem.message or "certificate" in problem.message:
        error.hint = "check sslmode, sslrootcert and sslcert in the URL against what the server has"
    return error


def _others(dsn: Dsn) -> str:
    """The databases that there are, where one may look."""
    elsewhere = Dsn({**dsn.parameters, "dbname": "postgres"}, dsn.scheme, "", dsn.password_command)
    try:
        with closing(postgres.connect(elsewhere, NAME, PATIENCE)) as connection:
            return f"; there are: {', '.join(surroundings.databases(connection))}"
    except (psycopg2.Error, JobError):
        return ""


def _tls(connection: Connection, found: Diagnosis) -> None:
    host = str(connection.info.host or "/")
    if protocol := surroundings.tls(connection):
        found.ok("tls", f"the connection is encrypted ({protocol})")
    elif not host.startswith(("/", "@", "localhost", "127.", "::1")):
        found.caution("tls", "the connection is not encrypted", "add ?sslmode=verify-full to the URL")


def _server(connection: Connection, found: Diagnosis) -> None:
    state = postgres.server_state(connection)
    major, minor = divmod(state.version, 10000)
    told = f"PostgreSQL {major}.{minor}"
    if _OLDEST <= major <= _NEWEST:
        found.ok("server", told)
    else:
        found.caution("server", told, f"alembic-job is made for the majors {_OLDEST} to {_NEWEST}")
    if state.in_recovery:
        message = "the server is in recovery: a replica, or a primary that is not up yet"
        raise DatabaseUnreachable(message, hint="name the primary in the URL")
    if state.read_only:
        hint = "ALTER ROLE … or ALTER DATABASE … SET default_transaction_read_only = off"
        raise LoginFailed("transactions are read-only by setting", hint=hint)


def _role(connection: Connection, settings: Settings, found: Diagnosis) -> None:
    role = surroundings.role(connection)
    found.ok("role", f"{role.name}{', a superuser' if role.superuser else ''}")
    if role.hidden:
        hint = f"GRANT pg_read_all_stats TO {role.name}: then who blocks a migration is named in full"
        found.caution("role", f"{role.name} may not see what other roles' sessions do", hint)
    schema = settings.history_schema
    if settings.history == "off" or role.creates_schemas or own_schema.version(connection, schema):
        return
    message = f"{role.name} may not make schema {schema}: no history, and no way back from an older image"
    hint = f'as a superuser: CREATE SCHEMA "{schema}" AUTHORIZATION {role.name}'
    if settings.history == "required":
        raise LoginFailed(message, hint=hint)
    found.caution("role", message, hint)


def _connections(connection: Connection, found: Diagnosis) -> None:
    free, total = surroundings.free_connections(connection)
    told = f"{free} of {total} are free"
    if free < _FEW:
        found.caution(
            "connections", told, "a run needs three: raise max_connections, or let the application pool its own"
        )
    else:
        found.ok("connections", told)


def _clock(connection: Connection, found: Diagnosis) -> None:
    ahead = surroundings.clock_ahead(connection)
    way = "ahead of" if ahead > 0 else "behind"
    if abs(ahead) > _SKEW:
        found.caution("clock", f"the server's is {abs(ahead):.0f} s {way} this machine's", "let NTP set both clocks")
    else:
        found.ok("clock", f"the server's is {abs(ahead):.2f} s {way} this machine's")


def _sessions(connection: Connection, found: Diagnosis) -> None:
    for owner in locks.owners(connection):
        message = f"a run is at work: {owner.application_name or 'name hidden'} (pid {owner.pid}) since {owner.since}"
        found.caution("sessions", message, "`alembic-job status` shows what it does")
    idle = surroundings.idle_transactions(connection, _OLD)
    for each in idle:
        what = "is prepared since" if each.prepared else "is idle in a transaction since"
        way = (
            "COMMIT PREPARED or ROLLBACK PREPARED it" if each.prepared else "end it there, or by pg_terminate_backend()"
        )
        found.caution("sessions", f"{each.name} {what} {each.seconds:.0f} s: migrations wait for it", way)
    if not idle:
        found.ok("sessions", f"no transaction of more than {_OLD:g} s that nobody works in")


def _backup(settings: Settings, server_major: int, found: Diagnosis) -> None:
    programs = find_programs(settings.pg_bindir, server_major)
    there = store_of(settings.backup_url).manifests()
    newest = f", the newest of {there[-1].taken_at}" if there else ""
    found.ok("backup", f"pg_dump {programs.major}; {len(there)} backups there{newest}")
