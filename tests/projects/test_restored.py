"""Real databases with rows, backed up and restored: what comes back is what was there, to the last byte of a dump."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.conftest import Database, job_environment
from tests.projects.project import Tree, contents
from tests.projects.test_real_projects import MLFLOW_BEFORE, installed
from tests.projects.venvs import ROOT, venv
from tests.restorekit import Home, properties

# Beside what the migrations made: what an archive carries by itself, and what it does not.
_AROUND = """
    CREATE ROLE {name}_reader; CREATE ROLE {name}_owner;
    CREATE EXTENSION vector SCHEMA public VERSION '{version}';
    CREATE TABLE embeddings (id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 10), at vector(3));
    INSERT INTO embeddings (at) VALUES ('[1,2,3]'), ('[4.5,6,7]');
    CREATE INDEX ON embeddings USING hnsw (at vector_l2_ops);
    ALTER TABLE embeddings OWNER TO {name}_owner;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}_reader;
    GRANT UPDATE (at) ON embeddings TO {name}_reader WITH GRANT OPTION;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}_reader;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO {name}_reader;
    ALTER DEFAULT PRIVILEGES FOR ROLE {name}_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    REVOKE CONNECT ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {name}_reader;
    ALTER DATABASE {name} SET search_path = public, "$user"; ALTER DATABASE {name} SET work_mem = '6MB';
    ALTER ROLE {name}_reader IN DATABASE {name} SET statement_timeout = '3s';
    COMMENT ON DATABASE {name} IS 'it''s 100 % real'; ALTER DATABASE {name} CONNECTION LIMIT 50;
    SELECT lo_from_bytea(4711, 'a large object');
"""
_MLFLOW_ROWS = """
    INSERT INTO experiments (name, lifecycle_stage, creation_time)
        SELECT 'experiment ' || n, 'active', 1700000000000 + n FROM generate_series(1, 20) n;
    INSERT INTO experiment_tags (key, value, experiment_id) SELECT 'ünit', E'a\\tb\\\\c\\n', experiment_id
        FROM experiments;
    INSERT INTO runs (run_uuid, name, source_type, status, start_time, lifecycle_stage, experiment_id)
        SELECT md5(n::text), 'run ' || n, 'LOCAL', 'FINISHED', n, 'active', 1 + n % 20 FROM generate_series(1, 500) n;
    INSERT INTO metrics (key, value, "timestamp", run_uuid, step, is_nan)
        SELECT 'loss', 1e-300 * step, step, run_uuid, step, false FROM runs, generate_series(1, 20) step;
    INSERT INTO latest_metrics SELECT 'loss', 'Infinity', 20, 20, false, run_uuid FROM runs;
    INSERT INTO params SELECT 'rate', repeat('x', 8000), run_uuid FROM runs;
    INSERT INTO tags SELECT 'note', NULL, run_uuid FROM runs;
    INSERT INTO registered_models (name, description) VALUES ('model', '''quoted'' "text"');
    INSERT INTO model_versions (name, version, run_id) SELECT 'model', n, md5(n::text) FROM generate_series(1, 30) n;
"""
# PostgreSQL prints `x IN ('a', 'b')` on a varchar as one cast of the list; when it has read that, as a cast of each.
_RECAST = re.compile(r"\((ARRAY\[[^\]]*\])\)::text\[\]")
_SEQUENCES = "SELECT schemaname, sequencename, last_value, start_value, increment_by FROM pg_sequences ORDER BY 1, 2"
_EXTENSIONS = "SELECT extname, extversion, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1"
_OLD_VECTOR = "SELECT min(version) FROM pg_available_extension_versions WHERE name = 'vector'"


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Iterator[Home]:
    made = Home(database, tmp_path / "backups", database.server.bin)
    yield made
    made.clean()


def dump(database: Database, name: str) -> list[str]:
    """The lines of all of it as SQL, with what belongs to it from outside; as if it had that name, without the key."""
    argv = [str(database.server.bin / "pg_dump"), "--create", "--large-objects", "--dbname", database.url]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    text = _RECAST.sub(lambda found: re.sub(r"('[^']*'::character varying)", r"(\1)::text", found[1]), text)
    return [line for line in text.replace(database.name, name).splitlines() if "restrict " not in line]


def facts(database: Database, name: str) -> list[str]:
    """All that can be asked of a database, a line each: its dump, rows, sequences, extensions, properties."""
    rows = [f"{table}: {row}" for table, rows in contents(database).items() for row in rows]
    asked = [str(row) for text in (_SEQUENCES, _EXTENSIONS) for row in database.query(text)]
    return [*dump(database, name), *rows, *asked, *map(str, properties(database))]


def differences(one: list[str], other: list[str]) -> list[str]:
    return [line for line in unified_diff(one, other, "there", "restored", n=0) if line[:1] in "-+"]


def assert_comes_back(home: Home, tables: int) -> None:
    """Backed up, restored beside the old one, then in its place: each time equal in all that can be asked."""
    database = home.database
    [[version]] = database.query(_OLD_VECTOR)
    database.execute(_AROUND.format(name=home.name, version=version))
    before = {name: len(rows) for name, rows in contents(database).items()}
    assert len([rows for rows in before.values() if rows]) >= tables, before
    backup = home.back_up()
    there = facts(database, home.name)

    restored = home.restored("--into", f"{home.name}_2")
    assert {name: len(rows) for name, rows in contents(restored).items()} == before
    assert differences(there, facts(restored, home.name)) == []

    database.execute("CREATE TABLE later (); UPDATE alembic_version SET version_num = 'later'")
    result = home.run("restore", backup, "--yes", "--swap")
    assert result.code == 0, result.out
    assert not result.events("restore.setting_skipped")
    assert differences(there, facts(database, home.name)) == []
    [old] = [name for name in home.others() if "_before_restore_" in name]
    assert Database(database.server, old).query("SELECT version_num FROM alembic_version") == [("later",)]


@pytest.mark.thorough
def test_the_sample_app(home: Home) -> None:
    """Its migrations and its seed; then it answers from the restored database as before."""
    for module in (("alembic", "upgrade", "head"), ("app.seed",)):
        done = subprocess.run(
            [sys.executable, "-m", *module], cwd=ROOT, env=job_environment(home.database.url), capture_output=True
        )
        assert done.returncode == 0, done.stderr
    assert_comes_back(home, 4)
    again = subprocess.run(
        [sys.executable, "-m", "app.seed"], cwd=ROOT, env=job_environment(home.database.url), capture_output=True
    )
    assert b"0 users, 0 products, 0 orders" in again.stdout, again


@pytest.mark.venvs
def test_mlflow(home: Home, tmp_path: Path) -> None:
    """mlflow 3.17.2's 65 tables and more, with rows in the ones that runs are in."""
    real = venv("real")
    package = next((real.parent / "lib").glob("python*/site-packages/mlflow"))
    made: Callable[[], Database] = lambda: home.database  # noqa: E731
    tree = Tree("mlflow", on=(), options=("-c", "mlflow/store/db_migrations/alembic.ini"), bare_url="@PSYCOPG2@")
    project = installed(tree, package, tmp_path / "mlflow", made, real)
    assert project.run("python", "-c", MLFLOW_BEFORE, url="@PSYCOPG2@").code == 0
    project.bare_upgrade()
    home.database.execute(_MLFLOW_ROWS)
    assert_comes_back(home, 12)
