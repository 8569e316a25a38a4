{{/* A value as text: numbers of a values file come as floats, and 1000000 would be 1e+06. */}}
{{- define "alembic-job.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end }}

{{/* Words as one text that the job splits as a shell would. */}}
{{- define "alembic-job.shellWords" -}}
{{- $quoted := list -}}
{{- range . -}}
{{- $word := include "alembic-job.text" . -}}
{{- if regexMatch "^[A-Za-z0-9_@%+=:,./-]+$" $word -}}
{{- $quoted = append $quoted $word -}}
{{- else -}}
{{- $quoted = append $quoted (printf "'%s'" (replace "'" "'\"'\"'" $word)) -}}
{{- end -}}
{{- end -}}
{{- join " " $quoted -}}
{{- end }}

{{/* One variable with a value that is meant literally, (list NAME VALUE); none when the value is empty or null. A list
becomes words as of a shell. Kubernetes takes $(X) for a reference and $$ for $, so each $ is doubled. */}}
{{- define "alembic-job.literal" -}}
{{- $value := index . 1 -}}
{{- $text := "" -}}
{{- if kindIs "slice" $value -}}
{{- $text = include "alembic-job.shellWords" $value -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $text = include "alembic-job.text" $value -}}
{{- end -}}
{{- if $text }}
- {{ dict "name" (index . 0) "value" (replace "$" "$$" $text) | toJson }}
{{- end -}}
{{- end }}

{{/* The secrets that are given inline, as the data of the chart's own Secret; empty when there are none. */}}
{{- define "alembic-job.inlineSecrets" -}}
{{- range $key := list "url" "directUrl" "password" -}}
{{- with get $.Values.database $key }}
{{ $key }}: {{ b64enc . }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The keys of the Secret that comes from elsewhere: what it gives → its key. */}}
{{- define "alembic-job.secretKeys" -}}
{{- if or .Values.database.existingSecret .Values.externalSecret.enabled -}}
{{- toJson .Values.database.existingSecretKeys -}}
{{- end -}}
{{- end }}

{{/* Where the database is, and how to log in. */}}
{{- define "alembic-job.databaseEnv" -}}
{{- $database := .Values.database -}}
{{- $keys := include "alembic-job.secretKeys" . | fromYaml -}}
{{- $inline := include "alembic-job.inlineSecrets" . | fromYaml -}}
{{- $variables := dict "url" "DATABASE_URL" "directUrl" "DATABASE_DIRECT_URL" "host" "PGHOST" "port" "PGPORT" "name" "PGDATABASE" "user" "PGUSER" "password" "PGPASSWORD" -}}
{{- range $what, $variable := $variables -}}
{{- $key := ternary $what (get $keys $what) (hasKey $inline $what) -}}
{{- if $key }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ include "alembic-job.secretName" $ | quote }}
      key: {{ $key | quote }}
{{- else if eq $what "host" -}}
{{- include "alembic-job.literal" (list $variable (tpl (default "" $database.host) $)) -}}
{{- else -}}
{{- include "alembic-job.literal" (list $variable (get $database $what)) -}}
{{- end -}}
{{- end -}}
{{- include "alembic-job.literal" (list "PGSSLMODE" $database.sslMode) -}}
{{- include "alembic-job.literal" (list "PGSSLROOTCERT" $database.sslRootCert) -}}
{{- include "alembic-job.literal" (list "DATABASE_URL_FILE" $database.urlFile) -}}
{{- include "alembic-job.literal" (list "DATABASE_DIRECT_URL_FILE" $database.directUrlFile) -}}
{{- with $database.passwordFile -}}
{{- include "alembic-job.literal" (list "MIGRATE_PASSWORD_COMMAND" (list "cat" .)) -}}
{{- end -}}
{{- include "alembic-job.literal" (list "MIGRATE_PASSWORD_COMMAND" $database.passwordCommand) -}}
{{- end }}

{{/* "true" for a run that changes the database or takes a backup, and does not only ask. */}}
{{- define "alembic-job.works" -}}
{{- if has . (list "migrate" "rollback" "manual" "backup") -}}true{{- end -}}
{{- end }}

{{/* Where backups go; empty when there is no place for them. */}}
{{- define "alembic-job.backupUrl" -}}
{{- $backup := .Values.backup -}}
{{- if $backup.url -}}
{{- tpl $backup.url . -}}
{{- else if $backup.existingClaim -}}
{{- $backup.mountPath -}}
{{- end -}}
{{- end }}

