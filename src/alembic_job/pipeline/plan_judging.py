"""What each statement of a plan does, told from its text and the database as it is now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.catalogue import Execute, facts, literal
from alembic_job.gateways.evidence.reading import Reader, Untold
from alembic_job.gateways.parser import NotParsed, parse
from alembic_job.gateways.rendering import Rendered
from alembic_job.pipeline.plan_evidence import BUDGET, EXACT_BELOW, PATIENCE, Concern, findings
from alembic_job.rules.effect import Effect, Mode
from alembic_job.rules.effects import effects
from alembic_job.rules.facts import Facts, Name, Relation
from alembic_job.rules.plan import PlannedStatement, RowLocks, TableLock
from alembic_job.rules.plan_ahead import Ahead
from alembic_job.rules.plan_estimates import CHANGED, is_unseen, rows_of, seconds_of, size_of
from alembic_job.rules.questions import Questions, questions
from alembic_job.rules.statement import ParsedStatement
from alembic_job.rules.tree import nodes, range_name

_CHANGES_ROWS = ("UpdateStmt", "DeleteStmt", "MergeStmt")
_EXISTING = """
    SELECT n.nspname, c.relname, n.nspname = ANY (current_schemas(true)) FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = ANY (ARRAY[{}]::name[])"""
_ON_TABLE = ("AlterTableStmt", "IndexStmt", "CreateTrigStmt", "RenameStmt", *_CHANGES_ROWS)
# Where all that these name is new, they leave nothing that matters to statements about other tables.
_FOLLOWED = frozenset(("CreateStmt", "IndexStmt", "AlterTableStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"))
_BY_RELATION = ("relation", "column", "constraint")


class Session(NamedTuple):
    """How the project's connection sees the database, and a connection of our own beside it, once it is needed."""

    execute: Execute  # on the project's connection
    schema: str  # where new tables are made
    settings: dict[str, str]  # of the project's connection, such as search_path
    version_table: Name
    beside: Callable[[], Connection | None]


class _Part(NamedTuple):
    """A statement of a revision: as its text, parsed if the grammar reads it."""

    text: str
    alone: bool
    parsed: ParsedStatement | None
    why: str  # it is not parsed


class Judged(NamedTuple):
    """The statements of a revision, and `notes` on all of it."""

    statements: tuple[PlannedStatement, ...]
    notes: tuple[str, ...]


def judged(rendered: Iterable[Rendered], session: Session) -> list[Judged]:
    """What the statements of each revision do, in the order in which they would run."""
    revisions, reasons = [], []
    for one in rendered:
        revisions.append([part for each in one.statements for part in _parts(each.sql, each.alone)])
        reasons.append(one.reason)
    flat = [part for parts in revisions for part in parts]
    names = {name for part in flat if part.parsed for name in _names(part.parsed)}
    names |= {(session.schema, name) for schema, name in names if schema is None}
    judge = _Judge(session, _existing(session.execute, names))
    found: list[Judged] = []
    for parts, reason in zip(revisions, reasons, strict=True):
        before = judge.ahead.opaque
        notes = (f"what comes before it is not known to the end: {before}",) if before else ()
        found.append(Judged(tuple(judge.planned(part) for part in parts), notes))
        if reason:
            judge.skip()
    return _with_findings(found, judge.concerns, session) if judge.touches else found


def _parts(text: str, alone: bool) -> list[_Part]:
    try:
        return [_Part(each.text, alone, each, "") for each in parse(text)]
    except (NotParsed, LookupError) as error:
        return [_Part(text, alone, None, str(error))]


def _asked(statement: ParsedStatement) -> Questions:
    asked = questions(statement)
    if statement.kind in _CHANGES_ROWS and "relation" in statement.node:
        return replace(
            asked, relations=tuple(dict.fromkeys([*asked.relations, range_name(statement.node["relation"])]))
        )
    return asked


def _names(statement: ParsedStatement) -> set[Name]:
    asked = _asked(statement)
    made = [range_name(statement.node[key]) for key in ("relation", "view", "sequence") if key in statement.node]
    return {*asked.relations, *(drop.name for drop in asked.drops if drop.kind in _BY_RELATION), *made}


