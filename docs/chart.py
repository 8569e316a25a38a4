"""Writes the chart's README from the `# --` comments of its values.yaml; part of `python -m docs.generate`.

`tests/chart/test_readme.py` fails while the committed README differs from what is made here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parents[1] / "helm" / "alembic-job"
README = CHART / "README.md"


class Value(NamedTuple):
    """One row of the README: `path` as --set takes it."""

    section: str
    path: str
    default: Any
    help: str


def readme() -> str:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return f"""<!-- Made by `python -m docs.generate` from the comments of values.yaml: change those, not this page. -->

# {chart["name"]}

{chart["description"]}: a Job that
Helm, Argo CD or Flux runs first, and an init container for the application's pods that waits for it.

Chart {chart["version"]}, job {chart["appVersion"]}; Kubernetes {_kubernetes(chart["kubeVersion"])} or newer; Helm 4, or
3.14 or newer.

```console
$ kubectl create secret generic shop-database --from-literal=url=postgresql://shop:secret@postgres/shop
$ helm upgrade --install shop-migrations helm/alembic-job \\
    --set image.repository=shop-migrations,image.tag=1.4.2,database.existingSecret=shop-database
```

As a dependency of the application's chart, its pods wait with two lines
([all of it](../../docs/how-to/kubernetes.md)):

```gotemplate
      initContainers:
        {{{{- include "alembic-job.initContainers" .Subcharts.migrations | nindent 8 }}}}
      volumes:
        {{{{- include "alembic-job.volumes" .Subcharts.migrations | nindent 8 }}}}
```

A value that is unknown or wrong is refused, with the reason. No default means: not set.

# Values

{_sections()}
"""


def _kubernetes(constraint: str) -> str:
    [version] = re.findall(r"\d+\.\d+", constraint)
    return str(version)


def _sections() -> str:
    sections: dict[str, list[Value]] = {}
    for value in values():
        sections.setdefault(value.section, []).append(value)
    return "\n\n".join(f"## {title}\n\n{_table(rows)}" for title, rows in sections.items())


def _table(rows: list[Value]) -> str:
    lines = [f"| `{row.path}` | {_code(row.default)} | {_cell(row.help)} |" for row in rows]
    return "\n".join(["| value | default | what it does |", "| - | - | - |", *lines])


def _code(default: Any) -> str:
    return "" if default in (None, "") else f"`{_cell(json.dumps(default, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def values() -> Iterator[Value]:
    """Every documented value of values.yaml, in its order. Raises `ValueError` for one without a comment."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    yield from _values(yaml.compose(text), yaml.safe_load(text), "", lines)


def _values(node: yaml.Node, loaded: Any, parent: str, lines: list[str]) -> Iterator[Value]:
    assert isinstance(node, yaml.MappingNode)
    for key, child in node.value:
        path = f"{parent}.{key.value}".lstrip(".")
        value = loaded[key.value]
        if comment := _comment(lines, key.start_mark.line):
            yield Value(_section(lines, key.start_mark.line), path, value, comment)
        elif isinstance(value, dict) and value:
            yield from _values(child, value, path, lines)
        else:
            raise ValueError(f"values.yaml: {path} has no comment `# -- …`")


def _comment(lines: list[str], line: int) -> str:
    """The comment directly above a line, from its `# --` on, as one line."""
    words: list[str] = []
    while line and (comment := lines[line - 1].strip()).startswith("#"):
        line -= 1
        if comment.startswith("# -- "):
            return " ".join([comment.removeprefix("# -- "), *words])
        words.insert(0, comment.lstrip("# "))
    return ""


def _section(lines: list[str], line: int) -> str:
    return next(text.removeprefix("## ") for text in reversed(lines[:line]) if text.startswith("## "))


def main() -> None:
    """Writes the README."""
    README.write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    main()
