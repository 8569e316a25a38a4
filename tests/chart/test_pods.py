"""Every pod in every situation: valid for Kubernetes, accepted under `restricted`, without a token."""

from __future__ import annotations

import functools
import json
from typing import Any

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from tests.chart.cases import PROXY, SITUATIONS
from tests.chart.helm import (
    DATABASE,
    Manifest,
    Values,
    container,
    containers,
    environment,
    job,
    merged,
    only,
    pod_spec,
    pod_template,
    render,
    umbrella,
)

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34")
ALIASES = ("orders_db", "users-db")


def in_an_application(values: Values, *arguments: str) -> list[Manifest]:
    """The same values under two aliases of an application's chart, whose pods wait for both."""
    given: Values = dict.fromkeys(ALIASES, values)
    # what is passed on to pods as it is would be there twice
    own = {alias: merged(value, {"extraVolumes": [], "extraVolumeMounts": []}) for alias, value in given.items()}
    return render(own, *arguments, chart=umbrella(*ALIASES))


@pytest.mark.parametrize("place", [render, in_an_application])
@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation(name: str, place: Any) -> None:
    """Alone and in an application: valid, accepted under `restricted`, no token, nothing writable, all mounts there."""
    values, arguments = SITUATIONS[name]
    made = place(values, *arguments)
    for manifest in made:
        if manifest["kind"] != "ExternalSecret":
            check_valid(json.dumps(manifest))
        if manifest["kind"] == "ServiceAccount":
            assert manifest["automountServiceAccountToken"] is False
    pods = [manifest for manifest in made if pod_template(manifest)]
    assert pods
    for manifest in pods:
        assert violations(manifest) == []
        check_closed(manifest)
        check_mounts(manifest)


@functools.cache
def check_valid(manifest: str) -> None:
    """Strictly: each field exists in each supported version."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)


# it would read a megabyte of definitions anew each time
utils.schema_contents = functools.cache(utils.schema_contents)


def check_closed(manifest: Manifest) -> None:
    """The job does not talk to Kubernetes, and writes to /tmp and the backups alone."""
    spec = pod_spec(manifest)
    assert spec["automountServiceAccountToken"] is False
    if manifest["kind"] != "Deployment":
        assert spec["enableServiceLinks"] is False
    ours = [one for one in containers(manifest) if one["image"].startswith("alembic-job:")]
    assert ours
    for one in ours:
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert "command" not in one, "the image's entrypoint holds signals back"


def check_mounts(manifest: Manifest) -> None:
    """Names are unique in a pod; each mount has a volume."""
    volumes = [volume["name"] for volume in pod_spec(manifest).get("volumes") or []]
    names = [one["name"] for one in containers(manifest)]
    assert len(volumes) == len(set(volumes))
    assert len(names) == len(set(names))
    mounts = {mount["name"] for one in containers(manifest) for mount in one.get("volumeMounts") or []}
    assert mounts <= set(volumes)


def test_the_validation_finds_faults() -> None:
    """A field that does not exist, and one of a wrong type."""
    for broken in ({"backOffLimit": 3}, {"backoffLimit": "3"}):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(merged(job(), {"spec": broken}), "1.34", strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_renders_for_every_version(version: str) -> None:
    """The supported versions all get the same."""
    assert render(DATABASE, "--kube-version", version) == render()


def violations(manifest: Manifest) -> list[str]:
    """What Pod Security Admission at level `restricted` would say, as in
    kubernetes.io/docs/concepts/security/pod-security-standards."""
    spec = pod_spec(manifest)
    whole = spec.get("securityContext") or {}
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [f"volume {v['name']}" for v in spec.get("volumes") or [] if not (set(v) - {"name"}) <= allowed]
    for one in containers(manifest):
        own = one.get("securityContext") or {}
        effective = {**whole, **own}
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            found.append(f"{one['name']}: privileges")
        if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
            found.append(f"{one['name']}: root")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            found.append(f"{one['name']}: capabilities")
        if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f"{one['name']}: seccomp")
        found += [f"{one['name']}: host port" for port in one.get("ports") or [] if port.get("hostPort")]
    return found


def test_the_check_of_restricted_finds_faults() -> None:
    """Each rule on a pod that breaks it."""
    broken: list[Values] = [
        {"podSecurityContext": {"runAsUser": 0}, "containerSecurityContext": {"runAsUser": 0}},
        {"containerSecurityContext": {"allowPrivilegeEscalation": True}},
        {"containerSecurityContext": {"capabilities": {"drop": []}}},
        {"containerSecurityContext": {"seccompProfile": {"type": "Unconfined"}}},
        {"extraVolumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    ]
    for values in broken:
        assert len(violations(job(merged(DATABASE, values)))) == 1, values


def test_openshift_chooses_the_users() -> None:
    """Found by its API, or told; runAsUser, runAsGroup and fsGroup are then left to the cluster."""
    own = {"podSecurityContext": {"runAsGroup": 7}, "containerSecurityContext": {"runAsUser": 7, "runAsGroup": 7}}
    has = ("--api-versions", "security.openshift.io/v1")
    every = {"runAsUser", "runAsGroup", "fsGroup"}
    for asked, found, expected in (
        ("auto", False, every),
        ("auto", True, set()),
        (True, False, set()),
        ("true", False, set()),
        (False, True, every),
        ("false", True, every),
    ):
        made = job(merged(DATABASE, own, {"openshift": asked}), *(has if found else ()))
        assert fixed(made) == expected, (asked, found)


def fixed(manifest: Manifest) -> set[str]:
    """Which users and groups a pod fixes."""
    spec = pod_spec(manifest)
    return {"runAsUser", "runAsGroup", "fsGroup"} & {*spec["securityContext"], *container(manifest)["securityContext"]}


def test_sidecars_end_with_the_job() -> None:
    """A proxy is a native sidecar, before the init containers that may need it."""
    more = {"initContainers": [{"name": "before", "image": "before:1"}]}
    proxy, before = pod_spec(job(merged(DATABASE, PROXY, more)))["initContainers"]
    assert (proxy["name"], proxy["restartPolicy"]) == ("cloud-sql-proxy", "Always")
    assert before["name"] == "before" and "restartPolicy" not in before


def test_no_proxy_of_a_mesh_keeps_the_job_from_completing() -> None:
    """Kept out, or asked for as a native sidecar."""
    for inject in (False, True):
        metadata = job(merged(DATABASE, {"mesh": {"inject": inject}}))["spec"]["template"]["metadata"]
        label = metadata["labels"].get("sidecar.istio.io/inject")
        annotations = metadata["annotations"]
        assert label == (None if inject else "false")
        assert annotations.get("linkerd.io/inject") == (None if inject else "disabled")
        assert annotations.get("sidecar.istio.io/nativeSidecar") == ("true" if inject else None)
        assert annotations.get("config.beta.linkerd.io/proxy-enable-native-sidecar") == ("true" if inject else None)


def test_backups_outlive_the_job() -> None:
    """They go to a claim that the chart does not own, in the runs that may take one."""
    values, _ = SITUATIONS["backup"]
    made = render(values)
    assert not any(manifest["kind"] == "PersistentVolumeClaim" for manifest in made)
    for kind, expected in (("Job", True), ("CronJob", True), ("Pod", False)):
        manifest = only(made, kind)
        claims = [v for v in pod_spec(manifest)["volumes"] if "persistentVolumeClaim" in v]
        mounts = [m for m in container(manifest)["volumeMounts"] if m["mountPath"] == "/backups"]
        variables = environment(container(manifest))
        assert [bool(claims), bool(mounts), "MIGRATE_BACKUP_URL" in variables] == [expected] * 3
        assert not mounts or mounts[0]["subPath"] == "shop"


def test_the_application_waits() -> None:
    """Its init container asks, tolerates by policy, and has the Job's image and login, but none of its budgets."""
    chart = umbrella("migrations")
    given = merged(DATABASE, {"image": {"tag": "7"}, "backup": {"mode": "required", "existingClaim": "dumps"}})
    made = render({"migrations": given}, chart=chart)
    [waiting] = pod_spec(only(made, "Deployment"))["initContainers"]
    working = container(only(made, "Job"))
    assert waiting["name"] == "migrations-wait"
    assert waiting["args"] == ["wait-for-migrations"]
    for same in ("image", "securityContext", "imagePullPolicy", "terminationMessagePolicy"):
        assert waiting[same] == working[same]
    variables = environment(waiting)
    assert variables["DATABASE_URL"] == environment(working)["DATABASE_URL"]
    assert variables["MIGRATE_WHEN_AHEAD"] == "tolerate"
    assert variables["MIGRATE_MIGRATIONS_TIMEOUT"] == "10m"
    assert not {"MIGRATE_DEADLINE", "MIGRATE_WAIT_TIMEOUT", "MIGRATE_BACKUP", "MIGRATE_BACKUP_URL"} & set(variables)


