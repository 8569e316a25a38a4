"""Where tries happen: a server of one's own, a fresh database for each, and what a try does over and over."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg2

from alembic_job.gateways import locks
from alembic_job.gateways.embedded import Server
from tests.chaos import check, clock
from tests.chaos.check import Boundary, Broken
from tests.chaos.clock import Clock
from tests.chaos.disk import SmallDisk, can_mount
from tests.chaos.projects import KINDS, TRIPWIRE, Kind
from tests.chaos.runner import Runner
from tests.conftest import Database, roomy_memory
from tests.waiting import until

PAUSE = 0.02  # seconds, of `chaos.pause` in a run that is to be disturbed
GOES_ON_WITHIN = 5.0  # seconds from SIGKILL until the next runner works
GIVES_UP_WITHIN = 1.0  # seconds from SIGTERM until nothing of the run is left
_BEGINS_WITHIN = 1.0  # seconds that an undisturbed run needs to begin on a machine that has nothing else to do
_LATEST = 30.0  # seconds more, after which what is late will never come
_numbers = itertools.count(1)


class Missed(Exception):
    """The run had ended before the fault could hit it; another moment is to be drawn."""


class Impossible(Exception):
    """This machine cannot do that; says what is needed."""


@dataclass(frozen=True)
class Late:
    """Something that took longer than it may, in seconds."""

    what: str
    took: float
    within: float

    def __str__(self) -> str:
        return f"{self.what} after {self.took:.1f} s, not within {self.within:g} s"


@dataclass(frozen=True)
class Course:
    """How a kind's undisturbed run goes: the boundaries in order, its seconds, how many lines it writes."""

    kind: str
    boundaries: tuple[Boundary, ...]
    seconds: float
    lines: int

    @property
    def last_revision(self) -> str:
        return f"r{len(KINDS[self.kind].revisions)}"


class Stage:
    """One PostgreSQL server in memory, for one worker, and the projects on disk."""

    def __init__(self) -> None:
        self.server = Server(18, folder=roomy_memory())
        self._folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self._projects: dict[str, Path] = {}
        self.disk: SmallDisk  # of the try at hand, where it has one
        self.wrong: Clock

    def __enter__(self) -> Stage:
        self._folder.chmod(0o755)
        self.server.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.server.__exit__(kind, error, tb)
        shutil.rmtree(self._folder, ignore_errors=True)

    def project(self, kind: Kind) -> Path:
        if kind.name not in self._projects:
            self._projects[kind.name] = kind.write(self._folder / kind.name)
        return self._projects[kind.name]

    def folder(self) -> Path:
        """A fresh folder that every user may read."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        folder.chmod(0o755)
        return folder

    @contextmanager
    def database(
        self, template: str = "template1", server: Server | None = None, tablespace: str = ""
    ) -> Iterator[Database]:
        database = Database(server or self.server, f"chaos{next(_numbers)}")
        within = f" TABLESPACE {tablespace}" if tablespace else ""
        ask(database.server, f"CREATE DATABASE {database.name} TEMPLATE {template}{within}")
        try:
            yield database
        finally:
            ask(database.server, f"DROP DATABASE {database.name} WITH (FORCE)")

    @contextmanager
    def on_small_disk(self) -> Iterator[Database]:
        """A database whose files are in a tablespace of a few MiB; `disk` is that."""
        with self._small_disk(32) as disk:
            place = disk.folder / "space"
            place.mkdir()
            disk.give_to(owner(self.server.data))
            name = f"small{next(_numbers)}"
            ask(self.server, f"CREATE TABLESPACE {name} LOCATION '{place}'")
            try:
                with self.database(tablespace=name) as database:
                    yield database
            finally:
                ask(self.server, f"DROP TABLESPACE {name}")

    @contextmanager
    def with_small_wal(self) -> Iterator[Database]:
        """A database on a server of its own whose write-ahead log is on a disk of a few MiB; `disk` is that."""
        with self._small_disk(96) as disk, Server(18, {"max_wal_size": "32MB"}, roomy_memory()) as server:
            server.stop()
            shutil.copytree(server.data / "pg_wal", disk.folder / "wal")
            disk.give_to(owner(server.data))
            shutil.rmtree(server.data / "pg_wal")
            (server.data / "pg_wal").symlink_to(disk.folder / "wal")
            server.start()
            with self.database(server=server) as database:
                yield database

    @contextmanager
    def _small_disk(self, mebibytes: int) -> Iterator[SmallDisk]:
        if not can_mount():
            raise Impossible("needs root, to mount a small file system")
        with SmallDisk(self.folder(), mebibytes) as self.disk:
            yield self.disk

    @contextmanager
    def with_wrong_clock(self) -> Iterator[Database]:
        """A database on a server of its own that goes by `clock`."""
        with self.clock().exported(), Server(18, folder=roomy_memory()) as server, self.database(server=server) as made:
            yield made

    def clock(self) -> Clock:
        """A new clock, which can be made to jump; it is the stage's from now on."""
        if (compiler := clock.compiler()) is None:
            raise Impossible("needs a C compiler: apt-get install gcc libc6-dev")
        self.wrong = Clock(clock.build(compiler, self._folder), self._folder)
        return self.wrong

    def course(self, kind: Kind) -> Course:
        """Upgrades to each revision in turn, and once with an undisturbed run. Raises `Broken` if even that fails."""
        with self.database() as database:
            boundaries = self._boundaries(kind, database)
        with self.database() as database:
            pause(database, PAUSE)
            runner = Runner(self.project(kind), database.url)
            if runner.end() != 0:
                raise Broken(f"the undisturbed run failed; {runner.story()}")
            check.complete(database, boundaries)
            return Course(kind.name, tuple(boundaries), time.monotonic() - runner.begun, len(runner.lines))

    def slowness(self, kind: Kind) -> float:
        """How many times too long an undisturbed run takes, just now, to begin its first change; at least 1."""
        with self.database() as database:
            runner = Runner(self.project(kind), database.url)
            try:
                runner.wait_event("revision.applying")
                return max(1.0, (time.monotonic() - runner.begun) / _BEGINS_WITHIN)
            finally:
                runner.abandon()

    def _boundaries(self, kind: Kind, database: Database) -> list[Boundary]:
        """The states at which bare Alembic stops; what it says does not depend on what is tested here."""
        found = [Boundary("the empty database", check.state_of(database))]
        self._make_version_table(database)
        found.append(Boundary("the empty version table", check.state_of(database)))
        for number, parts in enumerate(kind.revisions):
            before = found[-1].name
            if any(part.autocommit for part in parts):
                with self.database(database.name) as copy:
                    found += check.inner_boundaries(copy, before, parts)
            bare_upgrade(self.project(kind), database, f"r{number + 1}")
            unfinished = check.first_block(kind, number + 1)
            found.append(Boundary(f"r{number + 1}", check.state_of(database), unfinished))
        return found

    def _make_version_table(self, database: Database) -> None:
        """As Alembic makes it, which may commit that by itself."""
        from alembic.runtime.migration import MigrationContext
        from sqlalchemy import create_engine, pool

        engine = create_engine(database.server.url(database.name, "psycopg2"), poolclass=pool.NullPool)
        with engine.begin() as connection:
            MigrationContext.configure(connection)._ensure_version_table()


