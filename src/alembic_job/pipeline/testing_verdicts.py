"""What came of each revision on its way up, down and up again: built a step at a time, in whichever process it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from alembic_job.rules.row_changes import Change, Rows, changes
from alembic_job.rules.schema_text import Comparison, compare

UPWARD = ("apply", "once", "up")  # ways by which a revision comes to be applied
_KINDS = {"down": "downgrade_failed", "again": "upgrade_again_failed", **dict.fromkeys(UPWARD, "upgrade_failed")}


class Step(NamedTuple):
    """One way of a revision: `up`, `down`, up `again`; `once` if that is all; `apply`: up, and nothing is looked at."""

    revision: str
    way: str


class Verdicts:
    """`before` and `after` are the schemas around the revision at hand, `None` while not known; `rows` what the version
    table held there; `data` are the rows before it, where they are looked at. `findings` are by revision, as is
    `one_way` (why it has no way back); `done` are the steps so far.

    `broken`: what is there now is no ground to go on from.
    """

    def __init__(self) -> None:
        self.before: str | None = None
        self.after: str | None = None
        self.rows: dict[str, tuple[str, ...]] = {}
        self.data: dict[str, Rows] = {}
        self.findings: dict[str, list[dict[str, Any]]] = {}
        self.one_way: dict[str, str] = {}
        self.done: list[Step] = []
        self.broken = False

    def saw(self, step: Step, schema: str | None, data: dict[str, Rows]) -> None:
        """A step was executed, and left this schema and these rows."""
        self.done.append(step)
        if step.way in ("up", "once"):
            self.after = schema
        elif step.way == "down":
            found = compare(self.before or "", schema or "", ("before", "after up and down"))
            self._differs(step.revision, "downgrade_differs", "the downgrade leaves another schema", found)
            self._rows_differ(step.revision, changes(self.data, data))
        elif step.way == "again":
            found = compare(self.after or "", schema or "", ("after up", "after up, down and up"))
            text = "up, down and up gives another schema than up"
            self._differs(step.revision, "upgrade_again_differs", text, found)
            self.broken = not found.same or self._has(step.revision, "rows_differ")
        if step.way in ("once", "again"):
            self.next()
            self.data = data

    def _has(self, revision: str, kind: str) -> bool:
        return any(finding["kind"] == kind for finding in self.findings.get(revision, ()))

    def next(self) -> None:
        """The revision at hand is through: what it left is what the next one finds."""
        self.before, self.after = self.after, None
        self.rows["before"] = self.rows.get("after", ())

    def failed(self, step: Step, message: str, statement: str | None) -> None:
        """A step could not be executed."""
        self._add(step.revision, _KINDS[step.way], message, statement=statement)

    def _differs(self, revision: str, kind: str, message: str, found: Comparison) -> None:
        if not found.same:
            self._add(revision, kind, message, diff=list(found.diff))

    def _rows_differ(self, revision: str, found: tuple[Change, ...]) -> None:
        if found:
            tables = [{**each._asdict(), "columns": list(each.columns), "text": each.words} for each in found]
            self._add(revision, "rows_differ", "up and down do not bring the rows back", tables=tables)

    def _add(self, revision: str, kind: str, message: str, **more: Any) -> None:
        known = {name: value for name, value in more.items() if value}
        self.findings.setdefault(revision, []).append({"kind": kind, "message": message, **known})
