"""No secret is in a file that is made to be passed on."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from tests.conftest import Database
from tests.pages.hostile import SECRET
from tests.pages.markup import Markup
from tests.pages.runs import planned, reported
from tests.projectkit import make_project, sql

TOKENS = ("wayfaring-path", "header-token", "note-secret")
NOTIFY = f"json://me:{TOKENS[2]}@127.0.0.1:1/{TOKENS[0]}?+X-Token={TOKENS[1]}"  # where nobody listens
INNER = ("inner-one", "inner-two", "inner-three", "inner-four", "inner-five")
REVISIONS = (
    f"CREATE ROLE reporter LOGIN PASSWORD '{INNER[0]}'",
    f"ALTER USER reporter WITH ENCRYPTED PASSWORD'{INNER[1]}' VALID UNTIL 'infinity'",
    f"DO $$ BEGIN EXECUTE 'ALTER ROLE reporter PASSWORD ''{INNER[2]}'''; END $$",
    f"COMMENT ON ROLE reporter IS 'see https://reader:{INNER[3]}@example.com/page'",
    f"CREATE SUBSCRIPTION s CONNECTION 'host=h password=''{INNER[4]}''' PUBLICATION p WITH (connect = false)",
)


def spellings(secret: str) -> set[str]:
    """A secret as it is, in a URL, in HTML and in SQL."""
    plain = {secret, quote(secret), quote(secret, safe=""), secret.replace("'", "''")}
    return plain | {html.escape(each) for each in plain} | {each.replace("&", "&amp;") for each in plain}


def test_no_secret(fresh: Callable[[], Database], tmp_path: Path) -> None:
    """Neither the database's password, however it is spelled, nor what settings hide, nor passwords of roles; in the
    plan as in the report of the run."""
    database = fresh()
    user, password = f"deployer_{database.name}", SECRET.replace("'", "''")
    database.execute(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'")
    place = f"127.0.0.1:{database.server.port}/{database.name}"
    url = f"postgresql://{user}:{quote(SECRET, safe='')}@{place}"
    project = make_project(tmp_path, [*map(sql, REVISIONS), f"raise RuntimeError({'cannot reach ' + url!r})"])
    told = ["cannot reach postgresql://", "MIGRATE_NOTIFY", "***@example.com"]
    plan = planned(project, url, env={"MIGRATE_NOTIFY": NOTIFY})
    run = reported(project, url, "migrate", "--log-level", "debug", code=23, env={"MIGRATE_NOTIFY": NOTIFY})
    for file, more in ((plan, ["spells out a password"]), (run, ["CREATE ROLE reporter", "CREATE SUBSCRIPTION"])):
        text = Markup(file).text
        found = text + file.read_text(encoding="utf-8")
        secrets = (SECRET, *TOKENS, *INNER)
        assert [each for secret in secrets for each in spellings(secret) if each in found] == []
        assert [each for each in [*told, *more] if each not in text] == []
