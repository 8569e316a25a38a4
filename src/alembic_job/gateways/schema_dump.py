"""A database's schema as pg_dump writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alembic_job.dsn import Dsn
from alembic_job.errors import DatabaseUnreachable, LoginFailed
from alembic_job.gateways import postgres, programs
from alembic_job.gateways.programs import Programs

_DENIED = re.compile(r"permission denied.*?(?= pg_dump: |$)")
_MAY_NOT_READ = "GRANT pg_read_all_data TO this role"


def schema_of(
    found: Programs, dsn: Dsn, own_schema: str, without: Sequence[tuple[str, str]] = (), options: Sequence[str] = ()
) -> str:
    """The schema as SQL, without the job's own one and these tables (schema, name); `options` are pg_dump's.

    Raises `LoginFailed` (21) where the role may not read all of it, `DatabaseUnreachable` (10) with what pg_dump says.
    """
    argv = [found.path("pg_dump"), "--no-password", "--schema-only", f"--exclude-schema={_exactly(own_schema)}"]
    argv += [f"--exclude-table={_exactly(schema)}.{_exactly(name)}" for schema, name in without]
    argv += options
    done = programs.run(argv, postgres.with_password(dsn))
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        if found_out := _DENIED.search(said):
            raise LoginFailed(f"pg_dump cannot read the schema: {found_out[0]}", hint=_MAY_NOT_READ)
        raise DatabaseUnreachable(f"pg_dump cannot read the schema: {said[-2000:]}")
    return done.stdout


def _exactly(name: str) -> str:
    """A name as a pattern that matches nothing else."""
    return '"' + name.replace('"', '""') + '"'
