"""Settings: values as people write them, precedence, files, misspelt names."""

from __future__ import annotations

from pathlib import Path

import pytest

from alembic_job.errors import SettingsError
from alembic_job.settings import SETTINGS, Settings, values
from alembic_job.settings.load import check_variables


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (" 2 m ", 120),
        ("0", 0),
        ("1d", 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """As people write them."""
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 parsecs", "1h-5m", "nan", "inf", "s", "1..5s", "5m3"])
def test_no_durations(text: str) -> None:
    """Everything else is refused with an example of what is taken."""
    with pytest.raises(ValueError, match="90s"):
        values.duration(text)


@pytest.mark.parametrize(("text", "seconds"), [("off", None), (" OFF ", None), ("0", 0), ("250ms", 0.25), ("5m", 300)])
def test_durations_or_off(text: str, seconds: float | None) -> None:
    """A bound that can be taken away."""
    assert values.duration_or_off(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "never", "on", "-1s", "nan", "inf", "off5s", "5s off"])
def test_neither_duration_nor_off(text: str) -> None:
    """The error names both."""
    with pytest.raises(ValueError, match=r"90s.*or off"):
        values.duration_or_off(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("off", None),
        (" OFF ", None),
        ("idle-in-transaction>60s", 60),
        ("Idle-In-Transaction > 1m 30s", 90),
        ("idle_in_transaction>1", 1),
        ("idle-in-transaction>1.5h", 5400),
    ],
)
def test_blockers_that_may_be_ended(text: str, seconds: float | None) -> None:
    """Idle in a transaction for longer than a time: nothing else can be asked for."""
    assert values.terminate_blockers(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "on",
        "60s",
        "idle>60s",
        "active>60s",
        "idle-in-transaction",
        "idle-in-transaction>",
        "idle-in-transaction>0.1s",
        "idle-in-transaction>999ms",
        "idle-in-transaction>x",
        "idle-in-transaction>nan",
        "idle-in-transaction>inf",
        "idle-in-transaction>-1s",
        "idle-in-transaction<60s",
        "idle-in-transaction>=60s",
        "idle-in-transaction>60s,active>1s",
        "idle-in-transaction>60s>1s",
        ">60s",
        "nan",
        "inf",
        "-1s",
    ],
)
def test_blockers_that_may_not_be_ended(text: str) -> None:
    """Sessions at work, or a pause between two statements of theirs, are never ended."""
    with pytest.raises(ValueError, match="idle-in-transaction>60s"):
        values.terminate_blockers(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("off", 0),
        ("1", 1),
        ("1048576", 1 << 20),
        ("64B", 64),
        ("5kB", 5_000),
        ("100 GB", 100_000_000_000),
        ("500GiB", 500 << 30),
        ("1.5Ti", 3 << 39),
        ("2t", 2_000_000_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """In powers of 1000 and, with an i, of 1024; an upper-case letter is no other than a lower-case one."""
    assert values.size_or_off(text) == values.size_or_off(text.upper()) == size


@pytest.mark.parametrize("text", ["", "0", "GB", "-5GB", "i", "5i", "5gbi", "1..5G", "5x", "inf", "nan", "1e9", "5bb"])
def test_sizes_that_are_none(text: str) -> None:
    """Said with an example."""
    with pytest.raises(ValueError, match="500GiB"):
        values.size_or_off(text)


def test_what_may_be_ended_is_nobody_by_default() -> None:
    """And a bound that was switched off is none, whatever its default."""
    assert Settings().terminate_blockers is None
    assert Settings().max_lock_hold == 5
    assert Settings.load({}, {"MIGRATE_MAX_LOCK_HOLD": "OFF"}).max_lock_hold is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("app", ("app",)),
        (" App , public ", ("app", "public")),
        ('"We ird","a""b", x', ("We ird", 'a"b', "x")),
        ('"$user", public', ("$user", "public")),
        ("$user,public", ("$user", "public")),
        ("ÄRger, _x$1", ("Ärger", "_x$1")),
        ('"a,b"', ("a,b",)),
        ('"%s"', ("%s",)),
    ],
)
def test_search_paths(text: str, names: tuple[str, ...]) -> None:
    """As after SET: quoted or not, in PostgreSQL's own folding; handed on as it was written."""
    assert values.schemas(text) == names
    assert values.search_path(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "app,",
        ",app",
        "a,,b",
        "a b",
        '"app',
        'app"',
        '""',
        "1app",
        "my-schema",
        "'app'",
        "a;b",
        "$x",
        "a" * 64,
        "app\x00",
        '"\x00"',
        "app\n;",
        "app\xa0,public",
        f'"{"ä" * 32}"',
    ],
)
def test_no_search_paths(text: str) -> None:
    """Everything else is refused before a server sees it; the error of the setting names it."""
    with pytest.raises(ValueError, match="names of schemas"):
        values.search_path(text)
    if text.strip() and "\x00" not in text:
        with pytest.raises(SettingsError, match="MIGRATE_SEARCH_PATH"):
            Settings.load({}, {"MIGRATE_SEARCH_PATH": text})


