"""Command lines in the examples and the documentation: found, taken apart, and given to the product's own parser."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from alembic_job.cli.commands import cli
from tests.chart.helm import ROOT
from tests.examples.manifests import EXAMPLES, load

_KEYWORDS = {"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "env"}
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_BLOCK = re.compile(r"^( *)```(console|sh)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
# Options of `docker run` and `docker compose run` in use here: those that take a value, and those that do not.
_WITH_VALUE = {"-e", "--env", "-v", "--volume", "--network", "--name", "--user", "--cap-drop", "--security-opt"}
_ALONE = {"--rm", "--read-only", "--detach"}
_OUR_IMAGE = re.compile(r"alembic-job|IMAGE|migrations|MIGRATIONS")


class Script(NamedTuple):
    """Some shell, and where it stands."""

    place: str
    text: str


def simple_commands(script: str) -> Iterator[list[str]]:
    """Each command with its words, without keywords, assignments and redirections."""
    for words in _lines(script):
        command: list[str] = []
        skip = False
        for position, word in enumerate(words):
            following = words[position + 1 : position + 2]
            if skip:
                skip = False
            elif word.startswith("#"):
                break
            elif re.fullmatch(r"[<>&]*[<>][<>&]*", word):
                skip = True
            elif word.isdigit() and following and re.match("[<>]", following[0]):
                continue
            elif re.fullmatch(r"[();|&]+", word):
                yield from _bare(command)
                command = []
            else:
                command.append(word)
        yield from _bare(command)


def _lines(script: str) -> Iterator[list[str]]:
    """The words of each line; a line that ends within quotes goes on in the next."""
    pending = ""
    for line in script.replace("\\\n", " ").splitlines():
        pending += line if pending else _uncommented(line)
        lexer = shlex.shlex(pending, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        lexer.commenters = ""
        try:
            yield list(lexer)
            pending = ""
        except ValueError:
            pending += "\n"
    assert not pending, f"quotes that do not end: {pending}"


def _uncommented(line: str) -> str:
    """Without the comment at its end: an apostrophe in there is none of the shell's business."""
    quote = ""
    for place, letter in enumerate(line):
        if letter in "'\"":
            quote = letter if not quote else "" if quote == letter else quote
        elif letter == "#" and not quote and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line


def _bare(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    if words:
        yield words


def alembic_job_words(command: list[str]) -> list[str] | None:
    """What alembic-job gets on its command line; None where it is not called."""
    program, *words = command
    if program == "alembic-job":
        return words
    if program != "docker" or "run" not in words[:2]:
        return None
    compose = words[0] == "compose"
    image, *rest = _after_options(words[words.index("run") + 1 :])
    if not (image == "migrate" if compose else _OUR_IMAGE.search(image)):
        return None
    return rest[1:] if rest[:1] in (["db"], ["alembic-job"]) else rest


def _after_options(words: list[str]) -> list[str]:
    while words[0].startswith("-"):
        name = words[0].partition("=")[0]
        assert name in _WITH_VALUE | _ALONE, f"docker run {name}: unknown here"
        words = words[2:] if name == words[0] and name in _WITH_VALUE else words[1:]
    return words


def parse(words: list[str]) -> None:
    """Raises `click.UsageError` for a command or an option that alembic-job does not have."""
    if not set(cli.commands).intersection(words) and words[:1] not in (["--help"], ["--version"]):
        assert not words or words[0].startswith("-"), f"no command of alembic-job: {words[0]}"
        words = ["migrate", *words]
    try:
        context = cli.make_context("alembic-job", list(words))
        name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        command.make_context(name, rest, parent=context)
    except click.exceptions.Exit:  # --help, --version
        pass


def in_markdown(path: Path) -> list[Script]:
    """The code blocks of a page: of a console the lines that are typed, of a script all."""
    found = []
    for indent, language, text in _BLOCK.findall(path.read_text()):
        body = "\n".join(line.removeprefix(indent) for line in text.splitlines())
        found.append(Script(path.name, body if language == "sh" else _typed(body)))
    return [script for script in found if script.text]


def _typed(console: str) -> str:
    lines: list[str] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            lines.append(line.removeprefix("$ "))
        elif lines and lines[-1].endswith("\\"):
            lines.append(line)
    return "\n".join(lines)


def in_github() -> list[Script]:
    """The steps of the workflow; GitHub's own expressions stand as a word."""
    jobs: dict[str, Any] = load("github-actions/deploy.yml")["jobs"]
    return [
        Script(f"{name}: {step.get('name')}", _EXPRESSION.sub("EXPRESSION", step["run"]))
        for name, job in jobs.items()
        for step in job["steps"]
        if "run" in step
    ]


def in_gitlab() -> list[Script]:
    """The scripts of the pipeline."""
    jobs = {name: job for name, job in load("gitlab-ci/.gitlab-ci.yml").items() if isinstance(job, dict)}
    return [
        Script(f"{name}: {part}", "\n".join(job[part]))
        for name, job in jobs.items()
        for part in ("before_script", "script", "after_script")
        if part in job
    ]


def in_examples() -> list[Script]:
    """All shell of the examples."""
    pages = [script for page in sorted(EXAMPLES.rglob("*.md")) for script in in_markdown(page)]
    files = [Script(str(path), path.read_text()) for path in sorted(EXAMPLES.rglob("*.sh"))]
    return [*pages, *files, *in_github(), *in_gitlab()]


def in_documentation() -> list[Script]:
    """All shell of the documentation's pages."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [script for page in pages for script in in_markdown(page)]
