"""What `revision`, `merge` and `check` tell people of what they found."""

from __future__ import annotations

import shlex
from typing import Any

from alembic_job.errors import Refused


def nothing_written(found: dict[str, Any]) -> Refused:
    """The error where autogenerate had nothing to write."""
    message = shlex.quote(found["message"] or "…")
    if found.get("by_hand"):
        return Refused(
            "autogenerate writes nothing for what differs: no revision was written",
            hint=f"write it by hand: `alembic-job revision --empty -m {message}`",
        )
    return Refused(
        "nothing differs between the models and the database: no revision was written",
        hint="a model that is missing above is not imported by env.py, not saved, or has another Base than"
        f" target_metadata; for a revision to fill by hand: `alembic-job revision --empty -m {message}`",
    )


def as_text(found: dict[str, Any]) -> str:
    """What was written, for people; else what was compared."""
    if not found["revisions"]:
        return differences_text(found)
    lines: list[str] = []
    for each in found["revisions"]:
        lines += [
            f"revision  {each['revision']}  {each['message']}",
            f"follows   {', '.join(each['follows']) or '(nothing: it is the first)'}",
            f"file      {each['file']}",
        ]
    differing = found.get("differences", [])
    lines += _listed("contains", differing) if differing else []
    lines += _listed("by hand", found["by_hand"]) if found.get("by_hand") else []
    return "\n".join([*lines, "next      look through the file, then `alembic-job migrate`"])


def differences_text(found: dict[str, Any]) -> str:
    """What differs, for people; where nothing does, what was compared."""
    if differing := found["differences"] + found.get("by_hand", []):
        return "\n".join(_listed("differs", differing))
    modules = [f"{name} ({', '.join(tables)})" for name, tables in found["modules"].items()]
    return "\n".join(
        [
            "nothing differs between the models and the database",
            *_listed("imported", modules or ["(no module with models)"]),
            f"models    {', '.join(found['models']) or '(no tables)'}",
            f"database  {', '.join(found['database']) or '(no tables)'}",
        ]
    )


def _listed(title: str, lines: list[str]) -> list[str]:
    return [f"{title if number == 0 else '':<10}{line}" for number, line in enumerate(lines)]
