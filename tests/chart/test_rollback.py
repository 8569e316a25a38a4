"""The hook of `helm rollback`: the older release's image undoes what it lacks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.cases import BACK, EXTERNAL
from tests.chart.helm import DATABASE, Manifest, Values, container, environment, merged, only, pod_spec, render

INLINE: Values = {"database": {"url": "postgresql://h/d"}}


def jobs(values: Values, *arguments: str) -> tuple[Manifest, Manifest]:
    """The Job that migrates, and the one that goes back."""
    found = [manifest for manifest in render(values, *arguments) if manifest["kind"] == "Job"]
    [back] = [job for job in found if job["metadata"]["name"].endswith("-rollback")]
    [migrate] = [job for job in found if job is not back]
    return migrate, back


def hook(manifest: Manifest) -> Any:
    return (manifest["metadata"].get("annotations") or {}).get("helm.sh/hook")


def test_there_is_none_unless_asked_for() -> None:
    """Nothing of the chart's runs on `helm rollback` by default."""
    for values in (DATABASE, EXTERNAL, INLINE):
        assert not [one for one in render(values) if "rollback" in str(hook(one))]


@pytest.mark.parametrize("provider", ["helm", "flux"])
@pytest.mark.parametrize("when", ["post", "pre"])
def test_it_is_a_hook_of_its_own(when: str, provider: str) -> None:
    """On a rollback alone, after or before the pods; it leaves the migration's Job and its log alone."""
    given = merged(DATABASE, BACK, {"rollback": {"when": when}, "hooks": {"provider": provider, "weight": 3}})
    migrate, back = jobs(given)
    assert hook(migrate) == "pre-install,pre-upgrade"
    assert hook(back) == f"{when}-rollback"
    assert migrate["metadata"]["name"] != back["metadata"]["name"] == "rel-alembic-job-rollback"
    same = {key: value for key, value in migrate["metadata"]["annotations"].items() if key != "helm.sh/hook"}
    assert {key: value for key, value in back["metadata"]["annotations"].items() if key != "helm.sh/hook"} == same
    assert same["helm.sh/hook-weight"] == "3"


def test_it_differs_from_the_migration_in_one_variable() -> None:
    """Budgets, retries, policy, login, volumes and account are the Job's."""
    more: Values = {"migrations": {"settings": {"whenAhead": "tolerate", "to": "r2"}}, "timeoutSeconds": 600}
    migrate, back = jobs(merged(DATABASE, BACK, more))
    assert environment(container(migrate)) | {"MIGRATE_WHEN_AHEAD": "rollback"} == environment(container(back))
    assert environment(container(migrate))["MIGRATE_WHEN_AHEAD"] == "tolerate"
    for manifest in (migrate, back):
        [one] = pod_spec(manifest)["containers"]
        del one["env"]
    assert migrate["spec"] == back["spec"]
    assert container(back)["args"] == ["migrate"]
    assert [volume for volume in pod_spec(back)["volumes"] if "persistentVolumeClaim" in volume]


def test_what_it_needs_is_brought_back_before() -> None:
    """The older release's ServiceAccount and Secret, which are hooks, too."""
    for values, kind in ((INLINE, "Secret"), (INLINE, "ServiceAccount"), (EXTERNAL, "ExternalSecret")):
        for when in ("post", "pre"):
            needed = only(render(merged(values, BACK, {"rollback": {"when": when}})), kind)
            assert hook(needed) == "pre-install,pre-upgrade,pre-rollback"
            assert needed["metadata"]["annotations"]["helm.sh/hook-weight"] == "-10"


def test_on_the_first_install_it_is_a_hook_already() -> None:
    """Where the first Job is an ordinary resource, the release can be gone back to all the same."""
    migrate, back = jobs(merged(DATABASE, BACK, {"hooks": {"firstInstall": "resource"}}))
    assert hook(migrate) is None
    assert hook(back) == "post-rollback"


def test_without_a_backup_only_where_that_is_said() -> None:
    """backup.mode off is the consent to do without."""
    _, back = jobs(merged(DATABASE, {"rollback": {"enabled": True}, "backup": {"mode": "off"}}))
    assert environment(container(back))["MIGRATE_BACKUP"] == "off"
    _, back = jobs(merged(DATABASE, {"rollback": {"enabled": True}, "backup": {"url": "s3://dumps"}}))
    assert environment(container(back))["MIGRATE_BACKUP_URL"] == "s3://dumps"


def test_older_pods_that_wait_may_be_asked_for_before() -> None:
    """With `pre` the schema is back before they start, so they need not tolerate a newer one."""
    strict: Values = {"rollback": {"when": "pre"}, "waitForMigrations": {"whenAhead": "fail"}}
    _, back = jobs(merged(DATABASE, BACK, strict))
    assert hook(back) == "pre-rollback"


@pytest.mark.parametrize("provider", ["argocd", "none", "helm"])
def test_a_job_that_goes_back_by_itself(provider: str) -> None:
    """Where nobody runs `helm rollback`, the ordinary Job of the older release is told to."""
    given: Values = {"migrations": {"settings": {"whenAhead": "rollback"}}, "backup": {"existingClaim": "dumps"}}
    job = only(render(merged(DATABASE, given, {"hooks": {"provider": provider}})), "Job")
    assert environment(container(job))["MIGRATE_WHEN_AHEAD"] == "rollback"
