"""What is migrated: four kinds of projects, as data, so that every state they may be left in can be computed.

No statement may be executed twice: there is no IF NOT EXISTS, and every revision writes rows that would be there twice.
How long they take is a setting of the database, `chaos.pause` in seconds: the same project is quick where nobody looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.projectkit import make_project

TRIPWIRE = "two runners are at work"
_PAUSE = "coalesce(nullif(current_setting('chaos.pause', true), ''), '0')::float8"


@dataclass(frozen=True)
class Part:
    """Statements of a revision, in one transaction or each committed by itself."""

    statements: tuple[str, ...]
    autocommit: bool = False


@dataclass(frozen=True)
class Kind:
    """A project: each revision r1, r2, … as its parts. `why` says what it stands for."""

    name: str
    why: str
    revisions: tuple[tuple[Part, ...], ...]

    def write(self, folder: Path) -> Path:
        """Writes the Alembic project into an empty folder."""
        return make_project(folder, [_upgrade(parts) for parts in self.revisions])


def _upgrade(parts: tuple[Part, ...]) -> str:
    """The body of `upgrade()`: the tripwire is a lock of the session, kept until the run's connection is gone."""
    lines = [
        "if not op.get_bind().exec_driver_sql('SELECT pg_try_advisory_lock(7, 7)').scalar():",
        f"    raise RuntimeError({TRIPWIRE!r})",
    ]
    for part in parts:
        executed = [f"op.execute({statement!r})" for statement in part.statements]
        if part.autocommit:
            lines.append("with op.get_context().autocommit_block():")
            executed = ["    " + line for line in executed]
        lines += executed
    return "\n".join(lines)


def _pause(times: int) -> str:
    """A statement that takes so many times the pause."""
    return f"SELECT pg_sleep({times} * {_PAUSE})"


def _wrote(what: str) -> str:
    return f"INSERT INTO written VALUES ('{what}')"


def _transaction(*statements: str) -> tuple[Part, ...]:
    return (Part(statements),)


# An index on it is slow to build: a pause per row.
_SLOWLY = (
    "CREATE FUNCTION slowly(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
    f"'BEGIN PERFORM pg_sleep({_PAUSE.replace(chr(39), chr(39) * 2)}); RETURN $1; END'"
)
_BASE = (
    "CREATE TABLE written (what text NOT NULL)",
    "CREATE TABLE accounts (id int PRIMARY KEY, owner text NOT NULL)",
    "INSERT INTO accounts SELECT n, 'owner ' || n FROM generate_series(1, 30) n",
    _wrote("r1"),
)

PLAIN = Kind(
    "plain",
    "several revisions, each schema and data in one transaction",
    (
        _transaction(*_BASE, _pause(3)),
        _transaction(
            "ALTER TABLE accounts ADD COLUMN balance int", "UPDATE accounts SET balance = id", _pause(20), _wrote("r2")
        ),
        _transaction(
            "CREATE TABLE transfers (id int PRIMARY KEY, account int NOT NULL REFERENCES accounts, note text)",
            "INSERT INTO transfers SELECT id, id, repeat('x', 500) FROM accounts",
            _pause(5),
            _wrote("r3"),
        ),
        _transaction("CREATE INDEX ON transfers (account)", "ALTER TABLE accounts ALTER COLUMN balance SET NOT NULL"),
        _transaction(_wrote("r5"), _pause(5), "ALTER TABLE accounts RENAME COLUMN owner TO holder"),
    ),
)

MULTI = Kind(
    "multi-statement",
    "revisions of many statements, several in one string among them",
    (
        _transaction(
            "; ".join(_BASE),
            _pause(3),
            "CREATE TYPE state AS ENUM ('open', 'closed'); ALTER TABLE accounts ADD COLUMN state state",
            _pause(3),
            "UPDATE accounts SET state = 'open'; ALTER TABLE accounts ALTER COLUMN state SET NOT NULL",
        ),
        _transaction(
            _wrote("r2 first"),
            "CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, amount numeric)",
            _pause(5),
            "INSERT INTO entries (account, amount) SELECT id, id * 1.5 FROM accounts ORDER BY id",
            "CREATE VIEW totals AS SELECT account, sum(amount) AS total FROM entries GROUP BY account",
            f"{_pause(10)}; {_wrote('r2 second')}; CREATE INDEX ON entries (account)",
            "ALTER TABLE entries ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID",
            _pause(5),
            "ALTER TABLE entries VALIDATE CONSTRAINT positive",
            _wrote("r2 third"),
        ),
        _transaction("DROP VIEW totals", _pause(3), "ALTER TABLE entries DROP COLUMN amount", _wrote("r3")),
    ),
)

AUTOCOMMIT = Kind(
    "autocommit-block",
    "schema in the transaction, statements that commit each by itself, schema again",
    (
        _transaction(*_BASE, _SLOWLY, "CREATE TYPE state AS ENUM ('open')"),
        (
            Part(("ALTER TABLE accounts ADD COLUMN note text", _pause(3), _wrote("r2 before"))),
            Part(
                (
                    "CREATE INDEX CONCURRENTLY accounts_slow ON accounts (slowly(id))",
                    "ALTER TYPE state ADD VALUE 'closed'",
                    _pause(5),
                    _wrote("r2 in the block"),
                    "CREATE TABLE extras (id int)",
                    "CREATE INDEX CONCURRENTLY accounts_owner ON accounts (owner)",
                ),
                autocommit=True,
            ),
            Part(("ALTER TABLE accounts ADD COLUMN state state", _pause(5), _wrote("r2 after"))),
        ),
        _transaction("UPDATE accounts SET state = 'closed'", _pause(3), _wrote("r3")),
    ),
)

CONCURRENTLY = Kind(
    "concurrently",
    "indexes built and dropped CONCURRENTLY, one to a revision",
    (
        _transaction(*_BASE, _SLOWLY),
        (Part(("CREATE INDEX CONCURRENTLY accounts_slow ON accounts (slowly(id))",), autocommit=True),),
        _transaction("ALTER TABLE accounts ADD COLUMN email text", _wrote("r3"), _pause(3)),
        (Part(("CREATE UNIQUE INDEX CONCURRENTLY accounts_twice ON accounts (slowly(id), owner)",), autocommit=True),),
        (Part(("DROP INDEX CONCURRENTLY accounts_slow",), autocommit=True),),
        _transaction(_wrote("r6")),
    ),
)

KINDS = {kind.name: kind for kind in (PLAIN, MULTI, AUTOCOMMIT, CONCURRENTLY)}
