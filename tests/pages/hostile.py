"""Names and texts that a page must show and never obey, and a project that has them everywhere."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tests.conftest import Database
from tests.projectkit import ENV, INI

TEXTS = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "' onmouseover='window.hacked=1' x='",
    "</style></pre></bdi><b>",
    "</title></script><script>window.hacked=1</script>",
    "<!-- ]]> --!> <plaintext>",
    "&lt;b&gt; &amp;amp; &#60;",
    "${1/0} <% raise 1 %> %(x)s {0}",
    "\u202eright to left \u2066 \u200f \u200b",
    "bell \x07 escape \x1b[31m \x7f \x85 \u2028 end",
    "עברית 表 😀 ﷽",
    "x" * 10_000,
)
ODD = TEXTS[0]  # where there is room for one only
# The same, and what Python reads where bytes are no text: a lone surrogate.
SETTING = ODD + "\udcff"
SECRET = "p%40'\"s&<w"
_NOT_IN_IDS = re.compile(r"[@:+'%-]")  # Alembic refuses some, and writes others into SQL as they are


def spelled(text: str) -> str:
    """How a page shows it: what a browser would obey, or draw in another order, as \\uXXXX."""
    return "".join(f"\\u{ord(sign):04x}" if _acts(sign) else sign for sign in text)


def _acts(sign: str) -> bool:
    return unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def named(place: str, number: int, most: int = 20_000) -> str:
    """The text of this number for a place, in at most so many bytes."""
    return f"{place}{number} {TEXTS[number]}".encode()[:most].decode(errors="ignore")


def identifier(place: str, number: int) -> str:
    """As SQL writes a name."""
    return '"' + named(place, number, 63).replace('"', '""') + '"'


def literal(place: str, number: int) -> str:
    return "'" + named(place, number).replace("'", "''") + "'"


def revision(number: int) -> str:
    return _NOT_IN_IDS.sub("", named("i", number, 200))


def file_name(number: int) -> str:
    return named("f", number, 100).replace("/", "") + ".py"


BYTES = os.fsdecode(b"f \xff\xfe.py")  # a file's name that is no text
UNTOLD = f"why {ODD}"  # what a revision that cannot be rendered says


def statements(number: int) -> list[str]:
    """What the revision of this number executes."""
    table, column = identifier("t", number), identifier("c", number)
    return [
        f"ALTER TABLE {table} ADD COLUMN {column} text DEFAULT {literal('v', number)}",
        f"ALTER TABLE {table} ALTER COLUMN id TYPE bigint /* {named('k', number).replace('*/', '')} */",
        f"DROP TABLE {table}",
    ]


def make_database(database: Database) -> None:
    """The tables that the revisions are about, and a version table with room for their ids."""
    database.execute(f"CREATE TABLE {identifier('w', 0)} (version_num text PRIMARY KEY)")
    for number in range(len(TEXTS)):
        database.execute(f"CREATE TABLE {identifier('t', number)} (id int)")


def write_project(folder: Path) -> Path:
    """A revision for each text; then one whose file name is no text, and one that cannot be rendered."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text(INI)
    configured = f"connection=connection, version_table={named('w', 0, 63)!a})"
    (folder / "migrations" / "env.py").write_text(ENV.replace("connection=connection)", configured))
    (folder / "migrations" / "script.py.mako").write_text("")
    ids = [*map(revision, range(len(TEXTS))), "bytes", "untold"]
    for number, (down, mine) in enumerate(zip([None, *ids], ids, strict=False)):
        if number < len(TEXTS):
            write_revision(versions / file_name(number), mine, down, named("m", number), statements(number))
    write_revision(versions / BYTES, "bytes", ids[-3], "no text", ["SELECT 1"])
    file = write_revision(versions / "untold.py", "untold", "bytes", "cannot be told", [])
    file.write_text(file.read_text().replace("    pass", f"    raise RuntimeError({UNTOLD!a})", 1))
    return folder


def write_revision(file: Path, mine: str, down: object, message: str, sql: Sequence[str]) -> Path:
    """A revision that executes these statements."""
    body = "".join(f"    op.execute(sa.text({each!a}))\n" for each in sql) or "    pass\n"
    file.write_text(
        f"{message!a}\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = {mine!a}\n"
        f"down_revision = {down!a}\n\n\ndef upgrade():\n{body}\n\ndef downgrade():\n    pass\n"
    )
    return file


def shown_texts(name: str, user: str) -> list[str]:
    """All that a page must say, as the project has it; the database and its user were renamed with these letters."""
    found = [BYTES, UNTOLD, SETTING, named("w", 0, 63), named(name, 0, 63), named(user, 3, 63)]
    for number in range(len(TEXTS)):
        found += [named("m", number), revision(number), file_name(number), *statements(number)]
    return found


def quoted(place: str, number: int) -> str:
    """A name as it stands in a URL."""
    return quote(named(place, number, 63), safe="")


def renamed(database: Database, name: str, user: str) -> str:
    """Gives the database and a user of its own hostile names, and a password that is no better; returns the URL."""
    role, password = identifier(user, 3), SECRET.replace("'", "''")
    postgres = Database(database.server, "postgres")
    postgres.execute(f"ALTER DATABASE {database.name} RENAME TO {identifier(name, 0)}")
    postgres.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
    login = f"{quoted(user, 3)}:{quote(SECRET, safe='')}"
    return f"postgresql://{login}@127.0.0.1:{database.server.port}/{quoted(name, 0)}"
