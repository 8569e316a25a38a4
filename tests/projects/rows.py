"""The table of situations: one row, one tree, one story. See `Tree` for the columns."""

from __future__ import annotations

import compileall
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from tests.projects.project import STOCK, Tree

_ODD_PASSWORD = "p%w@r:d/?#[x]&= é"

_ODD_ROLE = f"""
    DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'odd/user') THEN
        CREATE ROLE "odd/user" LOGIN PASSWORD '{_ODD_PASSWORD}'; END IF; END $$;
    GRANT ALL ON SCHEMA public TO "odd/user"; GRANT ALL ON DATABASE "@DATABASE@" TO "odd/user";
"""
_ODD_URL = f"postgresql://odd%2Fuser:{quote(_ODD_PASSWORD, safe='')}@@HOST@:@PORT@/@DATABASE@"

_POOR_ROLE = """
    DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'poor') THEN
        CREATE ROLE poor LOGIN PASSWORD 'poor'; END IF; END $$;
    GRANT USAGE, CREATE ON SCHEMA public TO poor;
    REVOKE ALL ON DATABASE "@DATABASE@" FROM PUBLIC; GRANT CONNECT ON DATABASE "@DATABASE@" TO poor;
"""

_OWNER_ROLE = """
    DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_owner') THEN
        CREATE ROLE shop_owner NOLOGIN; END IF; END $$;
    GRANT USAGE, CREATE ON SCHEMA public TO shop_owner;
"""

_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num varchar({width}) CONSTRAINT alembic_version_pkc PRIMARY KEY)"
)
_LONG_IDS = (
    "2024_03_01_create_the_table_of_all_the_things_that_we_sell_or_sold",
    "2024_03_02_größe_und_länge_der_dinge sowie farbe",
)

_TENANTS = "CREATE TABLE tenants (name text); INSERT INTO tenants VALUES ('acme'), ('globex')"

_SHOP_SETTINGS = {
    "SHOP_POSTGRES_SERVER": "@HOST@",
    "SHOP_POSTGRES_PORT": "@PORT@",
    "SHOP_POSTGRES_USER": "postgres",
    "SHOP_POSTGRES_PASSWORD": "@PASSWORD@",
    "SHOP_POSTGRES_DB": "@DATABASE@",
}
_LIBPQ = {
    "PGHOST": "@HOST@",
    "PGPORT": "@PORT@",
    "PGUSER": "postgres",
    "PGPASSWORD": "@PASSWORD@",
    "PGDATABASE": "@DATABASE@",
}
_INTERPOLATED = {
    "DB_USER": "postgres",
    "DB_PASS": "@PASSWORD@",
    "DB_HOST": "@HOST@:@PORT@",
    "DB_NAME": "@DATABASE@",
}


_NOISE = tuple(
    f"marker-{word}"
    for word in (
        "print forged carriage-return two lines colour unicode stderr partial-write fd-1 fd-2 child child-err "
        "traditional warning logged bad-format traceback puts last-without-newline import before-table copied"
    ).split()
)


def _compile(folder: Path) -> None:
    """Leaves only the compiled revisions, as some vendors ship them."""
    versions = folder / "migrations" / "versions"
    compileall.compile_dir(versions, legacy=True, quiet=1)
    for source in versions.glob("*.py"):
        source.unlink()


def _protect(folder: Path) -> None:
    (folder / "pgpass").chmod(0o600)


_OWN = ("_env",)  # trees with revisions of their own
_FLASK = Tree(
    "flask",
    on=("_flask",),
    applied=("f1a0posts", "f2b0author"),
    bare_up=("flask", "db", "upgrade"),
    bare_down=("flask", "db", "downgrade"),
)
_FLASK_INI = ("-c", "migrations/alembic.ini")

