{{/* A name of at most so many characters: (list NAME MAXIMUM). A longer one is cut and gets a hash of the whole, so that
two long names which differ only at their ends stay two. */}}
{{- define "alembic-job.cut" -}}
{{- $name := index . 0 -}}
{{- $maximum := index . 1 | int -}}
{{- if le (len $name) $maximum -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" (trunc (int (sub $maximum 9)) $name | regexFind "^.*[^-.]") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- end }}

{{/* The chart's name, or the alias that it has as a dependency, in letters that Kubernetes takes. */}}
{{- define "alembic-job.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride | lower | replace "_" "-" | replace "." "-" -}}
{{- include "alembic-job.cut" (list $name 50) -}}
{{- end }}

{{/* The usual rule. Only a chart that stands alone is called like its release: two aliases in a release whose name
contains both of theirs would otherwise be the same. */}}
{{- define "alembic-job.wholeName" -}}
{{- $name := include "alembic-job.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if and .Chart.IsRoot (contains $name .Release.Name) -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end }}

{{/* A resource's name: (list CONTEXT SUFFIX [MAXIMUM]). */}}
{{- define "alembic-job.named" -}}
{{- $suffix := index . 1 -}}
{{- $maximum := 63 -}}
{{- if eq (len .) 3 -}}
{{- $maximum = index . 2 -}}
{{- end -}}
{{- include "alembic-job.cut" (list (include "alembic-job.wholeName" (index . 0)) (sub $maximum (len $suffix))) -}}
{{- $suffix -}}
{{- end }}

{{- define "alembic-job.fullname" -}}
{{- include "alembic-job.named" (list . "") -}}
{{- end }}

{{/* A hook is replaced under its name. An ordinary Job cannot be changed ("field is immutable"), so it has a new name
whenever its spec or the release's revision is new. */}}
{{- define "alembic-job.jobName" -}}
{{- if include "alembic-job.jobIsHook" . -}}
{{- include "alembic-job.fullname" . -}}
{{- else -}}
{{- $hash := printf "%s %d" (include "alembic-job.jobSpec" (list . "migrate")) .Release.Revision | sha256sum | trunc 8 -}}
{{- include "alembic-job.named" (list . (printf "-%s" $hash)) -}}
{{- end -}}
{{- end }}

{{/* Kubernetes allows a CronJob's name 52 characters, and its Jobs eleven more. */}}
{{- define "alembic-job.manualName" -}}
{{- include "alembic-job.named" (list . "-manual" 52) -}}
{{- end }}

{{- define "alembic-job.backupName" -}}
{{- include "alembic-job.named" (list . "-backup" 52) -}}
{{- end }}

{{/* The Job on `helm rollback`: it leaves the log of the release's own Job alone. */}}
{{- define "alembic-job.rollbackName" -}}
{{- include "alembic-job.named" (list . "-rollback") -}}
{{- end }}

{{- define "alembic-job.serviceAccountName" -}}
{{- $given := tpl .Values.serviceAccount.name . -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "alembic-job.fullname" .) $given -}}
{{- else -}}
{{- default "default" $given -}}
{{- end -}}
{{- end }}

{{/* The Secret that the chart itself makes, or has made by external-secrets. */}}
{{- define "alembic-job.ownSecretName" -}}
{{- include "alembic-job.named" (list . "-database") -}}
{{- end }}

{{/* The Secret that the containers read; empty when they read none. */}}
{{- define "alembic-job.secretName" -}}
{{- $database := .Values.database -}}
{{- if $database.existingSecret -}}
{{- tpl $database.existingSecret . -}}
{{- else if or .Values.externalSecret.enabled (include "alembic-job.inlineSecrets" .) -}}
{{- include "alembic-job.ownSecretName" . -}}
{{- end -}}
{{- end }}

{{/* REGISTRY/REPOSITORY:TAG or …@DIGEST. */}}
{{- define "alembic-job.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default (default "" $image.registry) .Values.global.imageRegistry -}}
{{- $repository := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}
