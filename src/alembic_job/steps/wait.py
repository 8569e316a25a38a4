"""Step 1: wait until a real query succeeds on a primary that can be written to."""

from __future__ import annotations

import time

import psycopg2
import tenacity
from psycopg2.extensions import connection as Connection

from alembic_job import errors
from alembic_job.dsn import Dsn
from alembic_job.gateways import postgres
from alembic_job.logs.events import Log

_YOUNG = 10.0  # seconds: initdb's temporary server answers, then goes away again
_ATTEMPT = 5.0  # seconds for one connection attempt


class _NotReady(Exception):
    """One attempt failed in a way that may pass."""

    def __init__(self, problem: postgres.ConnectProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def wait_for_primary(dsn: Dsn, application_name: str, timeout: float, login_grace: float, log: Log) -> Connection:
    """Returns an autocommit connection to a writable primary.

    Tries again, with jittered and growing pauses, for `timeout` seconds; a refused login or missing database only
    for `login_grace` seconds. Where an earlier try failed or the server is younger than ten seconds it must be ready
    twice. Raises `DatabaseUnreachable`, `LoginFailed` or `SettingsError`.
    """
    begun = time.monotonic()
    budget = timeout  # a nearer deadline ends the run by itself
    first_refused: float | None = None

    def give_up(state: tenacity.RetryCallState) -> bool:
        nonlocal first_refused
        error = state.outcome.exception() if state.outcome else None
        refused = isinstance(error, _NotReady) and error.problem.kind is errors.LoginFailed
        then = time.monotonic() + (state.upcoming_sleep or 0)
        if refused and first_refused is None:  # a server that came late, or a slow password command, took no grace
            first_refused = time.monotonic()
        return then - begun > budget or (refused and then - (first_refused or begun) > login_grace)

    def announce(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, _NotReady)
        problem = error.problem
        fields = {"attempt": state.attempt_number, "next_in_seconds": round(state.upcoming_sleep, 2)}
        log.warning("wait.retry", reason=problem.reason, error=problem.message, **fields)

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_NotReady),
        wait=tenacity.wait_exponential(multiplier=0.2, max=3) + tenacity.wait_random(0, 0.3),
        stop=give_up,
        before_sleep=announce,
        sleep=time.sleep,
        reraise=True,
    )
    log.debug("wait.started", database=dsn.redacted(), timeout_seconds=round(budget, 3))
    try:
        for attempt in attempts:
            with attempt:
                left = max(2.0, min(_ATTEMPT, budget - (time.monotonic() - begun)))
                connection = _ready(dsn, application_name, left, attempt.retry_state.attempt_number)
    except _NotReady as error:
        raise _give_up(error.problem, dsn, time.monotonic() - begun) from error
    log.info("wait.ready", database=dsn.redacted(), seconds=round(time.monotonic() - begun, 3))
    return connection


def _ready(dsn: Dsn, application_name: str, timeout: float, attempt: int) -> Connection:
    """One attempt. Raises `_NotReady`, or at once what no waiting helps against."""
    try:
        connection = postgres.connect(dsn, application_name, timeout)
    except psycopg2.Error as error:
        problem = postgres.connect_error(error)
        if problem.kind is errors.SettingsError:
            raise errors.SettingsError(problem.message, hint="correct the parameters of the database URL") from error
        raise _NotReady(problem) from error
    try:
        state = postgres.server_state(connection)
        _check(state)
        if attempt > 1 or state.age_seconds < _YOUNG:
            _check_again(connection, dsn, application_name, timeout, state)
    except psycopg2.Error as error:
        connection.close()
        raise _NotReady(postgres.connect_error(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check(state: postgres.ServerState) -> None:
    if state.in_recovery:
        message = "the server is in recovery: a replica, or a primary that is not up yet"
        raise _NotReady(postgres.ConnectProblem(errors.DatabaseUnreachable, "in recovery", message))
    if state.read_only:
        raise errors.LoginFailed(
            "the database is read-only by setting (default_transaction_read_only)",
            hint="ALTER ROLE … or ALTER DATABASE … SET default_transaction_read_only = off, or connect as another role",
        )


def _check_again(
    connection: Connection, dsn: Dsn, application_name: str, timeout: float, before: postgres.ServerState
) -> None:
    """Ready twice: half a second later the same server must answer, on the old connection and on a new one."""
    time.sleep(0.5)
    second = postgres.connect(dsn, application_name, timeout)
    try:
        after = postgres.server_state(second)
    finally:
        second.close()
    again = postgres.server_state(connection)
    if after.started != before.started or again.started != before.started:
        raise _NotReady(
            postgres.ConnectProblem(errors.DatabaseUnreachable, "restarted", "the server was started anew meanwhile")
        )
    _check(after)


def _give_up(problem: postgres.ConnectProblem, dsn: Dsn, waited: float) -> errors.JobError:
    message = f"{dsn.redacted()} after {waited:.1f} s: {problem.message}"
    return problem.kind(message, hint=problem.hint, reason=problem.reason)
