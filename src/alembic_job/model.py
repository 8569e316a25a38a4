"""Values that the rooms hand each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class VersionTable:
    """One Alembic version table in one database; `schema` is where it is or would be made."""

    database: str  # identity of the database, see gateways.postgres.identity
    schema: str
    name: str
    exists: bool

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass
class Change:
    """What a run means to do, and did, to one version table. Revisions are ids, in the order they run."""

    table: VersionTable
    before: tuple[str, ...]
    planned: tuple[str, ...] = ()
    after: tuple[str, ...] | None = None  # as read back from the database
    expected: tuple[str, ...] | None = None  # as Alembic computed it
    done: tuple[str, ...] = ()


@dataclass
class Report:
    """How a run ended. `source` and `target` are the heads before and after (`from` and `to` in the log)."""

    command: str
    run_id: str
    outcome: str = "done"
    exit_code: int = 0
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    reverted: tuple[str, ...] = ()
    duration_seconds: float = 0.0
    error: str | None = None
    hint: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def went(self, changes: list[Change]) -> None:
        """From where to where the version tables went."""
        self.source = tuple(dict.fromkeys(head for change in changes for head in change.before))
        after = [change.before if change.after is None else change.after for change in changes]
        self.target = tuple(dict.fromkeys(head for heads in after for head in heads))

    def as_fields(self) -> dict[str, Any]:
        """The fields of `job.finished`."""
        fields: dict[str, Any] = {
            "command": self.command,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "from": heads_text(self.source),
            "to": heads_text(self.target),
            "applied": list(self.applied),
        }
        if self.reverted:
            fields["reverted"] = list(self.reverted)
        fields["duration_seconds"] = round(self.duration_seconds, 3)
        if self.error is not None:
            fields |= {"error": self.error, "hint": self.hint}
        return fields | self.fields


def heads_text(heads: tuple[str, ...]) -> str | list[str] | None:
    """One head as itself, none as null, several as a list."""
    if len(heads) > 1:
        return sorted(heads)
    return heads[0] if heads else None
