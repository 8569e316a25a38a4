"""What is taken for production: one sign is enough."""

from __future__ import annotations

import pytest

from alembic_job.rules.production import LARGE, Facts, signs
from alembic_job.settings import Settings

HOSTS = Settings().development_hosts
DESK = Facts("shop", ("localhost",))


@pytest.mark.parametrize(
    ("facts", "environ"),
    [
        (DESK, {}),
        (DESK._replace(hosts=("127.0.0.1", "::1", "", "/var/run/postgresql", "LOCALHOST.")), {}),
        (DESK._replace(hosts=("host.docker.internal",)), {"ENVIRONMENT": "development", "APP_ENV": "local"}),
        (DESK._replace(database="products", size=LARGE - 1, roles=("postgres",)), {"ENV": "reproduction"}),
    ],
)
def test_a_desk(facts: Facts, environ: dict[str, str]) -> None:
    """Nothing speaks against it."""
    assert signs(facts, HOSTS, environ) == []


@pytest.mark.parametrize(
    ("facts", "environ", "said"),
    [
        (DESK._replace(hosts=("localhost", "10.0.0.7")), {}, "host 10.0.0.7"),
        (DESK._replace(hosts=("localhost.example.com",)), {}, "localhost.example.com"),
        (DESK._replace(hosts=("postgres",)), {}, "host postgres"),
        (DESK, {"ENVIRONMENT": "production"}, "ENVIRONMENT is production"),
        (DESK, {"APP_ENV": "eu-prod-1"}, "APP_ENV"),
        (DESK, {"STAGE": "Staging"}, "STAGE"),
        (DESK, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, "cluster"),
        (DESK._replace(database="shop_prod"), {}, "shop_prod"),
        (DESK._replace(roles=("rds_superuser",)), {}, "rds_superuser"),
        (DESK._replace(replicas=1), {}, "replicas"),
        (DESK._replace(size=LARGE), {}, "1.0 GiB"),
        (DESK._replace(image="shop-migrations:4.2"), {}, "shop-migrations:4.2"),
    ],
)
def test_production(facts: Facts, environ: dict[str, str], said: str) -> None:
    """One sign, and it is named."""
    [sign] = signs(facts, HOSTS, environ)
    assert said in sign


def test_hosts_of_ones_own() -> None:
    """Patterns; and no more than they say."""
    allowed = ("db", "*.dev.example")
    assert signs(DESK._replace(hosts=("db", "a.dev.example")), allowed, {}) == []
    assert len(signs(DESK._replace(hosts=("localhost", "dev.example", "db2")), allowed, {})) == 3
