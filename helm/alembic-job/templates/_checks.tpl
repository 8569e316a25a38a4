{{/* What the schema cannot see because it lies in several values. Each failure names the values and the way out. */}}
{{- define "alembic-job.check" -}}
{{- include "alembic-job.checkBudgets" . -}}
{{- include "alembic-job.checkWays" . -}}
{{- include "alembic-job.checkSecrets" . -}}
{{- include "alembic-job.checkDatabase" . -}}
{{- include "alembic-job.checkBackup" . -}}
{{- include "alembic-job.checkRollback" . -}}
{{- if and .Values.notify.existingSecret .Values.notify.urlsFile -}}
{{- include "alembic-job.checkOne" (list "notify.existingSecret" "notify.urlsFile") -}}
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
{{- $variables := dict "MIGRATE_DEADLINE" "migrations.settings.deadline, which is checked against the other budgets" "MIGRATE_BACKUP" "backup.mode" "MIGRATE_BACKUP_URL" "backup.url, or backup.existingClaim and backup.mountPath" -}}
{{- if .Values.rollback.enabled -}}
{{- $_ := set $variables "MIGRATE_WHEN_AHEAD" "migrations.settings.whenAhead and waitForMigrations.whenAhead, which the Job on a rollback does not share" -}}
{{- end -}}
{{- range concat .Values.extraEnvVars .Values.waitForMigrations.extraEnvVars -}}
{{- $name := .name -}}
{{- with get $variables $name -}}
{{- printf "extraEnvVars sets %s: use %s" $name . | fail -}}
{{- end -}}
{{- end -}}
{{- $options := dict "--to" "migrations.settings.to, for which the application's pods wait, too" "--deadline" "migrations.settings.deadline, which is checked against the other budgets" "--when-ahead" "migrations.settings.whenAhead" "--backup" "backup.mode" "--backup-url" "backup.url, or backup.existingClaim and backup.mountPath" -}}
{{- range default list .Values.migrations.args -}}
{{- $option := regexReplaceAll "(?s)=.*$" . "" -}}
{{- with get $options $option -}}
{{- printf "migrations.args holds %s: use %s" $option . | fail -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whatever is to take a backup has a place for it. */}}
{{- define "alembic-job.checkBackup" -}}
{{- $backup := .Values.backup -}}
{{- $ahead := eq (toString .Values.migrations.settings.whenAhead) "rollback" -}}
{{- if and $backup.url $backup.existingClaim -}}
{{- include "alembic-job.checkOne" (list "backup.url" "backup.existingClaim") -}}
{{- end -}}
{{- if and (or $backup.url $backup.encryptTo) (gt (default 1 $backup.jobs | int64) 1) -}}
{{- printf "backup.jobs makes each backup a folder, which cannot be %s: keep one of the two" (ternary "streamed to backup.url" "encrypted (backup.encryptTo)" (ne $backup.url "")) | fail -}}
{{- end -}}
{{- if not (include "alembic-job.backupUrl" .) -}}
{{- $place := "give backup.existingClaim or backup.url" -}}
{{- if eq $backup.mode "required" -}}
{{- printf "backup.mode is required, but there is no place for the dumps: %s" $place | fail -}}
{{- else if $backup.schedule -}}
{{- printf "backup.schedule is set, but there is no place for the dumps: %s" $place | fail -}}
{{- else if and (or .Values.rollback.enabled $ahead) (ne $backup.mode "off") -}}
{{- printf "%s takes a backup before it undoes anything, and there is no place for it: %s, or set backup.mode to \"off\" to do without" (ternary "rollback.enabled" "migrations.settings.whenAhead rollback" .Values.rollback.enabled) $place | fail -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Where a hook of `helm rollback` would not run, or could not do its work, that is said now and not on that day. */}}
{{- define "alembic-job.checkRollback" -}}
{{- $settings := .Values.migrations.settings -}}
{{- $wait := .Values.waitForMigrations -}}
{{- $provider := include "alembic-job.provider" . -}}
{{- if and (eq .Values.mode "initContainer") (eq (toString $settings.whenAhead) "rollback") -}}
{{- fail "mode initContainer and migrations.settings.whenAhead rollback: each older pod would undo what newer pods, which still run, need and bring back. Set mode to job" -}}
{{- end -}}
{{- if .Values.rollback.enabled -}}
{{- if eq .Values.mode "initContainer" -}}
{{- fail "rollback.enabled needs mode job: in mode initContainer newer pods that start anew would bring back what the rollback undoes" -}}
{{- else if not (include "alembic-job.helmRunsHooks" .) -}}
{{- printf "rollback.enabled makes a hook of `helm rollback`, which nobody runs with hooks.provider %s: set migrations.settings.whenAhead to rollback in the releases before and after instead" $provider | fail -}}
{{- else if eq (toString $settings.history) "off" -}}
{{- fail "rollback.enabled undoes revisions by the history in the database, which migrations.settings.history off does not keep" -}}
{{- else if eq (toString $settings.archive) "off" -}}
{{- fail "rollback.enabled undoes revisions by the SQL in the database's history, which migrations.settings.archive off does not keep" -}}
{{- else if and (eq .Values.rollback.when "post") $wait.enabled (eq $wait.whenAhead "fail") -}}
{{- fail "rollback.when post starts the older pods on the newer schema, and waitForMigrations.whenAhead fail keeps them from starting: set rollback.when to pre, or waitForMigrations.whenAhead to tolerate" -}}
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
