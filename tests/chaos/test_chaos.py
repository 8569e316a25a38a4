"""A shorter part of the chaos suite: see `python -m tests.chaos` for all of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.chaos import check
from tests.chaos.check import Broken
from tests.chaos.faults import FAULTS
from tests.chaos.projects import KINDS, PLAIN
from tests.chaos.proxy import Proxy
from tests.chaos.stage import Course, Stage, bare_upgrade
from tests.chaos.suite import Case, perform

SEED = 1
QUICK = {
    "plain": (("kill-random", 3),),
    "autocommit-block": (("kill-random", 2),),
    "concurrently": (("kill-random", 1),),
}
_FURTHER = [(fault, list(KINDS)[number % len(KINDS)]) for number, fault in enumerate(FAULTS)]


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made


@pytest.fixture(scope="session")
def course(stage: Stage) -> Callable[[str], Course]:
    """How an undisturbed run of a kind goes, found out once."""
    known: dict[str, Course] = {}

    def find(kind: str) -> Course:
        if kind not in known:
            known[kind] = stage.course(KINDS[kind])
        return known[kind]

    return find


def survives(stage: Stage, course: Course, fault: str, number: int) -> None:
    """Tries a case; one that was late, and nothing else, is tried once more, with patience."""
    case = Case(fault, course.kind, number)
    result = perform(stage, course, case, SEED)
    if result.late:
        result = perform(stage, course, case, SEED, patient=True)
    assert not result.error, f"{case.name}: {result.error}"
    if result.impossible and os.environ.get("CI"):
        pytest.fail(f"not possible here: {result.impossible}")
    elif result.impossible:
        pytest.skip(result.impossible)


@pytest.mark.parametrize(
    "kind",
    ["plain", *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("autocommit-block", "concurrently"))],
)
def test_migrations_survive(stage: Stage, course: Callable[[str], Course], kind: str) -> None:
    """Killed or cut off at seeded moments: at a boundary, nothing left behind, and the next run completes."""
    for fault, number in QUICK[kind]:
        survives(stage, course(kind), fault, number)


@pytest.mark.thorough
@pytest.mark.parametrize(("fault", "kind"), _FURTHER, ids=["-".join(pair) for pair in _FURTHER])
def test_every_fault(stage: Stage, course: Callable[[str], Course], fault: str, kind: str) -> None:
    """Each fault once, with the kinds of migrations in turn."""
    survives(stage, course(kind), fault, 1)


DAMAGE = {
    "a column more": "ALTER TABLE accounts ADD COLUMN other int",
    "a row twice": "INSERT INTO written VALUES ('r2')",
    "another version": "UPDATE alembic_version SET version_num = 'r1'",
    "an index not built": "CREATE INDEX stray ON accounts (id); UPDATE pg_index SET indisvalid = false"
    " WHERE indexrelid = 'stray'::regclass",
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "damage", [pytest.param(each, marks=pytest.mark.thorough) if number else each for number, each in enumerate(DAMAGE)]
)
def test_damage_is_seen(stage: Stage, course: Callable[[str], Course], damage: str) -> None:
    """What must hold is looked at: a database that is damaged is at no boundary."""
    boundaries = course("plain").boundaries
    with stage.database() as database:
        bare_upgrade(stage.project(PLAIN), database, "r2")
        assert check.consistent(database, boundaries).name == "r2"
        database.execute(DAMAGE[damage])
        with pytest.raises(Broken, match="at no boundary; nearest is 'r2'"):
            check.consistent(database, boundaries)


def test_the_proxy_holds_back_and_resets() -> None:
    """Nothing gets through a hole, all of it afterwards; a reset reaches both sides."""
    with socket.create_server(("127.0.0.1", 0)) as target, Proxy(target.getsockname()[1]) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port), 5)
        server, (_, port) = target.accept()
        with client, server:
            client.sendall(b"before")
            assert server.recv(100) == b"before"
            proxy.hole()
            client.sendall(b"held back")
            server.settimeout(0.2)
            with pytest.raises(TimeoutError):
                server.recv(100)
            proxy.heal()
            server.settimeout(5)
            assert server.recv(100) == b"held back"
            proxy.reset(port)
            for side in (client, server):
                with pytest.raises(ConnectionResetError):
                    side.recv(100)
