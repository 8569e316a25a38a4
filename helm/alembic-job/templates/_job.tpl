{{- define "alembic-job.migrateArgs" -}}
{{- default (list "migrate") .Values.migrations.args | toJson -}}
{{- end }}

{{- define "alembic-job.jobSpec" -}}
{{- $job := .Values.job -}}
backoffLimit: {{ int64 $job.backoffLimit }}
activeDeadlineSeconds: {{ include "alembic-job.activeDeadlineSeconds" . }}
{{- with $job.ttlSecondsAfterFinished }}
ttlSecondsAfterFinished: {{ int64 . }}
{{- end }}
# a pod is replaced once it has ended, not while it still cancels its statement
podReplacementPolicy: Failed
podFailurePolicy:
  {{- include "alembic-job.podFailurePolicy" . | nindent 2 }}
template:
  {{- $args := include "alembic-job.migrateArgs" . | fromJsonArray }}
  {{- include "alembic-job.podTemplate" (dict "root" . "run" "migrate" "name" "migrate" "args" $args) | nindent 2 }}
{{- end }}
