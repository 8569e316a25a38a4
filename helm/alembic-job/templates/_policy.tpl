{{/* From the table of exit codes, for a container of that name: 2 and 20 to 29 mean that trying again cannot help. Disruptions come first, so that an
evicted pod is replaced, whatever it ended with. Everything else is tried again. */}}
{{- define "alembic-job.podFailurePolicy" -}}
rules:
  - action: Ignore
    onPodConditions:
      - type: DisruptionTarget
        status: "True"
  - action: FailJob
    onExitCodes:
      containerName: {{ . }}
      operator: In
      values: [2, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
{{- end }}

{{/* Seconds, rounded up, of a duration as the job reads it: 90, 90s, 1h30m, 1.5h, 250ms. */}}
{{- define "alembic-job.seconds" -}}
{{- $text := include "alembic-job.text" . -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "min" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9.]+[a-z]*" $text -1 -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . | default "s" -}}
{{- $total = addf $total (mulf $number (get $units $unit | default 1.0)) -}}
{{- end -}}
{{- ceil $total | int64 -}}
{{- end }}

{{/* The bound of the Job: it ends, its last pod included, before Helm gives up. Otherwise it would migrate on after the
release is declared failed. */}}
{{- define "alembic-job.activeDeadlineSeconds" -}}
{{- $job := .Values.job -}}
{{- if kindIs "invalid" $job.activeDeadlineSeconds -}}
{{- sub (sub .Values.timeoutSeconds $job.terminationGracePeriodSeconds) 5 -}}
{{- else -}}
{{- int64 $job.activeDeadlineSeconds -}}
{{- end -}}
{{- end }}

{{/* The bound of one try: it ends by itself, in order and with a last line, before Kubernetes ends it. */}}
{{- define "alembic-job.deadline" -}}
{{- $given := .Values.migrations.settings.deadline -}}
{{- if kindIs "invalid" $given -}}
{{- printf "%ds" (sub (include "alembic-job.activeDeadlineSeconds" . | int64) 25) -}}
{{- else -}}
{{- include "alembic-job.text" $given -}}
{{- end -}}
{{- end }}
