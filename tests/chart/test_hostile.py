"""Values with quotes, percent signs, braces, dollars, line ends and letters of all kinds arrive as they are; secrets
only in Secrets."""

from __future__ import annotations

import base64
import json
import shlex
from typing import Any

import pytest
import yaml

from tests.chart.helm import (
    CHART,
    DATABASE,
    Manifest,
    container,
    environment,
    job,
    merged,
    only,
    pod_spec,
    pod_template,
    render,
    text,
    umbrella,
)

HOSTILE = [
    'a "quoted" word',
    "it's",
    "100% %s %20",
    '{{ .Values }} {{ fail "x" }}',
    "two\nlines\n",
    "tab\tand \\ back\\slash",
    "grüße 数据库 🐘",
    "$HOME $(PGHOST) $$ ${X}",
    " : # - {a: b} [c] & * ! | > @ `",
    "yes",
    "null",
    "0123",
    "1e3",
    "trailing ",
    " leading",
    "end of line\n\n",
]


def expanded(value: str) -> str:
    """As the kubelet hands a literal variable over: `$$` is `$`, and no reference must be left."""
    assert "$" not in value.replace("$$", "")
    return value.replace("$$", "$")


@pytest.mark.parametrize("hostile", HOSTILE[::3], ids=range(len(HOSTILE[::3])))
def test_settings_arrive_as_they_are(hostile: str) -> None:
    """In the Job's environment, after the kubelet has expanded it."""
    given = {"migrations": {"settings": {"tag": hostile, "skip": hostile, "x": hostile}}}
    variables = environment(container(job(merged(DATABASE, given))))
    assert [expanded(variables[name]) for name in ("MIGRATE_TAG", "MIGRATE_SKIP", "MIGRATE_X")] == [hostile] * 3


def test_words_arrive_as_they_are() -> None:
    """A list is quoted so that the job's splitting gives the same list."""
    given = {"migrations": {"settings": {"x": HOSTILE}}, "database": {"passwordCommand": ["token", *HOSTILE]}}
    variables = environment(container(job(merged(DATABASE, given))))
    assert shlex.split(expanded(variables["MIGRATE_X"])) == HOSTILE
    assert shlex.split(expanded(variables["MIGRATE_PASSWORD_COMMAND"])) == ["token", *HOSTILE]


def test_annotations_arrive_as_they_are() -> None:
    """On everything and on its pods."""
    mine = {f"note-{number:02}": hostile for number, hostile in enumerate(HOSTILE)}
    made = render(merged(DATABASE, {"commonAnnotations": mine, "podAnnotations": mine}))
    for manifest in made:
        assert mine.items() <= manifest["metadata"]["annotations"].items()
        if pod := pod_template(manifest):
            assert mine.items() <= pod["metadata"]["annotations"].items()


def test_arguments_and_variables_arrive_as_they_are() -> None:
    """Where Kubernetes itself expands $(X), that is left to it."""
    variables = [{"name": f"X{number}", "value": hostile} for number, hostile in enumerate(HOSTILE)]
    made = container(job(merged(DATABASE, {"migrations": {"args": ["migrate", *HOSTILE]}, "extraEnvVars": variables})))
    assert made["args"] == ["migrate", *HOSTILE]
    assert [environment(made)[variable["name"]] for variable in variables] == HOSTILE


@pytest.mark.parametrize("hostile", HOSTILE[1::4], ids=range(len(HOSTILE[1::4])))
def test_inline_secrets_arrive_as_they_are_and_nowhere_else(hostile: str) -> None:
    """In the Secret of the chart's own; every other object refers to it."""
    secret = f"s3cr3t {hostile}"
    given = {"database": {"url": f"u {secret}", "directUrl": f"d {secret}", "password": f"p {secret}"}}
    made = render(given)
    data = only(made, "Secret")["data"]
    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == given["database"]
    for manifest in made:
        if manifest["kind"] != "Secret":
            assert "s3cr3t" not in json.dumps(manifest)
    references = environment(container(only(made, "Job")))
    for variable, key in (("DATABASE_URL", "url"), ("DATABASE_DIRECT_URL", "directUrl"), ("PGPASSWORD", "password")):
        assert references[variable] == {"secretKeyRef": {"name": "rel-alembic-job-database", "key": key}}


def test_inline_secrets_are_not_in_the_applications_pods() -> None:
    """They refer to the Secret."""
    made = render({"migrations": {"database": {"url": "postgresql://u:s3cr3t@h/d"}}}, chart=umbrella("migrations"))
    assert "s3cr3t" not in json.dumps([manifest for manifest in made if manifest["kind"] != "Secret"])


@pytest.mark.parametrize("value", ['pass"word', "it's", "100% {{x}}", "a$b grün"])
def test_from_the_command_line(value: str) -> None:
    """`--set-string` takes them as well."""
    argument = ("--set-string", f"database.password={value}", "--set-string", f"migrations.settings.tag={value}")
    made = render({"database": {"host": "h"}}, *argument)
    assert base64.b64decode(only(made, "Secret")["data"]["password"]).decode() == value
    assert expanded(environment(container(only(made, "Job")))["MIGRATE_TAG"]) == value


def test_numbers_stay_whole() -> None:
    """Helm reads numbers as floats; a million is not 1e+06."""
    given = {
        "timeoutSeconds": 2_000_000,
        "migrations": {"settings": {"waitTimeout": 1_000_000, "deadline": 1_500_000}},
        "job": {"ttlSecondsAfterFinished": 31_536_000},
        "hooks": {"weight": -1_000_000},
    }
    made = text(merged(DATABASE, given))
    variables = environment(container(job(merged(DATABASE, given))))
    assert variables["MIGRATE_WAIT_TIMEOUT"] == "1000000"
    assert variables["MIGRATE_DEADLINE"] == "1500000"
    assert "e+" not in made
    for whole in ("activeDeadlineSeconds: 1999965", "ttlSecondsAfterFinished: 31536000", '"-1000000"', '"-1000010"'):
        assert whole in made


def test_extra_manifests_are_templates() -> None:
    """Objects and text, with the chart's own named templates."""
    name = '{{ include "alembic-job.fullname" . }}-more'
    more: list[Any] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"a": 'say "{{ .Release.Name }}"'},
        },
        f"apiVersion: v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n",
    ]
    made = render(merged(DATABASE, {"extraDeploy": more}))
    assert only(made, "ConfigMap")["metadata"]["name"] == "rel-alembic-job-more"
    assert only(made, "ConfigMap")["data"] == {"a": 'say "rel"'}
    assert only(made, "NetworkPolicy")["metadata"]["name"] == "rel-alembic-job-more"


def test_passed_on_as_it_is() -> None:
    """What Kubernetes reads itself is not touched: volumes, mounts, resources, with anything in them."""
    volumes = [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "{{ x }}"}}]}}]
    resources = {"limits": {"cpu": 2, "memory": "1Gi", "nvidia.com/gpu": 1}, "requests": {"cpu": 1, "memory": "1Gi"}}
    made = job(merged(DATABASE, {"extraVolumes": volumes, "resources": resources}))
    assert volumes[0] in pod_spec(made)["volumes"]
    assert container(made)["resources"] == resources


def test_the_default_values_are_valid_yaml_without_tricks() -> None:
    """No key twice in values.yaml, and nothing in it that a reader would take for something else."""
    from tests.chart.helm import StrictLoader

    loaded: Manifest = yaml.load((CHART / "values.yaml").read_text(encoding="utf-8"), StrictLoader)
    assert isinstance(loaded["hooks"]["enabled"], bool)
