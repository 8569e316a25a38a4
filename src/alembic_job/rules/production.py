"""Whether a database is one that people's salaries depend on, told from what can be seen of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

LARGE = 1 << 30  # bytes: what nobody keeps at a desk only to develop
MANAGED_ROLES = (
    *("rds_superuser", "rdsadmin", "cloudsqlsuperuser", "cloudsqladmin", "alloydbsuperuser"),
    *("azure_pg_admin", "azuresu", "neon_superuser", "doadmin", "heroku_admin"),
)
_STAGES = ("ENVIRONMENT", "APP_ENV", "APP_ENVIRONMENT", "ENV", "STAGE", "DEPLOYMENT_ENVIRONMENT", "PYTHON_ENV")
_LIVE = re.compile(r"(^|[^a-z])(prod|production|prd|live|preprod|staging|stage|stg|uat)([^a-z]|$)", re.IGNORECASE)


class Facts(NamedTuple):
    """What is seen of a database; `hosts` as connected to, `""` or a path for a Unix socket, `size` in bytes."""

    database: str
    hosts: tuple[str, ...]
    size: int = 0
    roles: tuple[str, ...] = ()
    replicas: int = 0
    image: str | None = None  # that has migrated it lately, as the chart names it


def signs(facts: Facts, allowed: tuple[str, ...], environ: Mapping[str, str]) -> list[str]:
    """What speaks for production, in words; nothing if all that can be seen speaks for a desk.

    To take production for a desk is the dangerous error, so one sign is enough. `allowed` are patterns of hosts.
    """
    found = [f"host {host} is not in MIGRATE_DEVELOPMENT_HOSTS" for host in facts.hosts if not _is_in(host, allowed)]
    found += [f"{name} is {environ[name]}" for name in _STAGES if _LIVE.search(environ.get(name, ""))]
    if environ.get("KUBERNETES_SERVICE_HOST"):
        found.append("this runs in a cluster")
    if _LIVE.search(facts.database):
        found.append(f"its name is {facts.database}")
    if managed := [role for role in facts.roles if role in MANAGED_ROLES]:
        found.append(f"the server is a managed one (role {managed[0]})")
    if facts.replicas:
        found.append("the server has replicas")
    if facts.size >= LARGE:
        found.append(f"it holds {facts.size / (1 << 30):.1f} GiB")
    if facts.image:
        found.append(f"the image {facts.image} has migrated it")
    return found


def _is_in(host: str, allowed: tuple[str, ...]) -> bool:
    name = host.lower().rstrip(".") if host and not host.startswith(("/", "@")) else "/"
    return any(fnmatchcase(name, pattern.lower()) for pattern in allowed)