def test_the_application_migrates_itself() -> None:
    """In mode initContainer its init container has the Job's budgets, and does not stop older pods after a rollback."""
    chart = umbrella("migrations")
    given = merged(DATABASE, {"mode": "initContainer", "backup": {"existingClaim": "dumps"}})
    made = render({"migrations": given}, chart=chart)
    spec = pod_spec(only(made, "Deployment"))
    [migrating] = spec["initContainers"]
    assert migrating["name"] == "migrations-migrate"
    assert migrating["args"] == ["migrate"]
    variables = environment(migrating)
    assert variables["MIGRATE_DEADLINE"] == "240s"
    assert variables["MIGRATE_BACKUP_URL"] == "/backups"
    assert variables["MIGRATE_WHEN_AHEAD"] == "tolerate"
    assert {volume["name"] for volume in spec["volumes"]} == {"migrations-tmp", "migrations-backups"}


def test_an_application_need_not_wait() -> None:
    """The templates then give nothing, and the lists stay lists."""
    made = render(
        {"migrations": merged(DATABASE, {"waitForMigrations": {"enabled": False}})}, chart=umbrella("migrations")
    )
    spec = pod_spec(only(made, "Deployment"))
    assert spec["initContainers"] is None and spec["volumes"] is None


def test_the_later_variable_wins() -> None:
    """One variable of a name: extraEnvVars over the chart's, those of the init container over both."""
    log = "MIGRATE_LOG_LEVEL"
    given = merged(
        DATABASE,
        {
            "migrations": {"settings": {"logLevel": "error"}},
            "extraEnvVars": [{"name": log, "value": "info"}, {"name": "DATABASE_URL", "value": "x"}],
            "waitForMigrations": {"extraEnvVars": [{"name": log, "value": "debug"}]},
        },
    )
    made = render({"migrations": given}, chart=umbrella("migrations"))
    [waiting] = pod_spec(only(made, "Deployment"))["initContainers"]
    assert environment(container(only(made, "Job")))[log] == "info"
    assert environment(container(only(made, "Job")))["DATABASE_URL"] == "x"
    assert environment(waiting)[log] == "debug"