def bare_upgrade(project: Path, database: Database, target: str) -> None:
    """`alembic upgrade`, in this process."""
    from alembic import command
    from alembic.config import Config

    os.environ["DATABASE_URL"] = database.server.url(database.name, "psycopg2")
    try:
        config = Config(str(project / "alembic.ini"))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, target)
    finally:
        del os.environ["DATABASE_URL"]


def owner(path: Path) -> int:
    return path.stat().st_uid


def revive(server: Server) -> None:
    """Sees to it that the server runs and answers, whatever happened to it."""

    def running() -> bool:
        try:
            Database(server, "postgres").query("SELECT 1")
        except psycopg2.OperationalError:
            if not (server.data / "postmaster.pid").exists():
                server.start()
            return False
        return True

    until(running, what="the server to recover")


def pause(database: Database, seconds: float) -> None:
    """How long the migrations of this database dawdle from its next connection on."""
    ask(database.server, f"ALTER DATABASE {database.name} SET chaos.pause = '{seconds}'")


def ask(server: Server, sql: str) -> list[tuple[Any, ...]]:
    """Executes something outside of the tries' databases, as soon as the server answers."""

    def answered() -> list[list[tuple[Any, ...]]]:
        try:
            return [Database(server, "postgres").query(sql)]
        except psycopg2.OperationalError as error:
            if error.pgcode is not None and error.pgcode[:3] != "57P":
                raise
            return []

    return until(answered, what=f"a server for {sql}")[0]


