"""`MIGRATE_REPORT` and `report`: how a run went, as one page."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from tests.conftest import Database, Result, finish, finish_after, job_environment, run_job, start_job
from tests.projectkit import add_revision, make_project, sql
from tests.waiting import until

HOSTILE = "<script>window.hacked = 1</script>"


def words(page: str) -> str:
    """What a reader sees of a page, on one line."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    body = re.sub(r"<pre.*?</pre>", lambda found: f" {re.sub('<[^>]*>', '', found[0])} ", body, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def section(page: str, title: str) -> str:
    """What a reader sees of the section with this heading."""
    [found] = [each for each in page.split("<section") if re.search(rf"<h2[^>]*>(?:<bdi>)?{re.escape(title)}", each)]
    return words(f"<section{found}")


def test_a_run_that_failed_is_told_to_its_last_statement(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE users (id int)")
    make_project(tmp_path, [sql("CREATE TABLE orders (id int)"), sql("ALTER TABLE users ADD COLUMN email text")])
    add_revision(
        tmp_path, 3, f"{sql(f'CREATE ROLE {database.name} PASSWORD $$hunter2$$; SELECT 1')}\n{sql('SELECT 2')}"
    )
    add_revision(tmp_path, 4, sql(f"INSERT INTO nowhere VALUES ('{HOSTILE}', '%')"))
    add_revision(tmp_path, 5, sql("SELECT 5"))
    blocker = database.connect()
    blocker.autocommit = False
    blocker.cursor().execute("SELECT * FROM users")
    page = tmp_path / "new" / "run.html"
    process = start_job("migrate", "--report", str(page), cwd=tmp_path, url=database.url)
    result = finish_after(process, "lock.blocked", blocker.rollback)
    assert result.code == 23, result.out
    [written] = result.events("report.written")
    assert written["path"] == str(page)
    text = page.read_text()

    assert result.finished["error"] in section(text, "What failed").replace("\n", " ")
    assert "r3" in section(text, "What failed")
    listed = section(text, "Revisions")
    assert re.search(r"r2 step 2 applied waited [\d.]+ m?s for locks", listed)
    assert re.search(r"r4 step 4 failed .*INSERT INTO nowhere VALUES \('<script>.*'%'\) failed: 42P01", listed)
    assert "r5 step 5 not begun" in listed
    assert f"client {blocker.info.backend_pid}" in section(text, "Who was in the way")
    assert "pg_terminate_backend" in section(text, "Who was in the way")
    assert "Upgrade – failed r4 step 4" in section(text, "Timeline")
    assert f"MIGRATE_REPORT {page} flag --report" in section(text, "Settings")

    assert text.count("<script") == 1
    assert HOSTILE not in text
    assert "hunter2" not in text
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", text)
    assert [each.name for each in page.parent.iterdir()] == ["run.html"]


@pytest.mark.thorough
def test_an_interrupted_run_leaves_its_page_too(database: Database, tmp_path: Path) -> None:
    make_project(tmp_path, [sql("SELECT pg_sleep(60)")])
    process = start_job("migrate", "--report", "pages/", cwd=tmp_path, url=database.url)
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.code == 14, result.out
    [page] = (tmp_path / "pages").iterdir()
    assert re.fullmatch(rf"migrate-\d+T\d+Z-{result.finished['run_id'][:8]}\.html", page.name)
    assert "exit code 14" in words(page.read_text())
    listed = section(page.read_text(), "Revisions")
    assert "r1 step 1 interrupted" in listed and "SELECT pg_sleep(60) cancelled, as the run was to end" in listed


def test_a_page_that_cannot_be_written_changes_nothing_else(database: Database, tmp_path: Path) -> None:
    make_project(tmp_path, [sql("CREATE TABLE orders (id int)")])
    page = tmp_path / "run.html"
    page.write_text("an earlier run")
    # The file system refuses the ninth kilobyte of any file, as a full one would.
    command = f"ulimit -f 8; exec {shlex.join([sys.executable, '-m', 'alembic_job', 'migrate', '--report', str(page)])}"
    environment = job_environment(database.url, MIGRATE_HISTORY="off")
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    result = Result(done.returncode, done.stdout, done.stderr)
    assert result.code == 0, result.out
    assert result.finished["applied"] == ["r1"]
    [warning] = result.events("report.not_written")
    assert warning["reason"] == "File too large"
    assert page.read_text() == "an earlier run"
    assert not list(tmp_path.glob(".*draft"))


@pytest.mark.thorough
def test_a_killed_run_is_told_by_its_log(database: Database, tmp_path: Path) -> None:
    make_project(tmp_path, [sql("CREATE TABLE orders (id int)"), sql("SELECT pg_sleep(60)")])
    process = start_job("migrate", cwd=tmp_path, url=database.url, env={"MIGRATE_LOG_LEVEL": "debug"})
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))
    process.kill()
    killed = finish(process)
    lines = [f"[pod/x] {line}\n" for line in killed.out.splitlines()]
    log = tmp_path / "job.log"
    log.write_text("no JSON\n{\n[]\n" + "".join(lines))
    result = run_job("report", str(log), cwd=tmp_path)
    assert result.code == 0, result.err
    assert "r1 step 1 applied" in section(result.out, "Revisions")
    assert "CREATE TABLE orders (id int)" in section(result.out, "Revisions")
    assert "r2 step 2 was running" in section(result.out, "Revisions")
    assert "killed" in words(result.out)

    log.write_text("".join(lines[: len(lines) // 2]))  # nobody wrote its end
    cut = words(run_job("report", str(log), cwd=tmp_path).out)
    assert "? did not end in this log" in cut and "the log ends before the run does" in cut
    refused = run_job("report", "--run", "other", str(log), cwd=tmp_path)
    assert refused.code == 2
    assert json.loads(killed.out.splitlines()[0])["run_id"] not in refused.err


@pytest.mark.thorough
def test_a_rollback_tells_what_it_loses(database: Database, tmp_path: Path) -> None:
    make_project(tmp_path, [])
    add_revision(tmp_path, 1, sql("CREATE TABLE orders AS SELECT 1 AS id"), sql("DROP TABLE orders"))
    add_revision(tmp_path, 2, sql("CREATE TABLE lines AS SELECT 1 AS id"), sql("DROP TABLE lines"))
    assert run_job("migrate", cwd=tmp_path, url=database.url).code == 0
    page = tmp_path / "run.html"
    command = ("rollback", "--steps", "2", "--no-backup", "--report", str(page))
    assert run_job(*command, cwd=tmp_path, url=database.url).code == 26
    foreseen = section(page.read_text(), "What the rollback loses, as foreseen")
    assert "1 row of table public.orders would be lost" in foreseen
    assert re.search("r2 step 2 not begun.*r1 step 1 not begun", section(page.read_text(), "Revisions"))
    assert run_job(*command, "--dry-run", cwd=tmp_path, url=database.url).code == 0
    assert "A dry run: nothing was changed." in words(page.read_text())
    assert "DROP TABLE lines" in section(page.read_text(), "Revisions")
    assert run_job(*command, "--allow-data-loss", cwd=tmp_path, url=database.url).code == 0
    assert re.search("r2 step 2 rolled back.*r1 step 1 rolled back", section(page.read_text(), "Revisions"))


TENANTS = """
from alembic import context
from sqlalchemy import create_engine, text
import os
engine = create_engine(os.environ["DATABASE_URL"])
for tenant in ("a", "b"):
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {tenant}"))
        connection.execute(text(f"SET search_path = {tenant}"))
        connection.commit()
        context.configure(connection=connection, version_table_schema=tenant, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations(tenant=tenant)
"""


@pytest.mark.thorough
def test_each_version_table_has_its_own_list(database: Database, tmp_path: Path) -> None:
    make_project(tmp_path, ["op.execute('SELECT 1')", "op.execute(f\"SELECT 1 / {int(tenant == 'a')}\")"], env=TENANTS)
    for file in (tmp_path / "migrations" / "versions").glob("*.py"):
        file.write_text(file.read_text().replace("upgrade()", "upgrade(tenant)"))
    page = tmp_path / "run.html"
    result = run_job("migrate", "--report", str(page), cwd=tmp_path, url=database.url)
    assert result.code == 23, result.out
    first = section(page.read_text(), "Revisions of a.alembic_version")
    second = section(page.read_text(), "Revisions of b.alembic_version")
    assert "r2 step 2 applied" in first and "failed" not in first
    assert re.search("r1 step 1 applied.*r2 step 2 failed.*failed: 22012", second)
    assert "Applied 3 revisions" in words(page.read_text())

    last = tmp_path / "migrations" / "versions" / "r2_.py"
    last.write_text(last.read_text().replace("upgrade(tenant)", "upgrade()"))
    wrong = run_job("migrate", cwd=tmp_path, url=database.url)
    assert wrong.code == 23 and "unexpected keyword argument 'tenant'" in wrong.finished["error"], wrong.out


@pytest.mark.thorough
def test_only_files_are_written(database: Database, tmp_path: Path) -> None:
    make_project(tmp_path, [sql("SELECT 1")])
    pipe, link, file = tmp_path / "pipe.html", tmp_path / "link.html", tmp_path / f"{'ü' * 120}.html"
    os.mkfifo(pipe)
    link.symlink_to(file)
    refused = run_job("migrate", "--report", str(pipe), cwd=tmp_path, url=database.url)
    assert refused.code == 0 and pipe.is_fifo()
    assert refused.events("report.not_written")[0]["reason"] == "it is no regular file"
    assert run_job("migrate", "--report", str(link), cwd=tmp_path, url=database.url).code == 0
    assert link.is_symlink() and "nothing" in words(file.read_text())


@pytest.mark.thorough
def test_a_lock_that_was_never_won_is_a_wait(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE users (id int)")
    make_project(tmp_path, [sql("ALTER TABLE users ADD COLUMN email text")])
    blocker = database.connect()
    blocker.autocommit = False
    blocker.cursor().execute("SELECT * FROM users")
    page = tmp_path / "run.html"
    command = ("migrate", "--table-lock-timeout", "2s", "--report", str(page))
    assert run_job(*command, cwd=tmp_path, url=database.url).code == 12
    assert re.search(r"r1 step 1 failed waited [\d.]+ s for locks", section(page.read_text(), "Revisions"))
    assert 'class="wait"' in page.read_text()