URLS = [
    Tree("placeholder", thorough=True),  # the ini as `alembic init` writes it; the job brings the URL
    Tree("ini_url", url=None, down=None, thorough=True),
    Tree("ini_url_and_database_url", folder="ini_url", down=None, thorough=True),
    Tree("stale_url", down=None, thorough=True),
    Tree("environ_url", down=None, thorough=True),
    Tree("environ_engine", down=None, thorough=True),
    Tree("heroku_url_in_project", folder="environ_engine", url="@POSTGRES@", down=None, thorough=True),
    Tree("heroku_url", url="@POSTGRES@", bare_url="@URL@", down=None, thorough=True),
    Tree("pydantic_settings", url=None, env=_SHOP_SETTINGS, down=None, thorough=True),
    Tree(
        "pydantic_settings_and_database_url", folder="pydantic_settings", env=_SHOP_SETTINGS, down=None, thorough=True
    ),
    Tree("dotenv", url=None, down=None, thorough=True),
    Tree("own_variable", url=None, env={"SHOP_DSN": "@PSYCOPG2@"}, thorough=True),
    Tree(
        "own_variable_and_database_url", folder="own_variable", env={"SHOP_DSN": "@PSYCOPG@"}, down=None, thorough=True
    ),
    Tree("other_key", url=None, down=None, thorough=True),
    Tree("other_key_and_database_url", folder="other_key", down=None, thorough=True),
    Tree("absent_key", down=None, thorough=True),
    Tree("app_config", url=None, env={"SHOP_ENV": "production"}, down=None, thorough=True),
    Tree("interpolated", url=None, env=_INTERPOLATED, down=None, thorough=True),
    Tree("interpolated_and_database_url", folder="interpolated", env=_INTERPOLATED, down=None, thorough=True),
    Tree("libpq_environment", url=None, env=_LIBPQ, down=None, thorough=True),
    Tree(
        "libpq_environment_placeholder", folder="none", url=None, bare_url="@URL@", env=_LIBPQ, down=None, thorough=True
    ),
    Tree("default_section", url=None, down=None, thorough=True),
    Tree("x_url", url=None, options=("-x", "dburl=@URL@"), down=None, thorough=True),
    Tree("creator", url=None, env={"SHOP_DSN": "@DSN@"}, thorough=True),
    Tree("creator_and_database_url", folder="creator", env={"SHOP_DSN": "@DSN@"}, down=None, thorough=True),
    Tree("search_path_in_url", url="@URL@?options=-csearch_path%3Dapp", setup="CREATE SCHEMA app", thorough=True),
    Tree(
        "search_path_of_database",
        setup='CREATE SCHEMA app; ALTER DATABASE "@DATABASE@" SET search_path = app',
        down=None,
        thorough=True,
    ),
    Tree("odd_password", url=_ODD_URL, setup=_ODD_ROLE, down=None, thorough=True),
    Tree("odd_password_in_project", folder="environ_url", url=_ODD_URL, setup=_ODD_ROLE, down=None, thorough=True),
    Tree("poor_role", url="postgresql://poor:poor@@HOST@:@PORT@/@DATABASE@", setup=_POOR_ROLE, thorough=True),
    Tree(
        "unix_socket",
        url="postgresql://postgres:@PASSWORD@@/@DATABASE@?host=@SOCKETS@&port=@PORT@",
        down=None,
        thorough=True,
    ),
    Tree("unix_socket_in_project", folder="environ_url", url="@URL@?host=@SOCKETS@", down=None, thorough=True),
    Tree(
        "several_hosts",
        url="postgresql://postgres:@PASSWORD@@@HOST@:1,@HOST@:@PORT@/@DATABASE@?target_session_attrs=read-write",
        bare_url="postgresql://postgres:@PASSWORD@@/@DATABASE@?host=@HOST@:1&host=@HOST@:@PORT@",
        down=None,
        thorough=True,
    ),
    Tree(
        "several_hosts_in_project",
        folder="environ_url",
        url="postgresql+psycopg2://postgres:@PASSWORD@@/@DATABASE@?host=@HOST@:1&host=@HOST@:@PORT@",
        down=None,
        thorough=True,
    ),
    Tree(
        "password_variable",
        url="postgresql://postgres@@HOST@:@PORT@/@DATABASE@",
        env={"PGPASSWORD": "@PASSWORD@"},
        down=None,
        thorough=True,
    ),
    Tree(
        "passfile",
        url="postgresql://postgres@@HOST@:@PORT@/@DATABASE@",
        env={"PGPASSFILE": "@FOLDER@/pgpass"},
        prepare=_protect,
        down=None,
        thorough=True,
    ),
    Tree(
        "libpq_parameters",
        url="@URL@?sslmode=disable&connect_timeout=7&application_name=shop&keepalives_idle=30",
        down=None,
        thorough=True,
    ),
]

