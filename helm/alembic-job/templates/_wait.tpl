{{/* For the application's chart, with this chart as a dependency called migrations:

      initContainers:
        {{- include "alembic-job.initContainers" .Subcharts.migrations | nindent 8 }}
      volumes:
        {{- include "alembic-job.volumes" .Subcharts.migrations | nindent 8 }}

Names begin with the alias, so several dependencies fit into one pod. The pod needs none of this chart's ServiceAccounts. */}}
{{- define "alembic-job.initContainers" -}}
{{- with include "alembic-job.initRun" . }}
{{- $wait := $.Values.waitForMigrations -}}
{{- $what := dict "root" $ "run" . "extra" $wait.extraEnvVars "resources" $wait.resources -}}
{{- $name := include "alembic-job.name" $ -}}
{{- if eq . "wait" -}}
{{- $_ := set $what "name" (printf "%s-wait" $name) -}}
{{- $_ := set $what "args" (list "wait-for-migrations") -}}
{{- else -}}
{{- $_ := set $what "name" (printf "%s-migrate" $name) -}}
{{- $_ := set $what "args" (include "alembic-job.migrateArgs" $ | fromJsonArray) -}}
{{- end -}}
- {{ include "alembic-job.container" $what | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "alembic-job.volumes" -}}
{{- with include "alembic-job.initRun" . }}
{{- include "alembic-job.containerVolumes" (dict "root" $ "run" .) }}
{{- end }}
{{- end }}

{{/* What the application's init container does; empty when there is none. */}}
{{- define "alembic-job.initRun" -}}
{{- if eq .Values.mode "initContainer" -}}
migrate
{{- else if .Values.waitForMigrations.enabled -}}
wait
{{- end -}}
{{- end }}
