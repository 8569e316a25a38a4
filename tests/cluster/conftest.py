"""A real cluster, both Helms, a PostgreSQL inside, and one namespace and one database for each test.

The cluster is that of KUBECONFIG. What all tests share is made once and used by every worker.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cluster.cluster import ClusterError, Json, Space, await_value, helm_program, load_images, run
from tests.cluster.images import POSTGRES, REPOSITORY, build_releases
from tests.image.builds import ROOT, build
from tests.image.conftest import PASSWORD
from tests.image.engine import running_engine
from tests.image.standins import ensure_bases

_SERVER = "postgres"
_LABEL = "alembic-job-tests"
_RUN = "ALEMBIC_JOB_TEST_RUN"
_SECOND = """\
  - name: alembic-job
    alias: stock
    version: ">=0.1.0-0"
    repository: file://../../helm/alembic-job
"""
_numbers = itertools.count(1)

CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What `restricted` asks of a container of the tests' own."""


@dataclass(frozen=True)
class Shared:
    """What is made once a run: the namespace of the server, and the folder with the packed charts."""

    run_id: str
    charts: dict[str, Path]

    @property
    def namespace(self) -> str:
        return f"{_LABEL}-{self.run_id}"


@dataclass(frozen=True)
class Database:
    """A fresh database in the cluster's server, and the role that owns it."""

    namespace: str
    name: str

    @property
    def host(self) -> str:
        return f"{_SERVER}.{self.namespace}.svc"

    def url(self, password: str = PASSWORD, host: str = "") -> str:
        return f"postgresql://{self.name}:{quote(password, safe='')}@{host or self.host}:5432/{self.name}"

    def psql(self, sql: str, role: str = "") -> str:
        """The rows of a query, columns parted by |; as the database's owner, or another role."""
        psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", role or self.name, "-d", self.name, "-c", sql]
        return run("kubectl", "--namespace", self.namespace, "exec", _SERVER, "--", *psql).out.strip()

    @property
    def revision(self) -> str:
        return self.psql("SELECT string_agg(version_num, ',') FROM alembic_version")

    @property
    def tables(self) -> str:
        """The shop's tables, for example "t1,t2"."""
        return self.psql(
            "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables "
            "WHERE schemaname = 'public' AND tablename ~ '^t[0-9]$'"
        )

    @property
    def schema(self) -> str:
        """What pg_dump says of it, without the job's own schema, and without the key that is new in each dump."""
        dump = ["pg_dump", "-U", self.name, "-d", self.name, "--schema-only", "--exclude-schema=alembic_job"]
        said = run("kubectl", "--namespace", self.namespace, "exec", _SERVER, "--", *dump).out
        return "\n".join(line for line in said.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))

    def open_gate(self) -> None:
        """Lets the gated revision go on."""
        self.psql("CREATE TABLE gate ()")

    def working(self) -> bool:
        """Whether the gated revision is being executed now."""
        gated = "query LIKE '%relname = ''gate''%' AND pid <> pg_backend_pid()"
        return self.psql(f"SELECT count(*) FROM pg_stat_activity WHERE {gated}") != "0"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Images built and loaded, the server up, the charts packed; by whichever worker comes first."""
    if not shutil.which("kubectl") or not os.environ.get("KUBECONFIG"):
        raise ClusterError("these tests need kubectl on PATH and a cluster in KUBECONFIG")
    run_id = os.environ[_RUN]
    top = Path(tempfile.gettempdir()) / f"{_LABEL}-{run_id}"
    top.mkdir(mode=0o700, exist_ok=True)
    shared = Shared(run_id, {name: top / "charts" / name for name in ("umbrella", "twice", "alembic-job")})
    with (top / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (top / "done").exists():
            _pack_charts(top / "charts")
            _load_images(top)
            _start_server(shared.namespace)
            (top / "done").touch()
    return shared


def pytest_configure() -> None:
    """Names the run, once for all workers: they inherit the environment."""
    os.environ.setdefault(_RUN, secrets.token_hex(4))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The process that began the run removes what its workers made."""
    if hasattr(session.config, "workerinput"):
        return
    run_id = os.environ.pop(_RUN)
    shutil.rmtree(Path(tempfile.gettempdir()) / f"{_LABEL}-{run_id}", ignore_errors=True)
    if shutil.which("kubectl") and os.environ.get("KUBECONFIG"):
        run("kubectl", "delete", "namespaces", "--selector", f"{_LABEL}={run_id}", "--wait=false", check=False)


