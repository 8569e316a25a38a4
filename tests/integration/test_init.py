"""`init`: a project that is ready for production, with alembic-job and without."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from alembic_job.errors import JobError, ProjectError, UsageError
from alembic_job.pipeline.initialising import initialise
from tests.conftest import Database, job_environment, run_job

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "100%25 sure/@:"
MODEL = """
from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True, server_default=text("'nobody'"))
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
"""
NO_PSYCOPG2 = "import sys\nsys.modules['psycopg2'] = None\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "My shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def make(directory: str = "alembic", config: str = "alembic.ini", **asked: Any) -> tuple[str, ...]:
    defaults: dict[str, Any] = {"template": "plain", "models": None, "package": False, "with_deploy": False}
    return initialise(directory, config, **{**defaults, **asked}).files


def with_password(database: Database) -> str:
    """The URL of the database for a role whose password is full of signs."""
    database.execute(f"CREATE ROLE {database.name}_owner LOGIN PASSWORD '{PASSWORD}'")
    database.execute(f"ALTER DATABASE {database.name} OWNER TO {database.name}_owner")
    place = database.url.rpartition("@")[2]
    return f"postgresql://{database.name}_owner:{quote(PASSWORD, safe='')}@{place}"


@pytest.mark.parametrize(
    ("template", "psycopg2"),
    [
        ("plain", True),
        pytest.param("plain", False, marks=pytest.mark.thorough),
        pytest.param("async", True, marks=pytest.mark.thorough),
    ],
)
def test_bare_alembic_and_the_job_agree(template: str, psycopg2: bool, database: Database, here: Path) -> None:
    """Generated, applied and compared by bare Alembic, with any driver and password; the job has nothing to do then."""
    out = run_job("init", "-t", template, cwd=here).out
    assert "alembic/env.py" in out and "models:Base" in out, out
    models = here / "models.py"
    models.write_text(models.read_text() + MODEL)
    extra = here.parent / "extra"
    extra.mkdir()
    (extra / "sitecustomize.py").write_text("" if psycopg2 else NO_PSYCOPG2)
    url = with_password(database)

    def alembic(*words: str) -> str:
        command = [str(Path(sys.executable).with_name("alembic")), *words]
        env = job_environment(url, PYTHONPATH=str(extra))
        done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    alembic("revision", "--autogenerate", "-m", "First tables")
    [file] = (here / "alembic" / "versions").glob("*.py")
    text = file.read_text()
    for name in ("pk_users", "uq_users_email", "fk_users_boss_id_users"):
        assert f"op.f('{name}')" in text, text
    assert file.name.endswith("_first_tables.py") and file.name[:8].isdigit()
    alembic("upgrade", "head")
    ours = run_job("migrate", cwd=here, url=url)
    assert ours.code == 0 and ours.finished["applied"] == [], ours.out
    assert "No new upgrade operations" in alembic("check")


@pytest.mark.thorough
def test_the_address_may_stand_in_the_ini_file(database: Database, here: Path) -> None:
    """As guides have it; DATABASE_URL goes over it, and where there is none at all that is said."""
    make()
    assert "DATABASE_URL is not set" in run_job("current", cwd=here).err
    ini = here / "alembic.ini"
    ini.write_text(ini.read_text().replace("[loggers]", f"sqlalchemy.url = {database.url}\n[loggers]", 1))
    assert run_job("migrate", cwd=here).code == 0
    assert database.query("SELECT count(*) FROM alembic_version") == [(0,)]
    assert run_job("current", cwd=here, url=database.url + "_not_there").code == 21


def test_what_is_there_stays_as_it_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the way is named and nothing is written; an error in the middle leaves nothing, either."""
    (here / "alembic.ini").write_text("mine")
    with pytest.raises(ProjectError, match=r"alembic\.ini is there already"):
        make()
    (here / "alembic.ini").unlink()
    (here / "alembic").mkdir()
    replace, calls = Path.replace, []

    def failing(self: Path, target: Any) -> Path:
        calls.append(target)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(ProjectError, match="No space left"):
        make()
    assert [path.name for path in here.rglob("*")] == ["alembic"]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    (here / "alembic" / "README").write_text("mine")
    with pytest.raises(ProjectError, match="not empty"):
        make()


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"directory": "../x"}, UsageError, "below this one"),
        ({"directory": "alembic", "package": True}, UsageError, "hide the library"),
        ({"models": "app.models"}, UsageError, "MODULE:NAME"),
        ({"config": "pyproject.toml"}, UsageError, "pyproject.toml"),
    ],
)
def test_what_cannot_be(asked: dict[str, Any], error: type[JobError], said: str, here: Path) -> None:
    """It is said why, and nothing is written."""
    with pytest.raises(error, match=said):
        make(**asked)
    assert list(here.iterdir()) == []


@pytest.mark.thorough
def test_alembics_other_templates_are_told_from_unknown_ones(here: Path) -> None:
    """Usage errors, which say where that template is to be had."""
    for name, said in (("multidb", "alembic init -t multidb"), ("nonsense", "plain (generic)")):
        result = run_job("init", "-t", name, cwd=here)
        assert result.code == 2 and said in result.err and list(here.iterdir()) == [], result.err
    assert run_job("init", "migrations", "-t", "generic", "--package", cwd=here).code == 0
    assert (here / "migrations" / "versions" / "__init__.py").is_file()


def test_models_that_are_there_are_found(here: Path) -> None:
    """The usual module with a Base is imported by env.py, no models.py is written; a MetaData is taken as it is."""
    (here / "app" / "models").mkdir(parents=True)
    (here / "app" / "models" / "__init__.py").write_text("from app.base import Base\n")
    make()
    env = (here / "alembic" / "env.py").read_text()
    assert "from app.models import Base\n" in env and not (here / "models.py").exists()
    make("other", "other.ini", models="shop.db:metadata")
    assert "target_metadata = metadata\n" in (here / "other" / "env.py").read_text()
    assert "%(here)s/other" in (here / "other.ini").read_text()


def test_how_it_is_deployed(here: Path) -> None:
    """The Dockerfile is the documented one, compose starts the application last; names come from the folder's."""
    (here / "requirements.txt").write_text("mine\n")
    made = make(with_deploy=True)
    assert {"Dockerfile", "compose.yaml", "values-migrations.yaml", ".dockerignore"} < set(made)
    assert (here / "requirements.txt").read_text() == "mine\n"
    derived = (ROOT / "tests" / "image" / "ways" / "derive.Dockerfile").read_text()
    assert (here / "Dockerfile").read_text().endswith(derived)
    services = yaml.safe_load((here / "compose.yaml").read_text())["services"]
    assert services["app"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert (
        services["postgres"]["environment"]["POSTGRES_DB"]
        == services["migrate"]["environment"]["PGDATABASE"]
        == "my_shop"
    )


def test_the_templates_are_those_of_the_sample() -> None:
    """They are in the package; a new revision looks as one of the sample application's."""
    folder = files("alembic_job.templates")
    assert len([each for each in folder.iterdir() if each.name.endswith(".tmpl")]) == 11
    assert (folder / "script.py.mako.tmpl").read_text() == (ROOT / "alembic" / "script.py.mako").read_text()
