"""`doctor`: what is wrong between the settings and the database is named, with its way out."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from alembic_job.dsn import Dsn
from alembic_job.gateways import surroundings
from alembic_job.gateways.embedded import _free_port
from alembic_job.gateways.reaching import Place, knock, places
from tests.conftest import Database, run_job
from tests.marks import thorough
from tests.projectkit import add_revision, make_project, sql


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", [sql("CREATE TABLE a (id int)"), sql("CREATE TABLE b (id int)")])


def examined(project: Path, url: str, **env: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the checks."""
    result = run_job("doctor", "--json", cwd=project, url=url, env=env)
    found = json.loads(result.out)
    assert result.code == found["exit_code"]
    return result.code, found["checks"]


def told(checks: list[dict[str, Any]], *states: str) -> dict[str, str]:
    """Names of the checks in these states → what they say."""
    return {check["name"]: f"{check['message']} -> {check['hint']}" for check in checks if check["state"] in states}


def test_all_is_well(database: Database, project: Path) -> None:
    """Nothing failed, and nothing was made or locked by looking."""
    code, checks = examined(project, database.url.replace("127.0.0.1", "localhost"))
    assert code == 0, checks
    well = told(checks, "ok")
    names = ["settings", "name", "port", "login", "server", "pooler", "role", "connections", "clock", "sessions"]
    assert [*well] == [*names, "project", "database"]
    assert (
        database.name in well["settings"]
        and "127.0.0.1" in well["name"]
        and "(nothing applied), 2 pending" in well["database"]
    )
    assert database.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    people = run_job("doctor", cwd=project, url=database.url).out
    assert "ok       login" in people and "checks: 0 failed, 0 warnings" in people
    assert database.server.password not in people + json.dumps(checks)


def bad_password(url: str) -> str:
    return url.replace(url.split(":")[2].split("@", maxsplit=1)[0], "wrong-secret")


def no_database(url: str) -> str:
    return url.rpartition("/")[0] + "/no_such"


def no_name(url: str) -> str:
    return url.replace("127.0.0.1", "no-such-host.invalid")


def no_port(url: str) -> str:
    return url.replace(url.rpartition(":")[2].split("/")[0], str(_free_port()))


def no_socket(url: str) -> str:
    return "postgresql:///app?host=/no/such/folder"


def no_tls(url: str) -> str:
    return url + "?sslmode=require"


@pytest.mark.parametrize(
    ("broken", "code", "check", "says"),
    [
        (bad_password, 21, "login", "password authentication failed"),
        (no_database, 21, "login", "create it, or correct the name in the URL; there are:"),
        (no_port, 10, "port", "Connection refused"),
        (no_tls, 20, "port", "has no TLS, but sslmode wants it"),
        thorough(no_name, 10, "port", "the name no-such-host.invalid has no address"),
        thorough(no_socket, 10, "port", "start PostgreSQL on this machine"),
    ],
)
def test_what_is_wrong(
    database: Database, project: Path, broken: Callable[[str], str], code: int, check: str, says: str
) -> None:
    """The code is a run's; the project is looked at all the same, the database is not."""
    ended, checks = examined(project, broken(database.url))
    assert ended == code
    assert says in told(checks, "failed")[check] and [*told(checks, "failed")] == [check]
    assert "project" in told(checks, "ok") and "database" in told(checks, "skipped")
    assert "wrong-secret" not in json.dumps(checks)


def test_a_role_that_may_too_little(database: Database, project: Path) -> None:
    """Each missing right is named with the GRANT that mends it."""
    role = f"{database.name}_app"
    database.query("CREATE TABLE theirs (id int); CREATE TABLE theirs_too (id int)")
    database.query(f"CREATE ROLE {role} LOGIN PASSWORD 'word-of-app'")
    user, _, rest = database.url.removeprefix("postgresql://").partition("@")
    code, checks = examined(project, f"postgresql://{role}:word-of-app@{rest}")
    assert code == 21
    assert "CREATE ON SCHEMA public" in told(checks, "failed")["rights"]
    warnings = json.dumps([check for check in checks if check["state"] == "warning"])
    for each in (
        f"GRANT pg_read_all_stats TO {role}",
        f"AUTHORIZATION {role}",
        "2 tables of public belong to postgres",
    ):
        assert each in warnings.replace('\\"', '"'), each
    assert user and "word-of-app" not in json.dumps(checks)


@pytest.mark.thorough
def test_the_project_and_what_the_database_holds(database: Database, project: Path) -> None:
    """Two heads, then a revision that these scripts lack."""
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    add_revision(project, 3, sql("SELECT 1"), down="r1")
    code, checks = examined(project, database.url)
    assert code == 22 and "alembic-job merge" in told(checks, "failed")["project"]
    for file in project.glob("**/r[23]*.py"):
        file.unlink()
    code, checks = examined(project, database.url)
    assert code == 28 and "is at r2, which these scripts lack" in told(checks, "failed")["database"]


def test_transactions_that_nobody_works_in(database: Database) -> None:
    """Both kinds, the oldest first; the one who asks is not among them."""
    with closing(database.connect()) as idle, closing(database.connect()) as mine:
        idle.autocommit = False
        idle.cursor().execute("CREATE TABLE a (id int)")
        mine.autocommit = True
        [found] = surroundings.idle_transactions(mine, 0)
        assert found.name.startswith(f"pid {idle.info.backend_pid} postgres") and not found.prepared
        assert not surroundings.idle_transactions(mine, 1000)


@pytest.fixture
def stranger() -> Iterator[int]:
    """A port at which something else than PostgreSQL answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(8)
                    client.sendall(b"HTTP/1.1 400\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_something_else_answers(stranger: int) -> None:
    assert "not PostgreSQL" in knock(Place("127.0.0.1", str(stranger)), "127.0.0.1", 5).failed


@pytest.mark.parametrize(
    ("parameters", "variables", "expected"),
    [
        ({"host": "a,b", "port": "1,2"}, {}, ["a:1", "b:2"]),
        ({"host": "a,b"}, {"PGPORT": "7"}, ["a:7", "b:7"]),
        ({}, {"PGHOST": "h"}, ["h:5432"]),
        ({"host": "/run/pg"}, {}, ["/run/pg/.s.PGSQL.5432"]),
        ({"hostaddr": "10.0.0.1"}, {}, ["10.0.0.1:5432"]),
        ({"host": "a", "port": "1"}, {"PGSERVICE": "s"}, ["a:1"]),
        ({}, {"PGSERVICE": "s"}, []),
    ],
)
def test_places(parameters: dict[str, str], variables: dict[str, str], expected: list[str]) -> None:
    """As libpq reads them."""
    assert [str(place) for place in places(Dsn(parameters), variables)] == expected
