"""The documentation says what the code does: made pages are fresh, links lead somewhere, names exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from docs import events, generate, man
from docs.cli import own_options

from alembic_job.cli.commands import cli
from alembic_job.errors import exit_codes
from alembic_job.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
VARIABLES = {setting.variable for setting in SETTINGS}
# What a reader may be sent to, or sees in an example.
HOSTS = {"github.com", "keepachangelog.com", "localhost", "semver.org", "www.postgresql.org", "alembic.sqlalchemy.org"}
HOSTS |= {"metadata.google.internal", "ossrdbms-aad.database.windows.net"}


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code(text: str) -> Iterator[str]:
    """The lines of code blocks, and code spans."""
    blocks = re.compile(r"^[ ]*```.*?^[ ]*```", re.MULTILINE | re.DOTALL)
    for block in blocks.findall(text):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    yield from re.findall(r"`([^`\n]+)`", blocks.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_made_pages_are_fresh() -> None:
    """`python -m docs.generate` would change nothing, and no page of reference/ is left over."""
    made = generate.pages()
    by_a_server = {"locks.md"}  # docs.locks, which tests/rules sees to
    there = {path.relative_to(generate.REFERENCE).as_posix() for path in generate.REFERENCE.rglob("*.md")}
    assert there - by_a_server == set(made)
    for name, text in made.items():
        assert (generate.REFERENCE / name).read_text(encoding="utf-8") == text, f"run make docs: {name} is stale"


def test_the_manual_page() -> None:
    """It is fresh; each command, option, variable and exit code is in it; a line is a known macro or plain text."""
    page = man.page()
    assert man.PATH.read_text(encoding="utf-8") == page, "run make docs: the manual page is stale"
    macros = {"TH", "SH", "SS", "PP", "TP", "RS", "RE", "nf", "fi", '\\"'}
    lines = page.splitlines()[1:]
    assert {line[1:].split(" ")[0] for line in lines if line.startswith(".")} <= macros
    assert all(line and line[0] != "'" for line in lines)
    texts = "\n".join(line for line in lines if not line.startswith("."))
    assert not re.findall(r"(?<!\\)[-'`^~]|\\(?!-|f[BIR]|&|\((?:rs|aq|ga|ha|ti))", texts)
    assert page.count(".nf\n") == page.count(".fi\n") and page.count(".RS 4\n") == page.count(".RE\n")
    plain = re.sub(r"\\f[BIR]|\\&", "", page).replace("\\-", "-")
    assert all(f'\n.SS "{name}' in plain for name in cli.commands)
    assert all(f".TP\n{name}" in plain for name in [*VARIABLES, *map(str, exit_codes())])
    options = {option for command in cli.commands.values() for each in own_options(command) for option in each.opts}
    assert all(re.search(rf"(^|, ){option}\b", plain, re.MULTILINE) for option in options)


def test_text_for_the_manual_page() -> None:
    """What roff would obey or print otherwise is shown as it is."""
    assert man.roff(".ini's `--x` \\ ~^`") == "\\&.ini\\(aqs \\fB\\-\\-x\\fR \\(rs \\(ti\\(ha\\(ga"


def test_every_event_has_a_meaning() -> None:
    """An event without a line in docs/events.py fails here, and so does a line without its event."""
    assert {event.name for event in events.collect()} == set(events.MEANINGS)


def test_every_name_like_an_event_is_one() -> None:
    """What is found by reading the source is all there is: no string that looks like an event was overlooked."""
    prefixes = "|".join(sorted({name.partition(".")[0] for name in events.MEANINGS if "." in name}))
    like_event = re.compile(rf'"((?:{prefixes})\.[a-z_]+)"')
    found = {name for path in events.SOURCE.rglob("*.py") for name in like_event.findall(path.read_text())}
    assert found - {"log.record"} <= set(events.MEANINGS)


def test_every_exit_code_is_documented() -> None:
    """The page has a row for each code of the table."""
    page = generate.exit_codes_page()
    assert all(f"\n| {number} | " in page for number in exit_codes())


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository resolves, with its anchor."""
    text = re.sub(r"^[ ]*```.*?^[ ]*```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target} leads nowhere"
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{page.name}: no heading {target}"


@each_page()
def test_variables_exist(page: Path) -> None:
    """Every MIGRATE_ variable that a page names is a setting."""
    named = re.findall(r"\bMIGRATE_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))
    assert {name.removesuffix("_FILE") for name in named} <= VARIABLES


@each_page()
def test_commands_and_options_exist(page: Path) -> None:
    """Every `alembic-job …` in code names a command, with options that the command has."""
    for line in code(page.read_text(encoding="utf-8")):
        for words in re.findall(r"(?<![\w/.:=-])alembic-job((?: +[^\s|;&#]+)+)", line):
            check_command(words.split(), f"{page.name}: {line.strip()}")


def check_command(words: list[str], where: str) -> None:
    """These words follow `alembic-job` in a command line: Alembic's options, a command, its options."""
    while words and (words[0].startswith("-") or words[0] in ("db", "[OPTIONS]")):
        words = words[2:] if words[0] in ("-c", "-n", "-x", "--tag") else words[1:]
    if not words or not re.fullmatch(r"[a-z][a-z-]*", words[0]):
        return  # an image's name before a folder, an owner's name before a run's id
    assert words[0] in cli.commands, where
    command = cli.commands[words[0]]
    below = command.commands if isinstance(command, click.Group) else {}
    chain = [command, *(below[word] for word in words[1:] if word in below)]
    known = {option for each in chain for parameter in each.params for option in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in words[1:] if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
    assert given <= known, where


@each_page()
def test_examples_can_be_read(page: Path) -> None:
    """YAML and JSON examples parse."""
    text = page.read_text(encoding="utf-8")
    for language, body in re.findall(r"^```(yaml|json)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "yaml":
            list(yaml.safe_load_all(body))
        else:
            [json.loads(line) for line in body.splitlines()]


@each_page()
def test_pages_are_about_the_product_alone(page: Path) -> None:
    """No path of somebody's machine, no address of a package registry or mirror."""
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"/work/|/root/|/home/|/tmp/(?!wheel|pins)|\S*(?:pypi|simple/|mirror\.)\S*", text)
    hosts = {host.partition(":")[0] for host in re.findall(r"https?://([\w.:-]+)", text)}
    assert hosts <= HOSTS