{{/* The job's settings for one of its runs, (dict "root" CONTEXT "run" RUN), where RUN is
  migrate   in the Job, and in the application's init container in mode initContainer: bounded, with a backup
  rollback  on `helm rollback`: the same, and first it undoes what the database holds and this release's image lacks
  manual    by hand: with a backup, but bounded only if asked for, and never skipped
  backup    by the clock: bounded by its own Job, and never skipped
  wait      in the application's init container
  ask       in helm test: as the init container, but never skipped */}}
{{- define "alembic-job.settingsEnv" -}}
{{- $values := .root.Values -}}
{{- $wait := $values.waitForMigrations -}}
{{- $settings := omit $values.migrations.settings "deadline" -}}
{{- if has .run (list "migrate" "rollback") -}}
{{- $_ := set $settings "deadline" (include "alembic-job.deadline" .root) -}}
{{- else if eq .run "backup" -}}
{{- $_ := set $settings "deadline" (printf "%ds" (sub $values.backup.cronJob.activeDeadlineSeconds 25)) -}}
{{- $_ := unset $settings "skip" -}}
{{- else if eq .run "manual" -}}
{{- $_ := set $settings "deadline" $values.migrations.settings.deadline -}}
{{- $_ := unset $settings "skip" -}}
{{- else -}}
{{- $_ := unset $settings "waitTimeout" -}}
{{- $_ := unset $settings "report" -}}
{{- $_ := set $settings "whenAhead" $wait.whenAhead -}}
{{- if eq .run "wait" -}}
{{- $_ := set $settings "migrationsTimeout" $wait.timeout -}}
{{- else -}}
{{- $_ := unset $settings "skip" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .run "migrate") (eq $values.mode "job") (not (include "alembic-job.jobIsHook" .root)) -}}
{{- /* an ordinary Job runs again on `helm rollback`, which must not fail over the newer schema */ -}}
{{- $_ := set $settings "whenAhead" (default "tolerate" $settings.whenAhead) -}}
{{- end -}}
{{- if eq $values.mode "initContainer" -}}
{{- $_ := set $settings "whenAhead" (default $wait.whenAhead $settings.whenAhead) -}}
{{- end -}}
{{- if eq .run "rollback" -}}
{{- $_ := set $settings "whenAhead" "rollback" -}}
{{- end -}}
{{- if include "alembic-job.works" .run -}}
{{- $_ := set $settings "image" (include "alembic-job.image" .root) -}}
{{- $_ := set $settings "backup" $values.backup.mode -}}
{{- with include "alembic-job.backupUrl" .root -}}
{{- $_ := set $settings "backupUrl" . -}}
{{- range $name := list "verify" "args" "jobs" "compress" "keep" "keepFor" "encryptTo" -}}
{{- $_ := set $settings (printf "backup%s" (title $name)) (get $values.backup $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if include "alembic-job.works" .run -}}
{{- $_ := set $settings "notifyFile" $values.notify.urlsFile -}}
{{- $_ := set $settings "notifyOn" (join "," $values.notify.events) -}}
{{- end -}}
{{- range $name, $value := $settings -}}
{{- include "alembic-job.literal" (list (printf "MIGRATE_%s" (snakecase $name | upper)) $value) -}}
{{- end -}}
{{- include "alembic-job.literal" (list "ALEMBIC_CONFIG" $values.migrations.alembicConfig) -}}
{{- if and $values.notify.existingSecret (include "alembic-job.works" .run) }}
- name: MIGRATE_NOTIFY
  valueFrom:
    secretKeyRef:
      name: {{ tpl $values.notify.existingSecret .root | quote }}
      key: {{ $values.notify.existingSecretKey | quote }}
{{- end -}}
{{- end }}

{{/* All variables of a container, (dict "root" CONTEXT "run" RUN "extra" LIST). Of two with one name the later stays, as
the kubelet would have it; the API server refuses both under server-side apply. */}}
{{- define "alembic-job.env" -}}
{{- $chart := printf "%s%s" (include "alembic-job.databaseEnv" .root) (include "alembic-job.settingsEnv" .) | fromYamlArray -}}
{{- $all := concat $chart .root.Values.extraEnvVars (default list .extra) -}}
{{- $last := dict -}}
{{- range $place, $variable := $all -}}
{{- $_ := set $last $variable.name $place -}}
{{- end -}}
{{- $kept := list -}}
{{- range $place, $variable := $all -}}
{{- if eq (get $last $variable.name) $place -}}
{{- $kept = append $kept $variable -}}
{{- end -}}
{{- end -}}
{{- with $kept -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}

{{- define "alembic-job.envFrom" -}}
{{- with .Values.extraEnvVarsCM }}
- configMapRef:
    name: {{ tpl . $ | quote }}
{{- end }}
{{- with .Values.extraEnvVarsSecret }}
- secretRef:
    name: {{ tpl . $ | quote }}
{{- end }}
{{- end }}
