"""What rules look at, and what they say."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

from alembic_job.lint.source import function_named
from alembic_job.rules.effect import Effect
from alembic_job.rules.statement import ParsedStatement


class Level(IntEnum):
    """How bad a finding is; an error ends with exit code 3."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Spot(NamedTuple):
    """A line of the script (1 is its first), and what is wrong there."""

    line: int
    message: str


@dataclass(frozen=True)
class Finding:
    """What a rule says of one revision; `file` as seen from the working directory."""

    rule: str
    level: Level
    message: str
    file: str
    line: int
    revision: str

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "level": self.level.word}


@dataclass(frozen=True)
class Written:
    """A statement that one of a revision's functions writes, and the line of the script that does.

    `alone`: outside of a transaction. `parsed` is empty, and `error` says why, where the grammar does not accept it.
    """

    sql: str
    alone: bool
    line: int
    parsed: tuple[ParsedStatement, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Side:
    """What `upgrade` or `downgrade` writes, or why (`reason`, `kind`: see `rendering.Rendered`) that is not known."""

    statements: tuple[Written, ...] = ()
    reason: str = ""
    kind: str = ""

    def parsed(self) -> Iterator[tuple[Written, ParsedStatement]]:
        """Each statement of the grammar, with the text it is part of."""
        for written in self.statements:
            for statement in written.parsed:
                yield written, statement


@dataclass(frozen=True, eq=False)
class Revision:
    """One script. Of those that were not asked for only what `of_tree` rules need is there: no SQL."""

    revision: str
    file: str
    source: str
    message: str
    follows: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    up: Side = Side()
    down: Side = Side()

    @cached_property
    def tree(self) -> ast.Module:
        """The script was imported: it can be parsed."""
        return ast.parse(self.source)

    def line_of(self, name: str) -> int:
        """The line where the script defines that function or variable; 1 if it does not."""
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return node.lineno
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return node.lineno
        return 1

    def function(self, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        return function_named(self.tree, name)


@dataclass(frozen=True)
class Database:
    """What was asked of the database: big tables' effects by revision and number of the statement in `up`."""

    effects: dict[tuple[str, int], tuple[Effect, ...]] = field(default_factory=dict)
    big: dict[tuple[str, str], int] = field(default_factory=dict)  # schema and name → bytes
    edited: frozenset[str] = frozenset()
    applied: frozenset[str] = frozenset()
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """All scripts, also those that were not asked for, in the order of their files; `model_modules` are those that
    define the models, as far as that is known."""

    revisions: tuple[Revision, ...] = ()
    model_modules: tuple[str, ...] = ()
    transactional: bool = True  # False: env.py runs revisions outside of transactions
    database: Database | None = None

    @cached_property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files of each id: mostly one."""
        found: dict[str, tuple[str, ...]] = {}
        for revision in self.revisions:
            found[revision.revision] = (*found.get(revision.revision, ()), revision.file)
        return found

    @cached_property
    def by_id(self) -> dict[str, Revision]:
        return {revision.revision: revision for revision in self.revisions}

    @cached_property
    def heads(self) -> tuple[Revision, ...]:
        followed = {down for revision in self.revisions for down in revision.follows}
        return tuple(revision for revision in self.by_id.values() if revision.revision not in followed)


Check = Callable[[Revision, Tree], Iterable[Spot]]


@dataclass(frozen=True)
class Rule:
    """One rule: its file in `rules/` bears its name. `example` is what it finds, as Python or SQL.

    `of_tree`: it is about the project, and looked at whatever revisions were asked for.
    """

    name: str
    level: Level
    summary: str
    why: str
    fix: str
    example: str
    check: Check
    of_tree: bool = False
    needs: str = ""  # what it cannot do without, for the documentation
