"""Roles that a project takes for granted, on a server that was made for it."""

from __future__ import annotations

import re

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.gateways import databases, postgres

_LACKING = re.compile(r'role "(.+)" does not exist', re.DOTALL)
_CODES = ("42704", "22023")  # the second is SET ROLE's


def lacking(error: BaseException) -> str | None:
    """The role that a statement failed for since there is none of that name; for a server that speaks English."""
    if postgres.sqlstate(error) not in _CODES:
        return None
    for link in postgres.chain(error):
        said = getattr(getattr(link, "diag", None), "message_primary", None) or str(link)
        if found := _LACKING.search(said):
            return found[1]
    return None


def make(connection: Connection, name: str) -> None:
    """A role that nobody can log in as. Raises `psycopg2.Error`."""
    postgres.query(connection, databases.filled(connection, "CREATE ROLE {} NOLOGIN", sql.Identifier(name)))
