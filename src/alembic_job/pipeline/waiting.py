"""`wait-for-migrations`: an application's pod waits until the database is at what its image needs, or beyond it.

It learns once what to look for, then looks, each time with one short connection and one query. It changes nothing,
takes no lock, and needs nothing but SELECT on the version table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from alembic_job.errors import (
    ConnectionLost,
    DatabaseUnreachable,
    DeadlineExceeded,
    JobError,
    LoginFailed,
    MigrationsAwaited,
    RevisionUnknown,
    TableLocked,
)
from alembic_job.gateways.history import Link
from alembic_job.gateways.locks import Session
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline.descent import Beyond, beyond
from alembic_job.pipeline.failure import concluded
from alembic_job.pipeline.learning import Learned, NotYet, learn
from alembic_job.settings import Settings
from alembic_job.steps.compare import distance
from alembic_job.steps.poll import Moved, Pace, Place, Seen, Sought, links, poll, spread
from alembic_job.watch import Watch

_REPORT_EVERY = 30.0  # seconds between two words about the same
_UNATTENDED = 30.0  # seconds that the database is behind and nobody migrates, until that is a warning
_ONE_LOOK = 30.0  # seconds that env.py may take even where the bound is nearer; MIGRATE_DEADLINE holds all the same
_RESERVE = 1.5  # seconds before MIGRATE_DEADLINE, for the last words
_AHEAD = "the database holds revisions that these scripts lack, and by its history they are built upon what is needed"
_AHEAD_HINT = "a newer image migrated it; MIGRATE_WHEN_AHEAD=fail refuses that"
_TAKEN = "the database holds revisions that these scripts lack: a newer image is taken to have migrated it"
_TAKEN_HINT = (
    "its history does not tell: a squashed history, another branch and a wrong DATABASE_URL look the same;"
    " MIGRATE_WHEN_AHEAD=fail refuses them"
)
_NO_LOOK_HINT = (
    "env.py, or the connection that it opens, took longer than that: is the database, or a pooler before it, stalled? "
    "MIGRATE_DEADLINE and MIGRATE_MIGRATIONS_TIMEOUT set how long to wait"
)
_PASSING = (DatabaseUnreachable, ConnectionLost, TableLocked, NotYet)


def wait_for_migrations(
    settings: Settings, *, log: Log, watch: Watch, identity: Identity, learn_secret: Callable[[str], None]
) -> Report:
    """Returns when the database is at what these scripts need (or `settings.to`), or beyond it by policy.

    Raises `MigrationsAwaited` (16) after `settings.migrations_timeout`, `RevisionUnknown` (28) where the database is
    ahead and that is to fail, or another project's by the history, and what keeps it from looking: 10, 20, 21, 22.
    """
    report = Report("wait-for-migrations", identity.run_id)
    watch.progress = lambda: report
    wait = _Wait(settings, log, watch, identity, learn_secret, report)

    def reworded(reason: BaseException) -> BaseException:
        """The deadline's own words would speak of what was applied."""
        return wait.too_late() if type(reason) is DeadlineExceeded else reason

    with concluded(report, watch, reworded):
        if settings.skip:
            log.warning("job.skipped", reason=settings.skip)
            report.outcome = "skipped"
        else:
            wait.until_ready()
    return report


@dataclass(frozen=True)
class _State:
    """What one look says: the revisions there, how many are pending, which are unknown, who migrates."""

    current: tuple[str, ...]
    pending: int
    unknown: tuple[str, ...]
    behind: tuple[str, ...]  # labels of tables
    untold: str | None  # how the history can come to tell of the unknown ones, where it does not
    runners: list[Session] | None
    asked: bool  # who migrates; else it is what was found earlier

    @property
    def ready(self) -> bool:
        return not self.pending


