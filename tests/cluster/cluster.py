"""A real cluster through kubectl and Helm, as the chart's users reach it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE = 90
"""Seconds that anything the cluster does by itself may take on a busy machine."""


class ClusterError(Exception):
    """No cluster, a program that is lacking, or a command that failed, with what it said."""


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        return f"{self.out}\n{self.err}"


def run(*command: str, text: str | None = None, check: bool = True, timeout: float = 300) -> Done:
    """Runs a program; raises `ClusterError` with its output if it fails and `check` is set."""
    begun = time.monotonic()
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout)
    result = Done(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
    if check and done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: exit code {done.returncode}\n{result.said}")
    return result


def await_value(look: Callable[[], T], *, seconds: float = PATIENCE, said: Callable[[], str] = lambda: "") -> T:
    """Waits until `look` returns something true, and returns that; an object that is not there yet is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := look():
                return value
            seen = repr(value)
        except (ClusterError, LookupError) as error:
            seen = str(error)
        assert time.monotonic() < deadline, f"not within {seconds} s: {seen}\n{said()}"
        time.sleep(0.2)


@cache
def helm_program(major: int) -> str:
    """The Helm of that major version: `helm3` or `helm4` on PATH, else `helm` if it is of that version."""
    named = shutil.which(f"helm{major}")
    plain = shutil.which("helm")
    if named:
        return named
    if plain and re.match(rf"v{major}\.", run(plain, "version", "--template", "{{.Version}}").out):
        return plain
    raise ClusterError(f"there is no Helm {major} on PATH, neither as helm{major} nor as helm")


def load_images(tarball: Path) -> None:
    """Puts images into the cluster's nodes: by $LOAD_IMAGE FILE, or as kind and minikube do it."""
    context = run("kubectl", "config", "current-context").out.strip()
    if command := os.environ.get("LOAD_IMAGE"):
        run(*command.split(), str(tarball))
    elif context.startswith("kind-"):
        run("kind", "load", "image-archive", str(tarball), "--name", context.removeprefix("kind-"))
    elif context == "minikube":
        run("minikube", "image", "load", str(tarball))
    else:
        raise ClusterError(f"how are images loaded into {context}? Set LOAD_IMAGE to a command that takes a tarball")


@dataclass(frozen=True)
class Helm:
    """A Helm that runs in the background."""

    process: subprocess.Popen[str]

    def succeeds(self, seconds: float = PATIENCE) -> bool:
        """Waits for its end; fails with what it said if that is a bad one."""
        out, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, out
        return True


@dataclass
class Space:
    """A namespace with the strictest Pod Security, where one test installs what it likes with one Helm."""

    name: str
    helm: str
    charts: dict[str, Path]
    defaults: Json = field(default_factory=dict)

    def kubectl(self, *words: str, text: str | None = None, check: bool = True) -> str:
        return run("kubectl", "--namespace", self.name, *words, text=text, check=check).out

    def get(self, *what: str) -> Json:
        found: Json = json.loads(self.kubectl("get", *what, "--output", "json"))
        return found

    def apply(self, *objects: Json) -> None:
        self.kubectl(
            "apply", "--filename", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def secret(self, name: str, **values: str) -> None:
        """Makes or replaces a Secret."""
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})

    def deploy(
        self, release: str, chart: str, values: Json, *options: str, timeout: str = "3m", check: bool = True
    ) -> Done:
        """`helm upgrade --install`, waiting for what Helm waits for."""
        command = [self.helm, "upgrade", "--install", release, str(self.charts[chart]), "--namespace", self.name]
        command += ["--values", "-", "--timeout", timeout, *options]
        return run(*command, text=json.dumps(values), check=check)

    def start_deploy(self, release: str, chart: str, values: Json, *options: str) -> Helm:
        """The same in the background."""
        command = [self.helm, "upgrade", "--install", release, str(self.charts[chart]), "--namespace", self.name]
        process = subprocess.Popen(
            [*command, "--values", "-", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(values))
        process.stdin.close()
        process.stdin = None
        return Helm(process)

    def helm_run(self, *words: str, check: bool = True) -> Done:
        return run(self.helm, *words, "--namespace", self.name, check=check)

    def jobs(self, release: str) -> list[Json]:
        """The migration Jobs of a release, oldest first."""
        items = self.get("jobs", "--selector", f"app.kubernetes.io/instance={release}")["items"]
        return sorted(items, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def job(self, release: str) -> Json:
        """The one Job of a release."""
        jobs = self.jobs(release)
        if len(jobs) != 1:
            raise LookupError(f"{len(jobs)} Jobs of {release}")
        return jobs[0]

    def pods(self, job: Json | str) -> list[Json]:
        """The pods of a Job, oldest first."""
        name = job if isinstance(job, str) else job["metadata"]["name"]
        items = self.get("pods", "--selector", f"batch.kubernetes.io/job-name={name}")["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def log(self, pod: Json | str, container: str = "migrate") -> list[Json]:
        """The events of a pod's container: every line is one JSON object."""
        name = pod if isinstance(pod, str) else pod["metadata"]["name"]
        return [json.loads(line) for line in self.kubectl("logs", name, "--container", container).splitlines()]

    def picture(self) -> str:
        """What a person would look at when something is stuck."""
        shown = [
            self.kubectl("get", "jobs,pods", "--output", "wide", check=False),
            self.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp", check=False),
        ]
        for pod in self.get("pods")["items"]:
            words = ("logs", pod["metadata"]["name"], "--all-containers", "--prefix", "--tail", "5")
            shown.append(self.kubectl(*words, check=False))
        return "\n".join(shown)


_NOT_YET: Json = {"state": {}}


def condition(job: Json) -> str:
    """ "Complete", or the reason of the Job's failure; "" while it runs."""
    for found in job.get("status", {}).get("conditions", []):
        if found["status"] == "True" and found["type"] in ("Complete", "Failed"):
            return "Complete" if found["type"] == "Complete" else str(found["reason"])
    return ""


def ended(pod: Json, container: str = "migrate") -> Json:
    """How that container of a pod ended: exitCode, message, startedAt, finishedAt. Empty while it runs."""
    statuses = pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
    found: Json = next(
        s["state"].get("terminated", {}) for s in [*statuses, _NOT_YET] if s.get("name", container) == container
    )
    return found
