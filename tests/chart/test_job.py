"""The Job: when it runs, for how long, what is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from alembic_job.errors import Findings, exit_codes
from alembic_job.settings import values
from tests.chart.cases import EXTERNAL
from tests.chart.helm import DATABASE, Manifest, container, environment, job, merged, only, refusal, render

INLINE = {"database": {"url": "postgresql://h/d"}}


def test_the_policy_is_made_from_the_exit_codes() -> None:
    """Disruptions first, then what cannot be helped by trying again; every code of the table is on its side."""
    ignore, fail = job()["spec"]["podFailurePolicy"]["rules"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"]["containerName"] == container(job())["name"] == "migrate"
    assert fail["onExitCodes"]["operator"] == "In"
    # a defect (1) may be a passing one, and `migrate` answers no question (3)
    final = {code for code, kind in exit_codes().items() if not kind().retryable and code != 1 and kind is not Findings}
    named = set(fail["onExitCodes"]["values"])
    assert final <= named
    assert named - final <= set(range(20, 30)), "a code that means trying again helps"
    assert named == {2, *range(20, 30)}


def test_two_pods_never_migrate_at_once() -> None:
    """A pod is replaced when it has ended, and never restarted in place."""
    spec = job()["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "completions" not in spec and "parallelism" not in spec


def budgets(manifest: Manifest) -> tuple[float, int, int]:
    """Seconds of a try, of the Job, and to end a pod."""
    pod = manifest["spec"]["template"]["spec"]
    deadline = values.duration(environment(container(manifest))["MIGRATE_DEADLINE"])
    return deadline, manifest["spec"]["activeDeadlineSeconds"], pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("timeout", [101, 300, 3600, 1_000_000])
def test_each_budget_is_below_the_next(timeout: int) -> None:
    """A try ends in order before Kubernetes ends the Job, and that before Helm gives up."""
    deadline, active, grace = budgets(job(merged(DATABASE, {"timeoutSeconds": timeout})))
    assert deadline > 0
    assert deadline + 20 <= active
    assert active + grace <= timeout


def test_the_defaults_fit_helms_timeout() -> None:
    """An unreachable database is tried as often as backoffLimit says, within Helm's 5 minutes."""
    manifest = job()
    _, active, grace = budgets(manifest)
    tries = manifest["spec"]["backoffLimit"] + 1
    waiting = values.duration(environment(container(manifest))["MIGRATE_WAIT_TIMEOUT"])
    pauses = sum(10 * 2**number for number in range(tries - 1))
    assert tries == 4
    assert tries * waiting + pauses < active
    assert active + grace < 300


