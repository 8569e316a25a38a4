"""The frame of every page: one file, with a policy that lets the browser run what is ours and load nothing."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from alembic_job import __version__

_FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page that a template of `templates/` makes of these values; each is escaped as it is put in."""
    style, script = _part("style.css"), _part("page.js")
    frame = {
        "style": Markup(style),
        "script": Markup(script),
        "policy": f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'",
        "version": __version__,
    }
    found: str = _lookup().get_template(f"{template}.mako").render(**frame, **values)
    return found


@functools.cache
def _lookup() -> Any:
    from mako.lookup import TemplateLookup

    return TemplateLookup(
        directories=[str(_FOLDER)],
        default_filters=["shown", "h"],
        imports=["from alembic_job.pipeline.report.text import shown, seconds, count"],
        strict_undefined=True,
        input_encoding="utf-8",
    )


@functools.cache
def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
