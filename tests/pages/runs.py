"""Runs that write the pages: real processes against real servers."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Database, Result, finish_after, run_job, start_job
from tests.pages import hostile


def planned(folder: Path, url: str, *args: str, code: int = 0, env: dict[str, str] | None = None) -> Path:
    """The file that `plan --format html` writes."""
    result = run_job("plan", "--format", "html", *args, cwd=folder, url=url, env=env)
    assert result.code == code, result.err[-1000:]
    file = folder / "plan.html"
    file.write_text(result.out, encoding="utf-8", newline="")
    return file


def reported(folder: Path, url: str, *args: str, code: int = 0, env: dict[str, str] | None = None) -> Path:
    """The file that a run of these arguments writes."""
    file = folder / f"{args[0]}.html"
    result = run_job(*args, "--report", str(file), cwd=folder, url=url, env=env)
    assert result.code == code, result.out[-3000:]
    assert file.exists(), result.out[-3000:]
    return file


def held_up(database: Database, folder: Path, url: str, env: dict[str, str]) -> tuple[Path, Result]:
    """A migration that a session holds up for a while; the file that it writes."""
    file = folder / "migrate.html"
    blocker = database.connect()
    blocker.autocommit = False
    with blocker.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [hostile.named("a", 1, 63)])
        cursor.execute(f"SELECT {hostile.literal('q', 5)}, id FROM {hostile.identifier('t', 2)}")
    process = start_job("migrate", "--report", str(file), cwd=folder, url=url, env=env)
    return file, finish_after(process, "lock.blocked", blocker.close)
