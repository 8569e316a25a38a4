{{/* What the schema cannot see because it lies in several values. Each failure names the values and the way out. */}}
{{- define "alembic-job.check" -}}
{{- include "alembic-job.checkBudgets" . -}}
{{- include "alembic-job.checkWays" . -}}
{{- include "alembic-job.checkSecrets" . -}}
{{- include "alembic-job.checkDatabase" . -}}
{{- if and (eq .Values.backup.mode "required") (not .Values.backup.existingClaim) -}}
{{- fail "backup.mode is required, but backup.existingClaim names no PersistentVolumeClaim for the dumps" -}}
{{- end -}}
{{- end }}

{{- define "alembic-job.checkBudgets" -}}
{{- $bound := include "alembic-job.activeDeadlineSeconds" . | int64 -}}
{{- $grace := int64 .Values.job.terminationGracePeriodSeconds -}}
{{- $timeout := int64 .Values.timeoutSeconds -}}
{{- $deadline := include "alembic-job.deadline" . -}}
{{- $seconds := include "alembic-job.seconds" $deadline | int64 -}}
{{- if gt (add $bound $grace) $timeout -}}
{{- printf "job.activeDeadlineSeconds (%d) and job.terminationGracePeriodSeconds (%d) together exceed timeoutSeconds (%d): the Job would migrate on after Helm gave up. Raise timeoutSeconds, and give Helm that --timeout" $bound $grace $timeout | fail -}}
{{- end -}}
{{- if or (lt $seconds 1) (hasPrefix "-" $deadline) -}}
{{- printf "timeoutSeconds (%d), job.activeDeadlineSeconds (%d) and migrations.settings.deadline (%s) leave a run no time" $timeout $bound $deadline | fail -}}
{{- end -}}
{{- if gt (add $seconds 20) $bound -}}
{{- printf "migrations.settings.deadline (%s) must be at least 20 seconds below job.activeDeadlineSeconds (%d): the run would be killed before it ends in order" $deadline $bound | fail -}}
{{- end -}}
{{- $wait := .Values.migrations.settings.waitTimeout -}}
{{- if and (not (kindIs "invalid" $wait)) (ge (include "alembic-job.seconds" $wait | int64) $seconds) -}}
{{- $wait = include "alembic-job.text" $wait -}}
{{- if kindIs "invalid" .Values.migrations.settings.deadline -}}
{{- printf "migrations.settings.waitTimeout (%s) must be below the bound of one try (%s), which follows from timeoutSeconds (%d) and job.activeDeadlineSeconds (%d): raise timeoutSeconds and give Helm that --timeout, or lower waitTimeout" $wait $deadline $timeout $bound | fail -}}
{{- else -}}
{{- printf "migrations.settings.waitTimeout (%s) must be below migrations.settings.deadline (%s): a try that waits in vain would say only that its time is over" $wait $deadline | fail -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What has a value of its own, which the other containers and checks see, too. */}}
{{- define "alembic-job.checkWays" -}}
{{- $variables := dict "MIGRATE_DEADLINE" "migrations.settings.deadline, which is checked against the other budgets" "MIGRATE_BACKUP" "backup.mode" "MIGRATE_BACKUP_URL" "backup.existingClaim and backup.mountPath" -}}
{{- range concat .Values.extraEnvVars .Values.waitForMigrations.extraEnvVars -}}
{{- $name := .name -}}
{{- with get $variables $name -}}
{{- printf "extraEnvVars sets %s: use %s" $name . | fail -}}
{{- end -}}
{{- end -}}
{{- $options := dict "--to" "migrations.settings.to, for which the application's pods wait, too" "--deadline" "migrations.settings.deadline, which is checked against the other budgets" "--when-ahead" "migrations.settings.whenAhead" "--backup" "backup.mode" "--backup-url" "backup.existingClaim and backup.mountPath" -}}
{{- range default list .Values.migrations.args -}}
{{- $option := regexReplaceAll "(?s)=.*$" . "" -}}
{{- with get $options $option -}}
{{- printf "migrations.args holds %s: use %s" $option . | fail -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Exactly one way to say where the database is, at most one for each of the rest. */}}
{{- define "alembic-job.checkDatabase" -}}
{{- $database := .Values.database -}}
{{- $keys := include "alembic-job.secretKeys" . | fromYaml -}}
{{- $environment := or .Values.extraEnvVars .Values.extraEnvVarsCM .Values.extraEnvVarsSecret -}}
{{- $url := include "alembic-job.ways" (list $database $keys "url") | fromJsonArray -}}
{{- $direct := include "alembic-job.ways" (list $database $keys "directUrl") | fromJsonArray -}}
{{- $password := include "alembic-job.ways" (list $database $keys "password") | fromJsonArray -}}
{{- $parts := list -}}
{{- range list "host" "port" "name" "user" -}}
{{- $part := include "alembic-job.ways" (list $database $keys .) | fromJsonArray -}}
{{- $parts = concat $parts $part -}}
{{- include "alembic-job.checkOne" $part -}}
{{- end -}}
{{- include "alembic-job.checkOne" $url -}}
{{- include "alembic-job.checkOne" $direct -}}
{{- include "alembic-job.checkOne" $password -}}
{{- if and $url $parts -}}
{{- printf "%s and %s both say where the database is: keep one (where database.existingSecret holds parts or only a password, set database.existingSecretKeys.url to \"\")" (first $url) (first $parts) | fail -}}
{{- end -}}
{{- if and $parts (not (or $database.host $keys.host)) -}}
{{- printf "%s is set without a host: set database.host or database.existingSecretKeys.host" (first $parts) | fail -}}
{{- end -}}
{{- if not (or $url $parts $environment) -}}
{{- fail "no database: set database.existingSecret (with the URL under its key url), database.urlFile, database.host, or to try things out database.url; or bring your project's own variables by extraEnvVars, extraEnvVarsCM or extraEnvVarsSecret" -}}
{{- end -}}
{{- end }}

