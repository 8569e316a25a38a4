"""Where a command's words go: JSON lines through the capture, or text for people; and how the process ends."""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NoReturn

from alembic_job import dsn as dsns
from alembic_job import termination
from alembic_job.errors import Defect, JobError
from alembic_job.logs.bridge import bridged
from alembic_job.logs.capture import Capture
from alembic_job.logs.events import Log, coloured, hear, json_log, text_log
from alembic_job.logs.lines import Redactor
from alembic_job.model import Report

_SECRET_VARIABLES = (
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
)


def wants_json(flag: str | None) -> bool:
    """JSON when asked for, and by default when stdout is no terminal; readable before any setting is."""
    chosen = (flag or os.environ.get("MIGRATE_LOG_FORMAT") or "auto").strip().lower()
    return chosen == "json" or (chosen != "text" and not sys.stdout.isatty())


def colours() -> bool:
    """True if stdout is a terminal that has colours, and nobody asked for none (NO_COLOR)."""
    return coloured(sys.stdout)


def known_secrets() -> list[str]:
    """Secrets that stand in the environment, found before anything is parsed that could fail and say too much."""
    found = [os.environ[name] for name in _SECRET_VARIABLES if os.environ.get(name)]
    found += [word for word in os.environ.get("MIGRATE_BACKUP_IDENTITY", "").split() if word.startswith("AGE-")]
    found += _misplaced(os.environ.get("MIGRATE_BACKUP_URL", ""))
    for name in ("DATABASE_URL", "DATABASE_DIRECT_URL"):
        found += [secret for text in _texts_of(name) for secret in secrets_of(text)]
    return found + [secret for text in _texts_of("MIGRATE_NOTIFY") for secret in secrets_of_services(text)]


