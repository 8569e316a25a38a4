"""What is tried again, what is not, and what comes late."""

from __future__ import annotations

import json

from tests.cluster.cluster import Json, Space, await_value, condition, ended
from tests.cluster.conftest import Database, alone
from tests.image.conftest import PASSWORD

_QUICK = {"settings": {"waitTimeout": "1s"}}


def late_service(space: Space, database: Database) -> None:
    """Gives the name `late` to the server, which until then nobody could resolve."""
    spec = {"type": "ExternalName", "externalName": f"{database.host}.cluster.local"}
    space.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "late"}, "spec": spec})


def failed_pods(space: Space, release: str = "migrate") -> list[Json]:
    """The pods whose migration has ended badly."""
    pods = [pod for job in space.jobs(release) for pod in space.pods(job)]
    return [pod for pod in pods if ended(pod).get("exitCode")]


def complete(space: Space, release: str = "migrate") -> Json:
    """Waits for the Job's good end and returns it."""
    return await_value(
        lambda: [job for job in space.jobs(release) if condition(job) == "Complete"], said=space.picture
    )[0]


def test_unreachable_database_is_tried_again(space: Space, database: Database) -> None:
    """Exit 10 is retried: once the database has a name, the next pod migrates."""
    space.secret("shop-database", url=database.url(host="late"))
    helm = space.start_deploy("migrate", "alembic-job", alone("v1", migrations=_QUICK))
    first = await_value(lambda: failed_pods(space), said=space.picture)[0]
    assert ended(first)["exitCode"] == 10
    assert "late" in ended(first)["message"]
    late_service(space, database)
    job = complete(space)
    assert helm.succeeds()
    assert database.revision == "r1"
    assert {ended(pod)["exitCode"] for pod in space.pods(job)} == {0, 10}


def test_password_changed_between_retries(space: Space, database: Database) -> None:
    """A try that began with the old password fails for another reason; the next one reads the Secret anew."""
    space.secret("shop-database", url=database.url(host="late"))
    helm = space.start_deploy("migrate", "alembic-job", alone("v1", migrations=_QUICK))
    await_value(lambda: failed_pods(space), said=space.picture)
    database.psql(f"ALTER ROLE {database.name} PASSWORD 'another'", role="postgres")
    space.secret("shop-database", url=database.url("another", host="late"))
    late_service(space, database)
    complete(space)
    assert helm.succeeds()
    assert database.revision == "r1"


def test_wrong_password_is_not_tried_again(space: Space, database: Database) -> None:
    """Exit 21: one pod, the Job has failed, and neither log nor message shows the password."""
    space.secret("shop-database", url=database.url("not this one"))
    values = alone("v1", migrations={"settings": {"loginGrace": "0s"}})
    assert space.deploy("migrate", "alembic-job", values, check=False).code != 0
    job = space.job("migrate")
    assert condition(job) == "PodFailurePolicy"
    (pod,) = space.pods(job)
    assert ended(pod)["exitCode"] == 21
    assert "not this one" not in ended(pod)["message"] + space.kubectl("logs", pod["metadata"]["name"])


def test_password_from_a_file(space: Space, database: Database) -> None:
    """A mounted Secret gives the password: nothing of it in the environment or in what Kubernetes shows."""
    space.secret("shop-password", word=PASSWORD)
    login = {"host": database.host, "name": database.name, "user": database.name, "existingSecret": ""}
    values = alone(
        "v1",
        database={**login, "passwordFile": "/secrets/word"},
        extraVolumes=[{"name": "password", "secret": {"secretName": "shop-password"}}],
        extraVolumeMounts=[{"name": "password", "mountPath": "/secrets", "readOnly": True}],
    )
    space.deploy("migrate", "alembic-job", values)
    assert database.revision == "r1"
    assert PASSWORD not in space.kubectl("get", "pods,jobs,cronjobs", "--output", "yaml")


