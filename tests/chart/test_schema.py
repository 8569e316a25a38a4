"""values.schema.json refuses what is unknown or wrong, and says why."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from alembic_job.settings import SETTINGS, values
from tests.chart.cases import BACK
from tests.chart.helm import CHART, DATABASE, merged, refusal, text, umbrella
from tests.chart.test_values import nested

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
# What the chart gives by values of its own; the termination log is where Kubernetes has it; nothing in it rehearses or
# decrypts.
MANAGED = {
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "ALEMBIC_CONFIG",
    "MIGRATE_BACKUP",
    "MIGRATE_BACKUP_URL",
    "MIGRATE_BACKUP_VERIFY",
    "MIGRATE_BACKUP_ARGS",
    "MIGRATE_BACKUP_JOBS",
    "MIGRATE_BACKUP_COMPRESS",
    "MIGRATE_BACKUP_KEEP",
    "MIGRATE_BACKUP_KEEP_FOR",
    "MIGRATE_BACKUP_ENCRYPT_TO",
    "MIGRATE_BACKUP_IDENTITY",
    "MIGRATE_NOTIFY",
    "MIGRATE_NOTIFY_ON",
    "MIGRATE_PASSWORD_COMMAND",
    "MIGRATE_MIGRATIONS_TIMEOUT",
    "MIGRATE_TERMINATION_LOG",
    "MIGRATE_IMAGE",
    "MIGRATE_REHEARSAL_URL",
}

# A value that is refused → a part of the message.
REFUSED: list[tuple[str, Any, str]] = [
    ("nonsense", 1, "nonsense"),
    ("image.nonsense", 1, "nonsense"),
    ("migrations.settings.databaseUrl", "postgresql://h/d", "databaseUrl"),
    ("hooks.argocd.nonsense", 1, "nonsense"),
    ("mode", "jobs", "initContainer"),
    ("hooks.provider", "argo", "argocd"),
    ("hooks.firstInstall", "job", "resource"),
    ("hooks.argocd.hook", "PostSync", "PreSync"),
    ("hooks.deletePolicy", "hook-failed", "hook-failed would delete the pod whose log says why"),
    ("hooks.deletePolicy", "before-hook-creation,hook-failed", "hook-failed would delete the pod whose log says why"),
    ("hooks.deletePolicy", "hook-succeeded", "before-hook-creation"),
    ("hooks.outputLogPolicy", "always", "hook-succeeded"),
    ("hooks.weight", "first", "integer"),
    ("image.tag", 1.1, "put it in quotes"),
    ("image.tag", "a b", "image"),
    ("image.digest", "1f02", "digest"),
    ("image.repository", "https://registry/x y", "repository"),
    ("image.pullPolicy", "always", "IfNotPresent"),
    ("migrations.args", "migrate --to r2", "array"),
    ("migrations.args", ["rollback", "--steps", 1], "string"),
    ("migrations.settings.to", 1e5, "a revision is text: put it in quotes"),
    ("migrations.settings.history", False, "needs quotes"),
    ("migrations.settings.archive", True, "need quotes"),
    ("migrations.settings.whenEdited", "never", "ignore"),
    ("migrations.settings.lint", False, "needs quotes"),
    ("migrations.settings.production", True, "need quotes"),
    ("migrations.settings.lockPolicy", False, "needs quotes"),
    ("migrations.settings.maxLockHold", False, "needs quotes"),
    ("migrations.settings.maxLockHold", "never", "maxLockHold"),
    ("migrations.settings.terminateBlockers", False, "needs quotes"),
    ("migrations.settings.terminateBlockers", "active>60s", "terminateBlockers"),
    ("migrations.settings.serverDisk", False, "needs quotes"),
    ("migrations.settings.serverDisk", "half", "serverDisk"),
    ("migrations.settings.logQueries", True, "need quotes"),
    ("migrations.settings.skip", True, "skip is the reason in words"),
    ("migrations.settings.transaction", "one", "per-revision"),
    ("migrations.settings.whenAhead", "ignore", "tolerate"),
    ("migrations.settings.waitTimeout", "40 seconds", "waitTimeout"),
    ("migrations.settings.waitTimeout", "40x", "waitTimeout"),
    ("migrations.settings.waitTimeout", -1, "waitTimeout"),
    ("migrations.settings.deadline", "", "deadline"),
    ("migrations.settings.x", 1, "x"),
    ("database.port", "5432", "integer"),
    ("database.port", 65536, "65"),
    ("database.sslMode", "strict", "verify-full"),
    ("database.urlFile", "secrets/url", "urlFile"),
    ("database.passwordCommand", "aws rds generate-db-auth-token", "array"),
    ("database.password", 1234, "put it in quotes"),
    ("externalSecret.apiVersion", "v1", "apiVersion"),
    ("externalSecret.secretStoreRef.kind", "Store", "ClusterSecretStore"),
    ("timeoutSeconds", "5m", "integer"),
    ("timeoutSeconds", 0, "timeoutSeconds"),
    ("job.backoffLimit", 0, "a lost connection or a database that starts late fails the release"),
    ("job.terminationGracePeriodSeconds", 0, "SIGTERM cancels the running statement"),
    ("job.ttlSecondsAfterFinished", 60, "helm/helm#32586"),
    ("job.podFailurePolicy", {"rules": []}, "made from the exit codes of the job"),
    ("job.restartPolicy", "OnFailure", "always Never"),
    ("backup.mode", "always", "required"),
    ("backup.mode", False, "needs quotes"),
    ("backup.mountPath", "backups", "mountPath"),
    ("backup.verify", "all", "verify"),
    ("backup.jobs", 0, "jobs"),
    ("backup.keep", "ten", "keep"),
    ("backup.keepFor", "a month", "keepFor"),
    ("backup.url", "/backups", "a folder is backup.existingClaim and backup.mountPath"),
    ("backup.url", "s3://key:secret@bucket", "url"),
    ("backup.url", "https://bucket.example", "url"),
    ("backup.url", "s3:///prefix", "url"),
    ("backup.schedule", "daily", "schedule"),
    ("backup.schedule", "TZ=UTC 0 2 * * *", "schedule"),
    ("backup.schedule", "0 0 2 * * *", "schedule"),
    ("backup.cronJob.timeZone", "Europe / Berlin", "timeZone"),
    ("backup.cronJob.concurrencyPolicy", "Allow", "is always Forbid"),
    ("backup.cronJob.activeDeadlineSeconds", 30, "activeDeadlineSeconds"),
    ("backup.cronJob.failedJobsHistoryLimit", 0, "failedJobsHistoryLimit"),
    ("backup.emptyDir", {}, "a volume that dies with the pod is no place for a backup"),
    ("backup.ephemeral", {"size": "1Gi"}, "a volume that dies with the pod is no place for a backup"),
    ("backup.persistence", {"size": "1Gi"}, "make the claim apart and give backup.existingClaim"),
    ("notify.events", ["success"], "started"),
    ("notify.urls", "slack://a/b/c", "put them into a Secret"),
    ("waitForMigrations.whenAhead", "wait", "tolerate"),
    ("waitForMigrations.timeout", "soon", "timeout"),
    ("rollback.enabled", "yes", "boolean"),
    ("rollback.when", "during", "post"),
    ("rollback.whenn", "post", "whenn"),
    ("manual.schedule", "0 * * * *", "there is no schedule, except for backups in backup.schedule"),
    ("manual.args", [], "args"),
    ("serviceAccount.automount", True, "the token is never mounted"),
    ("serviceAccount.name", "My_Robot", "name"),
    ("fullnameOverride", "shop.-schema", "fullnameOverride"),
    ("commonLabels", {"team": "two words"}, "team"),
    ("podAnnotations", {"port": 8080}, "port"),
    ("openshift", "maybe", "auto"),
    ("extraEnvVars", {"COLOUR": "blue"}, "array"),
    ("extraEnvVars", [{"name": "PORT", "value": 8080}], "put it in quotes"),
    ("extraEnvVars", [{"value": "blue"}], "name"),
    ("tmp.sizeLimit", "64 MB", "sizeLimit"),
    ("dnsPolicy", "none", "ClusterFirst"),
]


def rounds() -> list[list[tuple[str, Any, str]]]:
    """The refused values in as few lists as possible, each path once in a list: Helm names all faults at once."""
    lists: list[list[tuple[str, Any, str]]] = []
    for case in REFUSED:
        free = [cases for cases in lists if case[0] not in {path for path, _, _ in cases}]
        if free:
            free[0].append(case)
        else:
            lists.append([case])
    return lists


@pytest.mark.parametrize("cases", rounds(), ids=range(len(rounds())))
def test_refused_by_the_schema(cases: list[tuple[str, Any, str]]) -> None:
    """Wrong types, words and places are refused before anything is rendered, with the value's path and the reason."""
    said = refusal(merged(DATABASE, *(nested(path, value) for path, value, _ in cases)))
    assert "schema" in said
    for path, value, reason in cases:
        lines = [line for line in said.splitlines() if path.rsplit(".", 1)[-1] in line]
        assert any(reason in line for line in lines), f"{path}={value}: {said}"