@dataclass
class Attempt:
    """One try on a fresh database. `struck` is set where the fault really hit a run; `late` says what took too long."""

    stage: Stage
    course: Course
    database: Database
    random: random.Random
    sooner: float = 1.0  # less where earlier tries came after their runs' ends: the machine is faster than it was
    struck: bool = False
    runners: list[Runner] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    goes_on: float | None = None  # seconds from the fault until the next runner worked
    _go: Path | None = field(default=None, init=False)  # the file that the next run waits for

    @property
    def kind(self) -> Kind:
        return KINDS[self.course.kind]

    @property
    def project(self) -> Path:
        return self.stage.project(self.kind)

    def start(self, url: str = "", seconds: float = PAUSE, env: dict[str, str] | None = None) -> Runner:
        """Starts a run that dawdles; `url` where it does not go to the server itself."""
        pause(self.database, seconds)
        runner = Runner(self.project, url or self.database.url, env)
        self.runners.append(runner)
        return runner

    def let_outlive(self) -> None:
        """From now on the server looks only once a minute whether a client is there that it works for."""
        self.ask(f"ALTER DATABASE {self.database.name} SET client_connection_check_interval = '60s'")

    def moment(self) -> float:
        """Seconds after the start of a run, uniformly over an undisturbed one's."""
        return self.random.random() * self.course.seconds * self.sooner

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Asks the server; `{here}` in the statement is the name of the try's database, quoted."""
        return ask(self.database.server, sql.replace("{here}", f"'{self.database.name}'"))

    def backends(self) -> set[tuple[int, str]]:
        """Who is connected to the database: pid and since when."""
        rows = self.ask(
            "SELECT pid, backend_start::text FROM pg_stat_activity"
            " WHERE datname = {here} AND backend_type = 'client backend'"
        )
        return {(pid, since) for pid, since in rows}

    def backend(self, runner: Runner, lock: bool) -> tuple[int, int]:
        """Pid and client's port of the connection with the run's lock, or of one that works. Waits for it.

        Raises `Missed` if the run ends before it has one.
        """
        kind = locks.LOCK_CLASS if lock else locks.FENCE_CLASS
        while runner.process.poll() is None:
            rows = self.ask(
                "SELECT pid, client_port FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
                f" AND classid = {kind} AND datname = {{here}} AND granted"
            )
            if rows:
                return int(rows[0][0]), int(rows[0][1])
            time.sleep(0.02)
        raise Missed(f"it never had such a connection; {runner.story()}")

    def advisory_locks(self) -> int:
        [[count]] = self.ask(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND datname = {here}"
        )
        return int(count)

    def expect_quiet(self, within: float, since: float, what: str, *, sessions: bool = True) -> None:
        """No session and no advisory lock is left, `within` seconds of the time `since`; else it is late.

        Raises `Broken` if there is something left even after that.
        """
        while (left := self.backends() if sessions else set()) or self.advisory_locks():
            if time.monotonic() - since > within + _LATEST:
                raise Broken(f"{what}: {len(left)} sessions, {self.advisory_locks()} locks are left for good")
            time.sleep(0.02)
        self._expect_in_time(time.monotonic() - since, within, f"{what}: it was quiet")

    def _expect_in_time(self, took: float, within: float, what: str) -> None:
        if took > within:
            self.late.append(Late(what, took, within))

    def expect_boundary(self) -> Boundary:
        return check.consistent(self.database, self.course.boundaries)

    def expect_ended(self, runner: Runner, *codes: int, within: float = 60.0) -> int:
        """Waits for a disturbed run: it ends with one of the codes, or with 0, and then everything is done."""
        code = runner.end(within)
        self._expect_sane(runner)
        if code not in (0, *codes):
            raise Broken(f"the disturbed run ended with {code}, not with one of {codes}; {runner.story()}")
        if code == 0:
            check.complete(self.database, self.course.boundaries)
        self.struck = self.struck or code != 0
        return code

    def expect_reported(self, runner: Runner, boundary: Boundary) -> None:
        """What the run said it had applied is what is there."""
        finished = runner.events("job.finished")
        if not finished or "unverified" in finished[-1]:
            return
        applied = tuple(finished[-1]["applied"][-1:])
        if applied != boundary.state.version:
            raise Broken(f"the database is at {boundary.name}, which is not what the run said; {runner.story()}")

    def _expect_sane(self, runner: Runner) -> None:
        text = str(runner.events()) + runner.noise
        if TRIPWIRE in text:
            raise Broken(f"{TRIPWIRE}; {runner.story()}")
        if runner.noise:
            raise Broken(f"the run wrote something that is no event; {runner.story()}")

    def next_run(
        self,
        since: float,
        dead: set[tuple[int, str]],
        *,
        look: bool,
        within: float = GOES_ON_WITHIN,
        url: str = "",
        sessions: bool = True,
    ) -> None:
        """The plain run that follows the fault: ends what is left of the dead one, goes on in time, completes.

        `since` is when the fault was over, `dead` the sessions it left. With `look` the run is held before its first
        change, and the database must be at a boundary there. `sessions`: none are left at the end; a pooler keeps some.
        """
        self._go = go = self.stage.folder() / "go"
        held = f"sh -c 'while [ -d {go.parent} ] && [ ! -e {go} ]; do sleep 0.05; done'"
        hold = {"MIGRATE_BEFORE": held} if look else {}
        runner = self.start(url, 0.0, hold)
        begun = ("command.started",) if look else ("revision.applying",)
        runner.wait_event(*begun, "nothing.pending", "job.finished")
        self.goes_on = max(0.0, time.monotonic() - since)
        if look and runner.seen("command.started"):
            if left := self.backends() & dead:
                raise Broken(f"the next runner works, and sessions of the dead one are left: {left}")
            self.expect_boundary()
            go.touch()
        code = runner.end()
        self._expect_sane(runner)
        if code != 0:
            raise Broken(f"the next run ended with {code}; {runner.story()}")
        self._expect_in_time(
            self.goes_on, within, f"the next runner (started in {runner.seen('job.started'):.1f} s) went on"
        )
        check.complete(self.database, self.course.boundaries)
        self.expect_quiet(GIVES_UP_WITHIN, time.monotonic(), "after the next run", sessions=sessions)

    def close(self) -> None:
        """Ends all that the try has started."""
        if self._go is not None:
            self._go.touch()  # what holds the next run outlives it
        for runner in self.runners:
            runner.abandon()