DRIVERS = [
    Tree("psycopg2", url="@PSYCOPG2@", down=None, thorough=True),
    Tree("psycopg", url="@PSYCOPG@", down=None, thorough=True),
    Tree(
        "psycopg_parameters", folder="none", url="@PSYCOPG@?sslmode=disable&connect_timeout=7", down=None, thorough=True
    ),
    Tree("async_asyncpg", folder="async", url="@ASYNCPG@"),
    Tree("async_psycopg", folder="async", url="@PSYCOPG@", down=None, thorough=True),
    Tree("async_plain_url", folder="async", url="@URL@", bare_url="@ASYNCPG@", down=None, thorough=True),
    Tree(
        "async_parameters",
        folder="async",
        url="@ASYNCPG@?ssl=disable&prepared_statement_cache_size=0",
        down=None,
        thorough=True,
    ),
    Tree("async_ini_driver", on=("_env", "_versions", "async"), down=None, thorough=True),
    Tree("async_thread", down=None, thorough=True),
    Tree("async_attributes", down=None, thorough=True),
]

BRANCHES = [
    Tree(
        "merged",
        on=_OWN,
        applied=("0001_base", "0002_left", "0002_right", "0003_right", "0004_merge", "0005_after"),
        thorough=True,
    ),
    Tree(
        "merged_partly",
        folder="merged",
        on=_OWN,
        applied=("0001_base", "0002_right"),
        target="0002_right",
        down=None,
        thorough=True,
    ),
    Tree(
        "two_bases",
        on=_OWN,
        applied=("a100000000s1", "a100000000s2", "b100000000b1", "b100000000b2"),
        target="heads",
        down="b100000000b1",
        thorough=True,
    ),
    Tree(
        "two_bases_by_label",
        folder="two_bases",
        on=_OWN,
        applied=("a100000000s1", "b100000000b1"),
        target="money@b100000000b1",
        down=None,
        thorough=True,
    ),
    Tree(
        "relative", on=("_env", "_versions"), applied=STOCK[:2], target="+2", repeatable=False, down=None, thorough=True
    ),
    Tree("abbreviated", on=("_env", "_versions"), applied=STOCK[:2], target="5b8e", down="3f1c", thorough=True),
]

VERSION_TABLES = [
    Tree("version_table", thorough=True),
    Tree("version_table_computed", env={"SERVICE_NAME": "order-service"}, thorough=True),
]

LOCATIONS = [
    Tree(
        "several_locations",
        on=_OWN,
        applied=("core_1", "mail_1", "audit_1", "core_2"),
        target="heads",
        down="core_1",
        thorough=True,
    ),
    Tree("recursive_locations", on=_OWN, applied=("r1", "r2", "r3"), down=None, thorough=True),
    Tree("pyproject", on=(), applied=("p1", "p2"), thorough=True),
    Tree("pyproject_and_ini", down=None, thorough=True),
    Tree(
        "section",
        on=(),
        url=None,
        options=("-n", "billing"),
        applied=("billing_1", "billing_2"),
        down=None,
        thorough=True,
    ),
    Tree(
        "x_and_tag",
        options=("-x", "schema=store", "-x", "flag", "-x", "equation=a=b"),
        tag="release 1.4",
        thorough=True,
    ),
    replace(_FLASK, name="flask_app", env={"FLASK_APP": "blog"}, options=_FLASK_INI),
    replace(_FLASK, name="flask_wsgi", url=None, env={"BLOG_DATABASE": "@POSTGRES@"}, down=None, thorough=True),
    replace(
        _FLASK,
        name="flask_factory",
        env={
            "FLASK_APP": "blog:create_app(editor='ken')",
            "BLOG_SQLALCHEMY_DATABASE_URI": "@PSYCOPG@",
            "ALEMBIC_CONFIG": "migrations/alembic.ini",
        },
        thorough=True,
    ),
    Tree("config_folder", on=(), options=("-c", "config/alembic.ini"), applied=("c1", "c2"), down=None, thorough=True),
    Tree(
        "config_by_variable",
        folder="config_folder",
        on=(),
        env={"ALEMBIC_CONFIG": "config/alembic.ini"},
        applied=("c1", "c2"),
        down=None,
        thorough=True,
    ),
    Tree(
        "other_working_directory",
        folder="none",
        cwd="migrations",
        options=("-c", "../alembic.ini"),
        down=None,
        thorough=True,
    ),
    Tree("sys_path", on=(), applied=("1", "2"), thorough=True),
    Tree("shadow", on=(), down=None, thorough=True),
    Tree("package_location", on=(), applied=("k1", "k2"), down=None, thorough=True),
    Tree("chdir", thorough=True),
    Tree("sourceless", prepare=_compile, down=None, thorough=True),
]