# What lies in several values → a part of the message.
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"database": {"url": "x"}}, "database.url is given together with database.existingSecret: keep one"),
    (
        {
            "database": {"existingSecret": "", "password": "x"},
            "externalSecret": {"enabled": True, "secretStoreRef": {"name": "s"}, "data": [{"secretKey": "url"}]},
        },
        "database.password is given together with externalSecret.enabled",
    ),
    ({"database": {"urlFile": "/u"}}, "database.urlFile and database.existingSecretKeys.url are the same thing twice"),
    (
        {"database": {"directUrlFile": "/u", "existingSecretKeys": {"directUrl": "d"}}},
        "database.directUrlFile and database.existingSecretKeys.directUrl are the same thing twice",
    ),
    (
        {"database": {"passwordFile": "/p", "passwordCommand": ["token"]}},
        "database.passwordFile and database.passwordCommand are the same thing twice",
    ),
    (
        {"database": {"host": "h", "existingSecretKeys": {"url": "", "host": "h"}}},
        "database.host and database.existingSecretKeys.host are the same thing twice",
    ),
    ({"database": {"host": "h"}}, 'set database.existingSecretKeys.url to ""'),
    ({"database": {"existingSecretKeys": {"url": ""}, "user": "u"}}, "database.user is set without a host"),
    ({"database": {"existingSecretKeys": {"url": ""}}}, "no database"),
    (
        {"database": {"existingSecret": "", "host": "h", "existingSecretKeys": {"password": "p"}}},
        "database.existingSecret names no Secret",
    ),
    ({"externalSecret": {"enabled": True}}, "externalSecret.secretStoreRef.name"),
    ({"externalSecret": {"enabled": True, "secretStoreRef": {"name": "s"}}}, "externalSecret.data"),
    (
        {"notify": {"existingSecret": "s", "urlsFile": "/u"}},
        "notify.existingSecret and notify.urlsFile are the same thing twice",
    ),
    ({"backup": {"mode": "required"}}, "there is no place for the dumps: give backup.existingClaim or backup.url"),
    ({"backup": {"schedule": "@daily"}}, "backup.schedule is set, but there is no place for the dumps"),
    (
        {"backup": {"url": "s3://b", "existingClaim": "c"}},
        "backup.url and backup.existingClaim are the same thing twice",
    ),
    ({"backup": {"url": "s3://b", "jobs": 2}}, "which cannot be streamed to backup.url"),
    ({"backup": {"existingClaim": "c", "jobs": 2, "encryptTo": "age1x"}}, "which cannot be encrypted"),
    (
        {"rollback": {"enabled": True}},
        "rollback.enabled takes a backup before it undoes anything, and there is no place for it: give "
        'backup.existingClaim or backup.url, or set backup.mode to "off" to do without',
    ),
    (
        {"migrations": {"settings": {"whenAhead": "rollback"}}},
        "migrations.settings.whenAhead rollback takes a backup before it undoes anything",
    ),
    (merged(BACK, {"mode": "initContainer"}), "rollback.enabled needs mode job"),
    (
        merged(BACK, {"hooks": {"provider": "argocd"}}),
        "which nobody runs with hooks.provider argocd: set migrations.settings.whenAhead to rollback in the releases",
    ),
    (merged(BACK, {"hooks": {"enabled": False}}), "which nobody runs with hooks.provider none"),
    (merged(BACK, {"migrations": {"settings": {"history": "off"}}}), "migrations.settings.history off does not keep"),
    (merged(BACK, {"migrations": {"settings": {"archive": "off"}}}), "migrations.settings.archive off does not keep"),
    (
        merged(BACK, {"waitForMigrations": {"whenAhead": "fail"}}),
        "set rollback.when to pre, or waitForMigrations.whenAhead to tolerate",
    ),
    (
        merged(BACK, {"extraEnvVars": [{"name": "MIGRATE_WHEN_AHEAD", "value": "fail"}]}),
        "use migrations.settings.whenAhead and waitForMigrations.whenAhead",
    ),
    (
        merged(BACK, {"mode": "initContainer", "migrations": {"settings": {"whenAhead": "rollback"}}}),
        "each older pod would undo what newer pods",
    ),
    ({"job": {"activeDeadlineSeconds": 290}}, "job.activeDeadlineSeconds (290) and job.terminationGracePeriodSeconds"),
    ({"timeoutSeconds": 59}, "leave a run no time"),
    ({"migrations": {"settings": {"deadline": "4m10s"}}}, "migrations.settings.deadline (4m10s) must be at least 20"),
    ({"migrations": {"settings": {"deadline": 246}}}, "migrations.settings.deadline (246) must be at least 20"),
    ({"migrations": {"settings": {"deadline": 0}}}, "leave a run no time"),
    (
        {"timeoutSeconds": 90},
        "migrations.settings.waitTimeout (40s) must be below the bound of one try (30s), which follows from",
    ),
    (
        {"migrations": {"settings": {"deadline": "1m", "waitTimeout": 60}}},
        "migrations.settings.waitTimeout (60) must be below migrations.settings.deadline (1m)",
    ),
    ({"extraEnvVars": [{"name": "MIGRATE_DEADLINE", "value": "1h"}]}, "use migrations.settings.deadline"),
    ({"extraEnvVars": [{"name": "MIGRATE_BACKUP", "value": "off"}]}, "MIGRATE_BACKUP: use backup.mode"),
    ({"extraEnvVars": [{"name": "MIGRATE_BACKUP_URL", "value": "/b"}]}, "MIGRATE_BACKUP_URL: use backup.url, or"),
    ({"migrations": {"args": ["migrate", "--to", "r2"]}}, "migrations.args holds --to: use migrations.settings.to"),
    ({"migrations": {"args": ["migrate", "--to=r2"]}}, "migrations.args holds --to: use migrations.settings.to"),
    ({"migrations": {"args": ["migrate", "--deadline", "1h"]}}, "use migrations.settings.deadline"),
    ({"migrations": {"args": ["migrate", "--when-ahead=fail"]}}, "use migrations.settings.whenAhead"),
    ({"migrations": {"args": ["migrate", "--backup", "off"]}}, "migrations.args holds --backup: use backup.mode"),
    ({"migrations": {"args": ["migrate", "--backup-url=/b"]}}, "holds --backup-url: use backup.url, or"),
    (
        {"waitForMigrations": {"extraEnvVars": [{"name": "MIGRATE_DEADLINE", "value": "1h"}]}},
        "use migrations.settings.deadline",
    ),
]


