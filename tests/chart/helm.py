"""Renders the chart with a real Helm: alone, or twice in an application's chart."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "alembic-job"
Manifest = dict[str, Any]
Values = Mapping[str, Any]
# The least that the chart needs.
DATABASE: Values = {"database": {"existingSecret": "shop-database"}}


class StrictLoader(yaml.CSafeLoader):  # type: ignore[misc]
    """Refuses what Kubernetes' own reader refuses: one key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"one key twice: {sorted(keys)}, {node.start_mark}"
        result: dict[Any, Any] = super().construct_mapping(node, deep)
        return result


@functools.cache
def program() -> str:
    """The Helm to test with: `HELM`, else the one of the package helm-binary beside this Python, else that on PATH."""
    beside = shutil.which("helm", path=Path(sys.executable).parent)
    found = os.environ.get("HELM") or beside or shutil.which("helm")
    assert found, "no helm: there is no package helm-binary for this machine, so install Helm 3.14 or newer"
    return found


def merged(*several: Values) -> dict[str, Any]:
    """Values over values, as Helm merges files."""
    result: dict[str, Any] = {}
    for values in several:
        for key, value in values.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


@functools.cache
def _template(chart: str, release: str, values: str, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [
        program(),
        "template",
        release,
        chart,
        "--namespace",
        "shop",
        "--kube-version",
        "1.34",
        "-f",
        "-",
        *arguments,
    ]
    return subprocess.run(command, input=values, capture_output=True, text=True, timeout=60)


def text(values: Values = DATABASE, *arguments: str, release: str = "rel", chart: Path = CHART) -> str:
    """What `helm template` prints."""
    done = _template(str(chart), release, json.dumps(values, ensure_ascii=False), arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(values: Values, *arguments: str, chart: Path = CHART) -> str:
    """What Helm says when it refuses these values."""
    done = _template(str(chart), "rel", json.dumps(values, ensure_ascii=False), arguments)
    assert done.returncode != 0, f"accepted: {values}"
    return done.stderr


def render(values: Values = DATABASE, *arguments: str, release: str = "rel", chart: Path = CHART) -> list[Manifest]:
    """The manifests, hooks included."""
    made = text(values, *arguments, release=release, chart=chart)
    return [manifest for manifest in yaml.load_all(made, StrictLoader) if manifest]


def only(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The only manifest of a kind."""
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def job(values: Values = DATABASE, *arguments: str) -> Manifest:
    """The Job that these values give."""
    return only(render(values, *arguments), "Job")


def container(manifest: Manifest) -> Manifest:
    """The container that does the work in a Job, CronJob, Deployment or Pod."""
    [found] = pod_spec(manifest)["containers"]
    return dict(found)


def environment(container: Manifest) -> dict[str, Any]:
    """Its variables; a reference stands as `valueFrom` has it."""
    variables = {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}
    assert len(variables) == len(container["env"]), "one variable twice: server-side apply refuses that"
    return variables


def pod_template(manifest: Manifest) -> Manifest | None:
    """The pod that a manifest makes, with its metadata; none for a ServiceAccount or a Secret."""
    if manifest["kind"] == "Pod":
        return manifest
    if manifest["kind"] == "CronJob":
        return dict(manifest["spec"]["jobTemplate"]["spec"]["template"])
    return manifest["spec"].get("template") if "spec" in manifest else None


def pod_spec(manifest: Manifest) -> Manifest:
    pod = pod_template(manifest)
    assert pod is not None
    return dict(pod["spec"])


def containers(manifest: Manifest) -> Iterator[Manifest]:
    """Every container of its pod, init containers and sidecars included."""
    spec = pod_spec(manifest)
    yield from spec.get("initContainers") or []
    yield from spec["containers"]


_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-app
spec:
  selector:
    matchLabels: {app: shop}
  template:
    metadata:
      labels: {app: shop}
    spec:
      automountServiceAccountToken: false
      initContainers:
        %(initContainers)s
      containers:
        - name: app
          image: shop:1
          securityContext:
            allowPrivilegeEscalation: false
            runAsNonRoot: true
            capabilities: {drop: [ALL]}
            seccompProfile: {type: RuntimeDefault}
      volumes:
        %(volumes)s
"""


@functools.cache
def umbrella(*aliases: str) -> Path:
    """An application's chart that has this chart as a dependency under each of these aliases, and waits for all."""
    folder = Path(tempfile.mkdtemp(prefix="umbrella-"))
    atexit.register(shutil.rmtree, folder)
    dependencies = [
        {"name": "alembic-job", "alias": alias, "version": ">=0.0.0-0", "condition": f"{alias}.enabled"}
        for alias in aliases
    ]
    chart = {"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": dependencies}
    (folder / "Chart.yaml").write_text(json.dumps(chart))
    shutil.copytree(CHART, folder / "charts" / "alembic-job")
    (folder / "templates").mkdir()
    lists = {
        name: "\n        ".join(
            f'{{{{- include "alembic-job.{name}" (index .Subcharts "{alias}") | nindent 8 }}}}' for alias in aliases
        )
        for name in ("initContainers", "volumes")
    }
    (folder / "templates" / "app.yaml").write_text(_DEPLOYMENT % lists)
    return folder
