"""Builds images as a user does, with this machine's pip settings passed as build secrets."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.image.engine import Engine

ROOT = Path(__file__).parents[2]
_CA_SECRET = "/run/secrets/ca.pem"


def build(engine: Engine, tag: str, context: Path = ROOT, *options: str) -> str:
    """`docker build` of a folder; returns the tag. Raises `EngineError` with the build's output if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "pip.conf"
        settings.write_text(_pip_settings())
        secrets = ["--secret", f"id=pip.conf,src={settings}", "--secret", f"id=ca.pem,src={_ca_bundle()}"]
        engine.run("build", "--network", "host", *secrets, "--tag", tag, *options, str(context))
    return tag


def _pip_settings() -> str:
    """This machine's pip settings, with the CA bundle at the place where a build finds it."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    pairs = (line.split("=", 1) for line in listed.stdout.splitlines())
    values = {key.removeprefix(":env:.").rsplit(".", 1)[-1]: value.strip("'") for key, value in pairs}
    kept = [f"{key} = {values[key]}" for key in ("index-url", "extra-index-url", "timeout") if key in values]
    return "\n".join(["[global]", *kept, f"cert = {_CA_SECRET}", ""])


def _ca_bundle() -> str:
    """The CA bundle that Python trusts here."""
    known = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return known or ssl.get_default_verify_paths().openssl_cafile
