"""The examples are what they say: every file is rendered or validated, every command line is one that exists."""

from __future__ import annotations

import copy
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alembic_job.errors import exit_codes
from alembic_job.settings import SETTINGS
from tests.chart.helm import CHART, ROOT, Manifest, containers, environment, only, pod_spec, program, render
from tests.examples import shell
from tests.examples.manifests import (
    EXAMPLES,
    documents,
    helm_values,
    job_names,
    kustomize_base,
    load,
    of_kind,
    rendered_argocd,
    rendered_flux,
    rendered_helm,
    rendered_umbrella,
    umbrella,
    validate,
)

FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
PAGES = sorted(EXAMPLES.rglob("*.md"))
INSTALL_AND_UPGRADE = pytest.mark.parametrize("arguments", [(), ("--is-upgrade",)], ids=["install", "upgrade"])


# What Kubernetes gets


@INSTALL_AND_UPGRADE
@pytest.mark.parametrize("name", helm_values())
def test_values_for_the_chart_alone(name: str, arguments: tuple[str, ...]) -> None:
    """Each values file renders, and what it renders is valid."""
    validate(rendered_helm(name, *arguments))


@INSTALL_AND_UPGRADE
@pytest.mark.parametrize("rendered", [rendered_umbrella, rendered_argocd, rendered_flux])
def test_values_for_the_application(rendered: Callable[..., list[Manifest]], arguments: tuple[str, ...]) -> None:
    """So do those of the umbrella chart, and those embedded in an Application and a HelmRelease."""
    validate(rendered(*arguments))


def test_every_manifest_is_valid() -> None:
    """Every YAML file that is a manifest by itself: none is left out."""
    others = {"Chart.yaml", "values.yaml", "compose.yaml", "deploy.yml", ".gitlab-ci.yml"}
    files = [path for path in EXAMPLES.rglob("*.y*ml") if path.name not in others and "templates" not in path.parts]
    files = [path for path in files if not path.name.startswith("values-")]
    assert len(files) >= 8
    for path in files:
        validate(documents(path))


def test_database_in_the_same_release() -> None:
    """On the first install the Job is an ordinary resource beside the database, on an upgrade a hook."""
    name = "helm/values-database-in-release.yaml"
    install, upgrade = (of_kind(rendered_helm(name, *arguments), "Job") for arguments in ((), ("--is-upgrade",)))
    assert "helm.sh/hook" not in install["metadata"].get("annotations", {})
    assert upgrade["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    service = of_kind(rendered_helm(name), "Service")["metadata"]["name"]
    assert environment(_migrate(install))["PGHOST"] == service


def test_backup_is_required_and_has_its_claim() -> None:
    """The claim that the values name is the one in the file beside them."""
    job = of_kind(rendered_helm("helm/values-backup.yaml"), "Job")
    claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod_spec(job)["volumes"]]
    assert load("helm/backup-claim.yaml")["metadata"]["name"] in claims
    assert environment(_migrate(job))["MIGRATE_BACKUP"] == "required"


def test_rollback_has_a_place_for_its_backup() -> None:
    """The hook of the older release undoes what its image lacks, after a backup."""
    jobs = [manifest for manifest in rendered_helm("helm/values-rollback.yaml") if manifest["kind"] == "Job"]
    [back] = [job for job in jobs if "rollback" in job["metadata"]["annotations"]["helm.sh/hook"]]
    variables = environment(_migrate(back))
    assert variables["MIGRATE_WHEN_AHEAD"] == "rollback"
    assert variables["MIGRATE_BACKUP_URL"].startswith("s3://")


def test_password_command_arrives_as_written() -> None:
    """The words of the RDS example reach the job as they are in the values, and the program is one."""
    words = load("helm/values-rds-iam.yaml")["database"]["passwordCommand"]
    job = of_kind(rendered_helm("helm/values-rds-iam.yaml"), "Job")
    assert shlex.split(environment(_migrate(job))["MIGRATE_PASSWORD_COMMAND"].replace("$$", "$")) == words
    compile(words[-1], "passwordCommand", "exec")
    account = of_kind(rendered_helm("helm/values-rds-iam.yaml"), "ServiceAccount")
    assert pod_spec(job)["serviceAccountName"] == account["metadata"]["name"]
    assert account == load("helm/service-account.yaml"), "the chart's own would be a hook, made anew"


