"""`pytest --alembic-job`: an item for each revision, up, down and up in a scratch database, and one for the models.

`alembic-job test` does the work, once, in a process of its own: when the first of its items is run. Without the flag
nothing is imported and nothing done.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr

_COMMAND = (sys.executable, "-m", "alembic_job")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--alembic-job and how it is done."""
    group = parser.getgroup("alembic-job", "migrations")
    group.addoption("--alembic-job", action="store_true", help="try each Alembic revision: up, down, up")
    group.addoption("--alembic-job-config", metavar="FILE", help="alembic.ini or pyproject.toml of the migrations")
    group.addoption("--alembic-job-from", metavar="REV", help="the first revision to be tried")
    group.addoption("--alembic-job-strict", action="store_true", help="fail where a revision has no way back")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before -k and -m choose among them. Collected as anything else is, so that they are counted, and errors shown."""
    if not config.getoption("--alembic-job"):
        return
    found, hook = Migrations.of(session), session.ihook
    hook.pytest_collectstart(collector=found)
    report: pytest.CollectReport = hook.pytest_make_collect_report(collector=found)
    hook.pytest_collectreport(report=report)
    items.extend(item for item in report.result if isinstance(item, pytest.Item))


class Failed(Exception):
    """What is told of an item that failed."""


class Migrations(pytest.Collector):
    """The revisions of a project."""

    @classmethod
    def of(cls, session: pytest.Session) -> Migrations:
        """Those that the options name."""
        file = session.config.getoption("--alembic-job-config")
        made: Migrations = cls.from_parent(session, name=Path(file).name if file else "alembic.ini")
        return made

    def collect(self) -> Iterator[pytest.Item]:
        """Their names are known before any is tried."""
        listed = self._run("--list")
        if listed.returncode:
            raise self.CollectError(f"alembic-job test --list: {listed.stderr.strip()}")
        for each in json.loads(listed.stdout):
            yield Revision.from_parent(self, name=f"{each['revision']} up-down-up", revision=each["revision"])
        yield Models.from_parent(self, name="models against head")

    @cached_property
    def found(self) -> dict[str, Any]:
        """The report of `alembic-job test`. Raises `Failed` where there is none."""
        done = self._run("--json")
        if done.returncode not in (0, 3):
            raise Failed(done.stderr.strip())
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _run(self, *options: str) -> subprocess.CompletedProcess[str]:
        given = self.config.getoption
        where = ["-c", given("--alembic-job-config")] if given("--alembic-job-config") else []
        first = ["--from", given("--alembic-job-from")] if given("--alembic-job-from") else []
        return subprocess.run(
            [*_COMMAND, *where, "test", *first, *options],
            cwd=self.config.invocation_params.dir,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


class _Item(pytest.Item):
    """One line of the report."""

    parent: Migrations

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], *args: Any, **more: Any) -> str | TerminalRepr:
        """In the report's own words, where they are."""
        if isinstance(excinfo.value, Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args, **more)


class Revision(_Item):
    """One revision."""

    def __init__(self, *, revision: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.revision = revision

    def runtest(self) -> None:
        """Raises `Failed` with what differs, or the statement."""
        each = next(each for each in self.parent.found["revisions"] if each["revision"] == self.revision)
        if each["outcome"] == "failed":
            from alembic_job.pipeline.testing_report import told

            lines = [line for finding in each["findings"] for line in told(finding)]
            raise Failed("\n".join([f"{each['file']}: {each['message']}", *lines]))
        if each["outcome"] == "one way" and self.config.getoption("--alembic-job-strict"):
            raise Failed(f"{each['file']}: one way: {each['reason']}")
        if each["outcome"] != "ok":
            pytest.skip(f"{each['outcome']}: {each['reason']}")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """As its name is written."""
        return self.path, None, f"{self.parent.name}::{self.name}"


class Models(_Item):
    """The models against what the revisions make."""

    def runtest(self) -> None:
        """Raises `Failed` with what differs."""
        models = self.parent.found["models"]
        if models["differences"]:
            raise Failed("\n".join(models["differences"]))
        if not models["compared"]:
            pytest.skip(models["reason"])

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """As its name is written."""
        return self.path, None, f"{self.parent.name}::{self.name}"