{{/* The values that give one thing: (list DATABASE KEYS NAME). */}}
{{- define "alembic-job.ways" -}}
{{- $database := index . 0 -}}
{{- $keys := index . 1 -}}
{{- $name := index . 2 -}}
{{- $ways := list -}}
{{- range list $name (printf "%sFile" $name) (printf "%sCommand" $name) -}}
{{- if get $database . -}}
{{- $ways = append $ways (printf "database.%s" .) -}}
{{- end -}}
{{- end -}}
{{- if get $keys $name -}}
{{- $ways = append $ways (printf "database.existingSecretKeys.%s" $name) -}}
{{- end -}}
{{- toJson $ways -}}
{{- end }}

{{- define "alembic-job.checkOne" -}}
{{- if gt (len .) 1 -}}
{{- printf "%s are the same thing twice: keep one" (join " and " .) | fail -}}
{{- end -}}
{{- end }}

{{- define "alembic-job.checkSecrets" -}}
{{- $inline := include "alembic-job.inlineSecrets" . | fromYaml | keys | sortAlpha -}}
{{- $external := .Values.externalSecret -}}
{{- if and $inline (or .Values.database.existingSecret $external.enabled) -}}
{{- $other := ternary "externalSecret.enabled" "database.existingSecret" $external.enabled -}}
{{- printf "database.%s is given together with %s: keep one" (first $inline) $other | fail -}}
{{- end -}}
{{- if not (or .Values.database.existingSecret $external.enabled) -}}
{{- range $key, $value := omit .Values.database.existingSecretKeys "url" -}}
{{- if $value -}}
{{- printf "database.existingSecretKeys.%s names a key, but database.existingSecret names no Secret" $key | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $external.enabled -}}
{{- if not $external.secretStoreRef.name -}}
{{- fail "externalSecret.enabled needs externalSecret.secretStoreRef.name" -}}
{{- end -}}
{{- if not (or $external.data $external.dataFrom) -}}
{{- fail "externalSecret.enabled needs externalSecret.data or externalSecret.dataFrom" -}}
{{- end -}}
{{- end -}}
{{- end }}
