"""`helm rollback` that brings the schema back, too; refused where data would be lost; and the ways out then."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.cluster.cluster import Json, Space, await_value, condition, ended
from tests.cluster.conftest import Database, alone, shop
from tests.cluster.test_releases import BOTH, answer, app_pods
from tests.cluster.test_ways import list_files

JOB = "shop-migrations-rollback"
V1, V2 = {"release": "v1", "tables": 1}, {"release": "v2", "tables": 2}


def claim(space: Space) -> None:
    """A volume for the backups, which no release owns."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    space.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "dumps"}, "spec": spec})


def back(tag: str, when: str = "post") -> Json:
    """A release that can be gone back to."""
    return shop(tag, rollback={"enabled": True, "when": when}, backup={"existingClaim": "dumps"})


def two_releases(space: Space, database: Database, when: str = "post") -> str:
    """v1, then v2; returns the schema that v1 had."""
    space.secret("shop-database", url=database.url())
    claim(space)
    space.deploy("shop", "umbrella", back("v1", when), "--wait")
    before = database.schema
    space.deploy("shop", "umbrella", back("v2", when), "--wait")
    assert answer(space) == V2 and database.schema != before
    return before


def agree(space: Space, revision: str) -> None:
    """Types the line of the release's notes by which losing a revision's data is agreed to."""
    notes = space.helm_run("get", "notes", "shop").out
    [line] = [line for line in notes.splitlines() if '["consent","REVISION"]' in line]
    line = line.replace("REVISION", revision)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [name] = re.findall(r"job.batch/(\S+) created", done.stdout)
    assert await_value(lambda: condition(space.get("job", name)), said=space.picture) == "Complete"


def statuses(space: Space) -> list[str]:
    """What Helm says of each revision of the release, the oldest first."""
    history: list[Json] = json.loads(space.helm_run("history", "shop", "--output", "json").out)
    return [str(revision["status"]) for revision in history]


def last(space: Space) -> tuple[Json, Json]:
    """The last pod of the rollback's Job, and the last line of its log."""
    pod = space.pods(JOB)[-1]
    return pod, space.log(pod)[-1]


@pytest.mark.parametrize(("helm", "when"), [(3, "post"), (4, "pre")], indirect=["helm"])
def test_brings_schema_and_application_back(space: Space, database: Database, when: str) -> None:
    """The older image undoes what it lacks, before or after the pods, and after a backup: the schema is what it was."""
    before = two_releases(space, database, when)
    space.helm_run("rollback", "shop", "1", "--wait", "--timeout", "2m")
    pod, line = last(space)
    assert pod["spec"]["containers"][0]["image"].endswith("shop:v1")
    assert (line["from"], line["to"], line["reverted"]) == ("r2", "r1", ["r2"])
    assert [event for event in space.log(pod) if event["event"] == "backup.finished"]
    older = app_pods(space)[-1]["metadata"]["creationTimestamp"]
    assert older <= ended(pod)["startedAt"] if when == "post" else older >= ended(pod)["finishedAt"]
    assert database.schema == before and database.revision == "r1"
    await_value(lambda: answer(space) == V1, said=space.picture)
    assert statuses(space) == ["superseded", "superseded", "deployed"]


@BOTH
def test_changes_nothing_where_data_would_be_lost(space: Space, database: Database) -> None:
    """The older pods serve on the newer schema, Helm fails and says what would be lost; with consent it goes on."""
    before = two_releases(space, database)
    database.psql("INSERT INTO t2 SELECT generate_series(1, 3)")
    newer = database.schema
    refused = space.helm_run("rollback", "shop", "1", "--wait", "--timeout", "2m", check=False)
    assert refused.code != 0
    pod, line = last(space)
    assert condition(space.get("job", JOB)) == "PodFailurePolicy"
    assert ended(pod)["exitCode"] == line["exit_code"] == 26
    for said in (ended(pod)["message"], refused.said):
        assert "3 rows" in said and "t2" in said and "consent r2" in said, said
    assert database.schema == newer and database.psql("SELECT count(*) FROM t2") == "3"
    await_value(lambda: answer(space) == {"release": "v1", "tables": 2}, said=space.picture)
    assert statuses(space) == ["superseded", "deployed", "pending-rollback"]
    agree(space, "r2")
    space.helm_run("rollback", "shop", "1", "--wait", "--timeout", "2m")
    assert database.schema == before
    assert answer(space) == V1
    assert statuses(space)[-1] == "deployed"


