"""Writes the pages of docs/reference and the manual page from the code's own tables, and the chart's README from its
values: `python -m docs.generate`.

`tests/unit/test_docs.py` fails while a committed page differs from what is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from alembic_job.cli.authoring import DESK_COMMANDS
from alembic_job.cli.commands import JOB_COMMANDS, cli
from alembic_job.cli.examples import EXAMPLES
from alembic_job.errors import Findings, JobError, exit_codes
from alembic_job.lint import explained
from alembic_job.settings import SETTINGS, Setting, values
from docs import chart, events, man
from docs.cli import arguments, own_options, spelled, with_those_below

REFERENCE = Path(__file__).with_name("reference")
_NOTICE = "<!-- Made by `python -m docs.generate`: change the code's tables, not this page. -->\n\n"
_KINDS: dict[Callable[[str], object], str] = {
    values.duration: "duration",
    values.duration_or_off: "duration or `off`",
    values.terminate_blockers: "`idle-in-transaction>DURATION`, `off`",
    values.size_or_off: "size such as `500GiB`, or `off`",
    values.words: "words",
    values.patterns: "names with `*`",
    values.search_path: "names of schemas",
    values.identifier: "name",
    values.plain: "text",
}


def pages() -> dict[str, str]:
    """Path → content of every page of reference/."""
    made = {
        "settings.md": settings_page(),
        "exit-codes.md": exit_codes_page(),
        "commands.md": commands_page(),
        "events.md": events_page(),
    }
    made |= {f"lint/{name}": text for name, text in explained.pages().items()}
    return {name: _NOTICE + text.rstrip() + "\n" for name, text in made.items()}


def settings_page() -> str:
    secrets = " and ".join(f"`{setting.variable}`" for setting in SETTINGS if setting.secret)
    return f"""# Settings

A flag comes over the environment, the environment over alembic.ini. `alembic-job config` prints what is in force, where
each value comes from, and no secret.

- An empty variable counts as unset.
- Every variable can be given as a file: `…_FILE` names one that holds the value, e.g. `DATABASE_URL_FILE`. Setting both
  is an error. Secrets are {secrets}.
  `MIGRATE_LOG_FORMAT`, `MIGRATE_LOG_LEVEL` and `MIGRATE_TERMINATION_LOG` are needed before any file is read, so these
  are taken from flag and environment alone.
- A **duration** is written as people write it: `250ms`, `90s`, `5m`, `1h30m`; a plain number is seconds.
- **Words** are split as by a shell, but no shell runs.
- Where `DATABASE_URL` is unset, libpq's variables say where the database is (`PGHOST`, `PGPORT`, `PGDATABASE`,
  `PGUSER`, `PGPASSWORD`, `PGPASSFILE`, `PGSERVICE`, `PGSSLMODE`, …).
- An unknown `MIGRATE_` variable that resembles a known one ends the run with 20 and is named; others give one warning.
  Variables that Kubernetes makes for a Service (`MIGRATE_…_SERVICE_HOST`, `MIGRATE_…_PORT`) are ignored.

{_table(("variable", "flag", "value", "default", "what it does"), map(_setting_row, SETTINGS))}
"""


def _setting_row(setting: Setting) -> tuple[str, ...]:
    flags = {"config_file": "`-c`", "section": "`-n`", "x": "`-x`", "tag": "`--tag`"}
    flag = f"`{setting.option}`" if setting.flag else flags.get(setting.name, "–")
    default = f"`{setting.default}`" if setting.default is not None else ""
    return f"`{setting.variable}`", flag, _kind(setting), default, setting.help


def _kind(setting: Setting) -> str:
    """What a setting takes, as its parser itself says it."""
    if setting.parse in _KINDS:
        return _KINDS[setting.parse]
    try:
        setting.parse("\0")
    except ValueError as error:
        words = str(error).replace(" or ", ", ").split(", ")
        return ", ".join(f"`{word}`" for word in words)
    raise AssertionError(f"{setting.name} takes anything")


def exit_codes_page() -> str:
    return f"""# Exit codes

The last line of a run, `job.finished`, repeats its `exit_code`, and says in `error` what happened and in `hint` what to
do. The hint is the one given here, or a more precise one where the job knows more.

- **0**: done; also when nothing was pending, and when the run was skipped.
- **1 to 3**: a defect of the job, a wrong command line, a question answered with yes.
- **10 to 19**: trying again may help.
- **20 to 29**: trying again cannot help; somebody has to change something first.

