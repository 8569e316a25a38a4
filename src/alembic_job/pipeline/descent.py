"""Revisions that a version table holds and these scripts lack: does the history prove what they are built upon?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic

from alembic_job.errors import HistoryHidden, RevisionUnknown
from alembic_job.gateways.grafting import Recorded, Scripts, frontier, lineage
from alembic_job.gateways.history import Link

_HINT = (
    "deploy the newer image again: alembic-job keeps the history in the schema alembic_job (MIGRATE_HISTORY,"
    " MIGRATE_ARCHIVE), so it cannot be off there; MIGRATE_HISTORY_SCHEMA, where it is set, has to be the same here"
)


class Beyond(Generic[Recorded]):
    """Such revisions of the version table `label`, and what the history (`recorded`) tells of them.

    Where it lacks one of them it neither proves nor refutes; `hint` is how to let it be read, where it may not be.
    """

    def __init__(
        self, scripts: Scripts, label: str, heads: Iterable[str], recorded: dict[str, Recorded], hint: str = _HINT
    ) -> None:
        self.label, self.hint = label, hint
        self.unknown = sorted(head for head in heads if not scripts.has(head))
        self.between, self.missing = lineage(self.unknown, recorded, scripts)
        self.below = frontier(self.between, scripts)

    @property
    def proven(self) -> bool:
        """True if the history proves that they are built upon what these scripts have."""
        return bool(self.below) and not self.missing

    @property
    def refuted(self) -> bool:
        """True if the history knows all that they are built upon, and nothing of it is among these scripts."""
        return bool(self.unknown) and not self.below and not self.missing

    @property
    def message(self) -> str:
        """What the database holds."""
        names = ", ".join(map(repr, self.unknown))
        return f"Can't locate revision identified by {names}, which {self.label} holds"

    def error(self) -> RevisionUnknown:
        """For a run that shall not go on."""
        message = f"{self.message}: the database was migrated by scripts that this image lacks"
        if not self.proven:
            return RevisionUnknown(message, unknown=self.unknown)
        return RevisionUnknown(
            message,
            hint=f"`alembic-job rollback --to {self.below[0]}` undoes {names(self.between)} from this image by SQL of"
            " the history (MIGRATE_WHEN_AHEAD=rollback does so unasked); or deploy the newer image again, or set"
            " MIGRATE_WHEN_AHEAD=tolerate if this image's code can run on the newer schema",
            unknown=self.unknown,
            below=self.below,
        )

    def unproven(self) -> RevisionUnknown:
        """Where it is to be tolerated, but may be another project's database, or another branch's."""
        return RevisionUnknown(
            f"{self.message}, and its history does not tell that they are built upon what this image knows",
            hint=self.hint,
            unknown=self.unknown,
        )


def beyond(scripts: Scripts, label: str, heads: Iterable[str], read: Callable[[], dict[str, Link]]) -> Beyond[Link]:
    """What the history that `read` gives tells of them; one that may not be read tells nothing."""
    try:
        return Beyond(scripts, label, heads, read())
    except HistoryHidden as error:
        return Beyond(scripts, label, heads, {}, f"{error}; {error.hint}")


def names(revisions: Iterable[Any]) -> str:
    """Their ids, for people."""
    return ", ".join(each.revision for each in revisions)
