"""The ways to use the chart: database in the same release, init containers, ordinary Job, by hand, with a backup, …"""

from __future__ import annotations

import json
import re
import subprocess
from urllib.parse import quote

import pytest

from tests.cluster.cluster import Json, Space, await_value, condition, ended
from tests.cluster.conftest import Database, alone, shop
from tests.cluster.images import POSTGRES, REPOSITORY
from tests.cluster.test_releases import answer, app_pods
from tests.image.conftest import PASSWORD


def _server(name: str) -> list[Json]:
    """A PostgreSQL that belongs to a release."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "postgres",
        "image": POSTGRES,
        "args": ["-c", "fsync=off"],
        "env": [
            {"name": "POSTGRES_PASSWORD", "value": PASSWORD},
            {"name": "PGDATA", "value": "/data/pg"},
        ],
        "securityContext": security,
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "socket", "mountPath": "/var/run/postgresql"},
        ],
        "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "socket", "emptyDir": {}}],
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": {"serviceName": name, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        },
    ]


@pytest.mark.parametrize("helm", [3, 4], indirect=True)
def test_database_in_the_same_release(space: Space) -> None:
    """firstInstall=resource: database, Job and application come together, with --wait; the upgrade is a hook again."""
    url = "postgresql://postgres:" + quote(PASSWORD, safe="") + "@db:5432/postgres"
    space.secret("shop-database", url=url)
    first = {"hooks": {"firstInstall": "resource"}, "extraDeploy": _server("db")}
    space.deploy("shop", "umbrella", shop("v1", **first), "--wait")
    assert answer(space) == {"release": "v1", "tables": 1}
    await_value(lambda: [condition(job) for job in space.jobs("shop")] == ["Complete"], said=space.picture)
    space.deploy("shop", "umbrella", shop("v2", **first), "--wait")
    assert answer(space) == {"release": "v2", "tables": 2}
    await_value(lambda: [condition(job) for job in space.jobs("shop")] == ["Complete"], said=space.picture)


def test_application_pods_wait_by_themselves(space: Space, database: Database) -> None:
    """Without hooks, application and Job start together: the application starts once the Job is done."""
    space.secret("shop-database", url=database.url())
    space.deploy("shop", "umbrella", shop("v1", hooks={"provider": "none"}), "--wait")
    space.deploy("shop", "umbrella", shop("gated", hooks={"provider": "none"}))
    await_value(database.working, said=space.picture)
    newest = await_value(lambda: app_pods(space)[1:], said=space.picture)[-1]
    name = newest["metadata"]["name"]
    waiter = newest["spec"]["initContainers"][0]["name"]
    await_value(lambda: "migrations.waiting" in space.kubectl("logs", name, "--container", waiter, check=False))
    database.open_gate()
    await_value(lambda: answer(space) == {"release": "gated", "tables": 2}, said=space.picture)
    space.deploy("shop", "umbrella", shop("v2", hooks={"provider": "none"}), "--wait")  # nothing here is immutable
    assert answer(space) == {"release": "v2", "tables": 2}


def test_every_pod_migrates_by_itself(space: Space, database: Database) -> None:
    """mode initContainer: three replicas start at once, one migrates, no Job is there."""
    space.secret("shop-database", url=database.url())
    values = {**shop("v3", mode="initContainer"), "replicas": 3}
    space.deploy("shop", "umbrella", values, "--wait")
    assert space.jobs("shop") == []
    pods = app_pods(space)
    assert len(pods) == 3
    applied = [space.log(pod, pod["spec"]["initContainers"][0]["name"])[-1]["applied"] for pod in pods]
    assert sorted(applied) == [[], [], ["r1", "r2", "r3"]]


def test_line_of_the_notes(space: Space, database: Database) -> None:
    """What NOTES says to type for a manual run does just that: the last revision is undone."""
    space.secret("shop-database", url=database.url())
    said = space.deploy("migrate", "alembic-job", alone("v2")).out
    (line,) = re.findall(r"^\s*(kubectl .*create job --from=cronjob/.*kubectl .*create -f -.*)$", said, re.MULTILINE)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (name,) = re.findall(r"job.batch/(\S+) created", done.stdout)
    assert await_value(lambda: condition(space.get("job", name)), said=space.picture) == "Complete"
    last = space.log(space.pods(name)[-1])[-1]
    assert (last["from"], last["to"]) == ("r2", "r1")
    assert (database.revision, database.tables) == ("r1", "t1")


def test_backup_onto_a_claim(space: Space, database: Database) -> None:
    """A required backup goes to a volume that outlives the Job: another pod finds it there."""
    space.secret("shop-database", url=database.url())
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "backups"}, "spec": spec}
    space.apply(claim)
    backup = {"mode": "required", "existingClaim": "backups"}
    space.deploy("migrate", "alembic-job", alone("v1", backup=backup))
    space.deploy("migrate", "alembic-job", alone("v2", backup=backup))
    (finished,) = [
        line for line in space.log(space.pods(space.job("migrate"))[-1]) if line["event"] == "backup.finished"
    ]
    space.deploy("look", "alembic-job", alone("v2", backup=backup, migrations={"args": ["backup"]}))
    space.kubectl("delete", "job", space.job("migrate")["metadata"]["name"])
    listed = list_files(space, "backups")
    assert finished["path"].rpartition("/")[2] in listed


def list_files(space: Space, claim: str) -> str:
    """The files on a volume, as another pod sees them."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "ls",
        "image": f"{REPOSITORY}:v1",
        "command": ["find", "/volume", "-type", "f"],
        "securityContext": security,
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ls"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }
    space.apply(pod)
    await_value(lambda: space.get("pod", "ls")["status"]["phase"] == "Succeeded", said=space.picture)
    return space.kubectl("logs", "ls")


