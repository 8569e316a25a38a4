"""`MIGRATE_REPORT`: listens to a run, and writes how it went as one HTML file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline.report.heard import Ended, Heard
from alembic_job.settings import Settings
from alembic_job.settings.shown import chosen

_MOST = 200_000  # events that are kept; a run of 20,000 revisions says fewer


class Reporter:
    """Hears what the run says, at every level, and writes the page at its end. Nothing here ends a run."""

    def __init__(
        self, settings: Settings, command: str, run_id: str, redacted: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        """`redacted` takes the secrets out of fields."""
        assert settings.report is not None
        self._settings, self._command, self._redacted = settings, command, redacted
        self._begun = time.time()
        self._file = _file(settings.report, command, run_id, self._begun)  # the project may go elsewhere
        self._events: list[Heard] = []

    def listening(self, log: Log) -> Log:
        """The log that the run writes to."""
        return _Listening(log, self._hear)

    def _hear(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if len(self._events) < _MOST:
            self._events.append(Heard(time.time(), level, event, fields))

    def write(self, report: Report, log: Log) -> None:
        """Writes the file, and says where it is; what hinders that is said too."""
        try:
            _written(self._file, self._page(report))
        except OSError as error:
            log.warning(
                "report.not_written",
                path=str(self._file),
                reason=error.strerror or type(error).__name__,
                hint="MIGRATE_REPORT names a file, or a folder with / at its end, that this user may write",
            )
        except Exception as error:  # whatever it is: the run ends as it does
            log.warning("report.not_written", path=str(self._file), reason=f"a defect: {type(error).__name__}: {error}")
        else:
            log.info("report.written", path=str(self._file))

    def _page(self, report: Report) -> str:
        from alembic_job.pipeline.report.ran import as_html

        events = tuple(each._replace(fields=self._redacted(each.fields)) for each in [*self._events])
        run = Ended(self._command, self._begun, time.time(), events, self._redacted(report.as_fields()))
        where = self._settings.own()
        settings = [(name, *self._without_secrets(value), origin) for name, value, origin in chosen(self._settings)]
        return as_html(run, where=where.redacted() if where else "", settings=settings)

    def _without_secrets(self, value: str) -> tuple[str]:
        return (self._redacted({"value": value})["value"],)


def _file(name: str, command: str, run_id: str, begun: float) -> Path:
    """The file that a setting names; in a folder it is named after the run."""
    path = Path(name).absolute()
    if not name.endswith("/") and not path.is_dir():
        return path
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(begun))
    return path / f"{command}-{moment}-{run_id[:8]}.html"


def _written(file: Path, text: str) -> None:
    """Writes all of the file, or nothing. Raises `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name[:200]}.{os.getpid()}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


class _Listening:
    """A log that tells somebody of its events, whatever their level."""

    def __init__(self, log: Log, hear: Callable[[str, str, dict[str, Any]], None]) -> None:
        self._log, self._hear = log, hear

    def debug(self, event: str, **fields: Any) -> Any:
        self._hear("debug", event, fields)
        return self._log.debug(event, **fields)

    def info(self, event: str, **fields: Any) -> Any:
        self._hear("info", event, fields)
        return self._log.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> Any:
        self._hear("warning", event, fields)
        return self._log.warning(event, **fields)

    def error(self, event: str, **fields: Any) -> Any:
        self._hear("error", event, fields)
        return self._log.error(event, **fields)
