"""The life of a release: installed, upgraded, broken, rolled back."""

from __future__ import annotations

import json

import pytest

from tests.cluster.cluster import Json, Space, await_value, condition, ended
from tests.cluster.conftest import Database, shop

BOTH = pytest.mark.parametrize("helm", [3, 4], indirect=True)


def answer(space: Space, release: str = "shop") -> Json:
    """What the application says through its Service."""
    path = f"/api/v1/namespaces/{space.name}/services/{release}:http/proxy/"
    found: Json = json.loads(space.kubectl("get", "--raw", path))
    return found


def app_pods(space: Space) -> list[Json]:
    """The application's pods, oldest first."""
    items = space.get("pods", "--selector", "app.kubernetes.io/name=shop")["items"]
    return sorted(items, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


@BOTH
def test_migrates_before_any_new_pod_starts(space: Space, database: Database) -> None:
    """Install and upgrade: the Job is done before the first new pod exists; then both serve the new schema."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v1"), "--wait")
    assert answer(space) == {"release": "v1", "tables": 1}
    for tag in ("v1", "v2"):
        if tag == "v2":
            space.deploy("shop", "umbrella", shop("v2"), "--wait")
        job = space.job("shop")
        (pod,) = space.pods(job)
        assert condition(job) == "Complete"
        assert pod["spec"]["containers"][0]["image"].endswith(f"shop:{tag}")
        assert app_pods(space)[-1]["metadata"]["creationTimestamp"] >= ended(pod)["finishedAt"]
    assert answer(space) == {"release": "v2", "tables": 2}
    assert database.revision == "r2"
    assert space.log(pod)[-1]["applied"] == ["r2"]
    assert "r2" in ended(pod)["message"]


def test_pods_can_do_nothing_they_need_not(space: Space, database: Database) -> None:
    """Under `restricted` the defaults are accepted; the Job's pod has no token and a read-only root."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v1"), "--wait")
    (pod,) = space.pods(space.job("shop"))
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert not [path for path in mounts if "serviceaccount" in path], mounts
    assert pod["spec"]["enableServiceLinks"] is False


@BOTH
def test_failing_migration_fails_the_release(space: Space, database: Database) -> None:
    """Exit 23: not tried again, Helm fails at once, the old pods still serve, log and termination message say why."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v1"), "--wait")
    before = [pod["metadata"]["name"] for pod in app_pods(space)]
    failed = space.deploy("shop", "umbrella", shop("broken"), "--wait", check=False)
    assert failed.code != 0
    job = space.job("shop")
    assert condition(job) == "PodFailurePolicy", job["status"]
    (pod,) = space.pods(job)
    assert ended(pod)["exitCode"] == 23
    for word in ("23", "division by zero", "r2", "correct the revision"):
        assert word in ended(pod)["message"], ended(pod)["message"]
    last = space.log(pod)[-1]
    assert (last["event"], last["exit_code"], last["applied"]) == ("job.finished", 23, [])
    assert "division by zero" in failed.said  # Helm prints the hook's log
    assert [pod["metadata"]["name"] for pod in app_pods(space)] == before
    assert answer(space) == {"release": "v1", "tables": 1}
    assert database.tables == "t1"


@BOTH
def test_helm_rollback_runs_no_job(space: Space, database: Database) -> None:
    """The older pods come up on the newer schema, because `wait-for-migrations` lets them; nothing is undone."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v1"), "--wait")
    space.deploy("shop", "umbrella", shop("v2"), "--wait")
    job = space.job("shop")["metadata"]["uid"]
    space.helm_run("rollback", "shop", "1", "--wait", "--timeout", "2m")
    assert space.job("shop")["metadata"]["uid"] == job
    await_value(lambda: answer(space) == {"release": "v1", "tables": 2}, said=space.picture)
    newest = app_pods(space)[-1]
    (waiter,) = [container["name"] for container in newest["spec"]["initContainers"]]
    ready = [line for line in space.log(newest, waiter) if line["event"] == "migrations.ready"]
    assert ready and ready[-1]["ahead"] is True
    assert database.revision == "r2"


def test_upgrade_back_to_an_older_chart(space: Space, database: Database) -> None:
    """Its Job does what whenAhead says: fail ends with 28 and changes nothing, tolerate lets the release through."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v2"), "--wait")
    refused = space.deploy("shop", "umbrella", shop("v1"), "--wait", check=False)
    assert refused.code != 0
    (pod,) = space.pods(space.job("shop"))
    assert ended(pod)["exitCode"] == 28
    assert answer(space) == {"release": "v2", "tables": 2}
    tolerated = shop("v1", migrations={"settings": {"whenAhead": "tolerate"}})
    space.deploy("shop", "umbrella", tolerated, "--wait")
    assert answer(space) == {"release": "v1", "tables": 2}
    assert database.revision == "r2"


@BOTH
def test_helm_test_asks_the_database(space: Space, database: Database) -> None:
    """`helm test` passes when nothing is pending and fails when something is."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v2"), "--wait")
    space.helm_run("test", "shop", "--timeout", "1m")
    database.psql("UPDATE alembic_version SET version_num = 'r1'")
    assert space.helm_run("test", "shop", "--timeout", "1m", check=False).code != 0


@pytest.mark.parametrize(("helm", "option"), [(3, "--atomic"), (4, "--rollback-on-failure")], indirect=["helm"])
def test_unattended_rollback_brings_the_old_pods_back(space: Space, database: Database, option: str) -> None:
    """The migration is done, the new pods never get ready: Helm goes back by itself, and old pods start anew, too."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v1"), "--wait")
    never_ready = {**shop("v2"), "command": ["sleep", "infinity"]}
    failed = space.deploy("shop", "umbrella", never_ready, option, timeout="25s", check=False)
    assert failed.code != 0
    assert space.helm_run("status", "shop", "--output", "json").out.count('"status":"deployed"') == 1
    space.kubectl("delete", "pods", "--selector", "app.kubernetes.io/name=shop")
    await_value(lambda: answer(space) == {"release": "v1", "tables": 2}, said=space.picture)
    assert database.revision == "r2"
