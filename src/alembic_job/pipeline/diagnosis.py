"""What `doctor` found, check by check, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg2

from alembic_job.errors import DatabaseUnreachable, JobError

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"


class Check(NamedTuple):
    """One thing that was looked at. `state`: ok, warning, failed or skipped; `exit_code`: what a run would end with."""

    name: str
    state: str
    message: str
    hint: str = ""
    exit_code: int = 0


class Diagnosis:
    """The checks in the order in which they were made."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    @property
    def failed(self) -> bool:
        return any(check.state == FAILED for check in self.checks)

    @property
    def exit_code(self) -> int:
        """What a run would end with: the first failed check's."""
        return next((check.exit_code for check in self.checks if check.state == FAILED), 0)

    def ok(self, name: str, message: str) -> None:
        self.checks.append(Check(name, OK, message))

    def skipped(self, name: str, message: str) -> None:
        self.checks.append(Check(name, SKIPPED, message))

    def caution(self, name: str, message: str, hint: str) -> None:
        self.checks.append(Check(name, WARNING, message, hint))

    def fail(self, name: str, error: JobError) -> None:
        self.checks.append(Check(name, FAILED, str(error), error.hint, error.exit_code))

    @contextmanager
    def looking(self, name: str) -> Iterator[None]:
        """What fails inside is this check's."""
        try:
            yield
        except JobError as error:
            self.fail(name, error)
        except psycopg2.Error as error:
            self.fail(name, DatabaseUnreachable(" ".join(str(error).split())))

    def as_json(self) -> str:
        """One object: the checks, and the exit code."""
        found = {"checks": [check._asdict() for check in self.checks], "exit_code": self.exit_code}
        return json.dumps(found, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """For people: a line each, and what to do below it."""
        width = max(len(check.name) for check in self.checks)
        lines: list[str] = []
        for check in self.checks:
            lines.append(f"{check.state:<8} {check.name:<{width}}  {check.message}")
            if check.hint:
                lines.append(f"{'':<{10 + width}} -> {check.hint}")
        states = [check.state for check in self.checks]
        told = f"{len(states)} checks: {states.count(FAILED)} failed, {states.count(WARNING)} warnings"
        return "\n".join([*lines, "", told])
