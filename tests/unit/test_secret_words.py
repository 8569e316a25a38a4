"""Secrets in command lines and -x arguments are not shown."""

from __future__ import annotations

import shlex

import pytest

from alembic_job.settings.words import without_secrets


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("password=hunter2 tenant=acme", "password=*** tenant=acme"),
        ("curl -u bob:hunter2 https://x", "curl -u bob:*** https://x"),
        ("curl -H 'Authorization: Bearer hunter2' x", "curl -H 'Authorization: Bearer ***' x"),
        ("notify --password hunter2 --to me", "notify --password *** --to me"),
        ("notify --api-key=hunter2 --to=me", "notify --api-key=*** --to=me"),
        ("env PGPASSWORD=hunter2 psql -u me", "env PGPASSWORD=*** psql -u me"),
        ("psql postgresql://me:hunter2@db/x", "psql postgresql://me:***@db/x"),
        ("python -m app.tokens --passes 3", "python -m app.tokens --passes 3"),
    ],
)
def test_secrets_are_masked(given: str, shown: str) -> None:
    assert without_secrets(shlex.split(given)) == shlex.split(shown)
