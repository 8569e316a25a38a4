"""Sets of values as people would write them, each a situation; and for each value, another one and what it changes."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, NamedTuple

from tests.chart.helm import DATABASE, Values, merged

PARTS: Values = {
    "database": {
        "host": "postgres",
        "port": 5433,
        "name": "shop",
        "user": "shop",
        "existingSecret": "shop-database",
        "existingSecretKeys": {"url": "", "password": "pw"},
    }
}
EXTERNAL: Values = {
    "database": {"existingSecret": ""},
    "externalSecret": {
        "enabled": True,
        "secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"},
        "data": [{"secretKey": "url", "remoteRef": {"key": "shop/database", "property": "url"}}],
    },
}
FILES: Values = {
    "database": {"urlFile": "/secrets/url", "directUrlFile": "/secrets/direct", "passwordFile": "/secrets/password"},
    "extraVolumes": [
        {
            "name": "secrets",
            "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": "shop"},
            },
        }
    ],
    "extraVolumeMounts": [{"name": "secrets", "mountPath": "/secrets", "readOnly": True}],
}
PROXY: Values = {
    "sidecars": [
        {
            "name": "cloud-sql-proxy",
            "image": "cloud-sql-proxy:2",
            "args": ["--auto-iam-authn", "project:region:instance"],
            "securityContext": {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
    ],
}
PASSED_ON: Values = {
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "jobs", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            }
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "system-cluster-critical",
    "runtimeClassName": "gvisor",
    "schedulerName": "batch",
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["postgres"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.2"], "options": [{"name": "ndots", "value": "1"}]},
}

BACK: Values = {"backup": {"existingClaim": "dumps"}, "rollback": {"enabled": True}}

# Situation → values and further arguments of `helm template`.
SITUATIONS: dict[str, tuple[Values, tuple[str, ...]]] = {
    "default": (DATABASE, ()),
    "upgrade": (DATABASE, ("--is-upgrade",)),
    "parts": (PARTS, ()),
    "inline": ({"database": {"url": "postgresql://u:p@h/d", "directUrl": "postgresql://u:p@g/d"}}, ()),
    "files": (FILES, ()),
    "command": (
        merged(
            PARTS,
            {
                "database": {
                    "passwordCommand": ["aws", "rds", "generate-db-auth-token"],
                    "existingSecret": "",
                    "existingSecretKeys": {"password": ""},
                }
            },
        ),
        (),
    ),
    "external": (EXTERNAL, ()),
    "external, argocd": (merged(EXTERNAL, {"hooks": {"provider": "argocd"}}), ()),
    "argocd": (merged(DATABASE, {"hooks": {"provider": "argocd"}}), ()),
    "argocd, presync": (
        {"database": {"url": "postgresql://u:p@h/d"}, "hooks": {"provider": "argocd", "argocd": {"hook": "PreSync"}}},
        (),
    ),
    "flux": (merged(DATABASE, {"hooks": {"provider": "flux"}}), ()),
    "none": (merged(DATABASE, {"hooks": {"provider": "none"}}), ()),
    "hooks off": (merged(DATABASE, {"hooks": {"enabled": False}}), ()),
    "first install": (merged(DATABASE, {"hooks": {"firstInstall": "resource"}}), ()),
    "after first install": (merged(DATABASE, {"hooks": {"firstInstall": "resource"}}), ("--is-upgrade",)),
    "init container": (merged(DATABASE, {"mode": "initContainer"}), ()),
    "backup": (
        merged(DATABASE, {"backup": {"mode": "required", "existingClaim": "dumps", "subPath": "shop"}}),
        (),
    ),
    "backup, by the clock": (
        merged(
            DATABASE,
            {"backup": {"mode": "off", "url": "s3://dumps/shop", "schedule": "30 2 * * *", "keep": 10}},
            {"hooks": {"provider": "argocd"}},
        ),
        (),
    ),
    "rollback": (merged(DATABASE, BACK, {"backup": {"schedule": "@daily"}}), ()),
    "rollback, flux": (
        merged(
            BACK,
            {"database": {"url": "postgresql://u:p@h/d"}, "hooks": {"provider": "flux"}, "rollback": {"when": "pre"}},
        ),
        ("--is-upgrade",),
    ),
    "openshift": (DATABASE, ("--api-versions", "security.openshift.io/v1")),
    "meshed": (merged(DATABASE, {"mesh": {"inject": True}}), ()),
    "proxy": (merged(DATABASE, PROXY), ()),
    "passed on": (merged(DATABASE, PASSED_ON), ()),
    "by hand only": (merged(DATABASE, {"test": {"enabled": False}, "serviceAccount": {"create": False}}), ()),
}


class Case(NamedTuple):
    """Another value of one path, and what then shows in (or is gone from) an application's rendered chart."""

    value: Any
    shows: str = ""
    gone: str = ""
    given: Values = MappingProxyType({})
    arguments: tuple[str, ...] = ()


