{{- define "alembic-job.migrateArgs" -}}
{{- default (list "migrate") .Values.migrations.args | toJson -}}
{{- end }}

{{/* The Job's spec, and that of the Job on `helm rollback`: (list CONTEXT RUN). */}}
{{- define "alembic-job.jobSpec" -}}
{{- $root := index . 0 -}}
{{- $job := $root.Values.job -}}
backoffLimit: {{ int64 $job.backoffLimit }}
activeDeadlineSeconds: {{ include "alembic-job.activeDeadlineSeconds" $root }}
{{- with $job.ttlSecondsAfterFinished }}
ttlSecondsAfterFinished: {{ int64 . }}
{{- end }}
# a pod is replaced once it has ended, not while it still cancels its statement
podReplacementPolicy: Failed
podFailurePolicy:
  {{- include "alembic-job.podFailurePolicy" "migrate" | nindent 2 }}
template:
  {{- $args := include "alembic-job.migrateArgs" $root | fromJsonArray }}
  {{- include "alembic-job.podTemplate" (dict "root" $root "run" (index . 1) "name" "migrate" "args" $args) | nindent 2 }}
{{- end }}
