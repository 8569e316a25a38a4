"""The sample application: its migrations alone, under bare Alembic, and its API and seed on top of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from app import database as app_database
from app.main import app
from app.seed import Added, seed
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from alembic_job.gateways.embedded import Server
from tests.conftest import Database, job_environment

ROOT = Path(__file__).resolve().parents[2]

# One process for many commands: starting Alembic takes longer than most of them.
INTERPRETER = """
import shlex, sys
from alembic.config import main
for line in sys.stdin:
    main(argv=shlex.split(line))
    print("done", flush=True)
"""


class Api:
    """The application, called without a server in between."""

    def request(self, method: str, path: str, json: Any = None) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
                return await client.request(method, path, json=json)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, json: Any) -> httpx.Response:
        return self.request("POST", path, json)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)


class Alembic:
    """Bare Alembic on one database: `alembic("upgrade head")` runs a command and returns when it is done."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", INTERPRETER],
            cwd=ROOT,
            env=job_environment(url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, command: str) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        said = []
        for line in self.process.stdout:
            if line == "done\n":
                return
            said.append(line)
        pytest.fail(f"alembic {command}: {''.join(said)}")

    def close(self) -> None:
        self.process.communicate(timeout=30)


def run(*command: str, url: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python module from the repository's root as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=job_environment(url, **environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


def revisions() -> list[str]:
    """The sample's revision ids, oldest first."""
    scripts = ScriptDirectory.from_config(Config(str(ROOT / "alembic.ini")))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def wait_for_a_waiting_backend(database: Database, seconds: float = 30) -> None:
    """Returns once a session of this database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + seconds
    while database.query(waiting) == [(0,)]:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)


@pytest.fixture
def alembic(database: Database) -> Iterator[Alembic]:
    process = Alembic(database.url)
    yield process
    process.close()


@pytest.fixture(scope="module")
def template(pg18: Server) -> Database:
    """A database at head, to be cloned."""
    Database(pg18, "postgres").execute("CREATE DATABASE sample_template")
    done = run("alembic", "upgrade", "head", url=pg18.url("sample_template"))
    assert done.returncode == 0, done.stderr
    return Database(pg18, "sample_template")


@pytest.fixture
def migrated(template: Database) -> Iterator[Database]:
    """A database at head."""
    admin, clone = Database(template.server, "postgres"), Database(template.server, "sample")
    admin.execute("CREATE DATABASE sample TEMPLATE sample_template")
    yield clone
    admin.execute("DROP DATABASE sample WITH (FORCE)")


@pytest.fixture
def api(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The application on a database at head."""
    monkeypatch.setenv("DATABASE_URL", migrated.url)
    app_database.engine.cache_clear()
    yield Api()
    app_database.engine().dispose()
    app_database.engine.cache_clear()


@pytest.fixture
def order(api: Api) -> dict[str, int]:
    """An order of 2 by a new user for a new product of which there are 5."""
    user = api.post("/users", json={"email": "ada@example.com", "name": "Ada"}).json()
    product = api.post("/products", json={"sku": "K", "name": "Kettle", "price": "189.00", "quantity": 5}).json()
    answer = api.post("/orders", json={"user_id": user["id"], "product_id": product["id"], "quantity": 2})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_models_and_migrations_agree(migrated: Database) -> None:
    """At head, autogenerate finds nothing to do."""
    done = run("alembic", "check", url=migrated.url)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.thorough
def test_each_revision_up_down_up(database: Database, alembic: Alembic) -> None:
    """Each revision's downgrade takes back exactly what its upgrade did, and the upgrade works again after it."""
    before = None
    for revision in revisions():
        alembic(f"upgrade {revision}")
        after = database.schema()
        alembic("downgrade -1")
        assert before is None or database.schema() == before, revision
        alembic(f"upgrade {revision}")
        assert database.schema() == after, revision
        before = after


def test_down_to_base_and_up_again_with_rows(migrated: Database) -> None:
    """A database in use goes down to nothing and comes back byte for byte."""
    before = migrated.schema()
    assert run("app.seed", url=migrated.url).returncode == 0
    alembic = Alembic(migrated.url)
    alembic("downgrade base")
    assert migrated.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ) == [("alembic_version",)]
    assert migrated.query("SELECT typname FROM pg_type WHERE typtype = 'e'") == []
    alembic("upgrade head")
    alembic.close()
    assert migrated.schema() == before


def test_earlier_orders_get_the_price_of_their_product(database: Database, alembic: Alembic) -> None:
    """The data migration fills what is missing and leaves what the application wrote."""
    alembic("upgrade 1f84d5907c2e")
    database.execute("""
        INSERT INTO users (email, name) VALUES ('ada@example.com', 'Ada');
        INSERT INTO products (sku, name, price) VALUES ('K', 'Kettle', 189);
        INSERT INTO orders (user_id, product_id, quantity, unit_price)
        SELECT users.id, products.id, 1, paid FROM users, products, (VALUES (NULL), (150.00)) AS sale (paid)
    """)
    alembic("upgrade head")
    assert [str(price) for (price,) in database.query("SELECT unit_price FROM orders ORDER BY 1")] == [
        "150.00",
        "189.00",
    ]


