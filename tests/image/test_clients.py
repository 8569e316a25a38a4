"""pg_dump, pg_restore and psql of the image, against servers of every supported major that can be had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.image.builds import ROOT, build
from tests.image.conftest import Database, Postgres, new_database, start_postgres
from tests.image.engine import Engine
from tests.image.standins import ensure_postgres

_SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood NOT NULL, note text);
CREATE TABLE child (id int REFERENCES parent ON DELETE CASCADE, total numeric GENERATED ALWAYS AS (id * 2) STORED);
CREATE VIEW glad AS SELECT * FROM parent WHERE mood = 'glad';
CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
INSERT INTO parent (mood, note) VALUES ('glad', E'SET transaction_timeout = 0;'), ('sad', E'two\\nlines');
INSERT INTO child SELECT id FROM parent;
"""

# docs/how-to/image.md quotes this line
RESTORE = """\
pg_restore --file=- backup.dump \\
  | sed '1,/^SELECT pg_catalog.set_config/{/^SET transaction_timeout = 0;$/d}' \\
  | psql --no-psqlrc --quiet --single-transaction --set=ON_ERROR_STOP=1 "$TARGET_URL"
"""


@pytest.fixture(scope="module", params=[14, 15, 16, 17, 18])
def server(engine: Engine, network: str, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    major: int = request.param
    try:
        image = ensure_postgres(engine, major)
    except LookupError as reason:
        pytest.skip(str(reason))
    found = start_postgres(engine, network, image, f"postgres{major}")
    yield found
    engine.run("rm", "--force", "--volumes", found.container)


def _in_image(image: str, source: Database, target: Database, command: str) -> str:
    urls = ("--env", f"SOURCE_URL={source.url}", "--env", f"TARGET_URL={target.url}")
    where = ("--rm", "--network", source.server.network, "--workdir", "/tmp", "--entrypoint", "/bin/bash", *urls)
    return source.server.engine.run("run", *where, image, "-euo", "pipefail", "-c", command).stdout


def test_dumps_and_restores_every_major(image: str, server: Postgres) -> None:
    """A dump of the image's pg_dump, read by its pg_restore, makes the same database again: schema and rows."""
    source, target = new_database(server), new_database(server)
    source.psql(_SCHEMA)
    plain = "pg_dump --restrict-key=k"
    compare = f"diff <({plain} $SOURCE_URL) <({plain} $TARGET_URL) && echo same"
    said = _in_image(image, source, target, f"pg_dump -Fc -f backup.dump $SOURCE_URL\n{RESTORE}{compare}")
    assert said.splitlines()[-1] == "same"
    assert target.psql("SELECT count(*) FROM glad WHERE note LIKE 'SET transaction%'") == "1"


def test_client_major_is_an_argument(engine: Engine, postgres: Postgres) -> None:
    """PG_MAJOR picks the programs, with libraries from Debian's packages that the base image lacks."""
    ensure_postgres(engine, 17)
    tag = build(engine, "alembic-job-test:client17", ROOT, "--build-arg", "PG_MAJOR=17")
    database = new_database(postgres)
    said = _in_image(
        tag, database, database, "pg_restore --version; ldd $(command -v psql); psql -Atc 'SELECT 7' $SOURCE_URL"
    )
    assert " 17." in said.splitlines()[0]
    assert "not found" not in said
    assert said.splitlines()[-1] == "7"