@pytest.mark.parametrize(("given", "reason"), CONTRADICTIONS, ids=[reason for _, reason in CONTRADICTIONS])
def test_contradictions_are_refused(given: dict[str, Any], reason: str) -> None:
    """What only several values together make wrong is refused with all their names."""
    assert reason in refusal(merged(DATABASE, given))


def test_the_settings_are_those_of_the_table() -> None:
    """A setting added to the product is one of the chart, too; the chart renders its variable from its name."""
    settings = SCHEMA["properties"]["migrations"]["properties"]["settings"]["properties"]
    made = {"MIGRATE_" + re.sub(r"([A-Z])", r"_\1", name).upper() for name in settings}
    assert made == {setting.variable for setting in SETTINGS} - MANAGED


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.variable not in MANAGED], ids=lambda s: s.name)
def test_the_schema_takes_what_the_setting_takes(setting: Any) -> None:
    """The words of each choice are the parser's, the durations those that it reads, the defaults are admitted."""
    name = re.sub(r"_([a-z])", lambda match: match[1].upper(), setting.name)
    rule = SCHEMA["properties"]["migrations"]["properties"]["settings"]["properties"][name]
    if setting.parse is values.duration:
        assert rule["$ref"].endswith("uration")
    elif setting.parse in (values.words, values.patterns):
        assert rule["$ref"].endswith("textOrWords")
    elif setting.parse in (values.duration_or_off, values.terminate_blockers):
        pattern = rule["else"]["pattern"]
        assert all(re.fullmatch(pattern, text) for text in ("off", setting.default or "idle-in-transaction>60s"))
    elif setting.parse is values.size_or_off:
        assert all(
            re.fullmatch(rule["else"]["pattern"], text) for text in ("off", "500GiB", "100GB", "1.5T", "1048576")
        )
    elif setting.parse not in (values.plain, values.identifier, values.search_path):
        with pytest.raises(ValueError) as refused:
            setting.parse("\0")
        words = set(str(refused.value).replace(" or ", ", ").split(", "))
        assert set(rule.get("else", rule)["enum"]) == {*words, None}