def test_secret_that_comes_late(space: Space, database: Database) -> None:
    """An operator makes the Secret only after the Job's pod exists: it waits for it, then migrates."""
    helm = space.start_deploy("migrate", "alembic-job", alone("v1"))

    def waits() -> bool:
        (pod,) = space.pods(space.job("migrate"))
        (status,) = pod["status"]["containerStatuses"]
        return bool(status["state"]["waiting"]["reason"] == "CreateContainerConfigError")

    await_value(waits, said=space.picture)
    space.secret("shop-database", url=database.url())
    complete(space)
    assert helm.succeeds()
    assert database.revision == "r1"


def working_pod(space: Space, database: Database, *, but: str = "") -> str:
    """Waits until a pod other than `but` executes the gated revision; returns its name."""

    def look() -> str:
        names = [
            pod["metadata"]["name"] for pod in space.pods(space.job("migrate")) if pod["status"]["phase"] == "Running"
        ]
        return next((name for name in names if name != but), "") if database.working() else ""

    return await_value(look, said=space.picture)


def test_evicted_in_the_middle(space: Space, database: Database) -> None:
    """A drained node: the pod ends with 14, exactly one replaces it, and it does not count as a failure."""
    space.secret("shop-database", url=database.url())
    helm = space.start_deploy("migrate", "alembic-job", alone("gated"))
    first = working_pod(space, database)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first, "namespace": space.name}}
    path = f"/api/v1/namespaces/{space.name}/pods/{first}/eviction"
    space.kubectl("create", "--raw", path, "--filename", "-", text=json.dumps(eviction))
    second = working_pod(space, database, but=first)
    database.open_gate()
    job = complete(space)
    assert helm.succeeds()
    assert job["status"].get("failed", 0) == 0
    assert [pod["metadata"]["name"] for pod in space.pods(job)] == [second]
    assert space.log(second)[-1]["applied"] == ["r2"]  # r1 was the first pod's
    assert (database.revision, database.tables) == ("r2", "t1,t2")


def test_deleted_in_the_middle(space: Space, database: Database) -> None:
    """`kubectl delete pod`: the replacement starts only when the first one is gone, and ends the work."""
    space.secret("shop-database", url=database.url())
    helm = space.start_deploy("migrate", "alembic-job", alone("gated"))
    first = working_pod(space, database)
    space.kubectl("delete", "pod", first, "--wait=false")
    second = working_pod(space, database, but=first)
    database.open_gate()
    complete(space)
    assert helm.succeeds()
    assert space.log(second)[-1]["applied"] == ["r2"]
    assert (database.revision, database.tables) == ("r2", "t1,t2")


def test_killed_without_a_chance(space: Space, database: Database) -> None:
    """`kubectl delete pod --force --grace-period=0`: the next pod ends what the first left on the server."""
    space.secret("shop-database", url=database.url())
    helm = space.start_deploy("migrate", "alembic-job", alone("gated"))
    first = working_pod(space, database)
    space.kubectl("delete", "pod", first, "--force", "--grace-period=0")
    await_value(lambda: [p for p in space.pods(space.job("migrate")) if p["metadata"]["name"] != first])
    database.open_gate()
    complete(space)
    assert helm.succeeds()
    assert (database.revision, database.tables) == ("r2", "t1,t2")


def test_two_releases_race(space: Space, database: Database) -> None:
    """Two releases migrate one database: one waits, then finds nothing to do; each revision is applied once."""
    space.secret("shop-database", url=database.url())
    helms = [space.start_deploy(name, "alembic-job", alone("gated")) for name in ("one", "two")]
    await_value(database.working, said=space.picture)
    pods = await_value(
        lambda: [
            pods[0]
            for name in ("one", "two")
            if (pods := space.pods(space.job(name))) and pods[0]["status"]["phase"] == "Running"
        ][1:],
        said=space.picture,
    )
    assert pods
    database.open_gate()
    assert [helm.succeeds() for helm in helms]
    applied = [space.log(space.pods(space.job(name))[-1])[-1]["applied"] for name in ("one", "two")]
    assert sorted(applied) == [[], ["r1", "r2"]]
    assert (database.revision, database.tables) == ("r2", "t1,t2")