@BOTH
def test_stays_with_the_newer_release(space: Space, database: Database) -> None:
    """Refused before the pods: the newer ones serve on; a rollback without a revision is the one to their release."""
    two_releases(space, database, when="pre")
    database.psql("INSERT INTO t2 VALUES (1)")
    newer = app_pods(space)[-1]["metadata"]["uid"]
    assert space.helm_run("rollback", "shop", "1", "--wait", "--timeout", "2m", check=False).code != 0
    assert statuses(space) == ["superseded", "deployed", "pending-rollback"]
    blocked = space.deploy("shop", "umbrella", back("v2", "pre"), check=False)
    assert "another operation" in blocked.said
    space.helm_run("rollback", "shop", "--wait", "--timeout", "2m")
    assert statuses(space) == ["superseded", "superseded", "pending-rollback", "deployed"]
    assert app_pods(space)[-1]["metadata"]["uid"] == newer and answer(space) == V2
    assert last(space)[1]["exit_code"] == 0 and database.psql("SELECT count(*) FROM t2") == "1"


@pytest.mark.parametrize("helm", [3], indirect=True)
def test_unattended(space: Space, database: Database) -> None:
    """Pods that never get ready: Helm goes back by itself, and so does the schema, since nothing is lost."""
    space.secret("shop-database", url=database.url())
    claim(space)
    space.deploy("shop", "umbrella", back("v1"), "--wait")
    before = database.schema
    never_ready = {**back("v2"), "command": ["sleep", "infinity"]}
    assert space.deploy("shop", "umbrella", never_ready, "--atomic", timeout="20s", check=False).code != 0
    assert last(space)[1]["reverted"] == ["r2"]
    assert database.schema == before
    await_value(lambda: answer(space) == V1, said=space.picture)


def test_nothing_to_undo(space: Space, database: Database) -> None:
    """A migration that failed has left nothing: the rollback ends well and changes nothing."""
    space.secret("shop-database", url=database.url())
    claim(space)
    space.deploy("shop", "umbrella", back("v1"), "--wait")
    failed = space.deploy("shop", "umbrella", back("broken"), "--rollback-on-failure", check=False)
    assert failed.code != 0
    _, line = last(space)
    assert (line["exit_code"], line["from"], line["to"]) == (0, "r1", "r1")
    assert statuses(space)[-1] == "deployed" and answer(space) == V1


def test_backup_by_the_clock_and_now(space: Space, database: Database) -> None:
    """The line of the notes takes a backup now, from the CronJob that would take it at night."""
    space.secret("shop-database", url=database.url())
    claim(space)
    backup = {"existingClaim": "dumps", "schedule": "30 2 * * *", "keep": 1}
    said = space.deploy("migrate", "alembic-job", alone("v1", backup=backup)).out
    (line,) = re.findall(r"^\s*(kubectl .*create job --from=cronjob/\S+-backup \S+)$", said, re.MULTILINE)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (name,) = re.findall(r"job.batch/(\S+) created", done.stdout)
    assert await_value(lambda: condition(space.get("job", name)), said=space.picture) == "Complete"
    (finished,) = [event for event in space.log(space.pods(name)[-1], "backup") if event["event"] == "backup.finished"]
    assert finished["path"].rpartition("/")[2] in list_files(space, "dumps")