def test_secret_file_lies_in_a_mount() -> None:
    """The URL's file is in the folder where the driver's volume is mounted, under a name that the class has."""
    values = load("helm/values-csi-secret-store.yaml")
    secrets = load("helm/secret-provider-class.yaml")
    folder, _, name = values["database"]["urlFile"].rpartition("/")
    (volume,) = values["extraVolumes"]
    assert volume["csi"]["volumeAttributes"]["secretProviderClass"] == secrets["metadata"]["name"]
    assert [mount["mountPath"] for mount in values["extraVolumeMounts"]] == [folder]
    assert f"objectName: {name}\n" in secrets["spec"]["parameters"]["objects"]


def test_proxy_is_a_native_sidecar() -> None:
    """Otherwise it would keep the Job from completing."""
    (proxy,) = pod_spec(of_kind(rendered_helm("helm/values-cloud-sql-proxy.yaml"), "Job"))["initContainers"]
    assert proxy["restartPolicy"] == "Always"


def test_argo_cd_orders_by_waves() -> None:
    """The waves of the README: secret, Job, application; and no hook of Helm's, which would be PreSync."""
    spec = load("argocd/application.yaml")["spec"]
    assert (ROOT / spec["source"]["path"] / "Chart.yaml").exists()
    waves = {}
    for manifest in rendered_argocd():
        annotations = manifest["metadata"].get("annotations", {})
        if annotations.get("helm.sh/hook") != "test":
            assert not [name for name in annotations if name.startswith("helm.sh/")], manifest["kind"]
        waves[manifest["kind"]] = annotations.get("argocd.argoproj.io/sync-wave", "0")
    kinds = ("ExternalSecret", "ServiceAccount", "Job", "Deployment")
    assert [waves[kind] for kind in kinds] == ["-2", "-2", "-1", "0"]
    assert of_kind(rendered_argocd(), "Job")["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "Sync"


def test_flux_waits_as_long_as_the_job_may_take() -> None:
    """The HelmRelease's timeout is not below the chart's, its chart is the example's, and its Job is a Helm hook."""
    release = of_kind(documents("flux/helmrelease.yaml"), "HelmRelease")["spec"]
    source = of_kind(documents("flux/helmrelease.yaml"), "OCIRepository")
    job = of_kind(rendered_flux(), "Job")
    assert _seconds(release["timeout"]) >= _budget(job)
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert source["metadata"]["name"] == release["chartRef"]["name"]
    assert source["spec"]["url"].endswith("/" + load("umbrella/Chart.yaml")["name"])


def test_flux_applies_the_manifests_without_helm() -> None:
    """Folder, images and Job that the Kustomization names are there, and the Job is replaced, not changed."""
    spec = of_kind(documents("flux/kustomization.yaml"), "Kustomization")["spec"]
    assert (ROOT / spec["path"] / "kustomization.yaml").exists()
    assert {image["name"] for image in spec["images"]} == _images(kustomize_base())
    job = of_kind(kustomize_base(), "Job")
    assert [patch["target"]["name"] for patch in spec["patches"]] == [job["metadata"]["name"]]
    assert "kustomize.toolkit.fluxcd.io/force: enabled" in spec["patches"][0]["patch"]
    assert _seconds(spec["timeout"]) >= _budget(job)


# Without Helm


def test_overlay_names_what_is_there() -> None:
    """Images, and the Job whose name gets the tag. (A cluster's tests build the overlay.)"""
    overlay = load("kustomize/overlays/production/kustomization.yaml")
    assert {image["name"] for image in overlay["images"]} == _images(kustomize_base())
    name = of_kind(kustomize_base(), "Job")["metadata"]["name"]
    (replacement,) = overlay["replacements"]
    assert replacement["source"]["name"] == name
    assert [target["select"]["name"] for target in replacement["targets"]] == [name]
    assert replacement["targets"][0]["options"]["index"] == name.count("-") + 1


def test_job_is_the_one_that_the_chart_makes() -> None:
    """Every field but names: whoever changes the chart's Job changes the example's."""
    mine = of_kind(kustomize_base(), "Job")
    values = {
        "nameOverride": "migrations",
        "hooks": {"provider": "none"},
        "image": {"repository": "registry.example/shop-migrations"},
        "database": {"existingSecret": "shop-database"},
        "serviceAccount": {"create": False},
        "job": {"ttlSecondsAfterFinished": mine["spec"]["ttlSecondsAfterFinished"]},
    }
    assert _comparable(mine) == _comparable(only(render(values), "Job"))


def test_waiting_container_is_the_one_that_the_chart_makes() -> None:
    """The same for the application's init container."""
    mine, charts = (of_kind(manifests, "Deployment") for manifests in (kustomize_base(), rendered_umbrella()))
    pairs = [pod_spec(deployment)["initContainers"] for deployment in (mine, charts)]
    (one,), (other,) = ([_without(container, "name", "image") for container in pair] for pair in pairs)
    assert one == other
    assert pod_spec(mine)["volumes"] == pod_spec(charts)["volumes"]


def test_job_stops_where_a_retry_cannot_help() -> None:
    """The rule's numbers against the job's own table of exit codes."""
    ignore, stop = of_kind(kustomize_base(), "Job")["spec"]["podFailurePolicy"]["rules"]
    assert (ignore["action"], stop["action"]) == ("Ignore", "FailJob")
    codes = set(stop["onExitCodes"]["values"])
    for code, kind in exit_codes().items():
        final = code == 2 or 20 <= code <= 29
        assert (code in codes) == final, f"{code} {kind.__name__}"
    assert codes <= {2, *range(20, 30)}


_KUBECTL = """\
#!/bin/sh
echo "$@" >>"$FAKE/calls"
case "$*" in
  kustomize*) cat "$FAKE/manifests" ;;
  apply*) cat >/dev/null; echo deployment.apps/shop; echo job.batch/shop-migrate-4f2c1e7 ;;
  *"get job.batch/"*)
    if [ "$STATE" = Gone ]; then echo "jobs.batch not found" >&2; exit 1; fi
    echo "$STATE " ;;
  *logs*) echo "the log" ;;
esac
"""


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        ("SuccessCriteriaMet Complete", 0, ""),
        ("FailureTarget Failed", 1, "failed"),
        ("Gone", 1, "was it deleted?"),
        ("", 1, "has not ended after 1 seconds"),
    ],
)
def test_deploy_script_ends_as_the_job_ends(tmp_path: Path, state: str, code: int, says: str) -> None:
    """With 0 after the rollout; with 1 and the log of the Job that failed; with 1 where none is left or none ends."""
    (tmp_path / "kubectl").write_text(_KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "manifests").write_text("metadata:\n  name: shop\n  namespace: shop\n")
    script = (EXAMPLES / "kustomize" / "deploy.sh").read_text()
    assert "patience=600" in script
    (tmp_path / "deploy.sh").write_text(script.replace("patience=600", "patience=1"))
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAKE": str(tmp_path), "STATE": state}
    command = ["bash", str(tmp_path / "deploy.sh"), "overlay"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30)
    calls = (tmp_path / "calls").read_text()
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert ("the log" in done.stdout) == ("Failed" in state)
    assert ("rollout status" in calls) == (code == 0)
    assert "--namespace shop get job.batch/shop-migrate-4f2c1e7" in calls


