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
