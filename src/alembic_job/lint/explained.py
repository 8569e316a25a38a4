"""Why a rule is one, and what to do: for people, and as pages of the documentation."""

from __future__ import annotations

from textwrap import indent

from alembic_job.errors import UsageError
from alembic_job.lint.beside import LEFT_OUT, SAID
from alembic_job.lint.model import Rule
from alembic_job.lint.rules import RULES


def explained(name: str) -> str:
    """One rule; with `all` a line for each. Raises `UsageError` where there is no such rule."""
    if name == "all":
        rows = [(rule.name, rule.level.word, rule.summary) for rule in RULES]
        rows += [(f"squawk/{each}", "warning", words) for each, words in SAID.items()]
        width = max(len(row[0]) for row in rows)
        return "\n".join(f"{each:<{width}}  {level:<7}  {words}" for each, level, words in rows)
    rule = next((rule for rule in RULES if rule.name == name), None)
    if rule is not None:
        needs = f"\nneeds     {rule.needs}" if rule.needs else ""
        example = indent(rule.example, "          ").lstrip()
        title = f"{rule.name} ({rule.level.word}): {rule.summary}{needs}"
        return f"{title}\nwhy       {rule.why}\nfix       {rule.fix}\nexample   {example}"
    plain = name.removeprefix("squawk/")
    if plain in SAID:
        return f"squawk/{plain} (warning): {SAID[plain]}\nwhy       https://squawkhq.com/docs/{plain}"
    if plain in LEFT_OUT:
        return f"squawk/{plain} is not said: {LEFT_OUT[plain]}"
    raise UsageError(f"there is no rule {name}", hint="`alembic-job lint --explain all` lists them")


def pages() -> dict[str, str]:
    """The pages of the reference: a page a rule, and one of all."""
    return {f"{rule.name}.md": _page(rule) for rule in RULES} | {"README.md": _index()}


def _page(rule: Rule) -> str:
    needs = f"\n\nIt needs {rule.needs}." if rule.needs else ""
    return f"""# {rule.name}

{rule.summary} Level: **{rule.level.word}**.{needs}

## Why

{rule.why}

## What to do

{rule.fix}

## What it finds

```python
{rule.example}
```

Where it is meant: `# alembic-job: ignore[{rule.name}] REASON`, on the line or above it
([how to](../../how-to/lint.md)).
"""


def _index() -> str:
    ours = [f"| [{rule.name}]({rule.name}.md) | {rule.level.word} | {rule.summary} |" for rule in RULES]
    said = [f"| `squawk/{name}` | {words} |" for name, words in SAID.items()]
    left_out = [f"| `{name}` | {words} |" for name, words in LEFT_OUT.items()]
    head = "| rule | what it finds |\n| - | - |"
    return "\n".join(
        [
            "# Rules of lint\n",
            "[How to use it](../../how-to/lint.md). `alembic-job lint --explain RULE` tells the same.\n",
            "| rule | level | what it finds |\n| - | - | - |",
            *ours,
            "\n## Of squawk\n",
            "Where the extra `lint` is installed: warnings, on the SQL of each upgrade.\n",
            head,
            *said,
            "\n## Of squawk, and left out\n",
            "| rule | why |\n| - | - |",
            *left_out,
            "",
        ]
    )