@pytest.mark.parametrize("provider", ["helm", "flux"])
def test_a_hook_of_helm(provider: str) -> None:
    """Before an install and an upgrade; what it needs earlier; never on a rollback."""
    made = render(merged(INLINE, {"hooks": {"provider": provider, "weight": 3}}))
    annotations = only(made, "Job")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert annotations["helm.sh/hook-weight"] == "3"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
    # helm-controller prints no logs
    assert ("helm.sh/hook-output-log-policy" in annotations) == (provider == "helm")
    assert ("kustomize.toolkit.fluxcd.io/force" in annotations) == (provider == "flux")
    for kind in ("ServiceAccount", "Secret"):
        needed = only(made, kind)["metadata"]["annotations"]
        assert needed["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert needed["helm.sh/hook-weight"] == "-7"
        assert needed["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert not any("rollback" in str(hook) for manifest in made for hook in helm_hooks(manifest).values())


def helm_hooks(manifest: Manifest) -> dict[str, Any]:
    annotations = manifest["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key.startswith("helm.sh/")}


def test_a_hook_keeps_its_name() -> None:
    """It is replaced, so that its log is found under one name."""
    revisions = {job(DATABASE, *arguments)["metadata"]["name"] for arguments in ((), ("--is-upgrade",))}
    assert revisions == {"rel-alembic-job"}


def test_a_sync_hook_of_argo_cd() -> None:
    """In its wave of the sync; what it needs are resources of an earlier wave; nothing is a hook of Helm's."""
    made = render(merged(EXTERNAL, {"hooks": {"provider": "argocd"}}))
    assert not any(helm_hooks(manifest) for manifest in made)
    assert not any(manifest["kind"] == "Pod" for manifest in made), "Argo CD would run the test with everything else"
    annotations = only(made, "Job")["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/hook"] == "Sync"
    assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
    assert annotations["argocd.argoproj.io/sync-wave"] == "-1"
    for kind in ("ServiceAccount", "ExternalSecret"):
        assert only(made, kind)["metadata"]["annotations"] == {"argocd.argoproj.io/sync-wave": "-2"}
    # a suspended CronJob would make the application count as suspended
    assert only(made, "CronJob")["metadata"]["annotations"] == {"argocd.argoproj.io/ignore-healthcheck": "true"}


def test_what_a_presync_hook_needs_is_one_too() -> None:
    """Argo CD makes ordinary resources only after PreSync."""
    made = render(merged(INLINE, {"hooks": {"provider": "argocd", "argocd": {"hook": "PreSync", "wave": 5}}}))
    for kind, wave in (("Job", "5"), ("ServiceAccount", "4"), ("Secret", "4")):
        annotations = only(made, kind)["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/hook"] == "PreSync"
        assert annotations["argocd.argoproj.io/sync-wave"] == wave


def test_argo_cd_renders_everything_as_an_install() -> None:
    """So there is no first install to tell apart."""
    made = job(merged(DATABASE, {"hooks": {"provider": "argocd", "firstInstall": "resource"}}))
    assert made["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "Sync"


@pytest.mark.parametrize("hooks", [{"provider": "none"}, {"enabled": False}])
def test_an_ordinary_job_has_a_new_name_each_time(hooks: dict[str, Any]) -> None:
    """A Job cannot be changed: where its spec or the revision is new, so is its name."""
    given = merged(DATABASE, {"hooks": hooks})
    made = render(given)
    assert not any(helm_hooks(manifest) for manifest in made if manifest["kind"] != "Pod")
    names = [
        only(render(merged(given, more)), "Job")["metadata"]["name"]
        for more in (
            {},
            {"image": {"tag": "2"}},
            {"nodeSelector": {"disk": "fast"}},
            {"database": {"existingSecret": "other"}},
        )
    ]
    assert len(set(names)) == len(names)
    assert names[0] == only(render(given), "Job")["metadata"]["name"], "and the same for the same"


def test_an_ordinary_job_has_a_new_name_in_each_revision() -> None:
    """Where nothing else is new, as after `helm rollback`, the Job would otherwise be the one that ran already."""
    release = '"Release" (merge (dict "Revision" 2) .Release)'
    other = f'dict "Values" .Values "Chart" .Chart "Capabilities" .Capabilities {release}'
    both = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: names}\ndata:\n"
        '  first: {{ include "alembic-job.jobName" . }}\n'
        f'  second: {{{{ include "alembic-job.jobName" ({other}) }}}}\n'
    )
    made = render(merged(DATABASE, {"hooks": {"provider": "none"}, "extraDeploy": [both]}))
    names = only(made, "ConfigMap")["data"]
    assert names["first"] == only(made, "Job")["metadata"]["name"] != names["second"]


@pytest.mark.parametrize("provider", ["helm", "flux"])
def test_the_first_install_with_the_database_in_the_release(provider: str) -> None:
    """An ordinary Job beside the database at first, a hook of another name before each upgrade."""
    given = merged(INLINE, {"hooks": {"firstInstall": "resource", "provider": provider}})
    first, later = render(given), render(given, "--is-upgrade")
    assert not helm_hooks(only(first, "Job"))
    assert only(first, "Job")["metadata"]["name"].startswith("rel-alembic-job-")
    assert only(later, "Job")["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert only(later, "Job")["metadata"]["name"] == "rel-alembic-job"
    # the prerequisites need no database
    for made in (first, later):
        assert only(made, "Secret")["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_an_external_secret_outlives_its_hook() -> None:
    """A hook is deleted and made anew on each upgrade; a Secret that it owned would go with it, under running pods."""
    policies = {
        provider: only(render(merged(EXTERNAL, {"hooks": hooks})), "ExternalSecret")["spec"]["target"]["creationPolicy"]
        for provider, hooks in {
            "helm": {},
            "argocd": {"provider": "argocd"},
            "presync": {"provider": "argocd", "argocd": {"hook": "PreSync"}},
            "none": {"provider": "none"},
        }.items()
    }
    assert policies == {"helm": "Orphan", "argocd": "Owner", "presync": "Orphan", "none": "Owner"}


def test_the_external_secret_is_the_one_that_is_read() -> None:
    """Under its own name or under the one given."""
    for given, name in (({}, "rel-alembic-job-database"), ({"database": {"existingSecret": "mine"}}, "mine")):
        made = render(merged(EXTERNAL, given))
        assert only(made, "ExternalSecret")["spec"]["target"]["name"] == name
        reference = environment(container(only(made, "Job")))["DATABASE_URL"]["secretKeyRef"]
        assert reference == {"name": name, "key": "url"}


def when_ahead(*values: dict[str, Any]) -> Any:
    return environment(container(job(merged(DATABASE, *values)))).get("MIGRATE_WHEN_AHEAD")


def test_an_ordinary_job_does_not_fail_a_rollback() -> None:
    """`helm rollback` runs it again, with the older image: it leaves the newer schema, unless told otherwise."""
    fail = {"migrations": {"settings": {"whenAhead": "fail"}}}
    for hooks in ({"provider": "none"}, {"enabled": False}, {"firstInstall": "resource"}):
        assert when_ahead({"hooks": hooks}) == "tolerate"
        assert when_ahead({"hooks": hooks}, fail) == "fail"
    for hooks in ({}, {"provider": "flux"}, {"provider": "argocd"}):
        assert when_ahead({"hooks": hooks}) is None


def test_only_what_is_asked_for_is_skipped() -> None:
    """The Job skips, for the deploy's sake; whoever runs one by hand, or asks, means it."""
    made = render(merged(DATABASE, {"migrations": {"settings": {"skip": "incident", "to": "r2"}}}))
    for kind, skips in (("Job", True), ("CronJob", False), ("Pod", False)):
        variables = environment(container(only(made, kind)))
        assert ("MIGRATE_SKIP" in variables) == skips, kind
        assert variables["MIGRATE_TO"] == "r2"


def test_in_mode_init_container_there_is_no_job() -> None:
    """The pods migrate; by hand and test remain."""
    kinds = {manifest["kind"] for manifest in render(merged(DATABASE, {"mode": "initContainer"}))}
    assert kinds == {"CronJob", "Pod", "ServiceAccount"}


def test_a_run_by_hand_is_never_repeated_by_itself() -> None:
    """`rollback --steps 1` tried twice would undo two revisions."""
    made = only(render(merged(DATABASE, {"backup": {"existingClaim": "dumps"}})), "CronJob")
    spec = made["spec"]["jobTemplate"]["spec"]
    assert made["spec"]["suspend"] is True
    assert spec["backoffLimit"] == 0
    assert made["spec"]["failedJobsHistoryLimit"] == made["spec"]["successfulJobsHistoryLimit"] == 20
    assert not {"podFailurePolicy", "activeDeadlineSeconds"} & set(spec)
    variables = environment(container(made))
    assert container(made)["args"] == ["status"]
    assert "MIGRATE_DEADLINE" not in variables
    assert variables["MIGRATE_BACKUP_URL"] == "/backups"


def test_a_run_by_hand_is_bounded_when_asked_for() -> None:
    """An explicit deadline holds there, too."""
    made = only(render(merged(DATABASE, {"migrations": {"settings": {"deadline": "3m"}}})), "CronJob")
    assert environment(container(made))["MIGRATE_DEADLINE"] == "3m"


def test_ended_jobs_are_removed_when_asked_for() -> None:
    """The Job and those made by hand."""
    made = render(merged(DATABASE, {"job": {"ttlSecondsAfterFinished": 3600}}))
    assert only(made, "Job")["spec"]["ttlSecondsAfterFinished"] == 3600
    assert only(made, "CronJob")["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 3600


def test_older_clusters_are_refused() -> None:
    """podReplacementPolicy and native sidecars would be dropped without a word."""
    assert "1.28" in refusal(DATABASE, "--kube-version", "1.28")