def _texts_of(name: str) -> list[str]:
    """What a variable, or the file that its other name leads to, holds."""
    texts = [os.environ.get(name, "")]
    if file := os.environ.get(f"{name}_FILE"):
        try:
            texts.append(Path(file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            pass
    return [text.strip() for text in texts if text.strip()]


def secrets_of_services(text: str) -> list[str]:
    """What must not be seen of the URLs that messages go to: all of each, passwords, and what looks like a token.

    Nothing else: a channel or host that is masked wherever it is mentioned makes a log unreadable.
    """
    found = re.split(r"[\s,]+", text)
    for url in found.copy():
        rest = url.partition("://")[2]
        login = rest.partition("?")[0].rpartition("@")[0]
        found += [login.partition(":")[2], *(part for part in re.split(r"[/?&=:@,#]+", rest) if _is_token(part))]
    return [*found, *(dsns._unquote(part) for part in found if "%" in part)]


def _is_token(part: str) -> bool:
    return len(part) >= 20 or (len(part) >= 8 and "." not in part and any(sign.isdigit() for sign in part))


def _misplaced(url: str) -> list[str]:
    """What does not belong into a store's URL and will be refused: a login, a query with a signature."""
    place, _, query = url.partition("?")
    login, at, _ = place.partition("://")[2].rpartition("@")
    return [text for text in (query, login if at else "", login.partition(":")[2]) if text]


def secrets_of(url: str) -> list[str]:
    """What must not be seen of a URL: its passwords, decoded and as spelled; all of it if it cannot be parsed."""
    try:
        dsn = dsns.parse(url)
    except dsns.MalformedUrl:
        return [url]  # it cannot be told what in it is secret: all of it is
    spelled = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return [text for text in (dsn.password, spelled, dsn.parameters.get("sslpassword", "")) if text]


class JobOutput:
    """The output of a job command, from its first line to `job.finished` and the end of the process."""

    def __init__(
        self, command: str, run_id: str, log_format: str | None, level: str, termination_log: str | None = None
    ) -> None:
        self.command, self.run_id = command, run_id
        self._termination_log = str(Path(termination.path(termination_log)).absolute())  # the project may go elsewhere
        self.begun = time.monotonic()
        self._finish = threading.Lock()
        self._ending: Report | None = None
        self.ended: Callable[[Report], None] = lambda report: None  # whoever else wants to know
        self.reported: Callable[[Report, Log], None] = lambda report, log: None  # who writes it down
        self._redactor = Redactor(known_secrets())
        self._resources = ExitStack()
        self.capture: Capture | None = None
        if wants_json(log_format):
            self.capture = Capture(self._redactor, {"run_id": run_id})
            self.log: Log = json_log(self.capture.event, self._redactor, level, run_id=run_id)
            self._last: Log = json_log(self.capture.event, self._redactor, "debug", run_id=run_id)
        else:
            self.log = text_log(sys.stdout, self._redactor, level, run_id=run_id)
            self._last = text_log(sys.stdout, self._redactor, "debug", run_id=run_id)
        self._resources.enter_context(bridged(self.log))
        hear(self.log, self.learn_secret)

    def learn_secret(self, secret: str) -> None:
        """Masks this from now on, in our lines and in captured ones."""
        self._redactor.add(secret)
        if self.capture is not None and secret:
            self.capture.secret(secret)

    def redact(self, text: str) -> str:
        """A text without the secrets that are known by now."""
        return self._redactor.text(text)

    def redacted(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields of an event, likewise."""
        return self._redactor.event(fields)

    def finish(self, report: Report, *, run_exit_functions: bool = True) -> NoReturn:
        """Writes `job.finished` as the very last line and ends the process with the report's exit code.

        Exit functions that the project registered run before that line, so that nothing can follow it.
        """
        if run_exit_functions:
            report.duration_seconds = time.monotonic() - self.begun  # who is told of the end may take longer
            self._ending = report
            try:
                atexit._run_exitfuncs()
            except BaseException as error:
                self.log.warning("exit.failed", message=f"{type(error).__name__}: {error}")
            self.ended(report)
        if not self._finish.acquire(blocking=False):
            threading.Event().wait()  # another thread is ending the process
        if children := sys.modules.get("alembic_job.gateways.children"):
            children.end_all()
        self.reported(report, self.log)
        fields = report.as_fields()
        self._write_termination_log(fields)
        write = self._last.info if report.exit_code == 0 else self._last.error
        write("job.finished", **fields)
        if self.capture is not None:
            self.capture.close()
        else:
            sys.stdout.flush()
        os._exit(report.exit_code)

    def _write_termination_log(self, fields: dict[str, Any]) -> None:
        """Before the last line: whoever reads that may be slow."""
        text = termination.text(self._redactor.event(fields), self.run_id)
        if problem := termination.write(self._termination_log, text):
            self.log.debug("termination_log.failed", path=self._termination_log, reason=problem)

    def leave(self, error: JobError, report: Report | None) -> NoReturn:
        """Ends the process from the watching thread, when the main one does not let go."""
        if self._ending is not None:  # only the project's exit functions still run: the outcome is known
            self.finish(self._ending, run_exit_functions=False)
        report = report or Report(self.command, self.run_id)
        report.duration_seconds = time.monotonic() - self.begun
        report.outcome, report.exit_code = error.outcome, error.exit_code
        report.error, report.hint = str(error), error.hint
        report.fields |= error.fields
        self.finish(report, run_exit_functions=False)

    def failed(self, error: BaseException) -> NoReturn:
        """Ends the process for an error that left the pipeline, or came before it."""
        if not isinstance(error, JobError):
            import traceback

            lines = "".join(traceback.format_exception(error))
            error = Defect(f"{type(error).__name__}: {error}", traceback=lines)
        report = error.report or Report(self.command, self.run_id, duration_seconds=time.monotonic() - self.begun)
        report.outcome, report.exit_code = error.outcome, error.exit_code
        report.error, report.hint = str(error), error.hint
        report.fields |= error.fields
        self.finish(report)


def answer(produce: Callable[[], str], log: Log, redactor: Redactor) -> str:
    """Runs a question with descriptor 1 led to stderr, so that what env.py prints is not part of the answer."""
    stream = sys.stdout
    stream.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with bridged(log):
            return redactor.text(produce())
    except JobError as error:
        error.args = (redactor.text(str(error)),)
        error.hint = redactor.text(error.hint)
        raise
    finally:
        with suppress(Exception):  # the project may have put something of its own there, which is not for the answer
            sys.stdout.flush()
        sys.stdout = stream
        stream.flush()
        os.dup2(real, 1)
        os.close(real)


def question_log(**bound: Any) -> tuple[Log, Redactor]:
    """Events of a question: on stderr, warnings and worse, as text at a terminal."""
    redactor = Redactor(known_secrets())

    def write(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if wants_json(None) and not sys.stderr.isatty():
        log = json_log(write, redactor, "warning", **bound)
    else:
        log = text_log(sys.stderr, redactor, "warning", **bound)
    hear(log, redactor.add)
    return log, redactor
