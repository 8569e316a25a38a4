"""What is secret in the environment is known before anything could say it."""

from __future__ import annotations

import pytest

from alembic_job.cli.output import known_secrets


def test_secrets_of_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and tokens of the clouds, the identity that decrypts, and what somebody put into a URL all the same."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.setenv(name, f"value of {name}")
        assert f"value of {name}" in known_secrets()
    monkeypatch.setenv("MIGRATE_BACKUP_IDENTITY", "# created: today\nAGE-SECRET-KEY-1ABC\n")
    assert "AGE-SECRET-KEY-1ABC" in known_secrets() and "created:" not in known_secrets()


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("/backups", set()),
        ("s3://bucket/prefix", set()),
        ("s3://key:word@bucket/prefix", {"key:word", "word"}),
        ("az://container/x?sv=1&sig=abc", {"sv=1&sig=abc"}),
    ],
)
def test_secrets_in_a_url(monkeypatch: pytest.MonkeyPatch, url: str, secrets: set[str]) -> None:
    """A login, and a query with a signature."""
    before = set(known_secrets())
    monkeypatch.setenv("MIGRATE_BACKUP_URL", url)
    assert set(known_secrets()) - before == secrets
