"""What `init --with-deploy` writes, as Helm and compose read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alembic_job.pipeline.initialising import initialise
from tests.chart.helm import job


@pytest.mark.parametrize("template", ["plain", "async"])
def test_the_files_are_valid(template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart takes the values, compose's schema the services, hadolint the Dockerfile."""
    folder = tmp_path / "1st Shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    initialise("alembic", "alembic.ini", template=template, models=None, package=False, with_deploy=True)
    values = yaml.safe_load((folder / "values-migrations.yaml").read_text())
    [container] = job(values)["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("app-1st-shop-migrations:")
    assert "app-1st-shop-database" in str(container["env"])
    bin = Path(sys.executable).parent
    checker = [str(bin / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    subprocess.run(checker, check=True, capture_output=True)
    lint = [str(bin / "hadolint"), "--ignore", "DL3045", "Dockerfile"]  # the image that it derives from has a WORKDIR
    subprocess.run(lint, check=True, capture_output=True)
