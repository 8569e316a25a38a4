"""Nothing to do, thousands of times a day: decided from what an earlier run proved, without loading the project.

An earlier run that found nothing pending (or applied all) recorded what its answer depended on: every file it read,
directories it listed, environment values it read, installed packages, the command line, the database; and the rows of
the version tables. If each of these is still the same, so is the answer. Anything else, any doubt: the slow path.

This module imports next to nothing: SQLAlchemy, Alembic and click cost ten times what is done here.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from alembic_job import __version__

try:
    from _blake2 import blake2b  # hashlib imports OpenSSL first: 4 ms
except ImportError:  # pragma: no cover - other builds of Python
    from hashlib import blake2b

_FORMAT = "1"
TABLE = "nothing_pending"
_WITH_VALUE = frozenset(("-c", "--config", "-n", "--name", "-x", "--tag"))
_PREFIXES = ("MIGRATE_", "ALEMBIC_", "DATABASE_", "PG", "PYTHON", "LC_", "LANG", "VIRTUAL_ENV")
# Read by nobody who reads them all: a pod's name must not send every pod down the slow path.
VOLATILE = frozenset(("HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_", "TERM", "COLUMNS", "LINES"))
_UNSUITED = ("MIGRATE_SKIP", "MIGRATE_SKIP_FILE", "MIGRATE_TO_FILE", "MIGRATE_BEFORE_WHEN_FILE", "MIGRATE_HISTORY_FILE")


class Inputs(NamedTuple):
    """What an answer depended on, as names; `digest_of` makes one number of what they hold now."""

    files: list[str]  # by content; absent ones count as absent
    installed: list[str]  # modules of installed packages: by size and time of change
    trees: list[str]  # script folders: every file below them by content
    listings: list[str]  # directories that were listed: by names
    modules: list[str]  # directories that modules may come from: by names of modules
    variables: list[str]  # environment values; "*" stands for all of them


def request_key(arguments: list[str], environ: dict[str, str] | os._Environ[str]) -> str | None:
    """Names a request: command line, working directory, interpreter, settings, installed packages.

    `None` if it is of a kind that is never decided here.
    """
    if not _is_plain(arguments) or any(environ.get(name) for name in _UNSUITED):
        return None
    if environ.get("MIGRATE_BEFORE_WHEN", "pending").strip().lower() != "pending":
        return None
    if environ.get("MIGRATE_HISTORY", "auto").strip().lower() == "off":
        return None
    if any(sign in environ.get("MIGRATE_TO", "") for sign in "+-"):  # relative: the next one is another every time
        return None
    mark = blake2b(digest_size=20)
    for text in (_FORMAT, __version__, sys.version, sys.prefix, os.getcwd(), *arguments):
        _add(mark, text)
    for name in sorted(environ):
        if name.startswith(_PREFIXES) and name != "PGPASSWORD":
            _add(mark, f"{name}={_without_password(environ[name])}")
            if name.endswith("_FILE"):
                _add(mark, _without_password(_text_of(environ[name])))
    for folder in sys.path:
        _add(mark, folder)
        for name in _distributions(folder):
            _add(mark, name)
    return mark.hexdigest()


def _is_plain(arguments: list[str]) -> bool:
    """`migrate` or `upgrade head`, with Alembic's own options at most."""
    rest = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in _WITH_VALUE:
            skip = True
        else:
            rest.append(argument)
    return not skip and rest in (["migrate"], ["upgrade"], ["upgrade", "head"], ["upgrade", "heads"])


