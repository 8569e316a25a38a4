"""What the statements of a run do, by PostgreSQL's grammar; by their first words where that is not installed."""

from __future__ import annotations

import re

from alembic_job.gateways.work import Work
from alembic_job.logs.events import Log
from alembic_job.rules.effect import Effect
from alembic_job.rules.simple import Simple
from alembic_job.steps.table_locks import first_word

_PATIENT = re.compile(r"\b(CONCURRENTLY|VALIDATE|VACUUM)\b", re.IGNORECASE)


class Grammar:
    """Says once in the log if it is not there."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._grammar: bool | None = None

    def may_matter(self, sql: str) -> bool:
        from alembic_job.rules.questions import may_matter

        return may_matter(sql)

    def effects(self, work: Work, sql: str) -> list[Effect]:
        """What a statement does, asked on its own connection: only that sees what its transaction has done so far."""
        from alembic_job.gateways.catalogue import effect_of

        effects = effect_of(sql, work.run) if self._has_grammar() else [Effect(unknown="no grammar")]
        if any(effect.unknown for effect in effects) and first_word(sql) != "DO" and _PATIENT.search(sql):
            return [Effect(patient=True, transactional="CONCURRENTLY" not in sql.upper())]
        return effects

    def simple(self, sql: str) -> Simple | None:
        """The table that a statement locks, if that is all it locks."""
        from alembic_job.gateways.parser import NotParsed, parse
        from alembic_job.rules.simple import simple

        if not self._has_grammar():
            return None
        try:
            statements = parse(sql)
        except NotParsed:
            return None
        return simple(statements[0]) if len(statements) == 1 else None

    def _has_grammar(self) -> bool:
        """True if the locks of statements can be told. Says once if not."""
        if self._grammar is None:
            from alembic_job.gateways.parser import library

            try:
                self._grammar = bool(library())
            except LookupError:
                self._grammar = False
                self._log.warning(
                    "lock.grammar_missing",
                    message="which locks a statement takes cannot be told: each is tried for milliseconds at a time",
                    hint="pip install 'alembic-job[sql]'",
                )
        return self._grammar