def test_offline_sql_makes_the_same_schema(migrated: Database, database: Database) -> None:
    """`alembic upgrade head --sql` needs no database, and psql makes of it what the online run makes."""
    script = run("alembic", "upgrade", "head", "--sql")
    assert script.returncode == 0, script.stderr
    psql = [str(database.server.bin / "psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", database.url]
    subprocess.run(psql, input=script.stdout, text=True, check=True, stdout=subprocess.DEVNULL)
    assert database.schema() == migrated.schema()


def test_offline_downgrade_can_be_rendered() -> None:
    """Each downgrade can be written as SQL without a database."""
    done = run("alembic", "downgrade", f"{revisions()[-1]}:base", "--sql")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("-- Running downgrade") == len(revisions())


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("postgresql://db/shop", "postgresql+psycopg2://db/shop"),
        ("postgres://db/shop", "postgresql+psycopg2://db/shop"),
        ("postgresql+psycopg2://db/shop", "postgresql+psycopg2://db/shop"),
        ("postgresql+psycopg://db/shop", "postgresql+psycopg://db/shop"),
        ("", "postgresql+psycopg2://"),
    ],
)
def test_driver(given: str, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without a driver means psycopg2; without an address, libpq's PG* variables decide."""
    monkeypatch.delenv("DATABASE_URL_FILE", raising=False)
    monkeypatch.setenv("DATABASE_URL", given)
    assert app_database.database_url() == means


def test_address_from_a_file(migrated: Database, tmp_path: Path) -> None:
    """A mounted secret will do."""
    secret = tmp_path / "url"
    secret.write_text(migrated.url + "\n")
    done = run("alembic", "current", DATABASE_URL_FILE=str(secret))
    assert revisions()[-1] in done.stdout, done.stderr


def test_seed_is_idempotent(migrated: Database) -> None:
    """A second seed adds nothing and changes nothing."""
    tables = ("users", "products", "orders")
    rows = " UNION ALL ".join(f"SELECT row_to_json({table})::text FROM {table}" for table in tables)
    first = run("app.seed", url=migrated.url)
    assert first.stdout == "seeded: 3 users, 4 products, 4 orders added\n", first.stderr
    before = migrated.query(rows)
    second = run("app.seed", url=migrated.url)
    assert second.stdout == "seeded: 0 users, 0 products, 0 orders added\n", second.stderr
    assert migrated.query(rows) == before


def test_two_seeds_at_once(migrated: Database) -> None:
    """The second waits for the first and then finds everything there."""
    engine = create_engine(migrated.server.url(migrated.name, driver="psycopg2"))
    with Session(engine) as first:
        assert seed(first) == Added(users=3, products=4, orders=4)
        second = subprocess.Popen(
            [sys.executable, "-m", "app.seed"],
            cwd=ROOT,
            env=job_environment(migrated.url),
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for_a_waiting_backend(migrated)
        first.commit()
    engine.dispose()
    assert second.communicate(timeout=30)[0] == "seeded: 0 users, 0 products, 0 orders added\n"


def test_a_failing_seed_leaves_nothing(migrated: Database) -> None:
    """One transaction: an error at the last table takes the first ones back."""
    migrated.execute("ALTER TABLE orders ADD CONSTRAINT no_orders CHECK (false)")
    assert run("app.seed", url=migrated.url).returncode != 0
    assert migrated.query("SELECT count(*) FROM users") == [(0,)]


def test_health(api: Api) -> None:
    """Healthy while the database answers."""
    assert api.get("/healthz").json() == {"status": "ok"}


def test_health_without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """503, not a crash, while it does not."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    app_database.engine.cache_clear()
    assert Api().get("/healthz").status_code == 503
    app_database.engine.cache_clear()


def test_ordering(api: Api, order: dict[str, int]) -> None:
    """An order keeps the price of its day, takes from the stock, and is listed for its user."""
    assert (order["unit_price"], order["status"]) == ("189.00", "pending")
    assert api.get("/orders").json() == [order]
    assert api.get(f"/users/{order['user_id']}/orders").json() == [order]
    assert [user["email"] for user in api.get("/users").json()] == ["ada@example.com"]
    assert [product["quantity"] for product in api.get("/products").json()] == [3]


def test_refusals(api: Api, order: dict[str, int]) -> None:
    """What cannot be is answered with 404, 409 or 422, and changes nothing."""
    again = api.post("/users", json={"email": "ada@example.com", "name": "Another"})
    assert (again.status_code, again.json()) == (409, {"detail": "conflict: uq_users_email"})
    known = {"user_id": order["user_id"], "product_id": order["product_id"]}
    assert api.post("/orders", json=known | {"quantity": 4}).status_code == 409
    assert api.post("/orders", json=known | {"quantity": 0}).status_code == 422
    assert api.post("/orders", json=known | {"user_id": 4711}).status_code == 404
    assert api.post("/orders", json=known | {"product_id": 4711}).status_code == 404
    assert api.post("/users", json={"email": "no address", "name": "Ada"}).status_code == 422
    assert api.get("/orders").json() == [order]


def test_deleting_a_user_deletes_their_orders(api: Api, order: dict[str, int], migrated: Database) -> None:
    """The database cascades by itself, whoever deletes; a product that was ordered stays."""
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        migrated.execute("DELETE FROM products")
    assert api.delete(f"/users/{order['user_id']}").status_code == 204
    assert api.get("/orders").json() == []
    assert api.delete(f"/users/{order['user_id']}").status_code == 404


def test_cascade_in_the_database(migrated: Database) -> None:
    """A bare DELETE takes the orders of that user, and only those."""
    assert run("app.seed", url=migrated.url).returncode == 0
    migrated.execute("DELETE FROM users WHERE email = 'ada@example.com'")
    assert migrated.query("SELECT email, count(*) FROM orders JOIN users ON users.id = user_id GROUP BY 1") == [
        ("grace@example.com", 2)
    ]
