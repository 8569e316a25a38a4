"""The examples on a real API server: accepted by it, and without Helm really deployed."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import Manifest, StrictLoader
from tests.cluster.cluster import Space, await_value, condition, run
from tests.cluster.conftest import Database
from tests.cluster.images import REPOSITORY
from tests.examples import shell
from tests.examples.manifests import (
    EXAMPLES,
    documents,
    helm_values,
    job_names,
    of_kind,
    rendered_argocd,
    rendered_flux,
    rendered_helm,
    rendered_umbrella,
    validate,
)
from tests.examples.schemas import is_custom

INSTALL_AND_UPGRADE = pytest.mark.parametrize("arguments", [(), ("--is-upgrade",)], ids=["install", "upgrade"])


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that refuses, and warns of, all but the Pod Security standard `restricted`."""
    name = f"examples-{secrets.token_hex(4)}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    run("kubectl", "apply", "--filename", "-", text=json.dumps(body))
    yield name
    run("kubectl", "delete", "namespace", name, "--wait=false")


@INSTALL_AND_UPGRADE
@pytest.mark.parametrize("name", helm_values())
def test_values_for_the_chart_alone(namespace: str, name: str, arguments: tuple[str, ...]) -> None:
    """The server takes what each values file gives, and has no warning."""
    accept(namespace, rendered_helm(name, *arguments))


@INSTALL_AND_UPGRADE
@pytest.mark.parametrize("rendered", [rendered_umbrella, rendered_argocd, rendered_flux])
def test_values_for_the_application(
    namespace: str, rendered: Callable[..., list[Manifest]], arguments: tuple[str, ...]
) -> None:
    """The same for the umbrella chart, by Helm, Argo CD and Flux."""
    accept(namespace, rendered(*arguments))


def test_claim_for_backups(namespace: str) -> None:
    """The same for the claim."""
    accept(namespace, documents("helm/backup-claim.yaml"))


def test_overlay(namespace: str, tmp_path: Path) -> None:
    """The overlay builds; its Job is named after the tag; the server takes all."""
    built = build(EXAMPLES / "kustomize" / "overlays" / "production")
    assert {of_kind(built, "Job")["metadata"]["name"]} == job_names("kustomize")
    assert {manifest["metadata"]["namespace"] for manifest in built} == {"shop"}
    (tag,) = job_names("kustomize")
    for manifest in built:
        for image in re.findall(r"registry\.example/[^\"]+", json.dumps(manifest)):
            assert image.endswith(":" + tag.rpartition("-")[2])
    validate(built)
    accept(namespace, build(overlay(tmp_path, {"namespace": namespace})))


def test_kustomization_of_flux(namespace: str, tmp_path: Path) -> None:
    """Images and patches of the Kustomization apply to the manifests that it names."""
    spec = of_kind(documents("flux/kustomization.yaml"), "Kustomization")["spec"]
    changes = {"namespace": namespace, "images": spec["images"], "patches": spec["patches"]}
    built = build(overlay(tmp_path, changes, on="base"))
    validate(built)
    accept(namespace, built)
    job = of_kind(built, "Job")
    assert job["metadata"]["annotations"] == {"kustomize.toolkit.fluxcd.io/force": "enabled"}
    assert job["metadata"]["name"] in job_names("flux")


_VERBS = [
    ["apply"],
    ["create", "secret", "generic"],
    ["create", "namespace"],
    ["create", "job"],
    ["create"],
    ["delete"],
    ["get"],
    ["kustomize"],
    ["logs"],
    ["rollout", "status"],
    ["wait"],
]


def test_options_of_kubectl_exist() -> None:
    """Every option in a line of kubectl's is in the help of that command."""
    common = run("kubectl", "options").out
    count = 0
    for place, text in shell.in_examples():
        for command in shell.simple_commands(text):
            if command[0] != "kubectl":
                continue
            verb = next(verb for verb in _VERBS if set(verb) <= set(command))
            known = common + run("kubectl", *verb, "--help").out
            options = {word.partition("=")[0] for word in command if word.startswith("--")}
            count += len(options)
            missing = [option for option in options if not re.search(rf"{option}\b", known)]
            assert not missing, f"{place}: {verb}: {missing}"
    assert count > 20


