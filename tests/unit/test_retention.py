"""Which backups may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from alembic_job.gateways.backups import Manifest
from alembic_job.rules.retention import expired

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def backup(name: str, days_old: float, database: str = "shop", major: int = 18) -> Manifest:
    taken = (NOW - timedelta(days=days_old)).isoformat().replace("+00:00", "Z")
    rest: dict[str, Any] = dict.fromkeys(("identity", "run_id", "format", "snapshot", "sha256", "verified"), "")
    numbers: dict[str, Any] = {"size": 0, "client_major": 18, "duration_seconds": 0.0}
    return Manifest(name=name, database=database, taken_at=taken, revisions={}, server_version=major * 10_000,
                    locale={}, **rest, **numbers)  # fmt: skip


DAILY = [backup(f"d{day:02}", day) for day in range(10)]


def gone(backups: list[Manifest], keep: int | None, days: float | None) -> list[str]:
    return [each.name for each in expired(backups, keep, None if days is None else days * 86_400, NOW)]


def test_without_a_rule_nothing_goes() -> None:
    assert gone(DAILY, None, None) == []


def test_the_newest_stay() -> None:
    """The oldest are named first, whatever the order they came in."""
    assert gone(list(reversed(DAILY)), 7, None) == ["d09", "d08", "d07"]


def test_the_young_stay() -> None:
    """Exactly as old is not younger."""
    assert gone(DAILY, None, 7) == ["d09", "d08", "d07"]
    assert gone(DAILY, 9, 3) == ["d09"], "either rule keeps"
    assert gone(DAILY, 1, 8.5) == ["d09"]


def test_each_database_for_itself() -> None:
    assert gone([*DAILY[:2], backup("other", 20, database="other")], 1, None) == ["d01"]


def test_the_newest_of_each_major_always_stays() -> None:
    """Even if it is the only one and older than everything."""
    old = [backup("old16", 400, major=16), backup("older16", 401, major=16), backup("old15", 500, major=15)]
    assert gone([*old, *DAILY[:3]], 1, None) == ["older16", "d02", "d01"]
    assert gone([backup("alone", 999)], 1, 1) == []
