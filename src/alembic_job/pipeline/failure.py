"""From whatever was raised to the error that ends the run."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from alembic_job import errors
from alembic_job.errors import JobError
from alembic_job.gateways import postgres
from alembic_job.gateways.complaints import project_error, where
from alembic_job.gateways.project import Project
from alembic_job.model import Report
from alembic_job.watch import Watch

_PACKAGE = Path(__file__).parent.parent
_UNKNOWN_OPTION = re.compile(r"\bconnect\(\) got an unexpected keyword argument '(\w+)'")
_EXHAUSTED = {
    "53100": "the database server's disk is full: make room there, then run again; nothing half-written was kept",
    "53200": "the database server is out of memory: give it more, or ask less of it at once, then run again",
}
_CODES: dict[str, type[JobError]] = {
    "42501": errors.LoginFailed,
    "55P03": errors.TableLocked,
    "40P01": errors.TableLocked,
}


@contextmanager
def concluded(
    report: Report, watch: Watch, reworded: Callable[[BaseException], BaseException] = lambda reason: reason
) -> Iterator[None]:
    """Around a run's work: takes its time, and makes what ended it the run's error, `reworded` and with the report."""
    begun = time.monotonic()
    try:
        yield
    except BaseException as error:
        watch.settle()
        reason = reworded(watch.stopped or error)
        if isinstance(reason, JobError):
            reason.report = report
        raise reason from error
    finally:
        watch.settle()
        report.duration_seconds = time.monotonic() - begun


def classify(error: BaseException, project: Project | None, revision: str | None, in_project: bool = True) -> JobError:
    """The `JobError` for an exception that env.py or a migration (`revision`) let out.

    `in_project` is false if it was raised while none of the project's code ran.
    """
    if isinstance(error, JobError):
        return error
    found = next((link for link in postgres.chain(error) if isinstance(link, JobError)), None)
    if found is not None:
        return found
    if option := _unknown_option(error):
        return option
    if not in_project or _is_ours(error):
        return _own_error(error)
    place = where(error, project.script.dir) if project is not None else None
    at = f" ({place})" if place else ""
    during = f"revision {revision} failed: " if revision else "env.py failed: "
    message = during + words_of(error) + at
    fields = {"revision": revision} if revision else {}
    if kind := _database_kind(error, revision):
        return kind(message, hint=_hint(error, kind), **fields)
    if type(error).__name__ == "CommandError" and revision is None:
        return project_error(error)  # type: ignore[arg-type]
    if revision:
        return errors.MigrationFailed(message, **fields)
    hint = "correct env.py or what it needs; nothing was changed"
    return errors.ProjectError(message, hint=_driver_hint(error) or hint)


def _unknown_option(error: BaseException) -> JobError | None:
    """The URL has an option that the project's driver does not take; SQLAlchemy hands each on as an argument."""
    found = isinstance(error, TypeError) and _UNKNOWN_OPTION.search(str(error))
    if not found:
        return None
    name = found[1]
    hint = f"take {name} out of the URL that the project connects by, or spell it as its driver does"
    if name == "sslmode":
        hint = "asyncpg spells it ?ssl=require (SQLAlchemy hands sslmode on as it is): write the project's URL so"
    return errors.SettingsError(f"the project's driver does not know the option {name} of the database URL", hint=hint)


def _is_ours(error: BaseException) -> bool:
    """True if the innermost frame is our own code: then neither env.py nor a migration is to blame."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)


def _own_error(error: BaseException) -> JobError:
    """One of our own connections failed, or we have a defect."""
    code = postgres.sqlstate(error)
    if code in _CODES:
        return _CODES[code](words_of(error))
    if postgres.is_connection_lost(error):
        return errors.ConnectionLost(words_of(error))
    if isinstance(error, psycopg2.OperationalError) and code is None:
        problem = postgres.connect_error(error)
        return problem.kind(problem.message)
    lines = "".join(traceback.format_exception(error))
    return errors.Defect(words_of(error), traceback=lines)


def _database_kind(error: BaseException, revision: str | None) -> type[JobError] | None:
    code = postgres.sqlstate(error)
    if code in _CODES:
        return _CODES[code]
    if code in _EXHAUSTED:
        return errors.MigrationFailed
    if code == "25006":
        return errors.LoginFailed if "read-only" in str(error) and revision else errors.DatabaseUnreachable
    if code is not None and code[:2] == "28":
        return errors.LoginFailed
    if code == "3D000":
        return errors.LoginFailed
    if revision is None and code is not None and (code in ("53300", "57P03") or code[:2] == "08"):
        return errors.DatabaseUnreachable
    if code in ("57P01", "57P02", "57P05", "25P03"):
        return errors.ConnectionLost
    if revision is not None and postgres.is_connection_lost(error):
        return errors.ConnectionLost
    if revision is None and any(type(link).__name__ == "OperationalError" for link in postgres.chain(error)):
        return postgres.connect_error(error).kind if code is None else None
    if revision is None and any(isinstance(link, ConnectionError) for link in postgres.chain(error)):
        return errors.DatabaseUnreachable
    return None


def _hint(error: BaseException, kind: type[JobError]) -> str:
    if hint := _EXHAUSTED.get(postgres.sqlstate(error) or ""):
        return hint
    if kind is errors.LoginFailed and postgres.sqlstate(error) == "42501":
        return "grant this role what the statement needs, make it owner of the table, or migrate as its owner"
    return ""


def _driver_hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in ("psycopg", "asyncpg", "psycopg2", "pg8000"):
        return f"the project's URL asks for the driver {error.name}: install it beside the project"
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name} in the image, or make it importable (prepend_sys_path in alembic.ini)"
    if "invalid literal for int()" in str(error) and "," in str(error):
        return "SQLAlchemy cannot read several hosts in one URL: write …/db?host=a:5432&host=b:5432"
    if isinstance(error, KeyError) or type(error).__name__ == "ValidationError":
        return "env.py lacks a setting: pass the environment variable that it names"
    return ""


def words_of(error: BaseException) -> str:
    """The message without SQLAlchemy's background link; with the exception's name where the message lacks sense."""
    orig = getattr(error, "orig", None)
    text = " ".join(str(orig if orig is not None else error).split())
    name = type(orig if orig is not None else error).__name__
    return f"{name}: {text}" if text else name