def _existing(execute: Execute, names: set[Name]) -> frozenset[Name]:
    """Those of the names that the catalogue knows, by one query."""
    if not names:
        return frozenset()
    rows = execute(_EXISTING.format(", ".join(sorted({literal(name) for _, name in names}))))
    there = {(schema, name) for schema, name, _ in rows}
    on_path = {name for _, name, is_on_path in rows if is_on_path}
    return frozenset(name for name in names if (name[1] in on_path if name[0] is None else name in there))


class _Judge:
    """Goes through the statements in their order."""

    def __init__(self, session: Session, existing: frozenset[Name]) -> None:
        self._session = session
        self.ahead = Ahead(session.schema, existing)
        self.touches = False  # a statement is about something that is there now
        self.concerns: list[Concern] = []
        self._pages: dict[int, int | None] = {}  # by OID of a table that the statistics do not know
        self._answers: dict[Questions, Facts] = {}
        self._reader: Reader | None = None

    def planned(self, part: _Part) -> PlannedStatement:
        """What this one does; it counts as done for those that follow."""
        if part.parsed is None:
            self.ahead.opaque = self.ahead.opaque or part.why
            self.concerns.append(Concern(part.text))
            return PlannedStatement(part.text, part.alone, unknown=part.why)
        statement, asked = part.parsed, _asked(part.parsed)
        known = self._facts(statement, asked)
        effect = effects(statement, known)
        known = self._measured(known, effect)
        planned = PlannedStatement(
            sql=part.text,
            alone=part.alone or not effect.transactional,
            locks=tuple(_lock(known.relations[lock.oid], lock.mode, known) for lock in effect.locks),
            rewrites=effect.rewrites,
            scans=effect.scans,
            new=tuple(dict.fromkeys(name[1] for name in _about(statement, asked) if self.ahead.is_new(name))),
            row_locks=self._row_locks(statement, known),
            loses=effect.loses if known.relations else (),
            seconds=seconds_of(effect, statement.kind, known),
            notes=tuple(self._notes(statement)),
            unknown=effect.unknown or "",
        )
        is_there = any(self.ahead.is_there(name) for name in _names(statement))
        self.touches = self.touches or is_there or bool(effect.unknown)
        self.ahead.execute(statement)
        self.concerns.append(self._concern(part.text, statement))
        return _with_row_seconds(planned)

    def skip(self) -> None:
        """A revision whose SQL is not known comes here."""
        self.ahead.opaque = self.ahead.opaque or "the SQL of a revision cannot be told"
        self.concerns.append(Concern(None))

    def _concern(self, text: str, statement: ParsedStatement) -> Concern:
        """What is to be known of it, once it counts as done, to count what it loses."""
        ranges = {range_name(each) for each in nodes(statement.node, "RangeVar")}
        names = frozenset(map(self.ahead.full, _names(statement) | ranges))
        own = statement.kind in _FOLLOWED and all(self.ahead.is_new(name) for name in names)
        return Concern(text, own, names)

    def _facts(self, statement: ParsedStatement, asked: Questions) -> Facts:
        """What the catalogue will say when this statement runs. It is not asked where the plan made it all."""
        wanted = self.ahead.asked(asked, statement)
        if not self._is_about_today(wanted):
            return Facts(0)
        if wanted not in self._answers:
            self._answers[wanted] = facts(self._session.execute, wanted)
        return self.ahead.answered(self._answers[wanted], asked.relations, statement)

    def _is_about_today(self, wanted: Questions) -> bool:
        drops = [drop for drop in wanted.drops if drop.kind not in _BY_RELATION or self.ahead.knows(drop.name)]
        named = any(self.ahead.knows(name) for name in wanted.relations)
        return bool(named or drops or wanted.schemas or wanted.used or wanted.publication)

    def _measured(self, known: Facts, effect: Effect) -> Facts:
        """With the present sizes of tables that the statistics do not know yet."""
        touched = {lock.oid for lock in effect.locks if is_unseen(known.relations[lock.oid])}
        new = sorted(touched - self._pages.keys())
        if new:
            listed = f"SELECT oid::int8, pg_catalog.pg_relation_size(oid) FROM unnest(ARRAY{new}::oid[]) oid"
            sizes = {oid: size // known.block_size for oid, size in self._read(listed) or ()}
            self._pages |= {oid: sizes.get(oid) for oid in new}
        counted = {oid: pages for oid in touched if (pages := self._pages[oid]) is not None}
        seen = {
            oid: replace(known.relations[oid], pages=pages, tuples=known.relations[oid].tuples if pages else 0.0)
            for oid, pages in counted.items()
        }
        return replace(known, relations={**known.relations, **seen}) if seen else known

    def _notes(self, statement: ParsedStatement) -> Iterable[str]:
        if statement.kind in _ON_TABLE and not statement.node.get("missing_ok"):
            table = range_name(statement.node.get("relation", {"relname": ""}))
            if table[1] and not (self.ahead.is_new(table) or self.ahead.is_there(table)):
                yield f"{table[1]} is not there now, and nothing that is known here makes it: its locks cannot be told"
        if statement.kind == "AlterTableStmt" and self.ahead.is_there(range_name(statement.node["relation"])):
            table = range_name(statement.node["relation"])
            for command in nodes(statement.node["cmds"], "AlterTableCmd"):
                if command["subtype"] == "AT_AlterColumnType" and self.ahead.has_new_column(table, command["name"]):
                    yield f"column {command['name']} is made earlier in the plan: it is assumed that its type differs"

    def _row_locks(self, statement: ParsedStatement, known: Facts) -> RowLocks | None:
        node = statement.node
        if statement.kind not in _CHANGES_ROWS:
            return None
        relation = known.relation(range_name(node["relation"]))
        if relation is None:
            return None
        whole = not any(key in node for key in ("whereClause", "fromClause", "usingClause"))
        rows = rows_of(relation) if whole and statement.kind != "MergeStmt" else self._expected(statement.text)
        return RowLocks(relation.quoted, rows_of(relation) if rows is None else rows)

    def _expected(self, sql: str) -> int | None:
        """How many rows the planner expects to change. `None` where it cannot tell."""
        rows = self._read(f"EXPLAIN (FORMAT JSON) {sql}")
        if rows is None:
            return None
        [[plan]] = rows
        tree = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        return int(tree["Plans"][0]["Plan Rows"]) if tree.get("Plans") else int(tree["Plan Rows"])

    def _read(self, sql: str) -> list[tuple[Any, ...]] | None:
        """Rows read on our own connection, waiting little; `None` where there are none to be had."""
        if self._reader is None:
            connection = self._session.beside()
            if connection is None:
                return None
            first = [f"SELECT set_config({literal(k)}, {literal(v)}, true)" for k, v in self._session.settings.items()]
            self._reader = Reader(connection, EXACT_BELOW, PATIENCE, BUDGET, first)
        try:
            return self._reader.rows(sql)
        except Untold:
            return None


def _about(statement: ParsedStatement, asked: Questions) -> list[Name]:
    """The tables that it is about."""
    own = [range_name(statement.node["relation"])] if "relation" in statement.node else []
    return (
        [*own, *asked.relations] if statement.kind not in ("CreateStmt", "CreateTableAsStmt") else list(asked.relations)
    )


def _lock(relation: Relation, mode: Mode, known: Facts) -> TableLock:
    return TableLock(relation.quoted, mode, size_of(relation, known), rows_of(relation))


def _with_row_seconds(planned: PlannedStatement) -> PlannedStatement:
    rows = planned.row_locks.rows if planned.row_locks else None
    return planned._replace(seconds=planned.seconds + rows / CHANGED) if rows else planned


def _with_findings(found: list[Judged], concerns: list[Concern], session: Session) -> list[Judged]:
    """Adds what the statements lose, or fail on."""
    connection = session.beside()
    if connection is None:
        return found
    counted = findings(connection, concerns, session.version_table, session.settings)
    mine = iter(its for its, concern in zip(counted, concerns, strict=True) if concern.text is not None)
    return [
        Judged(tuple(each._replace(findings=next(mine)) for each in statements), notes) for statements, notes in found
    ]
