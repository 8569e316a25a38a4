"""The images that the cluster's tests deploy: the job with a shop's revisions inside, one tag a release of the shop."""

from __future__ import annotations

from pathlib import Path

from tests.image.builds import build
from tests.image.engine import Engine
from tests.image.projects import write_project

REPOSITORY = "alembic-job-test/shop"
POSTGRES = "postgres:18"

_TABLES = [f"CREATE TABLE t{number} (id int)" for number in range(1, 4)]
_GATED = """\
CREATE TABLE t2 (id int);
DO $$ BEGIN
  WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'gate') LOOP PERFORM pg_sleep(0.05); END LOOP;
END $$"""

RELEASES: dict[str, tuple[str, ...]] = {
    "v1": (_TABLES[0],),
    "v2": (_TABLES[0], _TABLES[1]),
    "v3": (_TABLES[0], _TABLES[1], _TABLES[2]),
    # its second revision fails half-way
    "broken": (_TABLES[0], "CREATE TABLE t2 (id int); SELECT 1/0"),
    # its second revision goes on until somebody makes the table `gate`
    "gated": (_TABLES[0], _GATED),
}

_SERVE = '''\
"""The shop: answers with its release and how many of its tables the database has."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2

RELEASE = Path("/app/release").read_text()


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        connection = psycopg2.connect(os.environ["DATABASE_URL"])
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^t[0-9]$'")
        body = json.dumps({"release": RELEASE, "tables": cursor.fetchone()[0]}).encode()
        connection.close()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("", 8000), Shop).serve_forever()
'''


def build_releases(engine: Engine, job: str, folder: Path) -> list[str]:
    """Builds every release on the image `job`; returns their names."""
    return [_build(engine, job, folder / release, release) for release in RELEASES]


def _build(engine: Engine, job: str, folder: Path, release: str) -> str:
    folder.mkdir()
    write_project(folder, *RELEASES[release])
    script = folder / "migrations" / "env.py"  # also where the database is given by PG* variables
    script.write_text(script.read_text().replace('["DATABASE_URL"]', '.get("DATABASE_URL", "postgresql://")'))
    (folder / "serve.py").write_text(_SERVE)
    (folder / "release").write_text(release)
    (folder / "Dockerfile").write_text(f"FROM {job}\nCOPY --chmod=a+rX . /app/\n")
    return build(engine, f"{REPOSITORY}:{release}", folder)