{_table(("code", "meaning", "retry", "outcome", "hint"), map(_exit_code_row, exit_codes().items()))}
"""


def _exit_code_row(entry: tuple[int, type[JobError]]) -> tuple[str, ...]:
    code, kind = entry
    meaning = (kind.__doc__ or "").split("\n", 1)[0] + ("" if _is_in_use(kind) else " (Reserved: nothing ends so yet.)")
    return str(code), meaning, "yes" if kind().retryable else "no", f"`{kind.outcome}`", kind.hint


def _is_in_use(kind: type[JobError]) -> bool:
    """True if the code names this error anywhere; 3 is what a question returns."""
    sources = (path for path in events.SOURCE.rglob("*.py") if path.name != "errors.py")
    return kind is Findings or any(kind.__name__ in path.read_text(encoding="utf-8") for path in sources)


def commands_page() -> str:
    jobs = [name for name in cli.commands if name in JOB_COMMANDS]
    questions = [name for name in cli.commands if name not in (*JOB_COMMANDS, *DESK_COMMANDS)]
    return f"""# Commands

`alembic-job [OPTIONS] COMMAND`. The image runs `migrate` when no command is given. Alembic's own options may stand
before the command or after it:

{_options(cli.params)}

## Job commands

They write one JSON object a line on stdout ([events](events.md)), or text at a terminal, and end with an
[exit code](exit-codes.md). Every [setting](settings.md) that has a flag is an option of each, but `--to` of `migrate`
and `wait-for-migrations` alone.

{_commands(sorted(jobs, key=JOB_COMMANDS.index))}

## Questions

Their answer alone goes to stdout, everything else to stderr. They change nothing and take no lock. Each takes
`--database-url`, `--database-direct-url`, `--password-command`, `--role` and `--search-path`.

{_commands(sorted(questions))}

## At the desk

They write files of the project, and only look at the database ([how to](../how-to/write-migrations.md)). What was
written goes to stdout, everything else to stderr. They take the same settings as questions, and `--history-schema`;
`init` needs [none](../how-to/start-a-project.md).

{_commands(DESK_COMMANDS)}
"""


def _commands(names: Iterable[str]) -> str:
    return "\n\n".join(_command(name, cli.commands[name]) for name in names)


def _command(name: str, command: click.Command) -> str:
    return "\n\n".join(_one(words, each) for words, each in with_those_below(name, command))


def _one(name: str, command: click.Command) -> str:
    own = own_options(command)
    text = f"### `alembic-job {name}{arguments(command)}`\n\n{command.help}"
    parts = [text, _options(own) if own else "", _examples(name)]
    return "\n\n".join(filter(None, parts))


def _examples(name: str) -> str:
    lines = EXAMPLES.get(name, ())
    width = max((len(line) for line, _ in lines), default=0)
    shown = [f"$ alembic-job {line:<{width}}  # {what}" for line, what in lines]
    return "\n".join(["```console", *shown, "```"]) if shown else ""


def _options(params: Iterable[click.Parameter]) -> str:
    rows = []
    for param in params:
        if isinstance(param, click.Option):
            names, value = spelled(param)
            rows.append((f"`{f'{names} {value}'.rstrip()}`", " ".join((param.help or "").split())))
    return _table(("option", "what it does"), rows)


def events_page() -> str:
    rows = [
        (f"`{event.name}`", ", ".join(event.levels), events.MEANINGS.get(event.name, ""), _fields(event.fields))
        for event in events.collect()
    ]
    outcomes = ", ".join(f"`{word}`" for word in ("done", "skipped", "killed", *_outcomes()))
    return f"""# Events

A job command writes one JSON object a line. Every line has `timestamp` (RFC 3339, UTC), `level`, `event`, `run_id`, and
the event's own fields; those below are there where they make sense. New events and fields may come; these do not go.

`job.finished` is the last line of every run, also after a signal, at the deadline, and when the job's process is
killed. Its `outcome` is one of
{outcomes}.
`from` and `to` are the heads before and after: one as text, several as a list, none as null. `applied` and `reverted`
list revision ids in the order they ran. After a failure there may be more fields, such as the `revision` that failed.

{_table(("event", "level", "meaning", "fields"), rows)}
"""


def _outcomes() -> list[str]:
    return list(dict.fromkeys(kind.outcome for kind in exit_codes().values() if kind is not Findings))


def _fields(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("-",) * len(headings), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Writes every page."""
    (REFERENCE / "lint").mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    man.PATH.parent.mkdir(exist_ok=True)
    man.PATH.write_text(man.page(), encoding="utf-8")
    chart.main()


if __name__ == "__main__":
    main()
