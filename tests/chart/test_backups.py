"""Backups by the clock, and where backups go."""

from __future__ import annotations

from typing import Any

import pytest

from alembic_job.settings import values as parse
from tests.chart.cases import BACK
from tests.chart.helm import DATABASE, Manifest, Values, container, environment, job, merged, pod_spec, render

CLOCK: Values = {"backup": {"existingClaim": "dumps", "schedule": "30 2 * * *"}}


def cron_jobs(*values: Values) -> dict[str, Manifest]:
    """The CronJobs by the end of their names."""
    found = [manifest for manifest in render(merged(DATABASE, *values)) if manifest["kind"] == "CronJob"]
    return {manifest["metadata"]["name"].rpartition("-")[2]: manifest for manifest in found}


def test_there_is_none_unless_asked_for() -> None:
    """A claim alone means backups before migrations."""
    assert set(cron_jobs({"backup": {"existingClaim": "dumps"}})) == {"manual"}


def test_a_backup_by_the_clock() -> None:
    """Never two at once; each is bounded, and ends by itself before Kubernetes ends it."""
    made = cron_jobs(CLOCK, {"manual": {"enabled": False}})["backup"]
    spec, tried = made["spec"], made["spec"]["jobTemplate"]["spec"]
    assert (spec["schedule"], spec["suspend"], spec["concurrencyPolicy"]) == ("30 2 * * *", False, "Forbid")
    assert "timeZone" not in spec
    assert container(made)["args"] == ["backup"]
    deadline = parse.duration(environment(container(made))["MIGRATE_DEADLINE"])
    assert deadline + 20 <= tried["activeDeadlineSeconds"] == 21600
    assert tried["backoffLimit"] == 3
    assert pod_spec(made)["restartPolicy"] == "Never"
    assert tried["podReplacementPolicy"] == "Failed"


def test_the_policy_is_the_jobs() -> None:
    """A full disk is tried again, a wrong password not."""
    made = cron_jobs(CLOCK)["backup"]
    ignore, fail = made["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert [ignore, fail["onExitCodes"]["values"]] == [
        job()["spec"]["podFailurePolicy"]["rules"][0],
        job()["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"],
    ]
    assert fail["onExitCodes"]["containerName"] == container(made)["name"]


def test_it_is_taken_whatever_migrations_do() -> None:
    """Not skipped with them, under mode off and without a Job, too; the rules of what is kept hold."""
    skip: Values = {"migrations": {"settings": {"skip": "incident", "deadline": "1m"}}}
    more: Values = {"backup": {"mode": "off", "keep": 10, "keepFor": "30d", "encryptTo": "age1x"}}
    for mode in ("job", "initContainer"):
        variables = environment(container(cron_jobs(CLOCK, skip, more, {"mode": mode})["backup"]))
        assert "MIGRATE_SKIP" not in variables
        assert variables["MIGRATE_DEADLINE"] == "21575s"
        assert variables["MIGRATE_BACKUP_URL"] == "/backups"
        assert [variables[f"MIGRATE_BACKUP_{name}"] for name in ("KEEP", "KEEP_FOR", "ENCRYPT_TO")] == [
            "10",
            "30d",
            "age1x",
        ]


@pytest.mark.parametrize(
    ("provider", "suspend", "ignored"), [("argocd", True, True), ("argocd", False, False), ("helm", True, False)]
)
def test_a_suspended_one_is_healthy_for_argo_cd(provider: str, suspend: bool, ignored: bool) -> None:
    """One that runs tells its own health."""
    given: Values = {"hooks": {"provider": provider}, "backup": {"cronJob": {"suspend": suspend}}}
    metadata = cron_jobs(CLOCK, given)["backup"]["metadata"]
    assert ("argocd.argoproj.io/ignore-healthcheck" in metadata.get("annotations", {})) == ignored


def test_every_run_that_works_has_the_backups_place() -> None:
    """Migration, rollback, by hand, by the clock: a bucket, or the claim; in a bucket there is nothing to mount."""
    for place, url, mounted in (
        ({"existingClaim": "dumps"}, "/backups", True),
        ({"url": "az://c/p"}, "az://c/p", False),
    ):
        given: dict[str, Any] = merged(BACK, CLOCK)
        given["backup"] = {"schedule": "@daily", **place}
        made = [one for one in render(merged(DATABASE, given)) if one["kind"] in ("Job", "CronJob")]
        assert len(made) == 4
        for manifest in made:
            assert environment(container(manifest))["MIGRATE_BACKUP_URL"] == url
            claims = [volume for volume in pod_spec(manifest)["volumes"] if "persistentVolumeClaim" in volume]
            mounts = [mount for mount in container(manifest)["volumeMounts"] if mount["mountPath"] == "/backups"]
            assert [bool(claims), bool(mounts)] == [mounted, mounted]
