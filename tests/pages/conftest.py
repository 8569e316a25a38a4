"""The browser, and pages that real runs have written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from alembic_job.gateways.embedded import Server
from tests.conftest import Database
from tests.integration.test_plan import CONTENT, FORMS
from tests.pages import hostile
from tests.pages.browser import Chromium, program
from tests.pages.marks import MEASURED
from tests.pages.runs import held_up, planned, reported
from tests.projectkit import add_revision, make_project, sql
from tests.projects.generated import write_project

Folder = Callable[[str], Path]
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="DIR", help="where the pictures of the pages go, for people to look at")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tells what tests have measured."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == MEASURED:
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for pictures of the pages."""
    chosen = request.config.getoption("--screenshots")
    folder = Path(chosen).absolute() if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    try:
        found = program()
    except LookupError as lacking:
        pytest.fail(str(lacking), pytrace=False)
    with sync_playwright() as playwright:
        browser = Chromium(playwright, found)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return tmp_path_factory.mktemp


@pytest.fixture(scope="session")
def fresh(pg18: Server) -> Callable[[], Database]:
    """A fresh database that lives as long as the server."""

    def create() -> Database:
        database = Database(pg18, f"page{next(_numbers)}")
        Database(pg18, "postgres").execute(f"CREATE DATABASE {database.name}")
        return database

    return create


@pytest.fixture(scope="session")
def plan(fresh: Callable[[], Database], folder: Folder) -> Path:
    """A plan with everything in it: branches and a merge, rewrites, losses, questions that nobody can answer."""
    database, project = fresh(), folder("plan")
    last = len(FORMS) + 1
    make_project(project, ["pass", *map(sql, FORMS)])
    add_revision(project, last + 1, sql("CREATE TABLE left_behind (id int)"), down=f"r{last}")
    add_revision(project, last + 2, sql("UPDATE orders SET kind = 'it''s' -- why\nWHERE id > 10"), down=f"r{last}")
    merge = add_revision(project, last + 3, "op.get_bind().execute(sa.text('SELECT 1 / 0'))", down="both")
    merge.write_text(merge.read_text().replace("'both'", f"('r{last + 1}', 'r{last + 2}')"))
    database.execute(CONTENT)
    return planned(project, database.url, "--deadline", "30m")


@pytest.fixture(scope="session")
def nothing(fresh: Callable[[], Database], folder: Folder) -> Path:
    """A plan where nothing is pending."""
    database, project = fresh(), make_project(folder("nothing"), ["pass"])
    reported(project, database.url, "migrate")
    return planned(project, database.url)


@pytest.fixture(scope="session")
def thousand(fresh: Callable[[], Database], folder: Folder) -> Path:
    """The plan of 1,000 revisions."""
    project = folder("thousand")
    write_project(project, 1000)
    return planned(project, fresh().url)


@pytest.fixture(scope="session")
def hostile_plan(fresh: Callable[[], Database], folder: Folder) -> Path:
    """A plan with hostile names and texts wherever there is room for one."""
    database, project = fresh(), hostile.write_project(folder("hostile"))
    hostile.make_database(database)
    return planned(project, hostile.renamed(database, "d", "u"), env={"MIGRATE_TAG": hostile.SETTING})


@pytest.fixture(scope="session")
def hostile_run(fresh: Callable[[], Database], folder: Folder) -> Path:
    """The report of a run that was held up, and that failed at the last revision; hostile names everywhere."""
    database, project = fresh(), hostile.write_project(folder("hostile-run"))
    hostile.make_database(database)
    url = hostile.renamed(database, "e", "v")
    file, result = held_up(
        Database(database.server, hostile.quoted("e", 0)), project, url, {"MIGRATE_TAG": hostile.SETTING}
    )
    assert result.code and file.exists(), result.out[-3000:]
    return file


@pytest.fixture(scope="session")
def run(fresh: Callable[[], Database], folder: Folder) -> Path:
    """The report of a run that made a backup and succeeded."""
    database, project = fresh(), make_project(folder("run"), ["pass", *map(sql, FORMS)])
    database.execute(CONTENT)
    backup = ("--backup-url", str(project / "backups"), "--pg-bindir", str(database.server.bin))
    return reported(project, database.url, "migrate", *backup)


@pytest.fixture(scope="session")
def rollback(fresh: Callable[[], Database], folder: Folder) -> Path:
    """The report of a rollback that lost rows, and was asked to."""
    database, project = fresh(), make_project(folder("rollback"), ["pass"])
    add_revision(project, 2, sql("CREATE TABLE notes (id int)"), sql("DROP TABLE notes"))
    add_revision(project, 3, sql("ALTER TABLE notes ADD COLUMN text text"), sql("ALTER TABLE notes DROP COLUMN text"))
    reported(project, database.url, "migrate")
    database.execute("INSERT INTO notes SELECT n, 'note' FROM generate_series(1, 10) n")
    agreed = ("--yes", "--no-backup", "--allow-data-loss")
    return reported(project, database.url, "rollback", "--steps", "2", *agreed)


@pytest.fixture(scope="session")
def rehearsal(fresh: Callable[[], Database], folder: Folder) -> Path:
    """What a rehearsal measured; one revision does not undo what it makes."""
    database, project = fresh(), make_project(folder("rehearsal"), ["pass"])
    add_revision(project, 2, sql("CREATE TABLE notes (id int)"), sql("DROP TABLE notes"))
    add_revision(project, 3, sql(f"CREATE TABLE {hostile.identifier('t', 0)} (id int)"))
    return planned(project, database.url, "--rehearse", "--pg-bindir", str(database.server.bin))
