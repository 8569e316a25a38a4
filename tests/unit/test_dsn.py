"""Database URLs as people write them."""

from __future__ import annotations

import pytest
import sqlalchemy

from alembic_job import dsn

CASES = [
    ("postgresql://u:p@h:5433/d", {"user": "u", "password": "p", "host": "h", "port": "5433", "dbname": "d"}),
    ("postgres://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
    ("postgresql+asyncpg://u:p%40%25%2F%3A@h/d", {"user": "u", "password": "p@%/:", "host": "h", "dbname": "d"}),
    ("postgresql://u:100%@h/d", {"user": "u", "password": "100%", "host": "h", "dbname": "d"}),
    ("postgresql://u:a/b?c@h/d", {"user": "u", "password": "a/b?c", "host": "h", "dbname": "d"}),
    ("postgresql://u:a@b@h/d", {"user": "u", "password": "a@b", "host": "h", "dbname": "d"}),
    (
        "postgresql://u:p@[2001:db8::1]:5433/d",
        {"user": "u", "password": "p", "host": "2001:db8::1", "port": "5433", "dbname": "d"},
    ),
    ("postgresql:///d?host=/var/run/postgresql", {"host": "/var/run/postgresql", "dbname": "d"}),
    ("postgresql://%2Fvar%2Frun/d", {"host": "/var/run", "dbname": "d"}),
    (
        "postgresql://a:1,b:2/d?target_session_attrs=any",
        {"host": "a,b", "port": "1,2", "dbname": "d", "target_session_attrs": "any"},
    ),
    ("postgresql://a,b/d", {"host": "a,b", "dbname": "d"}),
    ("postgresql://a,b:2/d", {"host": "a,b", "port": "5432,2", "dbname": "d"}),
    ("postgresql+psycopg2://u@/d?host=a:1&host=b:2", {"user": "u", "host": "a,b", "port": "1,2", "dbname": "d"}),
    (
        "postgresql://h/d?sslmode=verify-full&sslrootcert=%2Fca.pem",
        {"host": "h", "dbname": "d", "sslmode": "verify-full", "sslrootcert": "/ca.pem"},
    ),
    (
        "postgresql+asyncpg://h/d?ssl=require&prepared_statement_cache_size=0",
        {"host": "h", "dbname": "d", "sslmode": "require"},
    ),
    ("postgresql+pg8000://h/d?ssl=true", {"host": "h", "dbname": "d", "sslmode": "require"}),
    ("postgresql://h/d?options=-c%20search_path%3Da@b", {"host": "h", "dbname": "d", "options": "-c search_path=a@b"}),
    ("postgresql://ünï:wörd@h/dätä", {"user": "ünï", "password": "wörd", "host": "h", "dbname": "dätä"}),
    ("  postgresql://h/d\n", {"host": "h", "dbname": "d"}),
    ("postgresql://", {}),
]


@pytest.mark.parametrize(("url", "parameters"), CASES)
def test_parse(url: str, parameters: dict[str, str]) -> None:
    """Each spelling leads libpq where it should."""
    assert dsn.parse(url).parameters == parameters


@pytest.mark.parametrize(
    "url", ["", "h/d", "mysql://u:hush@h/d", "postgresql://u:hush@h:x/d", "postgresql://u:hush@[::1/d"]
)
def test_malformed_urls_are_not_repeated(url: str) -> None:
    """The error says what is wrong without the URL."""
    with pytest.raises(dsn.MalformedUrl) as raised:
        dsn.parse(url)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("url", [url for url, parameters in CASES if parameters])
def test_sqlalchemy_reads_what_we_write(url: str) -> None:
    """Our URL for SQLAlchemy means the same to SQLAlchemy."""
    parsed = dsn.parse(url)
    made = sqlalchemy.make_url(dsn.sqlalchemy_url(parsed, "postgresql+psycopg2"))
    assert made.username == parsed.parameters.get("user")
    assert made.password == parsed.parameters.get("password")
    assert (made.database or None) == parsed.parameters.get("dbname")
    hosts = made.query.get("host", made.host)
    if "," in parsed.parameters.get("host", ""):
        assert isinstance(hosts, tuple) and len(hosts) == 2
    else:
        assert hosts == parsed.parameters.get("host")


def test_redacted_holds_no_secret() -> None:
    """What people see of a URL."""
    assert (
        dsn.parse("postgresql+asyncpg://u:hush@h/d?sslpassword=hush2").redacted() == "postgresql+asyncpg://u@h:5432/d"
    )


def test_around_the_pooler() -> None:
    """A direct URL changes the place and keeps the login."""
    direct = dsn.parse("postgresql://u:p@pooler:6432/d").at(dsn.parse("postgresql://primary:5432"))
    assert direct.parameters == {"user": "u", "password": "p", "host": "primary", "port": "5432", "dbname": "d"}


@pytest.mark.parametrize("url", ["postgresql://app:p@ssw0rd/x9Secret@127.0.0.1:5432/db", "postgresql://u:p/a@b/c@h/d"])
def test_what_may_be_part_of_a_password_is_no_host(url: str) -> None:
    """An unescaped @ and / together cannot be told apart: refused, never shown as host or database."""
    with pytest.raises(dsn.MalformedUrl):
        dsn.parse(url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://a@h/d", "postgresql+asyncpg://a:x@h:5432/d?application_name=y", True),
        ("postgresql://h/d", "postgresql://a@h/d", True),
        ("postgresql://a@h/d", "postgresql://b@h/d", False),
        ("postgresql://a@h/d", "postgresql://a@h/e", False),
        ("postgresql://a@h/d", "postgresql://a@h:5433/d", False),
        ("postgresql://a@h,i/d", "postgresql://a@/d?host=h:5432&host=i:5432", True),
        ("postgresql://", "postgresql://user@host:5433/database", True),
        ("postgresql://", "postgresql://host/database", True),
        ("postgresql://", "postgresql://other/database", False),
    ],
)
def test_the_same_login(one: str, other: str, same: bool) -> None:
    """Who may be given the database's password: the same place as the same user, libpq's variables included."""
    variables = (
        {"PGHOST": "host", "PGPORT": "5433", "PGDATABASE": "database", "PGUSER": "user"} if one[-1] == "/" else {}
    )
    assert dsn.parse(one).is_login_of(dsn.parse(other), variables) is same
    assert dsn.parse(other).is_login_of(dsn.parse(one), variables) is same
