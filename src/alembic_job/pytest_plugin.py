"""`pytest --alembic-job`: an item for each revision, up, down and up in a scratch database, and one for the models.

With `--alembic-job-data` one for each pending revision, on rows of the database. `alembic-job test` does the work, once
for each of the two, in a process of its own: when the first of its items is run. Without these flags nothing is
imported and nothing done.
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
    group.addoption("--alembic-job-data", action="store_true", help="try each pending revision on the database's rows")
    group.addoption("--alembic-job-data-rows", metavar="N", help="up to so many rows a table")
    group.addoption("--alembic-job-strict", action="store_true", help="fail where a revision has no way back")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before -k and -m choose among them. Collected as anything else is, so that they are counted, and errors shown."""
    if not (config.getoption("--alembic-job") or config.getoption("--alembic-job-data")):
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
        given = self.config.getoption
        for each in self._listed(self._from()) if given("--alembic-job") else ():
            yield Revision.from_parent(self, name=f"{each} up-down-up", revision=each, on_data=False)
        if given("--alembic-job"):
            yield Models.from_parent(self, name="models against head")
        for each in self._listed(["--data"]) if given("--alembic-job-data") else ():
            yield Revision.from_parent(self, name=f"{each} on data", revision=each, on_data=True)

    def _listed(self, options: list[str]) -> list[str]:
        listed = self._run(*options, "--list")
        if listed.returncode:
            raise self.CollectError(f"alembic-job test --list: {listed.stderr.strip()}")
        return [each["revision"] for each in json.loads(listed.stdout)]

    @cached_property
    def tested(self) -> dict[str, Any]:
        """The report of `alembic-job test`. Raises `Failed` where there is none."""
        return self._reported(*self._from())

    @cached_property
    def tested_on_data(self) -> dict[str, Any]:
        """That of `alembic-job test --data`. Raises `Failed` where there is none."""
        rows = self.config.getoption("--alembic-job-data-rows")
        return self._reported("--data", *([f"--data-rows={rows}"] if rows else []))

    def _reported(self, *options: str) -> dict[str, Any]:
        done = self._run(*options, "--json")
        if done.returncode not in (0, 3):
            raise Failed(done.stderr.strip())
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _from(self) -> list[str]:
        first = self.config.getoption("--alembic-job-from")
        return ["--from", first] if first else []

    def _run(self, *options: str) -> subprocess.CompletedProcess[str]:
        file = self.config.getoption("--alembic-job-config")
        return subprocess.run(
            [*_COMMAND, *(["-c", file] if file else []), "test", *options],
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
    """One revision, in an empty database or on rows."""

    def __init__(self, *, revision: str, on_data: bool, **rest: Any) -> None:
        super().__init__(**rest)
        self.revision, self.on_data = revision, on_data

    def runtest(self) -> None:
        """Raises `Failed` with what differs, or the statement."""
        found = self.parent.tested_on_data if self.on_data else self.parent.tested
        each = next((each for each in found["revisions"] if each["revision"] == self.revision), None)
        if each is None:
            pytest.skip("not pending any more")
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
        models = self.parent.tested["models"]
        if models["differences"]:
            raise Failed("\n".join(models["differences"]))
        if not models["compared"]:
            pytest.skip(models["reason"])

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """As its name is written."""
        return self.path, None, f"{self.parent.name}::{self.name}"