@pytest.mark.parametrize("duration", ["0", "90", "1.5", "250ms", "2min", "1h30m", "1.5h", "1d2h3m4s5ms"])
def test_durations_are_read_alike(duration: str) -> None:
    """The schema admits a duration that the job reads, and the chart takes it for as many seconds."""
    assert re.fullmatch(SCHEMA["definitions"]["duration"]["pattern"], duration)
    seconds = math.ceil(values.duration(duration))
    least = {"timeoutSeconds": seconds + 55, "migrations": {"settings": {"deadline": duration, "waitTimeout": 0}}}
    if seconds:
        text(merged(DATABASE, least))
    assert "deadline" in refusal(merged(DATABASE, least, {"timeoutSeconds": seconds + 54}))


@pytest.mark.parametrize(
    "duration", ["", "s", "1", "1x", "1 h", "1h-", "-1s", ".5h", "1..5h", "h1", "1e3", "inf", "1H"]
)
def test_no_duration_is_admitted_that_the_job_refuses(duration: str) -> None:
    """The pattern is narrower than the parser, never wider."""
    if re.fullmatch(SCHEMA["definitions"]["duration"]["pattern"], duration):
        values.duration(duration)


@pytest.mark.parametrize("name", ["maxLockHold", "terminateBlockers"])
@pytest.mark.parametrize("start", ["", "idle-in-transaction>", "active>"])
@pytest.mark.parametrize("end", ["", "off", "OFF", "60s", "1", "0.1s", "900ms", "1.5h", "-1s", "x", "nan", "inf"])
def test_nothing_is_admitted_that_a_parser_refuses(name: str, start: str, end: str) -> None:
    """Where a setting takes a duration among other words the pattern is narrower than its parser."""
    rule = SCHEMA["properties"]["migrations"]["properties"]["settings"]["properties"][name]
    if re.fullmatch(rule["else"]["pattern"], start + end):
        {"maxLockHold": values.duration_or_off, "terminateBlockers": values.terminate_blockers}[name](start + end)


