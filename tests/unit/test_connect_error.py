"""What libpq says when a connection cannot be made, and what it means for a run."""

from __future__ import annotations

import pytest

from alembic_job.gateways.postgres import connect_error


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ('connection to server at "h" (1.2.3.4), port 5432 failed: Connection refused', 10, "refused"),
        ('could not translate host name "db" to address: Name or service not known', 10, "host name unknown"),
        ("FATAL:  the database system is starting up", 10, "starting up"),
        ("FATAL:  the database system is shutting down", 10, "shutting down"),
        ("FATAL:  the database system is not yet accepting connections", 10, "unreachable"),
        ("FATAL:  sorry, too many clients already", 10, "too many connections"),
        (
            "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
            10,
            "too many connections",
        ),
        ("connection to server failed: timeout expired", 10, "timeout"),
        ("server closed the connection unexpectedly", 10, "closed"),
        ("connection failed: session is read-only", 10, "in recovery"),
        ('FATAL:  password authentication failed for user "u"', 21, "login refused"),
        ('FATAL:  role "u" does not exist', 21, "login refused"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", no encryption', 21, "login refused"),
        ("fe_sendauth: no password supplied", 21, "login refused"),
        ('FATAL:  database "d" does not exist', 21, "no such database"),
        ('root certificate file "/ca.pem" does not exist', 20, "connection settings"),
        ("server does not support SSL, but SSL was required", 20, "connection settings"),
        ("SSL error: certificate verify failed", 20, "connection settings"),
        ('server certificate for "a" does not match host name "b"', 20, "connection settings"),
        ('invalid sslmode value: "maybe"', 20, "connection settings"),
        ("FATAL:  die Datenbank startet gerade", 10, "unreachable"),
    ],
)
def test_each_is_classified(message: str, code: int, reason: str) -> None:
    """Retry, short grace, or at once; what is not known, a translated message say, is tried again."""
    problem = connect_error(Exception(message))
    assert (problem.kind.exit_code, problem.reason) == (code, reason)
