"""The examples' files, read strictly, and what Helm makes of them."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.chart.helm import CHART, ROOT, Manifest, StrictLoader, program, render
from tests.examples.schemas import check, is_custom

EXAMPLES = ROOT / "examples"
VERSIONS = ("1.29", kubernetes_validate.latest_version())
NAMESPACE = "shop"


def load(path: Path | str) -> Any:
    """A file with one YAML document."""
    with (EXAMPLES / path).open() as file:
        return yaml.load(file, StrictLoader)


def documents(path: Path | str) -> list[Manifest]:
    """A file with several."""
    with (EXAMPLES / path).open() as file:
        return [document for document in yaml.load_all(file, StrictLoader) if document]


def of_kind(manifests: list[Manifest], kind: str) -> Manifest:
    """The only manifest of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def validate(manifests: list[Manifest]) -> None:
    """Strictly, unknown fields included: against Kubernetes' schemas, or ours for the kinds that it does not know."""
    assert manifests
    for manifest in manifests:
        if is_custom(manifest):
            check(manifest)
        else:
            _validate(json.dumps(manifest, sort_keys=True))


@functools.cache
def _validate(manifest: str) -> None:
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@functools.cache
def _copy() -> tempfile.TemporaryDirectory[str]:
    """The chart and the example that depends on it, apart from the repository: Helm writes into the latter."""
    top = tempfile.TemporaryDirectory(prefix="examples-")
    shutil.copytree(ROOT / "helm", Path(top.name, "helm"))
    shutil.copytree(EXAMPLES / "umbrella", Path(top.name, "examples", "umbrella"))
    command = [program(), "dependency", "update", str(Path(top.name, "examples", "umbrella"))]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return top


def umbrella() -> Path:
    """The application's chart, with its dependency fetched as its README says."""
    return Path(_copy().name, "examples", "umbrella")


def helm_values() -> list[str]:
    """The values files for the chart alone."""
    return [str(path.relative_to(EXAMPLES)) for path in sorted((EXAMPLES / "helm").glob("values-*.yaml"))]


# What a values file needs beforehand that a pod is not taken without.
BEFOREHAND = {"helm/values-rds-iam.yaml": "helm/service-account.yaml"}


def rendered_helm(name: str, *arguments: str) -> list[Manifest]:
    """The chart alone with one of these values files, and what this needs beforehand."""
    before = documents(BEFOREHAND[name]) if name in BEFOREHAND else []
    return [*before, *render(load(name), *arguments, release="shop-migrations", chart=CHART)]


def rendered_umbrella(*arguments: str) -> list[Manifest]:
    return render({}, *arguments, release="shop", chart=umbrella())


def rendered_argocd(*arguments: str) -> list[Manifest]:
    """What Argo CD makes of the Application."""
    helm = load("argocd/application.yaml")["spec"]["source"]["helm"]
    return render(helm["valuesObject"], *arguments, release=helm["releaseName"], chart=umbrella())


def rendered_flux(*arguments: str) -> list[Manifest]:
    """What Flux makes of the HelmRelease."""
    spec = of_kind(documents("flux/helmrelease.yaml"), "HelmRelease")["spec"]
    return render(spec["values"], *arguments, release=spec["releaseName"], chart=umbrella())


def kustomize_base() -> list[Manifest]:
    """The manifests before an overlay changes them."""
    return [of for name in load("kustomize/base/kustomization.yaml")["resources"] for of in _base(name)]


def _base(name: str) -> list[Manifest]:
    return documents(Path("kustomize/base", name))


def job_names(folder: str) -> set[str]:
    """The names that the migration Jobs of an example have in the cluster."""
    if folder == "kustomize":
        (tag,) = {image["newTag"] for image in load("kustomize/overlays/production/kustomization.yaml")["images"]}
        return {f"{of_kind(kustomize_base(), 'Job')['metadata']['name']}-{tag}"}
    if folder == "helm":
        manifests = rendered_helm("helm/values-existing-secret.yaml")
    elif folder == "argocd":
        manifests = rendered_argocd()
    elif folder == "flux":
        manifests = [*rendered_flux(), *kustomize_base()]
    else:
        manifests = rendered_umbrella()
    return {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "Job"}
