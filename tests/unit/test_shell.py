"""Help, examples and completion."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from docs.cli import with_those_below

from alembic_job.cli.commands import cli
from alembic_job.cli.examples import EXAMPLES
from alembic_job.cli.shell import sections
from tests.conftest import job_environment
from tests.projectkit import make_project, sql

NAMES = [name for first, command in cli.commands.items() for name, _ in with_those_below(first, command)]
LINES = [line for lines in EXAMPLES.values() for line, _ in lines]


@pytest.mark.parametrize("line", LINES)
def test_every_example_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options and arguments are those of the command."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.split(r" >>? ", line)[0])
    context = cli.make_context("alembic-job", words)
    command: click.Command = cli
    rest = [*context._protected_args, *context.args]
    while isinstance(command, click.Group) and rest:
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(command.name, rest, parent=context)
        rest = [*context._protected_args, *context.args] if isinstance(command, click.Group) else []


def test_every_command_is_in_one_section() -> None:
    """And the help of all ends with what exit codes mean."""
    named = [name for _, names in sections(cli.commands) for name in names]
    assert sorted(named) == sorted(cli.commands)
    shown = shown_help("")
    assert "  20 to 29  not done, and somebody has to change something first" in shown


def shown_help(words: str) -> str:
    """What `alembic-job WORDS --help` shows at a terminal of 80 columns."""
    done = CliRunner().invoke(cli, [*words.split(), "--help"], prog_name="alembic-job", terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_examples(name: str) -> None:
    """Of every command, as they were written, a line each, and no line is longer than a terminal is wide."""
    shown = shown_help(name)
    assert EXAMPLES[name]
    assert all(f"  alembic-job {line}" in shown for line, _ in EXAMPLES[name])
    assert max(map(len, shown.splitlines())) <= 80


def completed(project: Path, words: str) -> list[str]:
    """What bash would offer for the last word."""
    ask = {"_ALEMBIC_JOB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "alembic_job"],
        cwd=project,
        env=job_environment(None, **ask),
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_a_shell_completes(tmp_path: Path) -> None:
    """Commands, and revisions wherever one is meant; where the scripts cannot be read nothing, and no error."""
    project = make_project(tmp_path, [sql("SELECT 1"), sql("SELECT 2")])
    assert completed(project, "alembic-job wait-") == ["wait-for-db", "wait-for-migrations"]
    assert completed(project, "alembic-job show ") == ["head", "r2", "r1"]
    assert completed(project, "alembic-job rollback --to r1") == ["r1"]
    (project / "alembic.ini").unlink()
    assert completed(project, "alembic-job show ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    """It is for the name by which the program is called."""
    run = [sys.executable, "-m", "alembic_job", "completion", shell, "--program", "db"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "_ALEMBIC_JOB_COMPLETE" in done.stdout and " db" in done.stdout