def test_deployed_without_helm(space: Space, database: Database, tmp_path: Path) -> None:
    """deploy.sh migrates and starts the application; the next release fails, and the pods of the first serve on."""
    space.secret("shop-database", url=database.url())
    done = deploy(tmp_path / "v1", space, "v1")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{space.picture()}"
    assert database.revision == "r1"
    serving = _ready(space)
    assert len(serving) == 2
    done = deploy(tmp_path / "broken", space, "broken")
    assert done.returncode == 1
    assert '"exit_code": 23' in done.stdout
    assert condition(space.get("job", "shop-migrate-broken")) == "PodFailurePolicy"
    assert serving == _ready(space)
    done = deploy(tmp_path / "back", space, "v1")  # back: the older Job is there and does not run again
    assert done.returncode == 0, done.stderr
    await_value(lambda: len(space.get("pods", "--selector", "app.kubernetes.io/component=web")["items"]) == 2)


def _ready(space: Space) -> set[str]:
    pods = space.get("pods", "--selector", "app.kubernetes.io/component=web")["items"]
    return {
        pod["metadata"]["name"]
        for pod in pods
        if any(found["type"] == "Ready" and found["status"] == "True" for found in pod["status"]["conditions"])
    }


def accept(namespace: str, manifests: list[Manifest]) -> None:
    """A dry run on the server of all but custom resources; Pod Security's warnings about their pods count."""
    known = [manifest for manifest in manifests if not is_custom(manifest)]
    for manifest in known:
        manifest["metadata"]["namespace"] = namespace
    apply = ("kubectl", "apply", "--validate=strict", "--filename", "-")
    if accounts := [manifest for manifest in known if manifest["kind"] == "ServiceAccount"]:
        run(*apply, text=json.dumps(_list(accounts)))  # a pod is taken only if its account is there
    done = run(*apply, "--dry-run=server", text=json.dumps(_list(known)))
    assert "Warning" not in done.err, done.err
    assert len(done.out.splitlines()) == len(known)


def _list(manifests: list[Manifest]) -> Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": manifests}


def build(folder: Path) -> list[Manifest]:
    """What `kubectl kustomize` makes of an overlay."""
    text = run("kubectl", "kustomize", str(folder)).out
    return [manifest for manifest in yaml.load_all(text, StrictLoader) if manifest]


def overlay(folder: Path, changes: Manifest, on: str = "overlays/production") -> Path:
    """An overlay of a test's own, on a copy of the example's."""
    shutil.copytree(EXAMPLES / "kustomize", folder / "kustomize")
    (folder / "test").mkdir()
    names = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    body = {**names, "resources": [f"../kustomize/{on}"], **changes}
    (folder / "test" / "kustomization.yaml").write_text(json.dumps(body))
    return folder / "test"


def deploy(folder: Path, space: Space, release: str) -> subprocess.CompletedProcess[str]:
    """The example with images and a namespace that are there."""
    shutil.copytree(EXAMPLES / "kustomize", folder)
    path = folder / "overlays" / "production" / "kustomization.yaml"
    body = yaml.safe_load(path.read_text())
    body["namespace"] = space.name
    body["images"] = [{"name": image["name"], "newName": REPOSITORY, "newTag": release} for image in body["images"]]
    serve = [{"op": "add", "path": "/spec/template/spec/containers/0/command", "value": ["python", "/app/serve.py"]}]
    body["patches"] = [{"target": {"kind": "Deployment"}, "patch": json.dumps(serve)}]
    path.write_text(json.dumps(body))
    command = [str(folder / "deploy.sh"), str(path.parent)]
    return subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True, timeout=300)