def _distributions(folder: str) -> list[str]:
    """The installed packages with their versions, as their metadata folders are called."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info", ".pth")))
    except OSError:
        return []


def digest_of(inputs: Inputs, environ: dict[str, str] | os._Environ[str]) -> str:
    """One number of what these inputs hold now. Passwords are left out of it: they decide nothing."""
    mark = blake2b(digest_size=20)
    for path in inputs.files:
        _add_file(mark, path)
    for path in inputs.installed:
        _add_stat(mark, path)
    for folder in inputs.trees:
        _add_tree(mark, folder)
    for folder in inputs.listings:
        _add(mark, folder + "|" + "|".join(_names(folder)))
    for folder in inputs.modules:
        _add(mark, folder + "|" + "|".join(name for name in _names(folder) if _may_be_module(name)))
    names = sorted(environ) if "*" in inputs.variables else inputs.variables
    for name in names:
        if name not in VOLATILE or name in inputs.variables:
            value = environ.get(name)
            _add(mark, f"{name} is absent" if value is None else f"{name}={_without_password(value)}")
    return mark.hexdigest()


def _add(mark: Any, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    mark.update(len(data).to_bytes(8, "big"))
    mark.update(data)


def _add_file(mark: Any, path: str) -> None:
    _add(mark, path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        _add(mark, "absent")
        return
    try:
        while data := os.read(descriptor, 1 << 20):
            mark.update(data)
        mark.update(os.fstat(descriptor).st_size.to_bytes(8, "big"))
    except OSError:  # a directory, or no longer readable
        _add(mark, "unreadable")
    finally:
        os.close(descriptor)


def _add_stat(mark: Any, path: str) -> None:
    try:
        found = os.stat(path)
    except OSError:
        _add(mark, path + " absent")
    else:
        _add(mark, f"{path} {found.st_size} {found.st_mtime_ns}")


def _add_tree(mark: Any, folder: str) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        _add(mark, folder + " absent")
        return
    for entry in entries:
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _add_tree(mark, entry.path)
        else:
            _add_file(mark, entry.path)


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name != "__pycache__")
    except OSError:
        return ["/absent/"]


def _may_be_module(name: str) -> bool:
    return name.endswith((".py", ".so")) or ("." not in name)


def _text_of(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""


def _without_password(text: str) -> str:
    """A URL without its password: it is rotated, and no digest of it shall be kept anywhere."""
    if "://" not in text or "@" not in text:
        return text
    head, _, rest = text.partition("://")
    login, _, place = rest.rpartition("@")
    return f"{head}://{login.partition(':')[0]}@{place}"


def decide(arguments: list[str], environ: os._Environ[str]) -> bool:
    """Decides the request if an earlier run proved the answer: writes its lines and returns true; else false."""
    level = environ.get("MIGRATE_LOG_LEVEL", "info")
    if level not in ("info", "debug") or not _wants_json(environ):
        return False
    key = request_key(arguments, environ)
    url = environ.get("DATABASE_URL") or _text_of(environ.get("DATABASE_URL_FILE", ""))
    if key is None or not (url or environ.get("PGHOST") or environ.get("PGDATABASE")):
        return False
    import time

    begun = time.perf_counter()
    found = _proven(key, url, environ)
    if found is None:
        return False
    _say(arguments, found, time.perf_counter() - begun)
    return True


def _wants_json(environ: os._Environ[str]) -> bool:
    chosen = environ.get("MIGRATE_LOG_FORMAT", "auto").lower()
    return chosen == "json" or (chosen == "auto" and not os.isatty(1))


class _Proof(NamedTuple):
    tables: list[tuple[str, list[str]]]  # label, rows
    place: str


def _proven(key: str, url: str, environ: os._Environ[str]) -> _Proof | None:
    """The recorded answer, if the database holds one for this request and everything it rests on is unchanged."""
    from alembic_job import dsn as dsns

    try:
        dsn = dsns.parse(url) if url else dsns.Dsn({})
        direct = environ.get("DATABASE_DIRECT_URL") or _text_of(environ.get("DATABASE_DIRECT_URL_FILE", ""))
        if direct:
            dsn = dsn.at(dsns.parse(direct))
    except dsns.MalformedUrl:
        return None
    if "," in dsn.parameters.get("host", ""):
        return None
    import psycopg2

    try:
        connection = psycopg2.connect(
            "", **{"connect_timeout": "2", "application_name": "alembic-job", **dsn.parameters}
        )
    except psycopg2.Error:
        return None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            return _ask(cursor, key, environ, dsn.redacted())
    except psycopg2.Error:
        return None
    finally:
        connection.close()


def _ask(cursor: Any, key: str, environ: os._Environ[str], place: str) -> _Proof | None:
    schema = '"' + environ.get("MIGRATE_HISTORY_SCHEMA", "alembic_job").strip().replace('"', '""') + '"'
    cursor.execute(_QUERY.replace("{schema}", schema), (key,))
    row = cursor.fetchone()
    if row is None:
        return None
    digest, recorded, identity, here, in_recovery, read_only, age, locked = row
    if identity != here or in_recovery or read_only or age < 10 or locked:
        return None
    import json

    record = json.loads(recorded)
    if digest_of(Inputs(**record["inputs"]), environ) != digest:
        return None
    tables: list[tuple[str, list[str]]] = [(table["sql"], table["rows"]) for table in record["tables"]]
    for sql, rows in tables:
        cursor.execute(f"SELECT version_num FROM {sql}")
        if sorted(found[0] for found in cursor.fetchall()) != rows:
            return None
    return _Proof(tables, place)


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


def _say(arguments: list[str], proof: _Proof, seconds: float) -> None:
    from alembic_job.logs.lines import encode, timestamp

    run_id = os.urandom(6).hex()
    command = next(argument for argument in arguments if argument in ("migrate", "upgrade"))
    heads = sorted({row for _, rows in proof.tables for row in rows})
    at: Any = heads if len(heads) > 1 else (heads[0] if heads else None)

    def line(event: str, **fields: Any) -> str:
        return encode({"timestamp": timestamp(), "level": "info", "event": event, "run_id": run_id, **fields}) + "\n"

    lines = [
        line("job.started", command=command, version=__version__),
        line("nothing.pending", revision=heads, proven=True, database=proof.place),
        line(
            "job.finished",
            command="migrate",
            outcome="done",
            exit_code=0,
            **{"from": at, "to": at},
            applied=[],
            duration_seconds=round(seconds, 3),
        ),
    ]
    data = "".join(lines).encode()
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass
