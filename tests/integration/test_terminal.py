"""What is shown at a terminal, and that a program which reads the same commands gets what Alembic prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from alembic_job.screen import columns
from tests.conftest import Database, job_environment, run_job
from tests.projectkit import make_project, sql
from tests.terminal import left_on_screen, shown

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
REVISION = """\
'''{doc}'''
revision = {id!r}
down_revision = {down!r}
branch_labels = {label!r}
depends_on = {needs!r}


def upgrade() -> None: ...


def downgrade() -> None: ...
"""
HOSTILE = "orders\\x1b]0;owned\\x07 日本語の長い説明がここに続いている"


def forest(folder: Path) -> Path:
    """Two bases; one line forks and is merged again, the other needs a revision of the first."""
    project = make_project(folder, [])
    for id, down, doc, label, needs in (
        ("a1", None, "users", None, None),
        ("a2", "a1", HOSTILE, None, None),
        ("a3", "a2", "left", None, None),
        ("b3", "a2", "right", "feature", None),
        ("b4", "b3", "right again", None, None),
        ("b5", "b4", "right once more", None, None),
        ("m1", ("a3", "b5"), "merge heads", None, None),
        ("c1", None, "billing begins", "billing", None),
        ("c2", "c1", "billing of users", None, "a2"),
    ):
        text = REVISION.format(id=id, down=down, doc=doc, label=label, needs=needs)
        (project / "migrations" / "versions" / f"{id}.py").write_text(text)
    return project


TREE = """\
○  c2 (head, billing)  billing of users  needs a2
├─╮
○ │  c1 (billing)  billing begins
  │
○ │  m1 (head, feature)  merge heads
├─│─╮
○ │ │  a3  left
├─╯ │
│   ○  b5  right once more
│   ●  b4 (current)  right again
│   ●  b3 (feature)  right
├───╯
●  a2  orders\\u001b]0;owned\\u0007 日本語の長い説明がここに続いている
●  a1  users
"""


def test_the_tree(database: Database, tmp_path: Path) -> None:
    """Lanes, labels, heads, what is applied: coloured, within the terminal's width, or ASCII; into a pipe all of it."""
    project = forest(tmp_path)
    run_job("migrate", "--to", "b4", cwd=project, url=database.url)
    wide, code = shown(["history", "--tree", "-i"], cwd=project, url=database.url, width=90)
    assert code == 0 and "\x1b[33ma1\x1b[0m" in wide
    assert COLOUR.sub("", wide).replace("\r\n", "\n") == TREE

    plain, _ = shown(
        ["history", "--tree", "-v"], cwd=project, url=None, width=40, LC_ALL="C", NO_COLOR="1", PYTHONUTF8="1"
    )
    lines = plain.replace("\r\n", "\n").splitlines()
    assert "\x1b" not in plain and lines[1] == "+-." and lines[-1].startswith("o  a1  users  /")
    assert max(map(columns, lines)) <= 40 and max(map(columns, lines)) > 30

    piped = run_job("branches", "--tree", "--ascii", cwd=project, url=None)
    assert "\x1b[" not in piped.out and ":  2 revisions\n" in piped.out and "right once more" not in piped.out


@pytest.mark.thorough
def test_a_range_of_the_tree(database: Database, tmp_path: Path) -> None:
    """As Alembic's -r, with the database's revision too; what is no range is refused with an example."""
    project = forest(tmp_path)
    ranged = run_job("history", "--tree", "-r", "b3:b5", cwd=project, url=None)
    assert [line.split()[1] for line in ranged.out.splitlines()] == ["b5", "b4", "b3"]
    empty = run_job("history", "--tree", "-r", ":current", cwd=project, url=database.url)
    assert empty.out == "(no revisions)\n"
    wrong, code = shown(["history", "--tree", "-r", "b3"], cwd=project, url=None, NO_COLOR="1")
    assert code == 2 and "hint: such as" in wrong and "\x1b" not in wrong


ALL = [
    ["history"],
    ["history", "-v"],
    ["history", "-i", "-r", "a1:m1"],
    ["heads"],
    ["heads", "-v"],
    ["branches"],
    ["branches", "-v"],
    ["current"],
    ["current", "-v"],
    ["show", "m1"],
]
ONE_AFTER_ANOTHER = """\
import sys
from alembic.config import main as alembic
from alembic_job.cli.commands import cli

for words in {words!r}:
    if sys.argv[1] == "alembic":
        alembic(words)
    else:
        cli.main(words, standalone_mode=False, obj=())
    print("--", flush=True)
"""


@pytest.mark.thorough
def test_a_pipe_gets_what_alembic_prints(database: Database, tmp_path: Path) -> None:
    """Byte for byte, whatever a terminal would have got."""
    project = forest(tmp_path)
    run_job("migrate", "--to", "m1", cwd=project, url=database.url)
    outs = [
        subprocess.run(
            [sys.executable, "-c", ONE_AFTER_ANOTHER.format(words=ALL), program],
            cwd=project,
            env=job_environment(database.url, TERM="xterm", PYTHONHASHSEED="0"),  # Alembic prints sets
            capture_output=True,
            check=True,
        ).stdout
        for program in ("alembic", "alembic-job")
    ]
    assert outs[0] == outs[1] and outs[0].count(b"--\n") == len(ALL)


SLOW = """
op.execute("SELECT pg_sleep(1.5)")
print("said by the migration")
"""


def test_progress_in_one_line(database: Database, tmp_path: Path) -> None:
    """How far a statement is, is written over and gone in the end; tables fit the terminal, too."""
    project = make_project(tmp_path, [sql("CREATE TABLE things (id int)"), SLOW])
    seen, code = shown(
        ["migrate", "--heartbeat", "200ms"], cwd=project, url=database.url, width=60, TERM="xterm", NO_COLOR="1"
    )
    assert code == 0 and re.search(r"\r\x1b\[KSELECT[^\r\n]*  \d s", seen), seen
    assert not COLOUR.search(seen)
    left = left_on_screen(seen)
    assert "said by the migration" in left and not any(line.startswith("SELECT") for line in left)

    status, _ = shown(["status"], cwd=project, url=database.url, width=40)
    assert "pending  0" in COLOUR.sub("", status)
    history, _ = shown(["history", "--applied"], cwd=project, url=database.url, width=60)
    lines = COLOUR.sub("", history).replace("\r\n", "\n").splitlines()
    assert lines[1].startswith("FINISHED AT") and "r2" in lines[3] and max(map(columns, lines)) <= 60


@pytest.mark.thorough
def test_a_terminal_that_cannot_erase(database: Database, tmp_path: Path) -> None:
    """There each word of progress is a line of the log, as it is in a file."""
    project = make_project(tmp_path, [SLOW])
    seen, code = shown(["migrate", "--heartbeat", "200ms"], cwd=project, url=database.url, TERM="dumb")
    assert code == 0 and "statement.progress" in seen and "\x1b[K" not in seen


@pytest.mark.thorough
def test_waiting_in_one_line(tmp_path: Path) -> None:
    """The first try that failed stays, since it says why; those after it are written over it."""
    project = make_project(tmp_path, [])
    seen, code = shown(
        ["wait-for-db", "--wait-timeout", "2s"],
        cwd=project,
        url="postgresql://nobody@127.0.0.1:9/none",
        width=100,
        TERM="xterm",
        NO_COLOR="1",
    )
    left = left_on_screen(seen)
    assert code == 10 and sum("wait.retry" in line for line in left) == 1
    assert "\r\x1b[Kwaiting for the database: " in seen and not any(line.startswith("waiting") for line in left)