OUTPUT = [
    Tree("debug_logging", down=None, thorough=True),
    Tree("noisy", thorough=True, on=(), applied=("n1",), says=_NOISE),
    Tree("own_logging", says=("marker-structlog", "marker-info", "marker-end"), down=None, thorough=True),
]

ENVIRONMENTS = [
    Tree("name_guard", down=None, thorough=True),
    Tree("cmd_opts", options=("-x", "loud=1"), thorough=True),
    Tree("context_questions", down=None, thorough=True),
    Tree("keyword_arguments", on=_OWN, applied=("w1", "w2"), thorough=True),
    Tree("downgrade_raises", on=_OWN, applied=("d1", "d2", "d3"), down=None, thorough=True),
    Tree("downgrade_acts", on=_OWN, applied=("g1", "g2", "g3"), thorough=True),
    Tree("configure_options", on=(), applied=("v1", "v2"), thorough=True),
    Tree("app_creates_tables", down=None, thorough=True),
    Tree("module_level", on=(), applied=("l1", "l2"), options=("-x", "colour=blue"), thorough=True),
    Tree("exits", down=None, thorough=True),
    Tree("sqlite_beside", down=None, thorough=True),
]

TRANSACTIONS = [
    Tree("sql_before", thorough=True),
    Tree("owns_transaction", thorough=True),
    Tree("engine_begin", down=None, thorough=True),
    Tree("commits_itself", on=_OWN, applied=("t1", "t2", "t3"), thorough=True),
    Tree("concurrently", applied=(*STOCK, "ca01", "ca02"), thorough=True),
    Tree("autocommit_engine", down=None, thorough=True),
    Tree("serializable", down=None, thorough=True),
    Tree("own_lock", down=None, thorough=True),
    Tree("own_lock_same_connection", thorough=True),
    Tree("own_timeouts", on=(), applied=("o1",), thorough=True),
    Tree("lock_version_table", setup=_VERSION_TABLE.format(width=32), thorough=True),
    Tree("terminates_others", on=_OWN, applied=("k1",), thorough=True),
    Tree("set_role", setup=_OWNER_ROLE, thorough=True),
]

OPERATIONS = [
    Tree("operations", thorough=True, on=_OWN, applied=("op01", "op02", "op03", "op04", "op05"), url="@PSYCOPG2@"),
    Tree(
        "operations_psycopg",
        folder="operations",
        on=_OWN,
        applied=("op01", "op02", "op03", "op04", "op05"),
        url="@PSYCOPG@",
        env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        down=None,
        thorough=True,
    ),
    Tree("sql_files", on=_OWN, applied=("0001_sql",), thorough=True),
    Tree("async_operations", on=(), applied=("ao1", "ao2"), thorough=True),
]

SEVERAL = [
    Tree("tenants", on=(), applied=("tenant_1", "tenant_2"), setup=_TENANTS, thorough=True),
    Tree("tenants_translated", on=(), applied=("tenant_1", "tenant_2"), down=None, thorough=True),
    Tree("multidb", on=(), applied=("m1", "m2"), url=None, databases=2, thorough=True),
    Tree(
        "multidb_and_database_url", folder="multidb", on=(), applied=("m1", "m2"), databases=2, down=None, thorough=True
    ),
]

SMALL = [
    Tree("empty_versions", on=_OWN, applied=(), empty_folders=("migrations/versions",), down=None, thorough=True),
    Tree("no_versions_folder", on=_OWN, applied=(), down=None, thorough=True),
    Tree("long_ids", on=_OWN, applied=_LONG_IDS, setup=_VERSION_TABLE.format(width=200), thorough=True),
    Tree("single_empty", on=_OWN, applied=("0e0e0e0e0e0e",), thorough=True),
]

# `thorough`: a variation of another row. `pytest -m "not thorough"` leaves one row for each situation.
TREES = [
    *URLS,
    *DRIVERS,
    *BRANCHES,
    *VERSION_TABLES,
    *LOCATIONS,
    *OUTPUT,
    *ENVIRONMENTS,
    *TRANSACTIONS,
    *OPERATIONS,
    *SEVERAL,
    *SMALL,
]
