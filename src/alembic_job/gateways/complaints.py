"""What Alembic and Python say of a project, turned into errors with the way out."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic_job.errors import JobError, ProjectError


@contextmanager
def project_errors() -> Iterator[None]:
    """Alembic's complaints about a project, and errors in its files, become `ProjectError` with the way out."""
    from alembic.util import CommandError

    try:
        yield
    except JobError:
        raise
    except CommandError as error:
        raise project_error(error) from error
    except SyntaxError as error:
        raise ProjectError(
            f"{error.filename}:{error.lineno}: {error.msg}", hint="correct that file; nothing was changed"
        ) from error
    except Exception as error:
        raise ProjectError(f"{type(error).__name__}: {error}{place_of(error)}", hint="correct that file") from error


_HINTS = (
    (
        "Multiple head revisions",
        "two revisions follow the same one: join them with `alembic-job merge heads`, commit the new file; or run with --to heads if the branches are meant",
    ),
    (
        "Can't locate revision",
        "these scripts lack that revision: check the id with `alembic-job history`; if the file was deleted, restore it; if it comes from a newer image, run that image",
    ),
    ("No such revision", "check the id with `alembic-job history`"),
    ("is present more than once", "two files have the same revision id: give one of them another"),
    ("Requested revision", "check --to: `alembic-job heads` and `alembic-job branches` show what there is"),
    ("Relative revision", "there are not that many revisions in that direction: see `alembic-job history`"),
    ("Ambiguous walk", "several branches: name one as label@-1, or give a revision id"),
    ("Cycle is detected", "down_revision of the revisions named goes in a circle: correct one of them"),
    ("Path doesn't exist", "check script_location; run in the project's folder or mount it"),
    ("Target database is not up to date", "apply what is pending with `alembic-job migrate`, then try again"),
    (
        "does not provide a MetaData object",
        "let env.py import the models and give their metadata: context.configure(…, target_metadata=Base.metadata)",
    ),
    (
        "is not a head revision",
        "only a head can be followed (`alembic-job heads`), unless a branch is to begin there: `revision --splice`",
    ),
    ("overlaps with other requested revisions", "one of the targets includes the other: name one of them"),
)


def project_error(error: Exception) -> ProjectError:
    """A `ProjectError` for one of Alembic's complaints, with a hint that solves it."""
    text = str(error)
    hint = next((hint for start, hint in _HINTS if start in text), "")
    return ProjectError(text, hint=hint)


def place_of(error: BaseException) -> str:
    """` (file:line)` of the innermost frame that is neither ours nor a library's; empty if there is none."""
    ours = str(Path(__file__).parent.parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith((ours, "<"))
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def where(error: BaseException, folder: str) -> str | None:
    """`file:line` of the project's code that raised, if it did: the last frame below this folder."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
