"""`MIGRATE_REPORT`: listens to a run, and writes how it went as one HTML file."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic_job.logs.events import Listening, Log
from alembic_job.model import Report
from alembic_job.pipeline.report.heard import Ended, Heard
from alembic_job.settings import Settings
from alembic_job.settings.shown import chosen
from alembic_job.watch import Watch

_PATIENCE, _HURRY = 30.0, 0.6  # seconds that the end of a run waits for it; of a run that was stopped
_MOST = 200_000  # events that are kept; a run of 20,000 revisions says fewer


class Reporter:
    """Hears what the run says, at every level, and writes the page at its end. Nothing here ends a run."""

    def __init__(
        self,
        settings: Settings,
        command: str,
        run_id: str,
        watch: Watch,
        redacted: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        """`redacted` takes the secrets out of fields; `watch` knows whether the run is to end."""
        assert settings.report is not None
        self._settings, self._command, self._watch, self._redacted = settings, command, watch, redacted
        self._hurries = self._over = False
        self._begun = time.time()
        self._file = _file(settings.report, command, run_id, self._begun)  # the project may go elsewhere
        self._events: list[Heard] = []

    def listening(self, log: Log) -> Log:
        """The log that the run writes to."""
        return Listening(log, self._hear)

    def _hear(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if len(self._events) < _MOST:
            self._events.append(Heard(time.time(), level, event, fields))

    def write(self, report: Report, log: Log) -> None:
        """Writes the file, and says where it is; what hinders that is said too. Nobody waits long for it, and least
        of all a run that is to end."""
        result: list[BaseException | None] = []
        work = threading.Thread(target=self._work, args=(report, result), name="alembic-job-report", daemon=True)
        work.start()
        end = time.monotonic() + _PATIENCE
        while work.is_alive() and time.monotonic() < end:
            if self._watch.stopped is not None:
                end = min(end, time.monotonic() + _HURRY) if not self._hurries else end
                self._hurries = True
            work.join(0.02)
        if not result:
            self._over = True
            self._not_written(log, "it took too long; `alembic-job report` makes one of the log")
        elif result[0] is None:
            log.info("report.written", path=str(self._file))
        elif isinstance(result[0], OSError):
            hint = "MIGRATE_REPORT names a file, or a folder with / at its end, that this user may write"
            self._not_written(log, result[0].strerror or str(result[0]) or type(result[0]).__name__, hint=hint)
        else:  # whatever it is: the run ends as it does
            self._not_written(log, f"a defect of alembic-job: {type(result[0]).__name__}: {result[0]}")

    def _not_written(self, log: Log, reason: str, **fields: Any) -> None:
        older = {"message": "the file there is of an earlier run"} if self._file.is_file() else {}
        log.warning("report.not_written", path=str(self._file), reason=reason, **older, **fields)

    def _work(self, report: Report, result: list[BaseException | None]) -> None:
        """In a thread of its own: puts what hindered it into `result`, or `None`."""
        try:
            _check(self._file)
            _written(self._file, self._page(report), lambda: self._over)
        except BaseException as error:
            result.append(error)
        else:
            result.append(None)

    def _page(self, report: Report) -> str:
        from alembic_job.pipeline.report.ran import as_html

        events = tuple(each._replace(fields=self._redacted(each.fields)) for each in [*self._events])
        run = Ended(self._command, self._begun, time.time(), events, self._redacted(report.as_fields()))
        where = self._settings.own()
        settings = self._redacted({"settings": chosen(self._settings)})["settings"]
        return as_html(run, where=where.redacted() if where else "", settings=settings)


def _file(name: str, command: str, run_id: str, begun: float) -> Path:
    """The file that a setting names; in a folder it is named after the run."""
    path = Path(name).expanduser().absolute()
    if name.endswith("/") or path.is_dir():
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(begun))
        path /= f"{command}-{moment}-{run_id[:8]}.html"
    return Path(os.path.realpath(path))  # what a link leads to is what is written


def _check(file: Path) -> None:
    """Raises `OSError` for what must not be put aside: a device, a pipe."""
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")


def _written(file: Path, text: str, is_over: Callable[[], bool]) -> None:
    """Writes all of the file, or nothing. Raises `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".alembic-job-{os.getpid()}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        if not is_over():
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
