"""New files that are all there, or none of them; what is there already is never touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from alembic_job.errors import ProjectError
from alembic_job.gateways.autogenerate import signals_raise


def place(made: Mapping[str, str]) -> None:
    """Writes these files (path below the working directory → content). Raises `ProjectError` (22)."""
    if there := [name for name in made if os.path.lexists(name)]:
        raise ProjectError(
            f"{', '.join(there)} is there already", hint="nothing was written; move it away, and try again"
        )
    try:
        draft = Path(tempfile.mkdtemp(prefix=".alembic-job-", dir="."))
    except OSError as error:
        raise _failed(error) from error
    placed: list[Path] = []
    with signals_raise():
        try:
            for number, text in enumerate(made.values()):
                (draft / str(number)).write_text(text, encoding="utf-8")
            for number, name in enumerate(made):
                _move(draft / str(number), Path(name), placed)
        except BaseException as error:
            for path in reversed(placed):
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _failed(error) from error
            raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _move(draft: Path, target: Path, placed: list[Path]) -> None:
    """Gives a file its name, which nobody may have taken meanwhile; `placed` learns what was made, in order."""
    for folder in reversed(target.parents):
        if not folder.exists():
            folder.mkdir()
            placed.append(folder)
    with target.open("x"):
        placed.append(target)
    draft.replace(target)


def _failed(error: OSError) -> ProjectError:
    place = f"{error.filename}: " if error.filename else ""
    return ProjectError(f"the project cannot be written: {place}{error.strerror}", hint="nothing was written")