_EXTERNAL = merged(EXTERNAL, {"database": {"existingSecret": ""}})
_PARTS = {"database": {"existingSecretKeys": {"url": ""}, "host": "postgres"}}
_IN_SECRET = {"database": {"existingSecretKeys": {"url": "", "host": "h"}}}
_NO_SECRET = {"database": {"existingSecret": ""}}
_CLAIM = {"backup": {"existingClaim": "dumps"}}
_SCHEDULE = {"backup": {"existingClaim": "dumps", "schedule": "@daily"}}
_ARGO = {"hooks": {"provider": "argocd"}}


def _variable(name: str, value: str) -> str:
    return f"- name: {name}\n              value: {value}"


def _reference(name: str, key: str) -> str:
    return f"- name: {name}\n              valueFrom:\n                secretKeyRef:\n                  key: {key}\n"


CASES: dict[str, Case] = {
    "global.imageRegistry": Case(
        "mirror.example", 'image: "mirror.example/alembic-job:', given={"image": {"registry": "r"}}
    ),
    "global.imagePullSecrets": Case(["everywhere"], '- name: "everywhere"'),
    "nameOverride": Case("schema", "app.kubernetes.io/name: schema"),
    "fullnameOverride": Case("shop-schema", 'name: "shop-schema"\n'),
    "commonLabels": Case({"team": "shop"}, "team: shop"),
    "commonAnnotations": Case({"team": "shop"}, "team: shop"),
    "mode": Case("initContainer", "name: migrations-migrate", gone="kind: Job\n"),
    "image.registry": Case("registry.example", 'image: "registry.example/alembic-job:'),
    "image.repository": Case("shop/migrations", 'image: "shop/migrations:'),
    "image.tag": Case("1.4.2", 'image: "alembic-job:1.4.2"'),
    "image.digest": Case("sha256:" + "0" * 64, 'image: "alembic-job@sha256:000'),
    "image.pullPolicy": Case("Always", "imagePullPolicy: Always"),
    "image.pullSecrets": Case(["here"], '- name: "here"'),
    "migrations.args": Case(["migrate", "--log-format", "text"], "- --log-format\n"),
    "migrations.alembicConfig": Case("/srv/alembic.ini", _variable("ALEMBIC_CONFIG", "/srv/alembic.ini")),
    "migrations.settings.waitTimeout": Case("41s", _variable("MIGRATE_WAIT_TIMEOUT", "41s")),
    "migrations.settings.deadline": Case("4m1s", _variable("MIGRATE_DEADLINE", "4m1s"), given={"timeoutSeconds": 600}),
    "migrations.settings.to": Case("r2", _variable("MIGRATE_TO", "r2")),
    "migrations.settings.section": Case("billing", _variable("MIGRATE_SECTION", "billing")),
    "migrations.settings.x": Case(["a=1", "b=2 3"], _variable("MIGRATE_X", "a=1 'b=2 3'")),
    "migrations.settings.tag": Case("blue", _variable("MIGRATE_TAG", "blue")),
    "migrations.settings.loginGrace": Case("30s", _variable("MIGRATE_LOGIN_GRACE", "30s")),
    "migrations.settings.runLockTimeout": Case("1m", _variable("MIGRATE_RUN_LOCK_TIMEOUT", "1m")),
    "migrations.settings.lockPolicy": Case("off", _variable("MIGRATE_LOCK_POLICY", '"off"')),
    "migrations.settings.tableLockTimeout": Case("3m", _variable("MIGRATE_TABLE_LOCK_TIMEOUT", "3m")),
    "migrations.settings.maxLockHold": Case("off", _variable("MIGRATE_MAX_LOCK_HOLD", '"off"')),
    "migrations.settings.terminateBlockers": Case(
        "idle-in-transaction>60s", _variable("MIGRATE_TERMINATE_BLOCKERS", "idle-in-transaction>60s")
    ),
    "migrations.settings.logQueries": Case("off", _variable("MIGRATE_LOG_QUERIES", '"off"')),
    "migrations.settings.heartbeat": Case("1s", _variable("MIGRATE_HEARTBEAT", "1s")),
    "migrations.settings.serverDisk": Case("500GiB", _variable("MIGRATE_SERVER_DISK", "500GiB")),
    "migrations.settings.report": Case("/reports/", _variable("MIGRATE_REPORT", "/reports/")),
    "migrations.settings.role": Case("we ird", _variable("MIGRATE_ROLE", "we ird")),
    "migrations.settings.searchPath": Case(
        '"$user", app', "- name: MIGRATE_SEARCH_PATH\n              value: '\"$$user\", app'"
    ),
    "migrations.settings.transaction": Case("all", _variable("MIGRATE_TRANSACTION", "all")),
    "migrations.settings.whenAhead": Case("fail", _variable("MIGRATE_WHEN_AHEAD", "fail")),
    "migrations.settings.newDatabase": Case("empty", _variable("MIGRATE_NEW_DATABASE", "empty")),
    "migrations.settings.history": Case("off", _variable("MIGRATE_HISTORY", '"off"')),
    "migrations.settings.historySchema": Case("ops", _variable("MIGRATE_HISTORY_SCHEMA", "ops")),
    "migrations.settings.archive": Case("off", _variable("MIGRATE_ARCHIVE", '"off"')),
    "migrations.settings.whenEdited": Case("fail", _variable("MIGRATE_WHEN_EDITED", "fail")),
    "migrations.settings.lint": Case("error", _variable("MIGRATE_LINT", "error")),
    "migrations.settings.foreign": Case(["audit.*", "*_old"], _variable("MIGRATE_FOREIGN", "'''audit.*'' ''*_old'''")),
    "migrations.settings.before": Case("./before.sh", _variable("MIGRATE_BEFORE", "./before.sh")),
    "migrations.settings.beforeWhen": Case("always", _variable("MIGRATE_BEFORE_WHEN", "always")),
    "migrations.settings.after": Case("./after.sh", _variable("MIGRATE_AFTER", "./after.sh")),
    "migrations.settings.seed": Case("app.seed:seed", _variable("MIGRATE_SEED", "app.seed:seed")),
    "migrations.settings.production": Case("yes", _variable("MIGRATE_PRODUCTION", '"yes"')),
    "migrations.settings.developmentHosts": Case(
        ["localhost", "db"], _variable("MIGRATE_DEVELOPMENT_HOSTS", "localhost db")
    ),
    "migrations.settings.logFormat": Case("text", _variable("MIGRATE_LOG_FORMAT", "text")),
    "migrations.settings.logLevel": Case("debug", _variable("MIGRATE_LOG_LEVEL", "debug")),
    "migrations.settings.skip": Case("incident 4711", _variable("MIGRATE_SKIP", "incident 4711")),
    "migrations.settings.pgBindir": Case("/usr/lib/postgresql/17/bin", _variable("MIGRATE_PG_BINDIR", "/usr/lib")),
    "database.existingSecret": Case("other", "name: other\n"),
    "database.existingSecretKeys.url": Case("DSN", _reference("DATABASE_URL", "DSN")),
    "database.existingSecretKeys.directUrl": Case("direct", _reference("DATABASE_DIRECT_URL", "direct")),
    "database.existingSecretKeys.host": Case("h2", _reference("PGHOST", "h2"), given=_IN_SECRET),
    "database.existingSecretKeys.port": Case("p", _reference("PGPORT", "p"), given=_IN_SECRET),
    "database.existingSecretKeys.name": Case("db", _reference("PGDATABASE", "db"), given=_IN_SECRET),
    "database.existingSecretKeys.user": Case("u", _reference("PGUSER", "u"), given=_IN_SECRET),
    "database.existingSecretKeys.password": Case("pw", _reference("PGPASSWORD", "pw")),
    "database.host": Case("{{ .Release.Name }}-pg", _variable("PGHOST", "rel-pg"), given=_PARTS),
    "database.port": Case(5433, _variable("PGPORT", '"5433"'), given=_PARTS),
    "database.name": Case("shop", _variable("PGDATABASE", "shop"), given=_PARTS),
    "database.user": Case("shop", _variable("PGUSER", "shop"), given=_PARTS),
    "database.sslMode": Case("verify-full", _variable("PGSSLMODE", "verify-full")),
    "database.sslRootCert": Case("/ca/ca.pem", _variable("PGSSLROOTCERT", "/ca/ca.pem")),
    "database.urlFile": Case(
        "/s/url", _variable("DATABASE_URL_FILE", "/s/url"), given=_NO_SECRET | {"extraEnvVarsCM": "c"}
    ),
    "database.directUrlFile": Case("/s/url", _variable("DATABASE_DIRECT_URL_FILE", "/s/url")),
    "database.passwordFile": Case("/s/pass word", _variable("MIGRATE_PASSWORD_COMMAND", "cat '/s/pass word'")),
    "database.passwordCommand": Case(["token", "it's"], "MIGRATE_PASSWORD_COMMAND\n              value: token 'it'"),
    "database.url": Case(
        "postgresql://h/d", "  url: cG9zdGdyZXNxbDovL2gvZA==", given=_NO_SECRET | {"extraEnvVarsCM": "c"}
    ),
    "database.directUrl": Case(
        "postgresql://h/d",
        "  directUrl: cG9zdGdyZXNxbDovL2gvZA==",
        given={"database": {"existingSecret": "", "url": "x"}},
    ),
    "database.password": Case("pw", "  password: cHc=", given={"database": {"existingSecret": "", "url": "x"}}),
    "externalSecret.enabled": Case(
        True, "kind: ExternalSecret", given=merged(_EXTERNAL, DATABASE, {"externalSecret": {"enabled": False}})
    ),
    "externalSecret.apiVersion": Case(
        "external-secrets.io/v1beta1", "apiVersion: external-secrets.io/v1beta1", given=_EXTERNAL
    ),
    "externalSecret.secretStoreRef.name": Case("other", "name: other", given=_EXTERNAL),
    "externalSecret.secretStoreRef.kind": Case("SecretStore", "kind: SecretStore", given=_EXTERNAL),
    "externalSecret.refreshInterval": Case("5m", 'refreshInterval: "5m"', given=_EXTERNAL),
    "externalSecret.data": Case([{"secretKey": "other"}], "secretKey: other", given=_EXTERNAL),
    "externalSecret.dataFrom": Case([{"extract": {"key": "all"}}], "key: all", given=_EXTERNAL),
    "hooks.enabled": Case(False, gone='helm.sh/hook-weight: "0"'),
    "hooks.provider": Case("flux", "kustomize.toolkit.fluxcd.io/force: enabled"),
    "hooks.weight": Case(7, 'helm.sh/hook-weight: "7"'),
    "hooks.deletePolicy": Case("before-hook-creation,hook-succeeded", "before-hook-creation,hook-succeeded"),
    "hooks.outputLogPolicy": Case("hook-failed", "helm.sh/hook-output-log-policy: hook-failed"),
    "hooks.firstInstall": Case("resource", "helm.sh/hook: pre-upgrade\n", arguments=("--is-upgrade",)),
    "hooks.argocd.hook": Case("PreSync", "argocd.argoproj.io/hook: PreSync", given=_ARGO),
    "hooks.argocd.wave": Case(3, 'argocd.argoproj.io/sync-wave: "3"', given=_ARGO),
    "timeoutSeconds": Case(600, "activeDeadlineSeconds: 565"),
    "job.activeDeadlineSeconds": Case(200, "activeDeadlineSeconds: 200"),
    "job.backoffLimit": Case(2, "backoffLimit: 2"),
    "job.terminationGracePeriodSeconds": Case(20, "terminationGracePeriodSeconds: 20"),
    "job.ttlSecondsAfterFinished": Case(86400, "ttlSecondsAfterFinished: 86400"),
    "job.annotations": Case({"team": "shop"}, "team: shop"),
    "job.labels": Case({"team": "shop"}, "team: shop"),
    "backup.mode": Case("off", _variable("MIGRATE_BACKUP", '"off"')),
    "backup.url": Case("s3://{{ .Release.Name }}/dumps", _variable("MIGRATE_BACKUP_URL", "s3://rel/dumps")),
    "backup.existingClaim": Case("{{ .Release.Name }}-dumps", 'claimName: "rel-dumps"'),
    "backup.subPath": Case("shop", 'subPath: "shop"', given=_CLAIM),
    "backup.mountPath": Case("/dumps", 'mountPath: "/dumps"', given=_CLAIM),
    "backup.verify": Case("list", _variable("MIGRATE_BACKUP_VERIFY", "list"), given=_CLAIM),
    "backup.args": Case(
        ["--no-comments", "--exclude-table-data=a b"],
        _variable("MIGRATE_BACKUP_ARGS", "--no-comments '--exclude-table-data=a b'"),
        given=_CLAIM,
    ),
    "backup.jobs": Case(4, _variable("MIGRATE_BACKUP_JOBS", '"4"'), given=_CLAIM),
    "backup.compress": Case("zstd:3", _variable("MIGRATE_BACKUP_COMPRESS", "zstd:3"), given=_CLAIM),
    "backup.keep": Case(10, _variable("MIGRATE_BACKUP_KEEP", '"10"'), given=_CLAIM),
    "backup.keepFor": Case("30d", _variable("MIGRATE_BACKUP_KEEP_FOR", "30d"), given=_CLAIM),
    "backup.encryptTo": Case(["age1x", "age1y"], _variable("MIGRATE_BACKUP_ENCRYPT_TO", "age1x age1y"), given=_CLAIM),
    "backup.schedule": Case("30 2 * * *", 'schedule: "30 2 * * *"', given=_CLAIM),
    "backup.cronJob.timeZone": Case("Europe/Berlin", 'timeZone: "Europe/Berlin"', given=_SCHEDULE),
    "backup.cronJob.suspend": Case(True, gone="suspend: false", given=_SCHEDULE),
    "backup.cronJob.startingDeadlineSeconds": Case(60, "startingDeadlineSeconds: 60\n", given=_SCHEDULE),
    "backup.cronJob.activeDeadlineSeconds": Case(3600, _variable("MIGRATE_DEADLINE", "3575s"), given=_SCHEDULE),
    "backup.cronJob.successfulJobsHistoryLimit": Case(7, "successfulJobsHistoryLimit: 7", given=_SCHEDULE),
    "backup.cronJob.failedJobsHistoryLimit": Case(7, "failedJobsHistoryLimit: 7", given=_SCHEDULE),
    "notify.existingSecret": Case("{{ .Release.Name }}-people", "name: rel-people"),
    "notify.existingSecretKey": Case(
        "slack", _reference("MIGRATE_NOTIFY", "slack"), given={"notify": {"existingSecret": "people"}}
    ),
    "notify.urlsFile": Case("/s/urls", _variable("MIGRATE_NOTIFY_FILE", "/s/urls")),
    "notify.events": Case(["failed", "started"], _variable("MIGRATE_NOTIFY_ON", "failed,started")),
    "waitForMigrations.enabled": Case(False, gone="name: migrations-wait"),
    "waitForMigrations.timeout": Case("1h", _variable("MIGRATE_MIGRATIONS_TIMEOUT", "1h")),
    "waitForMigrations.whenAhead": Case("fail", _variable("MIGRATE_WHEN_AHEAD", "fail")),
    "waitForMigrations.resources": Case({"limits": {"memory": "99Mi"}}, "memory: 99Mi"),
    "waitForMigrations.extraEnvVars": Case(
        [{"name": "MIGRATE_LOG_FORMAT", "value": "text"}], _variable("MIGRATE_LOG_FORMAT", "text")
    ),
    "rollback.enabled": Case(True, "helm.sh/hook: post-rollback", given=_CLAIM),
    "rollback.when": Case("pre", "helm.sh/hook: pre-rollback", given=BACK),
    "manual.enabled": Case(False, gone="kind: CronJob"),
    "manual.args": Case(["history"], "- history"),
    "test.enabled": Case(False, gone="helm.sh/hook: test"),
    "serviceAccount.create": Case(False, 'serviceAccountName: "default"', gone="kind: ServiceAccount"),
    "serviceAccount.name": Case("{{ .Release.Name }}-robot", 'serviceAccountName: "rel-robot"'),
    "serviceAccount.annotations": Case({"eks.amazonaws.com/role-arn": "arn"}, "eks.amazonaws.com/role-arn: arn"),
    "serviceAccount.labels": Case({"team": "shop"}, "team: shop"),
    "podAnnotations": Case({"team": "shop"}, "team: shop"),
    "podLabels": Case({"team": "shop"}, "team: shop"),
    "podSecurityContext": Case({"fsGroup": 4711}, "fsGroup: 4711"),
    "containerSecurityContext": Case({"runAsUser": 4711}, "runAsUser: 4711"),
    "openshift": Case("true", gone="fsGroup: 10001"),
    "mesh.inject": Case(True, 'sidecar.istio.io/nativeSidecar: "true"'),
    "sidecars": Case([{"name": "proxy", "image": "proxy:1"}], "name: proxy\n"),
    "initContainers": Case([{"name": "before", "image": "before:1"}], "name: before\n"),
    "extraEnvVars": Case([{"name": "COLOUR", "value": "blue"}], _variable("COLOUR", "blue")),
    "extraEnvVarsCM": Case("{{ .Release.Name }}-settings", 'configMapRef:\n                name: "rel-settings"'),
    "extraEnvVarsSecret": Case("{{ .Release.Name }}-secrets", 'secretRef:\n                name: "rel-secrets"'),
    "extraVolumes": Case([{"name": "ca", "configMap": {"name": "ca"}}], "name: ca\n"),
    "extraVolumeMounts": Case([{"name": "ca", "mountPath": "/ca"}], "mountPath: /ca\n"),
    "tmp.sizeLimit": Case("1Gi", 'sizeLimit: "1Gi"'),
    "tmp.medium": Case("Memory", "medium: Memory"),
    "resources": Case({"limits": {"memory": "99Mi"}}, "memory: 99Mi"),
    "nodeSelector": Case({"disk": "fast"}, "disk: fast"),
    "tolerations": Case([{"key": "jobs"}], "key: jobs"),
    "affinity": Case({"nodeAffinity": {"x": 1}}, "nodeAffinity:"),
    "topologySpreadConstraints": Case([{"maxSkew": 1}], "maxSkew: 1"),
    "priorityClassName": Case("high", "priorityClassName: high"),
    "runtimeClassName": Case("gvisor", "runtimeClassName: gvisor"),
    "schedulerName": Case("batch", "schedulerName: batch"),
    "hostAliases": Case([{"ip": "10.0.0.1"}], "ip: 10.0.0.1"),
    "dnsPolicy": Case("Default", "dnsPolicy: Default"),
    "dnsConfig": Case({"nameservers": ["10.0.0.2"]}, "- 10.0.0.2"),
    "extraDeploy": Case(["kind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-more'}"], "name: 'rel-more'"),
}
