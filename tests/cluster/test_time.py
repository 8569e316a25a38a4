"""Helm's patience, the Job's and the run's: what happens when one of them ends first."""

from __future__ import annotations

from tests.cluster.cluster import Space, await_value, condition, ended
from tests.cluster.conftest import CONFINED, Database, alone
from tests.cluster.images import REPOSITORY


def test_job_ends_before_helm_does(space: Space, database: Database) -> None:
    """A migration longer than the budget: the run ends by its own deadline or the Job's, Helm hears of the failure, and
    nothing is committed after it, even when what the migration waited for comes then."""
    space.secret("shop-database", url=database.url())
    values = alone("gated", timeoutSeconds=60, job={"terminationGracePeriodSeconds": 5, "backoffLimit": 1})
    values["migrations"] = {"settings": {"waitTimeout": "2s", "deadline": "3s"}}
    failed = space.deploy("migrate", "alembic-job", values, timeout="60s", check=False)
    assert failed.code != 0
    assert failed.seconds < 60, "Helm gave up before the Job did"
    job = space.job("migrate")
    assert condition(job) in ("DeadlineExceeded", "BackoffLimitExceeded"), job["status"]
    assert {ended(pod)["exitCode"] for pod in space.pods(job)} <= {14, 16}
    assert not database.working()
    database.open_gate()
    assert (database.revision, database.tables) == ("r1", "t1")


def test_job_deadline_stops_a_run(space: Space, database: Database) -> None:
    """The Job's own deadline, in the middle of a revision: it is declared failed only once nothing can be committed."""
    space.secret("shop-database", url=database.url())
    job = {"activeDeadlineSeconds": 32, "terminationGracePeriodSeconds": 5, "backoffLimit": 1}
    values = alone("gated", timeoutSeconds=60, job=job)
    values["migrations"] = {"settings": {"waitTimeout": "2s", "deadline": "12s"}}
    # a run that begins so late, as after a slow pull, that it would go on for longer than its Job
    sleeper = {"name": "late", "image": f"{REPOSITORY}:v1", "command": ["sleep", "24"], "securityContext": CONFINED}
    values["initContainers"] = [sleeper]
    failed = space.deploy("migrate", "alembic-job", values, timeout="60s", check=False)
    assert failed.code != 0
    assert condition(space.job("migrate")) == "DeadlineExceeded"
    assert database.tables == "t1", "the run never began"
    assert not database.working()
    database.open_gate()
    assert (database.revision, database.tables) == ("r1", "t1")


def test_second_upgrade_while_the_first_job_runs(space: Space, database: Database) -> None:
    """Helm gave up, its Job works on; the next upgrade ends that Job cleanly, and its own does the work once."""
    space.secret("shop-database", url=database.url())
    space.deploy("migrate", "alembic-job", alone("v1"))
    gave_up = space.deploy("migrate", "alembic-job", alone("gated"), timeout="4s", check=False)
    assert gave_up.code != 0
    await_value(database.working, said=space.picture)
    first = space.job("migrate")["metadata"]["uid"]
    helm = space.start_deploy("migrate", "alembic-job", alone("gated"))
    await_value(lambda: space.job("migrate")["metadata"]["uid"] != first, said=space.picture)
    await_value(database.working, said=space.picture)
    database.open_gate()
    assert helm.succeeds()
    job = space.job("migrate")
    assert condition(job) == "Complete"
    assert space.log(space.pods(job)[-1])[-1]["applied"] == ["r2"]
    assert (database.revision, database.tables) == ("r2", "t1,t2")
