"""The end of a run does not wait long for its report."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from alembic_job.errors import Interrupted
from alembic_job.model import Report
from alembic_job.pipeline import reporting
from alembic_job.pipeline.reporting import Reporter
from alembic_job.settings import Settings
from alembic_job.watch import Watch


class Said:
    """A log that keeps what was said."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    debug = warning = error = info


def test_a_run_that_is_to_end_goes_on_without_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_HURRY", 0.05)
    file, held, log, watch = tmp_path / "run.html", threading.Event(), Said(), Watch(signals=False)
    file.write_text("an earlier run")
    reporter = Reporter(Settings(report=str(file)), "migrate", "1234", watch, lambda fields: fields)

    def slow(_report: Report) -> str:
        watch.stopped = Interrupted()
        held.wait(30)
        return "late"

    monkeypatch.setattr(reporter, "_page", slow)
    reporter.write(Report("migrate", "1234"), log)
    [(event, fields)] = log.events
    assert event == "report.not_written" and "took too long" in fields["reason"]
    assert fields["message"] == "the file there is of an earlier run"
    held.set()
    threads = [thread for thread in threading.enumerate() if thread.name == "alembic-job-report"]
    for thread in threads:
        thread.join(30)
    assert [each.name for each in tmp_path.iterdir()] == ["run.html"]
    assert file.read_text() == "an earlier run"


def test_a_page_is_written_and_said(tmp_path: Path) -> None:
    file, log = tmp_path / "run.html", Said()
    reporter = Reporter(Settings(report=str(file)), "migrate", "1234", Watch(signals=False), lambda fields: fields)
    reporter.write(Report("migrate", "1234"), log)
    assert log.events == [("report.written", {"path": str(file)})]
    assert "migrate: done" in file.read_text()
