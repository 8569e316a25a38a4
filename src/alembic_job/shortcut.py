"""Nothing to do, thousands of times a day: decided from what an earlier run proved, without loading the project.

An earlier run that found nothing pending (or applied all) recorded what its answer depended on: every file it read,
directories it listed, environment values it read, installed packages, the command line, the database; and the rows of
the version tables. If each of these is still the same, so is the answer. Anything else, any doubt: the slow path.

This module imports next to nothing: SQLAlchemy, Alembic and click cost ten times what is done here.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from alembic_job import __version__
from alembic_job.fingerprint import Inputs, digest_of, request_key, target_of, text_of, waiting_key

_PATIENCE = 4.0  # seconds for all queries; the ordinary way follows


def decide(arguments: list[str], environ: os._Environ[str]) -> bool:
    """Decides the request if an earlier run proved the answer: writes its lines and returns true; else false."""
    level = environ.get("MIGRATE_LOG_LEVEL", "info")
    if level not in ("info", "debug") or not _wants_json(environ):
        return False
    key, waiting = request_key(arguments, environ), False
    if key is None and "wait-for-migrations" in arguments:
        key, waiting = waiting_key(arguments, environ), True
    url = environ.get("DATABASE_URL") or text_of(environ.get("DATABASE_URL_FILE", ""))
    if key is None or not (url or environ.get("PGHOST") or environ.get("PGDATABASE")):
        return False
    import time

    begun = time.perf_counter()
    found = _proven(key, url, waiting, environ)
    if found is None:
        return False
    _say(arguments, found, waiting, time.perf_counter() - begun)
    return True


def _wants_json(environ: os._Environ[str]) -> bool:
    chosen = environ.get("MIGRATE_LOG_FORMAT", "auto").lower()
    return chosen == "json" or (chosen == "auto" and not os.isatty(1))


class _Proof(NamedTuple):
    tables: list[tuple[str, list[str]]]  # label, rows
    place: str


def _proven(key: str, url: str, waiting: bool, environ: os._Environ[str]) -> _Proof | None:
    """The recorded answer, if the database holds one for this request and everything it rests on is unchanged.

    A wait changes nothing, so it looks where the application will: not around a pooler, and at a replica as well.
    """
    from alembic_job import dsn as dsns

    try:
        dsn = dsns.parse(url) if url else dsns.Dsn({})
        direct = environ.get("DATABASE_DIRECT_URL") or text_of(environ.get("DATABASE_DIRECT_URL_FILE", ""))
        if direct and not waiting:
            dsn = dsn.at(dsns.parse(direct))
    except dsns.MalformedUrl:
        return None
    if "," in dsn.parameters.get("host", ""):
        return None
    record = _recorded(key, dsn.parameters, waiting, environ)
    if record is None or digest_of(Inputs(**record["inputs"]), environ) != record["digest"]:
        return None
    return _Proof([(table["sql"], table["rows"]) for table in record["tables"]], dsn.redacted())


def _recorded(key: str, parameters: dict[str, str], waiting: bool, environ: os._Environ[str]) -> dict[str, Any] | None:
    """What the database holds for this request, if it is this very database and the version tables are as they were.

    The connection is closed again before any file is read: a thousand pods may ask at once.
    """
    import psycopg2

    try:
        connection = _connect(
            {"connect_timeout": "2", "application_name": "alembic-job", "tcp_user_timeout": "4000", **parameters},
            _password_command(environ),
        )
    except psycopg2.Error:
        return None
    from alembic_job.patience import within

    try:
        with within(_PATIENCE), connection.cursor() as cursor:
            # Bounded by the server itself; in the transaction only, since a pooler may hand the session on.
            cursor.execute("SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 1000")
            return _ask(cursor, key, waiting, environ)
    except psycopg2.Error:
        return None
    finally:
        connection.close()


def _password_command(environ: os._Environ[str]) -> str:
    return environ.get("MIGRATE_PASSWORD_COMMAND") or text_of(environ.get("MIGRATE_PASSWORD_COMMAND_FILE", ""))


def _connect(login: dict[str, str], password_command: str) -> Any:
    if password_command:
        from alembic_job.gateways.password import connect_soon

        return connect_soon(password_command, login)
    import psycopg2

    return psycopg2.connect("", **login)


def _ask(cursor: Any, key: str, waiting: bool, environ: os._Environ[str]) -> dict[str, Any] | None:
    schema = '"' + environ.get("MIGRATE_HISTORY_SCHEMA", "alembic_job").strip().replace('"', '""') + '"'
    cursor.execute(_QUERY.replace("{schema}", schema), (key,))
    row = cursor.fetchone()
    if row is None:
        return None
    digest, recorded, identity, here, in_recovery, read_only, age, locked = row
    if identity != here or locked:
        return None
    if not waiting and (in_recovery or read_only or age < 10):
        return None
    import json

    record: dict[str, Any] = {**json.loads(recorded), "digest": digest}
    if role := environ.get("MIGRATE_ROLE") or text_of(environ.get("MIGRATE_ROLE_FILE", "")):
        cursor.execute(_BECOME, (role.strip(),))
    for table in record["tables"]:
        cursor.execute(f"SELECT version_num FROM {table['sql']}")
        if sorted(found[0] for found in cursor.fetchall()) != table["rows"]:
            return None
    return record


# LOCK class 0x616A6F4C: see gateways.locks. A run that works now may be about to change the answer.
_QUERY = """
    SELECT digest, record, identity,
        (SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), oid, datname)
         FROM pg_database WHERE datname = current_database()),
        pg_is_in_recovery(), current_setting('transaction_read_only')::bool,
        extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8,
        EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1634365260 AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    FROM {schema}.nothing_pending WHERE key = %s"""


# See gateways.hygiene: the role may be the only one to read the version table, and the login need not inherit that.
_BECOME = """
    SELECT set_config('role', rolname, true) FROM pg_roles WHERE rolname = %s
    AND NOT pg_has_role(session_user, oid, 'USAGE') AND pg_has_role(session_user, oid, 'MEMBER')"""


def _said_by(password_command: str) -> list[str]:
    if not password_command:
        return []
    from alembic_job.gateways.password import unsaid

    return unsaid(password_command)


def _say(arguments: list[str], proof: _Proof, waiting: bool, seconds: float) -> None:
    from alembic_job import termination
    from alembic_job.logs.lines import encode, timestamp

    run_id = os.urandom(6).hex()
    commands = ("migrate", "upgrade", "wait-for-migrations")
    command = next(argument for argument in arguments if argument in commands)
    heads = sorted({row for _, rows in proof.tables for row in rows})
    at: Any = heads if len(heads) > 1 else (heads[0] if heads else None)

    def line(event: str, **fields: Any) -> str:
        return encode({"timestamp": timestamp(), "level": "info", "event": event, "run_id": run_id, **fields}) + "\n"

    if waiting:
        target = target_of(arguments, os.environ)
        needed = heads if target == "heads" else [target]
        found = line("migrations.ready", current=heads, needed=needed, ahead=False, proven=True, database=proof.place)
    else:
        found = line("nothing.pending", revision=heads, proven=True, database=proof.place)
    finished: dict[str, Any] = {
        "command": command if waiting else "migrate",
        "outcome": "done",
        "exit_code": 0,
        "from": at,
        "to": at,
        "applied": [],
        "duration_seconds": round(seconds, 3),
    }
    lines = [line("job.started", command=command, version=__version__)]
    lines += [line("password_command.output", message=text) for text in _said_by(_password_command(os.environ))]
    lines += [found, line("job.finished", **finished)]
    termination.write(termination.path(), termination.text(finished, run_id))
    data = "".join(lines).encode()
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass
