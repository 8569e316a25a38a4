"""When a script is the one that was applied, and what is shown where it is not."""

from __future__ import annotations

import pytest

from alembic_job.rules.scripts import difference, digest

SCRIPT = '''\
"""add a column"""
from alembic import op

revision = "r2"
down_revision = "r1"


def upgrade():
    # why it is there
    op.execute(f"ALTER TABLE {'a'} ADD b int")
    if True:
        op.add_column("a", 1)
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # why it is there\n", ""),
        ('"""add a column"""', '"""another text"""'),
        ('"""add a column"""\n', ""),
        ('op.add_column("a", 1)', "op.add_column(\n            'a',\n            1,\n        )"),
        ("\n\n\ndef", "\ndef"),
        ("def upgrade():", 'def upgrade():\n    """Adds it."""'),
        ("\n", "\r\n"),
    ],
)
def test_the_same(old: str, new: str) -> None:
    """Comments, docstrings, white space, quotes, and how a call is broken into lines don't count."""
    assert old in SCRIPT and digest(SCRIPT.replace(old, new)) == digest(SCRIPT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ADD b int", "ADD b  int"),
        ('"r1"', '"r0"'),
        ('"a", 1', '"a", 1.0'),
        ('"a", 1', '"a", "1"'),
        ('"a", 1', '"a", None'),
        ("        op.add_column", "    op.add_column"),
        ("if True", "if not True"),
        ("ALTER TABLE {", "ALTER TABLE x{"),
        ("def upgrade", "async def upgrade"),
    ],
)
def test_not_the_same(old: str, new: str) -> None:
    """Whatever does something else."""
    changed = SCRIPT.replace(old, new) if old != "        op.add_column" else SCRIPT + "    op.drop()\n"
    assert old in SCRIPT and digest(changed) != digest(SCRIPT)


@pytest.mark.parametrize("text", ["", "def (", "\x00", "é = 'ü'", "(" * 500])
def test_what_is_no_python(text: str) -> None:
    """It is told by its characters."""
    assert digest(text) == digest(text) != digest(text + "x = 1\n")


def test_a_long_difference_is_cut() -> None:
    """The start is shown, and how much more there is."""
    shown = difference("a\n" * 200, "b\n" * 200)
    assert shown.splitlines()[-1].endswith("more lines") and len(shown.splitlines()) == 61
    assert "-a" in shown