def test_flag_over_environment_over_default() -> None:
    """And each says where it came from."""
    environ = {"MIGRATE_WAIT_TIMEOUT": "10s", "MIGRATE_DEADLINE": "1m"}
    settings = Settings.load({"wait_timeout": "20s"}, environ)
    assert (settings.wait_timeout, settings.deadline, settings.run_lock_timeout) == (20, 60, 600)
    assert settings.origins["wait_timeout"] == "flag --wait-timeout"
    assert settings.origins["deadline"] == "environment MIGRATE_DEADLINE"
    assert settings.origins["run_lock_timeout"] == "default"


def test_every_setting_can_come_from_a_file(tmp_path: Path) -> None:
    """DATABASE_URL_FILE, with the newline that editors leave."""
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p@h/d\n")
    settings = Settings.load({}, {"DATABASE_URL_FILE": str(secret)})
    assert settings.database_url == "postgresql://u:p@h/d"
    assert str(secret) in settings.origins["database_url"]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Missing, empty, not text, or contradicted: each named with the variable."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for environ in (
        {"DATABASE_URL_FILE": str(tmp_path / "missing")},
        {"DATABASE_URL_FILE": str(empty)},
        {"DATABASE_URL_FILE": str(binary)},
        {"DATABASE_URL_FILE": str(empty), "DATABASE_URL": "postgresql://h/d"},
    ):
        with pytest.raises(SettingsError, match="DATABASE_URL_FILE") as raised:
            Settings.load({}, environ)
        assert raised.value.hint


def test_an_empty_variable_is_unset() -> None:
    """Compose files and charts render an absent value as an empty one."""
    assert Settings.load({}, {"MIGRATE_DEADLINE": "", "DATABASE_URL": ""}).deadline is None


@pytest.mark.parametrize("name", ["MIGRATE_WAIT_TIMEOUTS", "MIGRATE_BACKUPURL", "MIGRATE_DEADLIN", "MIGRATE_LOGFORMAT"])
def test_misspelt_variables_are_errors(name: str) -> None:
    """Near a known name: an error that names both."""
    with pytest.raises(SettingsError, match=name) as raised:
        check_variables({name: "x"})
    assert "MIGRATE_" in raised.value.hint


def test_unknown_variables_far_from_all_are_one_warning() -> None:
    """Somebody else's MIGRATE_ variables do not stop a deploy."""
    [warning] = check_variables({"MIGRATE_ZEBRAS": "1", "MIGRATE_QUUX_CORGE": "2"})
    assert "MIGRATE_ZEBRAS" in warning and "MIGRATE_QUUX_CORGE" in warning


def test_service_links_are_ignored() -> None:
    """Kubernetes injects these for a Service called `migrate` or `migrate-db`."""
    links = {
        "MIGRATE_PORT": "tcp://10.0.0.1:80",
        "MIGRATE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "MIGRATE_PORT_80_TCP_ADDR": "10.0.0.1",
        "MIGRATE_PORT_80_TCP_PORT": "80",
        "MIGRATE_PORT_80_TCP_PROTO": "tcp",
        "MIGRATE_SERVICE_HOST": "10.0.0.1",
        "MIGRATE_SERVICE_PORT": "80",
        "MIGRATE_SERVICE_PORT_HTTP": "80",
        "MIGRATE_DB_SERVICE_HOST": "10.0.0.1",
        "MIGRATE_TO_PORT": "tcp://10.0.0.1:80",
    }
    assert check_variables(links) == []


def test_the_table_is_consistent() -> None:
    """Names are unique, defaults parse, every row has a help text and an attribute."""
    assert (
        len({setting.name for setting in SETTINGS}) == len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    )
    settings = Settings()
    for setting in SETTINGS:
        assert setting.help.strip().endswith(".") or setting.help, setting.name
        assert setting.name in Settings.__annotations__
        if setting.default is not None:
            assert getattr(settings, setting.name) == setting.parse(setting.default)


def test_a_program_gives_parsed_values() -> None:
    """`Settings(...)` for library use; an unknown name is a TypeError."""
    assert Settings(wait_timeout=3.0).wait_timeout == 3.0
    with pytest.raises(TypeError, match="wait_timeot"):
        Settings(wait_timeot=3.0)
