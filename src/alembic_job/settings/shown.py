"""Settings as people may see them: without secrets."""

from __future__ import annotations

from alembic_job.logs.lines import MASK
from alembic_job.settings import Settings, values
from alembic_job.settings.table import BY_NAME, SETTINGS
from alembic_job.settings.words import without_secrets

Row = tuple[str, str | None, str]  # the variable, its value without secrets, and where that came from


def rows(settings: Settings) -> list[Row]:
    """All of them."""
    return [(each.variable, shown(settings, each.name), settings.origins[each.name]) for each in SETTINGS]


def chosen(settings: Settings) -> list[tuple[str, str, str]]:
    """Those that somebody has set."""
    return [
        (name, value, origin) for name, value, origin in rows(settings) if origin != "default" and value is not None
    ]


def shown(settings: Settings, name: str) -> str | None:
    """The value of one; `None` where there is none."""
    value = getattr(settings, name)
    if value is None:
        return None
    if name == "database_url":
        return settings.database.redacted() if settings.database else None
    if name == "database_direct_url":
        return settings.direct.redacted() if settings.direct else None
    if name == "rehearsal_url":
        return settings.rehearsal.redacted() if settings.rehearsal else str(value)
    if name == "notify":
        return " ".join(f"{url.partition('://')[0]}://{MASK}" for url in value)
    if BY_NAME[name].secret:
        return MASK
    if BY_NAME[name].parse is values.words:
        return " ".join(without_secrets(value))
    if isinstance(value, tuple | frozenset):
        return " ".join(value if isinstance(value, tuple) else sorted(value))
    return f"{value:g}s" if isinstance(value, float) else str(value)
