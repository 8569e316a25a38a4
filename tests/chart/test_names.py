"""Names and labels: within Kubernetes' limits, and never the same for two."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.chart.cases import BACK
from tests.chart.helm import DATABASE, Manifest, Values, containers, merged, pod_spec, pod_template, render, umbrella

LONGEST = "r" * 52 + "x"
SETTINGS: list[Values] = [
    {},
    {"hooks": {"provider": "none"}},
    {"hooks": {"firstInstall": "resource"}},
    {"mode": "initContainer"},
    merged(BACK, {"backup": {"schedule": "@daily"}}),
]


def identities(manifests: list[Manifest]) -> list[tuple[str, str]]:
    return [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_two_aliases_never_collide(settings: Values) -> None:
    """Not in a release with a name of 53 characters, nor of both aliases, nor if the aliases begin alike."""
    pairs = [
        ("orders_db", "orders-db-archive"),
        ("migrations-of-the-orders-service", "migrations-of-the-orders-archive"),
    ]
    releases = (LONGEST, "orders-db-orders-db-archive", "shop") if not settings else (LONGEST,)
    for aliases, release in itertools.product(pairs, releases):
        values = dict.fromkeys(aliases, merged({"database": {"url": "postgresql://h/d"}}, settings))
        made = render(values, release=release, chart=umbrella(*aliases))
        found = identities(made)
        assert len(found) == len(set(found))
        assert len([kind for kind, _ in found if kind == "Secret"]) == 2
        for manifest in made:
            check_names(manifest)


def check_names(manifest: Manifest) -> None:
    name = manifest["metadata"]["name"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= (52 if manifest["kind"] == "CronJob" else 63)
    for value in manifest["metadata"].get("labels", {}).values():
        assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value)
        assert len(value) <= 63
    if pod_template(manifest):
        volumes = pod_spec(manifest).get("volumes") or []
        for thing in (*containers(manifest), *volumes):
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", thing["name"])
            assert len(thing["name"]) <= 63


@pytest.mark.parametrize("override", ["n" * 63, "n" * 49 + "-" + "m" * 13, "Migrations_Of.Orders"])
def test_long_and_odd_names(override: str) -> None:
    """Cut where it must be, in letters that Kubernetes takes."""
    for values in (
        {"nameOverride": override},
        {"fullnameOverride": override.lower().replace("_", "-").replace(".", "-")},
    ):
        for release in ("rel", LONGEST):
            for manifest in render(merged(DATABASE, values), release=release):
                check_names(manifest)


def test_the_usual_rule() -> None:
    """A chart that stands alone is called like its release where that says it all."""
    names = {
        release: render(DATABASE, release=release)[0]["metadata"]["name"].removesuffix("-manual")
        for release in ("shop", "alembic-job", "shop-alembic-job")
    }
    assert names == {
        "shop": "shop-alembic-job",
        "alembic-job": "alembic-job",
        "shop-alembic-job": "shop-alembic-job",
    }


def test_a_release_with_dots() -> None:
    """Helm admits them, and so do the kinds that the chart makes."""
    names = {name for _, name in identities(render(DATABASE, release="shop.v2"))}
    assert "shop.v2-alembic-job" in names


def test_labels_are_the_recommended_ones() -> None:
    """Everything carries them, and what its owner adds cannot change them."""
    mine = {"app.kubernetes.io/instance": "mine", "team": "shop"}
    for manifest in render(merged(DATABASE, {"commonLabels": mine, "podLabels": mine, "job": {"labels": mine}})):
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "alembic-job"
        assert labels["app.kubernetes.io/instance"] == "rel"
        assert labels["app.kubernetes.io/component"] == "migrations"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"].startswith("alembic-job-")
        assert labels["team"] == "shop"


def test_hook_annotations_are_not_overridden() -> None:
    """An annotation of one's own cannot turn the hook into a rollback hook."""
    hook = {"helm.sh/hook": "pre-rollback", "team": "shop"}
    made = render(merged(DATABASE, {"commonAnnotations": hook, "job": {"annotations": hook}}))
    [job] = [manifest for manifest in made if manifest["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["metadata"]["annotations"]["team"] == "shop"


@pytest.mark.parametrize("number", ["1234", "1e3", "0x10", "true", "null"])
def test_names_that_look_like_something_else_stay_text(number: str) -> None:
    """In every manifest."""
    given = {"fullnameOverride": number, "serviceAccount": {"name": number}}
    for manifest in render(merged({"database": {"url": "postgresql://h/d"}}, given)):
        assert isinstance(manifest["metadata"]["name"], str)
        assert manifest["metadata"]["name"].startswith(number)