class _Wait:
    """One wait, from the first look to the last."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        watch: Watch,
        identity: Identity,
        learn_secret: Callable[[str], None],
        report: Report,
    ) -> None:
        self.settings, self.log, self.identity, self.report = settings, log, identity, report
        self._learn_secret = learn_secret
        self._begun = time.monotonic()
        left = watch.left(settings.migrations_timeout)
        self._end = self._begun + (left if left == settings.migrations_timeout else max(0.0, left - _RESERVE))
        self._learned: Learned | None = None
        self._fresh = False  # learned for this very look
        self._needed: tuple[str, ...] = ()  # as last learned
        self._state: _State | None = None  # as last seen
        self._found: dict[tuple[str, str, tuple[str, ...]], Beyond[Link]] = {}  # by place, version table and rows
        self._problem: JobError | None = None  # why the last look saw nothing
        self._took = 0.0  # seconds, the last look; 0 if it failed
        self._refused_since: float | None = None
        self._behind_since: float | None = None
        self._said: tuple[Any, ...] = ()
        self._said_at = self._asked_at = float("-inf")
        self._warned = False

    def until_ready(self) -> None:
        """Looks again and again. Raises `JobError` when it will not come true, or not in time."""
        time.sleep(min(spread(), self._left()))
        pace = Pace()
        while True:
            last = self._left() <= 0
            if last and self._learned is None and self._problem is not None:
                raise self.too_late()
            if self._look(last) and self._is_ready():
                if self._fresh or last:
                    self._say_ready()
                    return
                self._learned = None  # a migration may have made tenants, each with a version table of its own
                continue
            if last:
                raise self.too_late()
            pause = min(pace.pause(self._took), self._left())
            self._say(pause)
            time.sleep(pause)

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    # Looking.

    def _look(self, last: bool) -> bool:
        """One look; false if it failed in a way that may pass. Asks who migrates now and then, and at the end."""
        asked = last or time.monotonic() - self._asked_at >= _REPORT_EVERY
        self._took = 0.0
        self._fresh = False
        try:
            self._state = self._seen(asked)
        except Moved:
            self._learned = None
            return False
        except LoginFailed as error:
            self._problem = error
            self._bear_refusal(error)
            return False
        except _PASSING as error:
            if not (self._problem and error.fields.get("reason") == "slow"):  # when time runs out the cause says more
                self._problem = error
            self._refused_since = None
            return False
        if asked:
            self._asked_at = time.monotonic()
        self._problem = self._refused_since = None
        return True

    def _seen(self, asked: bool) -> _State:
        if self._learned is None:
            if self._problem is not None:
                self._reach()
            seconds = max(_ONE_LOOK, self._left())  # however short the bound, one look is meant
            self._learned = learn(self.settings, self.log, self._learn_secret, seconds)
            self._needed = self._learned.need.heads
            self._fresh = True
        need, places = self._learned
        begun = time.monotonic()
        looks = [
            poll(place, self.identity.application_name, role=self.settings.role, runners=asked) for place in places
        ]
        self._took = time.monotonic() - begun
        self._learned = Learned(need, tuple(look.place for look in looks))
        return self._compared(looks, asked)

    def _reach(self) -> None:
        """A database that cannot be reached is no reason to load the project, again and again."""
        if database := self.settings.database:
            poll(Place(database, ()), self.identity.application_name)

    def _compared(self, looks: list[Seen], asked: bool) -> _State:
        assert self._learned is not None
        current = tuple(dict.fromkeys(row for look in looks for rows in look.rows for row in rows))
        if self._state is None:
            self.report.source = current
        self.report.target = current
        self._check_ahead([row for row in current if not self._learned.need.has(row)])
        tables = [
            (look.place, table, rows)
            for look in looks
            for table, rows in zip(look.place.tables, look.rows, strict=True)
        ]
        traced = [self._beyond(*each) for each in tables]
        found = [
            (table.label, rows, distance(self._learned.need, rows, None if beyond.missing else beyond.below))
            for (_, table, rows), beyond in zip(tables, traced, strict=True)
        ]
        return _State(
            current=current,
            pending=sum(len(far.pending) for _, _, far in found),
            unknown=tuple(dict.fromkeys(row for _, _, far in found for row in far.unknown)),
            behind=tuple(label for label, _, far in found if far.pending),
            untold=next((beyond.hint for beyond in traced if beyond.missing), None),
            runners=_together(looks) if asked else self._state.runners if self._state else None,
            asked=asked,
        )

    def _check_ahead(self, unknown: list[str]) -> None:
        """Tolerated unless the setting says otherwise: pods of an older release are restarted on a newer schema."""
        given = self.settings.origins["when_ahead"] != "default"
        if unknown and given and self.settings.when_ahead == "fail":
            names = ", ".join(map(repr, unknown))
            raise RevisionUnknown(
                f"the database holds {names}, which these scripts lack: a newer image migrated it",
                hint="deploy that image again, or set MIGRATE_WHEN_AHEAD=tolerate (the default of wait-for-migrations) "
                "if this image's code can run on the newer schema",
            )

    def _beyond(self, place: Place, table: Sought, rows: tuple[str, ...]) -> Beyond[Link]:
        """What the history tells of rows that these scripts lack; asked once for the same rows.

        Raises `RevisionUnknown` (28) where by it they are built upon none of these scripts, and what `links` raises.
        """
        assert self._learned is not None
        need, settings = self._learned.need, self.settings
        key = (place.dsn.redacted(), table.label, rows)
        if key not in self._found:
            name = self.identity.application_name
            read = partial(links, place, table, name, settings.history_schema, role=settings.role)
            known = all(need.has(row) for row in rows)
            self._found[key] = beyond(need, table.label, rows, dict if known else read)
        found = self._found[key]
        if found.refuted:
            raise found.unproven()
        return found

    def _bear_refusal(self, error: LoginFailed) -> None:
        """A refused login, or a missing privilege: may come late, or with the migration that runs just now."""
        if error.fields.get("running"):
            return
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        if now - self._refused_since < min(self.settings.login_grace, max(0.0, self._end - self._refused_since)):
            return
        raise error

    # Deciding.

    def _is_ready(self) -> bool:
        assert self._state is not None
        if self._state.ready:
            return True
        self._behind_since = self._behind_since or time.monotonic()
        return False

    def _say_ready(self) -> None:
        assert self._state is not None
        state = self._state
        ahead = bool(state.unknown)
        at = {"current": list(state.current), "needed": list(self._needed), "ahead": ahead}
        if ahead:
            unknown = list(state.unknown)
            told = {"message": _AHEAD, "hint": _AHEAD_HINT}
            if state.untold is not None:
                told = {"message": _TAKEN, "hint": f"{_TAKEN_HINT}; {state.untold}"}
            self.log.warning("migrations.ready", **at, unknown=unknown, **told)
        else:
            self.log.info("migrations.ready", **at)

    def too_late(self) -> JobError:
        """The error when time is up: 16 with all that is known, or why nothing is."""
        waited = f"after {time.monotonic() - self._begun:.0f} s"
        if self._state is None:
            problem = self._problem or MigrationsAwaited("there was not even time for one look", hint=_NO_LOOK_HINT)
            return type(problem)(f"{waited}: {problem}", hint=problem.hint, **problem.fields)
        state = self._state
        where = f"the database is at {_names(state.current)}, these scripts need {_names(self._needed)}"
        seen = "" if self._problem is None else f" (as last seen; the last look failed: {self._problem})"
        return MigrationsAwaited(
            f"{waited} {where}: {state.pending} pending in {', '.join(state.behind)}{seen}; {_who(state.runners)}",
            hint=_hint(state.runners),
            current=list(state.current),
            needed=list(self._needed),
            pending=state.pending,
            running=_owner(state.runners),
        )

    # Saying.

    def _say(self, pause: float) -> None:
        """What keeps it waiting: when that changed, and otherwise every half minute."""
        problem, state, now = self._problem, self._state, time.monotonic()
        if problem is not None:
            reason = problem.fields.get("reason") or problem.outcome
            if self._is_news((type(problem), reason)):
                self.log.warning("wait.retry", reason=reason, error=str(problem), next_in_seconds=round(pause, 2))
        elif state is not None and self._learned and (self._is_news((state.current, state.pending)) or state.asked):
            self._say_state(state, now)

    def _is_news(self, said: tuple[Any, ...]) -> bool:
        now = time.monotonic()
        if said == self._said and now - self._said_at < _REPORT_EVERY:
            return False
        self._said, self._said_at = said, now
        return True

    def _say_state(self, state: _State, now: float) -> None:
        assert self._behind_since is not None
        self.log.info(
            "migrations.waiting",
            current=list(state.current),
            needed=list(self._needed),
            pending=state.pending,
            tables=list(state.behind),
            running=_owner(state.runners),
            waited_seconds=round(now - self._begun, 1),
        )
        long = now - self._behind_since >= _UNATTENDED
        if long and state.asked and state.runners == [] and not self._warned:
            self._warned = True
            self.log.warning("migrations.unattended", pending=state.pending, message=_who([]), hint=_hint([]))


def _together(looks: list[Seen]) -> list[Session] | None:
    """Who migrates, in any of the databases; not known if it is not known of one and nobody does in the others."""
    sessions = [session for look in looks for session in look.runners or ()]
    return None if not sessions and any(look.runners is None for look in looks) else sessions


def _owner(runners: list[Session] | None) -> dict[str, Any] | None:
    """The first who holds a lock, as fields."""
    if not runners:
        return None
    first = runners[0]
    return {"owner": first.application_name, "pid": first.pid, "client": first.client, "since": first.since}


def _names(revisions: tuple[str, ...]) -> str:
    return ", ".join(revisions) or "no revision"


def _who(runners: list[Session] | None) -> str:
    if runners is None:
        return "who migrates cannot be seen from a replica"
    if not runners:
        return "nobody is migrating: did the migration Job run or fail?"
    return "a run holds the lock: " + "; ".join(
        f"{session.application_name or 'name hidden'} (pid {session.pid}, from {session.client or 'a local socket'}, "
        f"since {session.since or 'unknown'})"
        for session in runners
    )


def _hint(runners: list[Session] | None) -> str:
    if runners:
        return (
            "it still runs: `alembic-job status` says what it does; MIGRATE_MIGRATIONS_TIMEOUT sets how long to wait "
            "for it"
        )
    return (
        "look at the migration Job's last line, and start it if there is none; its image must have the same revisions "
        "and its DATABASE_URL lead to this database; MIGRATE_MIGRATIONS_TIMEOUT sets how long to wait"
    )
