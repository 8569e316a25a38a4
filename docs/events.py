"""The events of the log, collected from the source, with what each means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import alembic_job
from alembic_job.model import Report

SOURCE = Path(alembic_job.__file__).parent
LEVELS = ("debug", "info", "warning", "error")
# What an event means to its reader. An event that is not here fails the tests, and so does a line here without event.
MEANINGS = {
    "backup.damaged": "A backup is not what its manifest says, or cannot be read: do not rely on it.",
    "backup.draft_removed": "What a killed run had left of a dump was removed: nobody works at it.",
    "backup.expired": "`backup prune` without `--dry-run` would remove this backup.",
    "backup.finished": "The dump is written, was proven, and has its final name and its manifest; `path` says where.",
    "backup.not_removed": "A backup that may go could not be removed; the new one is there all the same.",
    "backup.progress": "How much pg_dump has written so far.",
    "backup.removed": "A backup that MIGRATE_BACKUP_KEEP and MIGRATE_BACKUP_KEEP_FOR do not keep was removed.",
    "backup.restored": "The dump was restored into a scratch database, where each table has its rows again.",
    "backup.restoring": "The dump is now restored into a scratch database to prove it (MIGRATE_BACKUP_VERIFY=restore).",
    "backup.space_short": "The backup may not fit into its folder, by the database's size or the newest backup's.",
    "backup.started": "pg_dump begins.",
    "backup.verified": "A backup has its hash, was read to its last byte, and holds the rows it should; `by` hash: "
    "an encrypted one without identity has its hash, and no more is known.",
    "blocker.ended": "A session in the way was ended, as MIGRATE_TERMINATE_BLOCKERS says.",
    "blocker.not_ended": "A session in the way was to be ended, but this role may not.",
    "command.finished": "The command of MIGRATE_BEFORE, MIGRATE_AFTER or MIGRATE_SEED ended with 0.",
    "command.started": "The command of MIGRATE_BEFORE, MIGRATE_AFTER or MIGRATE_SEED begins.",
    "consent.given": "The rollback of these revisions may lose data, until they were rolled back.",
    "consent.withdrawn": "The rollback of these revisions may not lose data any more.",
    "constraint.not_validated": "A constraint is NOT VALID, which is a legitimate state.",
    "database.ahead": "The version table holds revisions that these scripts lack; MIGRATE_WHEN_AHEAD tolerates it.",
    "database.another": "The project connected to another database than the settings name; its own way wins.",
    "database.not_empty": "There is no version table, but there are other tables.",
    "disk.looked": "Before the first ALTER, VACUUM or the like: what is free on the server's disk, as far as it is "
    "known, and whether statements that write tables anew are compared with it (`rewrites_watched`).",
    "exit.failed": "An exit function that the project registered raised an error.",
    "history.adopted": "Scripts that somebody else had applied were recorded, with their ways back.",
    "history.unavailable": "The job's own schema cannot be written; the run goes on without it.",
    "index.invalid": "An index is INVALID that this run did not touch, or could not remove.",
    "index.rebuilt": "An index that an earlier run left INVALID is dropped and built again.",
    "index.removed": "What a failed CREATE INDEX CONCURRENTLY left was dropped.",
    "job.finished": "The last line of every run: how it ended.",
    "job.skipped": "MIGRATE_SKIP is set: nothing is touched.",
    "job.started": "The first line of a run whose settings could be read.",
    "lint.failed": "MIGRATE_LINT=warn: the pending revisions could not be looked through; the run goes on.",
    "lint.finding": "MIGRATE_LINT: what is wrong with a pending revision, in which `file` and `line`, by which `rule`; "
    "`severity` is warning or error.",
    "lint.finished": "MIGRATE_LINT: the pending revisions were looked through; `remarks` say what was left out.",
    "lock.acquired": "The lock is held: at level info if the run had to wait for it.",
    "lock.blocked": "A lock on a table is not free: who is in the way, since when, with what, and the SQL that would "
    "end it; `behind_us` sessions wait behind this run.",
    "lock.narrowed": "From the database's lock to that of one version table.",
    "lock.grammar_missing": "PostgreSQL's grammar is not installed: which locks a statement takes is not known.",
    "lock.regained": "The connection that held the lock was lost; the lock was free still, and was taken anew.",
    "lock.waiting": "Another runner holds the lock; said at once, then every five seconds.",
    "log.record": "A record of the project's own logging, or a Python warning.",
    "migrations.ready": "The database is at what these scripts need; `ahead` if it holds revisions that they lack, "
    "`proven` if an earlier run's record says so.",
    "migrations.unattended": "The database has been behind for half a minute, and nobody migrates it.",
    "migrations.waiting": "The database is behind what these scripts need; said when something changes, and every half "
    "minute. `running` is who holds the lock.",
    "notify.failed": "Somebody in MIGRATE_NOTIFY was not told `about` how the run goes; that changes nothing else.",
    "notify.sent": "These services took a message `about` how the run goes.",
    "nothing.pending": "The version table is where it should be; `proven` if an earlier run's record says so.",
    "observer.shares": "The server has no connection left for looking at other sessions; the run's own is used.",
    "orphan.ended": "A session that a dead run left working was ended.",
    "orphan.waiting": "A session that a dead run left working belongs to another role; it is waited for.",
    "output": "A line that somebody wrote to stdout or stderr: env.py, a migration, a hook, a library.",
    "plan.made": "Revisions are pending: how many, the first and the last.",
    "password_command.finished": "MIGRATE_PASSWORD_COMMAND was run.",
    "password_command.output": "A line that MIGRATE_PASSWORD_COMMAND wrote to stderr, without the password.",
    "pooler.session_mode": "The address is a pooler's that keeps sessions; the run goes on through it.",
    "production.confirmed": "Everything is to go from a database that looks like production, and that was said twice; "
    "`signs` are what speaks for it.",
    "project.directory_changed": "script_location is relative to the ini file's folder; the job works from there.",
    "rehearsal.backup_passed_over": "The newest backup is of another revision, partial or unreadable: a dump is taken.",
    "rehearsal.leftover_removed": "What a killed rehearsal or proof of a backup had left was removed: a scratch "
    "database, or a folder.",
    "rehearsal.not_removed": "A scratch database could not be dropped.",
    "rehearsal.setting_skipped": "A setting of a role or the database could not be given to the embedded server.",
    "reset.done": "`reset` has dropped what was in these schemas; the revisions follow.",
    "reset.left": "What `reset` could not drop of these schemas.",
    "reset.planned": "What `reset` would drop: tables with rows, and others; `stays` are schemas that it leaves alone.",
    "report.not_written": "MIGRATE_REPORT: the page could not be written, and why; the run ends as it would have.",
    "report.written": "MIGRATE_REPORT: the page of this run is there.",
    "restore.finished": "The backup is restored and verified: `database` is where its data is now.",
    "restore.not_removed": "The new database of a restore that failed could not be dropped; the hint is how.",
    "restore.planned": "What a restore is going to do, or would do with `--yes`.",
    "restore.progress": "How large the new database is by now, while pg_restore works.",
    "restore.setting_skipped": "The new database does not get a property of the old one, such as its owner or a "
    "setting: this role may not give it. `sql` would.",
    "restore.started": "The new database is made, and pg_restore begins.",
    "restore.space_short": "The restore may not fit on the server's disk, by what the database took at its backup.",
    "restore.swapped": "The restored database has taken the place of the old one, which is called `before` now; for "
    "`downtime_seconds` nobody could connect.",
    "restore.verified": "Each table of the new database holds as many rows as were backed up.",
    "revision.applied": "A revision was upgraded to; `committed` if it can no longer be rolled back.",
    "revision.applying": "The upgrade of a revision begins.",
    "revision.empty_downgrade": "The downgrade of a revision is empty: undone, it changes the version table alone.",
    "revision.not_resumed": "What an earlier run had committed of this revision is gone: nothing of it is passed over.",
    "revision.one_way": "The downgrade of a revision cannot be rendered, so no older image can undo it: why.",
    "revision.restarted": "A lock was not free while others were held, or a deadlock was lost: the revision was rolled "
    "back, and starts again with these locks.",
    "revision.planned": "A revision that is pending, in the order of the plan; `follows` are those it builds on.",
    "revision.resumed": "An earlier run committed a part of this revision: these statements are not executed again.",
    "revision.reverted": "A revision was downgraded; `committed` if it can no longer be rolled back.",
    "revision.reverting": "The downgrade of a revision begins.",
    "revision.stamped": "`stamp` has set a version table; no migration was run.",
    "revisions.from_history": "Revisions that these scripts lack are undone by the SQL that the history holds.",
    "rewrite.space_short": "Tables that are written anew may not fit on the server's disk; said once a table.",
    "rollback.evidence": "What a downgrade would destroy of the data there is, or fail on: `count` of `unit`, "
    "`estimated` or counted.",
    "rollback.planned": "What a downgrade would execute; said by `rollback --dry-run`.",
    "script.edited": "A script is not what it was when it was applied; `diff` shows it.",
    "script.repaired": "`repair` recorded a script as it is now; `diff` shows from what.",
    "scripts.unchanged": "`repair` found nothing to do: every script does what was recorded.",
    "seed.finished": "The project's seed ended well, and what it wrote is committed; `result` is what it returned.",
    "seed.started": "The project's seed begins, in one transaction.",
    "session.schema_missing": "MIGRATE_SEARCH_PATH names schemas that are not in the database.",
    "session.timeouts_lifted": "Timeouts of the role's, the database's or the server's that do not hold for this run: "
    "each with its name, value and source.",
    "settings.unknown": "There are MIGRATE_ variables that nobody knows.",
    "shortcut.not_recorded": "The next run has to look anew, and why.",
    "termination_log.failed": "The termination message could not be written; the run ends as it would have.",
    "statement.executed": "A statement of a revision was executed, or failed with the SQLSTATE `error`; of "
    "`duration_seconds` it waited `waited_seconds` for locks.",
    "statement.progress": "A statement has run for long: which, its phase, how much is done if PostgreSQL says so.",
    "statement.skipped": "A statement of a revision that is gone on with was committed before.",
    "table.locked": "A lock that was not free at once was won.",
    "verify.passed": "A fresh connection saw the revision reached, and no index left INVALID by this run.",
    "wait.ready": "The database answers, and can be written to.",
    "wait.retry": "The database is not ready yet, why, and when it is tried again.",
    "wait.started": "The wait for the database begins.",
}
_NAME = re.compile(r"[a-z_]+(\.[a-z_]+)?")
_EMITTERS = (*LEVELS, "line", "write", "_emit", "_write")


class Event(NamedTuple):
    """One event: the levels it comes at and the fields it may have beside those of every line."""

    name: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]


def collect() -> list[Event]:
    """Every event the source can write, by name."""
    found: dict[str, tuple[set[str], dict[str, None]]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        module = _Module(ast.parse(path.read_text(encoding="utf-8")))
        for name, level, fields in module.events():
            levels, known = found.setdefault(name, (set(), {}))
            levels |= level
            known.update(dict.fromkeys(fields))
    return [
        Event(name, tuple(level for level in LEVELS if level in levels), tuple(fields))
        for name, (levels, fields) in sorted(found.items())
    ]


class _Module:
    """One source file, in which names are looked up by reading, not by running."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._tree = tree

    def events(self) -> Iterator[tuple[str, set[str], list[str]]]:
        """Name, levels and fields of each event written here."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and (emitter := _called(node.func)) in _EMITTERS:
                for name in self._names(node.args[:2]):
                    yield name, _levels(emitter, node), self._fields(node)

    def _names(self, arguments: list[ast.expr]) -> Iterator[str]:
        """The events that these arguments name: a constant, or what a method of this file returns."""
        for argument in arguments:
            if isinstance(argument, ast.Call) and _called(argument.func) in self._functions:
                returned = self._returned(_called(argument.func))
                yield from (text for value in returned for text in _texts(value) if "." in text)
            elif isinstance(argument, ast.Constant):
                yield from (text for text in _texts(argument) if _NAME.fullmatch(text) and text not in LEVELS)

    def _fields(self, call: ast.Call) -> list[str]:
        fields: list[str] = []
        for keyword in call.keywords:
            fields += [keyword.arg] if keyword.arg else self._unpacked(keyword.value)
        return fields

    def _unpacked(self, value: ast.expr) -> list[str]:
        """The keys of `**value`: of a dictionary given, named, returned by a function here, or the run's report."""
        if isinstance(value, ast.Dict):
            return [text for key in value.keys if key is not None for text in _texts(key)]
        if isinstance(value, ast.Call) and _called(value.func) == "as_fields":
            return report_fields()
        if isinstance(value, ast.Call):
            return [key for returned in self._returned(_called(value.func)) for key in self._unpacked(returned)]
        if isinstance(value, ast.Name):
            return [key for assigned in self._assigned(value.id) for key in self._unpacked(assigned)]
        return []

    def _returned(self, function: str) -> list[ast.expr]:
        if function not in self._functions:
            return []
        nodes = ast.walk(self._functions[function])
        return [node.value for node in nodes if isinstance(node, ast.Return) and node.value is not None]

    def _assigned(self, name: str) -> Iterator[ast.expr]:
        """Dictionaries that the name is given anywhere in this file, `name["key"] = …` among them."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and target.id == name and isinstance(node.value, ast.Dict):
                    yield node.value
                if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == name:
                    yield ast.Dict([target.slice], [node.value])


def report_fields() -> list[str]:
    """The fields of `job.finished` in the order in which they come."""
    report = Report("migrate", "", reverted=("a",), error="", hint="")
    return list(report.as_fields())


def _called(function: ast.expr) -> str:
    """The last name of what is called: `self._write(level)(…)` counts as `_write`."""
    if isinstance(function, ast.Call):
        return _called(function.func)
    return getattr(function, "attr", getattr(function, "id", ""))


def _texts(value: ast.expr) -> Iterable[str]:
    """The text constants in an expression."""
    return (node.value for node in ast.walk(value) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _levels(emitter: str, call: ast.Call) -> set[str]:
    """The level a call writes at; where it is chosen at run time, every level that makes sense there."""
    if emitter in LEVELS:
        return {emitter}
    if emitter == "_emit":
        return {text for text in _texts(call.args[0]) if text in LEVELS}
    if emitter == "_write":
        return set(LEVELS)
    return {"info"} if emitter == "line" else {"info", "error"}
