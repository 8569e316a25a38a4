"""A plan in the format that was asked for."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from alembic_job.logs.events import Log
from alembic_job.pipeline.planning import plan
from alembic_job.settings import Settings


def told(settings: Settings, log: Log, form: str, colour: bool, pending: list[bool]) -> str:
    """The plan as `text`, `json`, `markdown`, `sql` or `html`.

    `pending` gets whether there is anything to do, or to ask.
    """
    found = plan(settings, log, bookkeeping=form == "sql")
    pending.append(bool(found.pending) or any(table.unknown for table in found.tables))
    if form == "json":
        return json.dumps(found.as_json(), indent=2, ensure_ascii=False, default=str)
    if form == "html":
        from alembic_job.pipeline.report.planned import as_html
        from alembic_job.settings.shown import chosen

        where = settings.own()
        return as_html(found, where=where.redacted() if where else "", settings=chosen(settings))
    module: Any = import_module(f"alembic_job.pipeline.plan_{form}")
    text: str = module.as_text(found, colour=colour) if form == "text" else getattr(module, f"as_{form}")(found)
    return text