def test_sidecar_does_not_keep_the_job(space: Space, database: Database) -> None:
    """A proxy that never ends by itself runs beside the migration, and the Job is complete all the same."""
    space.secret("shop-database", url=database.url())
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    proxy = {
        "name": "proxy",
        "image": f"{REPOSITORY}:v1",
        "command": ["sleep", "infinity"],
        "securityContext": security,
    }
    space.deploy("migrate", "alembic-job", alone("v1", sidecars=[proxy], job={"terminationGracePeriodSeconds": 5}))
    job = space.job("migrate")
    assert condition(job) == "Complete"
    (pod,) = space.pods(job)
    assert ended(pod, "proxy")
    assert database.revision == "r1"


def test_two_databases_by_alias(space: Space, database: Database, shared: object) -> None:
    """The chart twice in one release: each Job has its own name and its own database."""
    other = Database(database.namespace, f"{database.name}_b")
    Database(database.namespace, "postgres").psql(f"CREATE DATABASE {other.name} OWNER {database.name}")
    space.secret("shop-database", url=database.url())
    space.secret("stock-database", url=database.url().rpartition("/")[0] + f"/{other.name}")
    values = shop("v1")
    values["stock"] = {**values["migrations"], "image": {"repository": REPOSITORY, "tag": "v3"}}
    values["stock"]["database"] = {"existingSecret": "stock-database"}
    space.deploy("shop", "twice", values, "--wait")
    assert [condition(job) for job in space.jobs("shop")] == ["Complete", "Complete"]
    assert database.revision == "r1"
    assert other.psql("SELECT version_num FROM alembic_version", role="postgres") == "r3"


def test_argo_order_without_argo(space: Space, database: Database) -> None:
    """Rendered for Argo CD, the objects are plain ones in the order of their waves: applied so, they migrate."""
    space.secret("shop-database", url=database.url())
    command = [space.helm, "template", "shop", str(space.charts["alembic-job"]), "--namespace", space.name]
    text = subprocess.run(
        [*command, "--values", "-"],
        input=json.dumps(alone("v1", hooks={"provider": "argocd"})),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "helm.sh/hook" not in text
    space.kubectl("apply", "--filename", "-", text=text)
    await_value(lambda: condition(space.job("shop")) == "Complete", said=space.picture)
    assert database.revision == "r1"


def test_rollback_of_a_release_without_hooks(space: Space, database: Database) -> None:
    """`helm rollback` brings the older image's Job back: it leaves the newer schema as it is, and ends well."""
    space.secret("shop-database", url=database.url())
    for tag in ("v1", "v2"):
        space.deploy("shop", "umbrella", shop(tag, hooks={"provider": "none"}), "--wait", "--wait-for-jobs")
    space.helm_run("rollback", "shop", "1", "--wait", "--wait-for-jobs", "--timeout", "2m")
    assert answer(space) == {"release": "v1", "tables": 2}
    assert database.revision == "r2"


def test_somebody_elses_service_account_stays(space: Space, database: Database) -> None:
    """A hook replaces what has its name: the chart refuses to do so to an object that is not its own."""
    space.secret("shop-database", url=database.url())
    space.kubectl("create", "serviceaccount", "shop")
    before = space.get("serviceaccount", "shop")["metadata"]["uid"]
    failed = space.deploy("migrate", "alembic-job", alone("v1", serviceAccount={"name": "shop"}), check=False)
    assert failed.code != 0 and "serviceAccount" in failed.said, failed.said
    assert space.get("serviceaccount", "shop")["metadata"]["uid"] == before
    own = {"name": "shop", "create": False}
    space.deploy("migrate", "alembic-job", alone("v1", serviceAccount=own))
    space.deploy("other", "alembic-job", alone("v1"))
    space.deploy("other", "alembic-job", alone("v2"))  # its own is replaced
    assert database.revision == "r2"
