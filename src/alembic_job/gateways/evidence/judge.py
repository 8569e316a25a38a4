"""What every judgement needs: the reader, the tables as foreseen, and the findings so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from alembic_job.gateways.evidence.foreseen import Foreseen
from alembic_job.gateways.evidence.present import Table, With, label, with_clause
from alembic_job.gateways.evidence.reading import Figures, Reader
from alembic_job.gateways.unfinished import shown
from alembic_job.rules.facts import Name
from alembic_job.rules.finding import LOST, REFUSED, UNKNOWN, Finding

_SHOWN = 200  # characters of a statement


@dataclass
class Judge:
    """`version_table` is left out; `index` and `statement` are those being judged."""

    reader: Reader
    tables: Foreseen
    version_table: Name | None = None
    findings: list[Finding] = field(default_factory=list)
    index: int = 0
    statement: str = ""
    local: list[str] = field(default_factory=list)  # the reader's settings that end with the transaction
    missing_ok: bool = False  # the statement says IF EXISTS
    _sizes: dict[int, int] = field(default_factory=dict)

    def note(
        self, kind: str, what: str, count: int | None, unit: str, why: str = "", *, estimated: bool = False, of: int = 0
    ) -> None:
        """Adds a finding about the statement being judged; `of` is the OID of the table it is about."""
        text = shown(self.statement)
        short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
        self.findings.append(Finding(kind, what, count, unit, why, estimated, short, self.index, of))

    def unknown(self, what: str, why: str) -> None:
        self.note(UNKNOWN, what, None, "", why)

    def fails(self, what: str, why: str) -> None:
        """The statement would fail whatever the data, unless something unknown comes before it."""
        self.note(UNKNOWN if self.tables.opaque or self.tables.grown else REFUSED, what, None, "", why)

    def table(self, name: Name, missing_ok: bool = False) -> Table | None:
        """The table of that name at this point; says so if there is none. Raises `Untold`."""
        found = self.tables.relation(name)
        if found is None and not (missing_ok or self.missing_ok):
            self.fails(f"table {label(*name)}", "there is no such table")
        return found

    def is_version_table(self, table: Table) -> bool:
        return self.version_table is not None and (
            table.was == self.version_table or (self.version_table[0] is None and table.was[1] == self.version_table[1])
        )

    def is_new(self, table: Table) -> bool:
        """True if the list made or emptied it, and has not filled it: no row can be refused."""
        return table.source is None and not self.tables.doubt(table)

    def size(self, table: Table) -> int:
        """How many rows the planner thinks the present table has."""
        if table.source is None:
            return 0
        if table.oid not in self._sizes:
            self._sizes[table.oid] = self.reader.planned(f"SELECT FROM {table.base}")
        return self._sizes[table.oid]

    def count(
        self,
        table: Table,
        where: str = "",
        *,
        plan: bool = False,
        only: bool = False,
        using: With | None = None,
        alias: str = "",
    ) -> Figures:
        """The table's rows for which the condition holds; `plan`: the planner can estimate it. Raises `Untold`."""
        source = table.source
        if source is None:
            return Figures((0,))
        condition = f" WHERE {where}" if where else ""

        def ask(sample: str, what: str = "count(*)") -> str:
            rows = f"({source.sql(sample, only)}) AS {alias or table.alias}"
            return f"{with_clause(using or {})}SELECT {what} FROM {rows}{condition}"

        found = self.reader.figures(ask, self.size(table), ask("", ""), plan)
        return replace(found, estimated=True) if self.tables.doubt(table) else found

    def tally(self, table: Table, state: str, kinds: int, *, using: With, only: bool = False) -> Figures:
        """How many rows have the state 1, how many 2, … `state` is an expression that gives a number or NULL."""
        source = table.source
        if source is None:
            return Figures((0,) * kinds)
        numbers = ", ".join(f"count(*) FILTER (WHERE _s = {number + 1})" for number in range(kinds))

        def ask(sample: str) -> str:
            rows = f"SELECT {state} AS _s FROM ({source.sql(sample, only)}) AS {table.alias}"
            return f"{with_clause(using)}SELECT {numbers} FROM ({rows}) AS _r"

        found = self.reader.figures(ask, self.size(table))
        return replace(found, estimated=True) if self.tables.doubt(table) else found

    def lost(self, what: str, unit: str, figures: Figures, why: str = "", table: Table | None = None) -> None:
        """So many would be lost; none is a finding too."""
        count = None if figures.uncounted else figures.numbers[0]
        if count == 0 and figures.sampled:
            self._unseen(what, figures, "would be lost")
        else:
            self.note(LOST, what, count, unit, why, estimated=figures.estimated, of=table.oid if table else 0)

    def refused(self, table: Table, unit: str, figures: Figures, why: str, what: str = "") -> None:
        """So many would make the statement fail; none is no finding."""
        [count, *_] = figures.numbers
        what = what or f"table {table.label}"
        doubt = self.tables.doubt(table)
        if count == 0 and figures.sampled and not figures.uncounted:
            self._unseen(what, figures, f"would be refused ({why})")
        elif doubt and (count or table.vague):
            now = f"{count:,} {unit} would be refused now ({why})" if count else f"{unit} may be refused ({why})"
            self.unknown(what, f"{now}, but {doubt}")
        elif count or figures.uncounted:
            self.note(REFUSED, what, count or None, unit, why, estimated=figures.estimated, of=table.oid)

    def _unseen(self, what: str, figures: Figures, would: str) -> None:
        why = f"none of {figures.sampled:,} sampled rows {would}; there are too many to look at all of them"
        self.unknown(what, why)
