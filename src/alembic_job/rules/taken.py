"""Collects what a statement does while its parts are judged."""

from __future__ import annotations

from collections.abc import Iterable

from alembic_job.rules.effect import Effect, Lock, Mode
from alembic_job.rules.facts import RELATION, STATISTICS, Facts, Gone, Name, Relation

_DROPPED = {STATISTICS: Mode.SHARE_UPDATE_EXCLUSIVE}


class Taken:
    """Locks, rewrites and scans so far. Relations that the facts do not know are new: they need nothing."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.only = False  # the statement says ONLY
        self.modes: dict[int, Mode] = {}
        self.rewrites: list[int] = []
        self.scans: list[int] = []
        self.loses: list[str] = []

    def lock(self, mode: Mode, *oids: int) -> None:
        """Notes the lock; a stronger one noted before stays."""
        for oid in oids:
            if oid in self.facts.relations:
                self.modes[oid] = max(mode, self.modes.get(oid, mode))

    def lock_tree(self, mode: Mode, oid: int, below: bool = True) -> None:
        """The relation, and its descendants unless ONLY was said."""
        self.lock(mode, oid, *(self.facts.descendants(oid) if below else ()))

    def lock_named(self, mode: Mode, name: Name, below: bool = False) -> Relation | None:
        """The relation of that name, if there is one."""
        relation = self.facts.relation(name)
        if relation:
            self.lock_tree(mode, relation.oid, below)
        return relation

    def rewrite(self, *oids: int) -> None:
        self.rewrites += [oid for oid in oids if self.has_storage(oid) and oid not in self.rewrites]

    def scan(self, *oids: int) -> None:
        self.scans += [oid for oid in oids if self.has_storage(oid) and oid not in self.scans]

    def has_storage(self, oid: int) -> bool:
        relation = self.facts.relations.get(oid)
        return relation is not None and relation.kind in "rmi"

    def lose(self, *what: str) -> None:
        self.loses += [text for text in what if text not in self.loses]

    def drop(self, gone: Iterable[Gone]) -> None:
        """The locks of everything that goes away: each object is locked, or the table it belongs to."""
        for item in gone:
            relation = self.facts.relations.get(item.relation)
            if relation is None or relation.schema == "pg_toast":
                continue
            self.lock(_DROPPED.get(item.classid, Mode.ACCESS_EXCLUSIVE), relation.oid)
            if item.classid == RELATION and item.objsubid == 0:
                self._drop_whole(relation)

    def _drop_whole(self, relation: Relation) -> None:
        if relation.table:
            self.lock_tree(Mode.ACCESS_EXCLUSIVE, relation.table, relation.kind == "I")
        if relation.is_partition and not relation.is_index:
            for parent in relation.parents:
                self.lock(Mode.ACCESS_EXCLUSIVE, parent)
                self.lock_default(parent)

    def lock_default(self, parent: int, mode: Mode = Mode.ACCESS_EXCLUSIVE) -> int | None:
        default = self.facts.default_partition(parent)
        if default is not None:
            self.lock(mode, default)
        return default

    def effect(
        self, transactional: bool = True, patient: bool = False, builds: str | None = None, unknown: str | None = None
    ) -> Effect:
        return Effect(
            locks=tuple(self._lock(oid, mode) for oid, mode in self.modes.items() if not self._implied(oid, mode)),
            rewrites=tuple(self.facts.relations[oid].quoted for oid in self.rewrites),
            scans=tuple(self.facts.relations[oid].quoted for oid in self.scans),
            transactional=transactional,
            patient=patient,
            loses=tuple(self.loses),
            builds=builds,
            unknown=unknown,
            bytes=sum(self.facts.relations[oid].pages for oid in {*self.rewrites, *self.scans}) * self.facts.block_size,
        )

    def _implied(self, oid: int, mode: Mode) -> bool:
        """An index of a table that is locked at least as strongly says nothing new."""
        relation = self.facts.relations[oid]
        return relation.table != 0 and self.modes.get(relation.table, 0) >= mode

    def _lock(self, oid: int, mode: Mode) -> Lock:
        relation = self.facts.relations[oid]
        return Lock(oid, relation.quoted, relation.kind, mode)
