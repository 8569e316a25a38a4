"""Small schemas of the custom resources in the examples: the fields that are used, and no others."""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]

NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"}
TEXT: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
VALUES: Schema = {"type": "object", "minProperties": 1}
TAG: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"}


def an(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields and no others."""
    fields = {**required, **optional}
    return {"type": "object", "properties": fields, "required": [*required], "additionalProperties": False}


def many(of: Schema) -> Schema:
    return {"type": "array", "items": of, "minItems": 1}


def one_of(*values: str) -> Schema:
    return {"enum": [*values]}


def ref(*kinds: str) -> Schema:
    return an({"kind": one_of(*kinds), "name": NAME})


_REMEDIATION = an({"retries": COUNT}, remediateLastFailure=FLAG, strategy=one_of("rollback", "uninstall"))
_IMAGES = many(an({"name": TEXT, "newTag": TAG}))
_APPLICATION = an(
    {
        "project": TEXT,
        "source": an(
            {"repoURL": TEXT, "targetRevision": TEXT, "path": TEXT},
            helm=an({"releaseName": NAME, "valuesObject": VALUES}),
        ),
        "destination": an({"server": TEXT, "namespace": NAME}),
    },
    syncPolicy=an(
        {},
        automated=an({}, prune=FLAG, selfHeal=FLAG),
        retry=an({"limit": {"type": "integer"}}),
        syncOptions=many({"type": "string", "pattern": "^[A-Za-z]+=[A-Za-z]+$"}),
    ),
)
_HELM_RELEASE = an(
    {"interval": DURATION, "chartRef": ref("OCIRepository", "HelmChart"), "values": VALUES},
    releaseName=NAME,
    timeout=DURATION,
    install=an({"remediation": an({"retries": COUNT})}),
    upgrade=an({"remediation": _REMEDIATION}),
)
_FLUX_KUSTOMIZATION = an(
    {"interval": DURATION, "sourceRef": ref("GitRepository", "OCIRepository"), "path": TEXT, "prune": FLAG},
    targetNamespace=NAME,
    wait=FLAG,
    timeout=DURATION,
    images=_IMAGES,
    patches=many(an({"target": ref("Job"), "patch": TEXT})),
)
_FIELD = an({"delimiter": TEXT, "index": {"type": "integer"}})
_REPLACEMENT = an(
    {
        "source": an({**ref("Job")["properties"], "fieldPath": TEXT, "options": _FIELD}),
        "targets": many(an({"select": ref("Job"), "fieldPaths": many(TEXT), "options": _FIELD})),
    }
)

# kind → API version, the fields beside apiVersion, kind and metadata
CUSTOM: dict[str, list[tuple[str, Schema]]] = {
    "Application": [("argoproj.io/v1alpha1", {"spec": _APPLICATION})],
    "HelmRelease": [("helm.toolkit.fluxcd.io/v2", {"spec": _HELM_RELEASE})],
    "OCIRepository": [
        (
            "source.toolkit.fluxcd.io/v1",
            {
                "spec": an(
                    {
                        "interval": DURATION,
                        "url": {"type": "string", "pattern": "^oci://"},
                        "ref": an({"semver": TEXT}),
                        "layerSelector": an({"mediaType": TEXT, "operation": one_of("copy", "extract")}),
                    }
                )
            },
        )
    ],
    "GitRepository": [
        (
            "source.toolkit.fluxcd.io/v1",
            {
                "spec": an(
                    {
                        "interval": DURATION,
                        "url": {"type": "string", "pattern": "^(https|ssh)://"},
                        "ref": an({"branch": TEXT}),
                    }
                )
            },
        )
    ],
    "Kustomization": [
        ("kustomize.toolkit.fluxcd.io/v1", {"spec": _FLUX_KUSTOMIZATION}),
        (
            "kustomize.config.k8s.io/v1beta1",
            {"resources": many(TEXT), "namespace": NAME, "images": _IMAGES, "replacements": many(_REPLACEMENT)},
        ),
    ],
    "ExternalSecret": [
        (
            "external-secrets.io/v1",
            {
                "spec": an(
                    {
                        "refreshInterval": DURATION,
                        "secretStoreRef": ref("SecretStore", "ClusterSecretStore"),
                        "target": an({"name": NAME, "creationPolicy": one_of("Owner", "Orphan")}),
                        "data": many(
                            an({"secretKey": TEXT, "remoteRef": an({"key": TEXT}, property=TEXT, version=TEXT)})
                        ),
                    }
                )
            },
        )
    ],
    "SecretProviderClass": [
        (
            "secrets-store.csi.x-k8s.io/v1",
            {
                "spec": an(
                    {"provider": TEXT, "parameters": {"type": "object", "additionalProperties": {"type": "string"}}}
                )
            },
        )
    ],
}
_METADATA = an(
    {"name": NAME},
    namespace=NAME,
    labels={"type": "object", "additionalProperties": {"type": "string"}},
    annotations={"type": "object", "additionalProperties": {"type": "string"}},
)


def is_custom(manifest: dict[str, Any]) -> bool:
    """Whether this kind is one that Kubernetes does not bring."""
    return manifest["kind"] in CUSTOM


def check(manifest: dict[str, Any]) -> None:
    """Raises `jsonschema.ValidationError` for a field that is unknown, missing or wrong."""
    named = [fields for version, fields in CUSTOM[manifest["kind"]] if version == manifest["apiVersion"]]
    assert named, f"no {manifest['kind']} of API version {manifest['apiVersion']}"
    (fields,) = named
    is_file = manifest["apiVersion"].startswith("kustomize.config.")  # kustomize's own file: no object, has no metadata
    required = {} if is_file else {"metadata": _METADATA, **fields}
    version_and_kind = {"apiVersion": TEXT, "kind": TEXT}
    jsonschema.validate(manifest, an({**version_and_kind, **required}, **fields))