def test_deploy_script_outlasts_the_job() -> None:
    """Its patience is more than what the Job may take."""
    script = EXAMPLES / "kustomize" / "deploy.sh"
    assert os.access(script, os.X_OK)
    [patience] = re.findall(r"^patience=(\d+)", script.read_text(), re.MULTILINE)
    assert int(patience) > _budget(of_kind(kustomize_base(), "Job"))


# Pipelines and compose


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("github-actions/deploy.yml", ["--builtin-schema", "vendor.github-workflows"]),
        (
            "gitlab-ci/.gitlab-ci.yml",
            ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
        ),
        ("docker-compose/compose.yaml", ["--builtin-schema", "vendor.compose-spec"]),
    ],
)
def test_published_schema_accepts(path: str, options: list[str]) -> None:
    """GitHub's, GitLab's and compose's own schemas."""
    command = [sys.executable, "-m", "check_jsonschema", *options, str(EXAMPLES / path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_pipelines_refer_to_jobs_that_are_there() -> None:
    """What a schema cannot see: needs, stages and templates have their names from the same file."""
    jobs = load("github-actions/deploy.yml")["jobs"]
    assert {job["needs"] for job in jobs.values() if "needs" in job} <= set(jobs)
    pipeline = load("gitlab-ci/.gitlab-ci.yml")
    entries = [job for job in pipeline.values() if isinstance(job, dict)]
    assert {job["stage"] for job in entries if "stage" in job} == set(pipeline["stages"])
    assert {job["extends"] for job in entries if "extends" in job} <= set(pipeline)


def test_compose_starts_the_application_last() -> None:
    """The application waits for the migrations' success; every secret that is used is declared."""
    compose = load("docker-compose/compose.yaml")
    services = compose["services"]
    assert services["app"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert set(services["migrate"]["depends_on"]) <= set(services)
    used = {secret for service in services.values() for secret in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    files = {str(value) for service in services.values() for value in service["environment"].values()}
    mounted = {value.removeprefix("/run/secrets/") for value in files if value.startswith("/run/secrets/")}
    assert mounted == used


# Words


def test_shell_is_shell() -> None:
    """Every code block, step and script is read by a shell without complaint."""
    scripts = shell.in_examples()
    assert len(scripts) > 25
    for place, text in scripts:
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=10)
        assert (done.returncode, done.stderr) == (0, ""), f"{place}: {done.stderr}\n{text}"


@pytest.mark.parametrize(
    ("scripts", "least"), [(shell.in_examples, 15), (shell.in_documentation, 20)], ids=["examples", "documentation"]
)
def test_command_lines_are_those_of_the_product(scripts: Callable[[], list[shell.Script]], least: int) -> None:
    """Commands and options, by alembic-job's own parser."""
    count = 0
    for place, text in scripts():
        for command in shell.simple_commands(text):
            words = shell.alembic_job_words(command)
            if words is not None:
                count += 1
                _accepted(words, f"{place}: {shlex.join(command)}")
    assert count >= least


def test_containers_run_commands_of_the_product() -> None:
    """The args of each container with the migrations' image, and its variables."""
    manifests = [*kustomize_base(), *rendered_umbrella(), *rendered_argocd(), *rendered_flux()]
    for name in helm_values():
        manifests += rendered_helm(name)
    count = 0
    for manifest in manifests:
        if manifest["kind"] not in ("Job", "CronJob", "Deployment", "Pod"):
            continue
        for container in containers(manifest):
            if "shop-migrations" in container["image"]:
                count += 1
                assert "command" not in container, "the image's entrypoint holds signals back"
                _accepted(container["args"], f"{manifest['kind']} {manifest['metadata']['name']}")
    assert count > 20


def test_settings_are_those_of_the_product() -> None:
    """No example has a variable that the job does not know."""
    known = {setting.variable for setting in SETTINGS}
    for path in _files():
        for name in re.findall(r"\bMIGRATE_[A-Z_]+", path.read_text()):
            assert name.removesuffix("_FILE") in known, f"{path}: {name}"


def test_helm_lines_render() -> None:
    """`helm upgrade` with the chart, values and settings as written; its timeout is not below the chart's."""
    count = 0
    for place, text in shell.in_examples():
        for command in shell.simple_commands(text):
            if command[:2] == ["helm", "upgrade"]:
                count += 1
                _replay(command, place)
    assert count >= 4


def test_helm_options_exist() -> None:
    """Every option in a line of Helm's is in the help of that command."""
    for place, text in shell.in_examples():
        for command in shell.simple_commands(text):
            if command[0] == "helm":
                _helm_knows(command, place)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    """Relative links of the READMEs, headings included, and paths in their commands."""
    text = page.read_text()
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        found = page.parent / path
        assert found.exists(), target
        if heading:
            assert heading in _headings(found), target
    for path in re.findall(r"(?<![\w/.])(?:examples|helm)/[\w./-]+[\w]", text):
        assert (ROOT / path).exists() or (EXAMPLES / path).exists(), path


@pytest.mark.parametrize("folder", FOLDERS)
def test_jobs_have_the_names_that_are_written(folder: str) -> None:
    """`kubectl logs job/NAME` in a README, and the selector in a pipeline, find what is made."""
    for path in _files(folder):
        for name in re.findall(r"\bjobs?[/ ](shop-[a-z0-9-]+)|job-name=(shop-[a-z0-9-]+)", path.read_text()):
            assert "".join(name) in job_names(folder), f"{path}: {name}"


def test_umbrella_prints_the_notes_of_its_dependency() -> None:
    """Its NOTES.txt, which `helm template` does not show, rendered as a manifest's text."""
    notes = (EXAMPLES / "umbrella" / "templates" / "NOTES.txt").read_text()
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(shutil.copytree(umbrella(), Path(folder, "shop")))
        (chart / "templates" / "zz.yaml").write_text(
            '{{- define "notes" -}}\n' + notes + "{{- end }}\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
            'data: {notes: {{ include "notes" . | toJson }}}\n'
        )
        said = only(render({}, release="shop", chart=chart), "ConfigMap")["data"]["notes"]
    assert "the Job shop-migrations runs as a hook" in said
    assert "create job --from=cronjob/shop-migrations-manual" in said


def test_every_example_is_listed() -> None:
    """Each folder has a README, and its line in the list."""
    listed = re.findall(r"^\| \[(\S+)\]\(\1\) \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == FOLDERS
    for folder in FOLDERS:
        assert "If it fails" in (EXAMPLES / folder / "README.md").read_text()
        assert "## What to change" in (EXAMPLES / folder / "README.md").read_text()
    named = re.findall(r"\]\((values-\S+?)\)", (EXAMPLES / "helm" / "README.md").read_text())
    assert sorted(f"helm/{name}" for name in named) == helm_values()


def test_hosts_are_placeholders() -> None:
    """No image or source from somebody's registry."""
    for path in _files():
        for image in re.findall(r"(?:image|repository|repoURL|url): *[\"']?(\S+)", path.read_text()):
            host = re.match(r"(?:[a-z]+://)?([\w-]+(?:\.[\w-]+)+)[/:]", image)
            assert not host or host[1].endswith(".example"), f"{path}: {image}"


def _migrate(job: Manifest) -> Manifest:
    (container,) = pod_spec(job)["containers"]
    return dict(container)


def _files(folder: str = "") -> list[Path]:
    return [path for path in sorted((EXAMPLES / folder).rglob("*")) if path.is_file()]


def _images(manifests: list[Manifest]) -> set[str]:
    return {container["image"] for manifest in manifests for container in containers(manifest)}


def _seconds(duration: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"([0-9]+)([smh])", duration))


def _budget(job: Manifest) -> int:
    """What Helm or Flux must wait: the Job with its retries, and the end of its last pod."""
    return int(job["spec"]["activeDeadlineSeconds"]) + int(pod_spec(job)["terminationGracePeriodSeconds"])


def _without(fields: Manifest, *names: str) -> Manifest:
    return {name: value for name, value in fields.items() if name not in names}


def _comparable(job: Manifest) -> Manifest:
    """A Job's spec without names, images (kustomize does not rewrite variables that repeat one) and labels."""
    spec: Manifest = copy.deepcopy(job["spec"])
    template = spec["template"]
    labels = template["metadata"]["labels"]
    template["metadata"]["labels"] = {key: labels[key] for key in labels if not key.startswith("app.kubernetes.io/")}
    account = template["spec"].pop("serviceAccountName", "default")
    assert account == "default"
    for container in template["spec"]["containers"]:
        container["image"] = container["image"].partition(":")[0]
        container["env"] = [variable for variable in container["env"] if variable["name"] != "MIGRATE_IMAGE"]
    return spec


def _accepted(words: list[str], place: str) -> None:
    try:
        shell.parse(words)
    except Exception as error:
        pytest.fail(f"{place}: {error}")


def _replay(command: list[str], place: str) -> None:
    """`helm upgrade` as `helm template`."""
    words = [word for word in command[2:] if word not in ("--install", "--wait", "--wait-for-jobs")]
    words = [re.sub(r"\$[A-Z_]+", "4f2c1e7", word) for word in words]
    timeout = words.index("--timeout")
    limit = _seconds(words[timeout + 1])
    del words[timeout : timeout + 2]
    release, chart, *options = words
    charts = {"helm/alembic-job": CHART, "examples/umbrella": umbrella(), "./chart": umbrella()}
    template = [program(), "template", release, str(charts[chart]), *options]
    done = subprocess.run(template, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{place}: {done.stderr}"
    budget = re.findall(r"^  activeDeadlineSeconds: (\d+)$", done.stdout, re.MULTILINE)
    assert [int(seconds) + 30 <= limit for seconds in budget] == [True], f"{place}: --timeout {limit}s, {budget}"


def _helm_knows(command: list[str], place: str) -> None:
    words = command[1:3] if command[1] in ("dependency", "get") else command[1:2]
    for word in command:
        if word.startswith("--"):
            option = word.partition("=")[0]
            assert re.search(rf"{option}\b", _helm_help(*words)), f"{place}: helm {shlex.join(words)} has no {option}"


@functools.cache
def _helm_help(*words: str) -> str:
    command = [program(), *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def _headings(page: Path) -> set[str]:
    lines = [line.lstrip("# ") for line in page.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