@pytest.mark.parametrize("number", ["", "0", "1", "1.5", "10", ".5", "1e9", "-1"])
@pytest.mark.parametrize("unit", ["", "off", "B", "k", "kB", "GiB", "Gi", "T", "i", "GIB", "Pi", " GB"])
def test_no_size_is_admitted_that_the_job_refuses(number: str, unit: str) -> None:
    """The pattern of `serverDisk` is narrower than its parser."""
    rule = SCHEMA["properties"]["migrations"]["properties"]["settings"]["properties"]["serverDisk"]
    if re.fullmatch(rule["else"]["pattern"], number + unit):
        values.size_or_off(number + unit)


def test_a_parent_may_add_its_own() -> None:
    """A dependency gets the parent's global values and its own condition; both are admitted."""
    chart = umbrella("migrations")
    given = {
        "global": {"storageClass": "fast", "postgresql": {"auth": {}}},
        "migrations": {**DATABASE, "enabled": True},
    }
    assert "kind: Job" in text(given, chart=chart)


def test_a_dependency_is_checked_too() -> None:
    """The schema holds under an alias."""
    said = refusal({"migrations": merged(DATABASE, {"nonsense": 1})}, chart=umbrella("migrations"))
    assert "nonsense" in said


def test_null_takes_a_default_away() -> None:
    """As in every chart, `null` in a values file removes the default."""
    given = {"resources": None, "migrations": {"settings": {"waitTimeout": None}}, "podSecurityContext": None}
    none = {"image": {"registry": None}, "database": {"host": None}, "global": {"imageRegistry": None}}
    made = text(merged(DATABASE, given, none))
    assert "MIGRATE_WAIT_TIMEOUT" not in made and "PGHOST" not in made
    assert 'image: "alembic-job:' in made


def objects(rule: Any, path: str = "values") -> list[tuple[str, dict[str, Any]]]:
    """Every object rule of the schema that lists properties."""
    if not isinstance(rule, dict):
        return []
    own = [(path, rule)] if "properties" in rule else []
    return own + [found for key, child in rule.items() for found in objects(child, f"{path}.{key}")]


def test_nothing_unknown_is_admitted_anywhere() -> None:
    """Every object of the schema is closed, but `global` and what is passed on to Kubernetes as it is."""
    open_ones = {path for path, rule in objects(SCHEMA) if rule.get("additionalProperties") is not False}
    assert open_ones == {"values.properties.global"}