def _pack_charts(folder: Path) -> None:
    """The charts as a user has them: the example's dependency is fetched from the chart beside it."""
    top = folder.parent
    shutil.copytree(ROOT / "helm", top / "helm")
    for name in ("umbrella", "twice"):
        shutil.copytree(ROOT / "examples" / "umbrella", top / "examples" / name)
    with (top / "examples" / "twice" / "Chart.yaml").open("a") as chart:
        chart.write(_SECOND)
    folder.mkdir()
    (folder / "alembic-job").symlink_to(top / "helm" / "alembic-job")
    for name in ("umbrella", "twice"):
        run(helm_program(4), "dependency", "update", str(top / "examples" / name))
        (folder / name).symlink_to(top / "examples" / name)


def _load_images(folder: Path) -> None:
    with running_engine() as engine:
        ensure_bases(engine)
        job = build(engine, "alembic-job-test:job")
        (folder / "releases").mkdir()
        names = build_releases(engine, job, folder / "releases")
        engine.run("save", "--output", str(folder / "images.tar"), job, POSTGRES, *names)
    load_images(folder / "images.tar")
    (folder / "images.tar").unlink()


def make_namespace(name: str, run_id: str, security: str) -> None:
    """Makes a namespace with that level of Pod Security, removed at the end of the run."""
    labels = {_LABEL: run_id, "pod-security.kubernetes.io/enforce": security}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    run("kubectl", "apply", "--filename", "-", text=json.dumps(body))


def _start_server(namespace: str) -> None:
    make_namespace(namespace, namespace.rpartition("-")[2], "privileged")
    container = {
        "name": "postgres",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-c", "fsync=off", "-c", "max_connections=300"],
        "env": [{"name": "POSTGRES_PASSWORD", "value": PASSWORD}],
        "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
    }
    labels = {"app": _SERVER}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _SERVER, "labels": labels},
        "spec": {"containers": [container]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _SERVER},
        "spec": {"selector": labels, "ports": [{"port": 5432}]},
    }
    objects = {"apiVersion": "v1", "kind": "List", "items": [pod, service]}
    run("kubectl", "--namespace", namespace, "apply", "--filename", "-", text=json.dumps(objects))
    probe = ("kubectl", "--namespace", namespace, "exec", _SERVER, "--", "pg_isready", "-q", "-h", "127.0.0.1")
    await_value(lambda: run(*probe, check=False).code == 0)


@pytest.fixture
def database(shared: Shared) -> Database:
    """A database of its own with an owner of the same name."""
    name = f"d{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}_{next(_numbers)}"
    server = Database(shared.namespace, "postgres")
    literal = PASSWORD.replace("'", "''")
    server.psql(f"CREATE ROLE {name} LOGIN PASSWORD '{literal}'")
    server.psql(f"CREATE DATABASE {name} OWNER {name}")
    return Database(shared.namespace, name)


@pytest.fixture
def helm(request: pytest.FixtureRequest) -> str:
    """Helm 4, or the version a test names: `@pytest.mark.parametrize("helm", [3, 4], indirect=True)`."""
    return helm_program(getattr(request, "param", 4))


@pytest.fixture
def space(shared: Shared, helm: str, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A fresh namespace under the Pod Security standard `restricted`."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    name = f"{shared.namespace}-{worker}-{next(_numbers)}"
    make_namespace(name, shared.run_id, "restricted")
    space = Space(name, helm, shared.charts)
    yield space
    if getattr(request.node, "failed", False):
        print(space.picture())
    run("kubectl", "delete", "namespace", name, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Notes a failure, so that the namespace's picture is printed before it goes."""
    report = yield
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]
    return report


def shop(release: str, **more: Any) -> Json:
    """Values of the shop's chart for one release of it, whose Secret has the database's URL."""
    image = {"repository": REPOSITORY, "tag": release}
    migrations: Json = {"image": image, "resources": {"requests": {"cpu": "10m"}}, **more}
    return {"image": image, "command": ["python", "/app/serve.py"], "replicas": 1, "migrations": migrations}


def alone(release: str, **more: Any) -> Json:
    """Values of the chart installed by itself."""
    values: Json = shop(release, **more)["migrations"]
    return {"database": {"existingSecret": "shop-database"}, **values}
