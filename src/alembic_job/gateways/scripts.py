"""A project's scripts as files: also those that Alembic passes over for another with the same id."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.project import Project

if TYPE_CHECKING:
    from alembic.script import Script


def all_scripts(project: Project) -> list[Script]:
    """Every script, in the order in which Alembic reads them. Raises `ProjectError`."""
    revision_map: Any = project.script.revision_map
    generator, found = revision_map._generator, []

    def noted() -> Iterator[Script]:
        for script in generator():
            found.append(script)
            yield script

    revision_map._generator = noted
    try:
        with project_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a rule says of two scripts with one id
            known: dict[Any, Any] = revision_map._revision_map
    finally:
        revision_map._generator = generator
    return found or list({id(script): script for script in known.values() if script is not None}.values())
