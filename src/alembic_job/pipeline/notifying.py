"""Tells people's services how a run goes: that it begins to change something, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from alembic_job.errors import DatabaseUnreachable, JobError
from alembic_job.gateways import locks, postgres
from alembic_job.gateways.notifier import Answer, Message, Sending
from alembic_job.identity import Identity
from alembic_job.logs.events import Listening, Log
from alembic_job.model import Report, heads_text
from alembic_job.settings import Settings
from alembic_job.watch import Watch

_PATIENCE = 5.0  # seconds that a message gets, and that the end of a run waits for one at most
_BEGINNINGS = ("plan.made", "restore.started")  # the events of the log after which something is changed
_SILENT = ("wait-for-db", "wait-for-migrations", "consent")  # they change nothing, and somebody looks at them
_ASKING = ("restore", "repair")  # without --yes they only say what they would do
_UNSAID = (2, 3)  # exit codes: a mistyped command line, and a question's "yes", are for who asked
_LONGEST = 600  # characters of a line; services cut messages, or send several
_LISTED = 10  # revisions


class Notifier:
    """Says what `MIGRATE_NOTIFY_ON` wants to hear. Nothing here raises, and nothing waits but `ended`."""

    def __init__(
        self, settings: Settings, command: str, log: Log, watch: Watch, identity: Identity, redact: Callable[[str], str]
    ) -> None:
        """`redact` takes secrets out of a text."""
        self._settings, self._command, self._log = settings, command, log
        self._identity, self._redact = identity, redact
        self._path = [str(Path(folder).absolute()) for folder in sys.path]  # before the project changes it
        watch.leave_after += _PATIENCE + 1  # else a signal would end the process before a message is out
        self._begun = False
        self._sent: list[Sending] = []

    def listening(self, log: Log) -> Log:
        """The log that the run writes to: when its events say that something will be changed, so does a message."""
        return Listening(log, self._heard)

    def _heard(self, _level: str, event: str, fields: dict[str, Any]) -> None:
        if event not in _BEGINNINGS or self._begun:
            return
        self._begun = True
        if event == "plan.made":
            what = f"{fields['revisions']} revisions: {fields['first']} … {fields['last']}"
            what = f"1 revision: {fields['first']}" if fields["revisions"] == 1 else what
        else:
            what = f"{fields['backup']} into {fields['database']}"
        self._say("started", "info", [what])

    def ended(self, report: Report) -> None:
        """The run is over and holds no lock any more: says so, and waits for all messages, five seconds at most."""
        try:
            self._ended(report)
        except Exception as error:  # whatever it is: the run ends as it does
            self._log.warning("notify.failed", reason=f"a defect of alembic-job: {type(error).__name__}")

    def _ended(self, report: Report) -> None:
        if about := self._about(report):
            kind = {"failed": "failure", "rolled-back": "warning"}.get(about, "success")
            self._say(about, kind, _lines(report), report)
        if self._sent and report.exit_code != DatabaseUnreachable.exit_code:
            self._let_go()
        for sending in self._sent:
            self._look(sending.message.about, sending.answers())
        self._sent.clear()

    def _let_go(self) -> None:
        """Ends the sessions that the project has left open: while we wait here, another runner would take them for a
        dead one's."""
        if (dsn := self._settings.own()) is None:
            return
        try:
            with closing(postgres.connect(dsn, self._identity.application_name, timeout=2, hurry=True)) as connection:
                locks.stop_work(connection, self._identity.key, True)
        except (psycopg2.Error, JobError):
            pass

    def _about(self, report: Report) -> str | None:
        """What the end of the run is, if it is anything to tell."""
        if self._command in _SILENT:
            return None
        if report.exit_code:
            asked = self._command in _ASKING and report.exit_code == 26
            return None if asked or report.exit_code in _UNSAID else "failed"
        if self._command == "restore":
            return "finished"
        if not report.applied and not report.reverted:
            return None
        return "finished" if report.applied else "rolled-back"

    def _say(self, about: str, kind: str, lines: list[str], report: Report | None = None) -> None:
        if about not in self._settings.notify_on:
            return
        where = self._settings.own()
        code = f" ({report.exit_code})" if report is not None and report.exit_code else ""
        of = f" on {where.place[2]}" if where is not None and where.place[2] else ""
        common = {
            "database": where.redacted() if where is not None else None,
            "image": self._settings.image,
            "run": self._identity.application_name.removeprefix("alembic-job "),
        }
        lines = [*lines, *(f"{name}: {value}" for name, value in common.items() if value)]
        title = f"alembic-job: {self._command} {about.replace('-', ' ')}{code}{of}"
        body = "\n".join(_cut(line) for line in lines)
        message = Message(about, self._redact(title), self._redact(body), kind)
        try:
            self._sent.append(Sending(self._settings.notify or (), message, self._path, _PATIENCE))
        except OSError as error:
            self._log.warning("notify.failed", about=about, reason=f"no process for it: {error.strerror}")

    def _look(self, about: str, answers: list[Answer]) -> None:
        """Says who was told, and who could not be."""
        if taken := [answer.service for answer in answers if answer.problem is None]:
            self._log.info("notify.sent", about=about, services=taken)
        for answer in answers:
            if answer.problem is not None:
                self._log.warning(
                    "notify.failed",
                    about=about,
                    service=answer.service,
                    number=answer.number,
                    reason=answer.problem,
                    message=f"{answer.service}, the URL number {answer.number} of MIGRATE_NOTIFY, was not told:"
                    f" {answer.problem}",
                )


def _lines(report: Report) -> list[str]:
    """What a report says to people."""
    done = report.applied or report.reverted
    listed = ", ".join(done[:_LISTED]) + (f" and {len(done) - _LISTED} more" if len(done) > _LISTED else "")
    fields = {
        "error": report.error,
        "hint": report.hint,
        "from → to": f"{_heads(report.source)} → {_heads(report.target)}" if report.source or report.target else None,
        f"{'applied' if report.applied else 'reverted'} ({len(done)})": listed,
        "database now": report.fields.get("database") if report.command == "restore" else None,
        "took": f"{report.duration_seconds:.1f} s",
    }
    return [f"{name}: {value}" for name, value in fields.items() if value]


def _heads(heads: tuple[str, ...]) -> str:
    text = heads_text(heads)
    return ", ".join(text) if isinstance(text, list) else text or "nothing"


def _cut(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
