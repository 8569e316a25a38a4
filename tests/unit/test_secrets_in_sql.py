"""Passwords that SQL spells out: no text for people has them."""

from __future__ import annotations

import pytest

from alembic_job.gateways.unfinished import spells_secret, without_secrets

SPELLED = (
    "ALTER ROLE a PASSWORD 'inner'",
    "ALTER ROLE a PASSWORD'inner'",
    "ALTER ROLE a PASSWORD/**/'inner'",
    "ALTER ROLE a PASSWORD -- why\n 'inner'",
    "ALTER ROLE a PASSWORD E'x\\'inner'",
    "ALTER ROLE a PASSWORD 'x'\n'inner'",
    "ALTER ROLE a PASSWORD 'it''s inner",
    "ALTER ROLE a PASSWORD $t$inner$t$ VALID UNTIL '2030-01-01'",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=''inner''' PUBLICATION p",
    "SELECT dblink('user=x password=inner')",
    "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a', password 'inner')",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE reporter PASSWORD ''inner'''; END $$",
    "DO $$ BEGIN EXECUTE format('CREATE USER x PASSWORD %L', 'inner'); END $$",
    "UPDATE users SET a = 1, password = 'inner'",
)


@pytest.mark.parametrize("statement", SPELLED)
def test_a_password_is_not_shown(statement: str) -> None:
    assert spells_secret(statement)
    told = without_secrets(statement)
    assert "inner" not in told and "***" in told
    assert told.startswith(statement.partition(" ")[0])


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE users (id int, password text DEFAULT 'x')",
        "ALTER TABLE users ADD COLUMN password_hash text",
        "DO $$ BEGIN UPDATE users SET name = 'x' WHERE password IS NULL; END $$",
        "ALTER ROLE a PASSWORD NULL",
    ],
)
def test_what_spells_none_stays_as_it_is(statement: str) -> None:
    assert not spells_secret(statement)
    assert without_secrets(statement) == statement
