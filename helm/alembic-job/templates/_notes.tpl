{{/* NOTES.txt. Helm does not print a dependency's: the parent's own NOTES.txt includes this,
{{ include "alembic-job.notes" .Subcharts.migrations }} */}}
{{- define "alembic-job.notes" -}}
{{- $name := include "alembic-job.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $provider := include "alembic-job.provider" . -}}
{{- $job := include "alembic-job.jobName" . -}}
{{- $byHand := include "alembic-job.named" (list . "-by-hand" 52) -}}
{{- $isHook := include "alembic-job.jobIsHook" . -}}
{{- $timeout := printf "%ds" (int64 .Values.timeoutSeconds) -}}
alembic-job {{ .Chart.AppVersion }} as {{ $name }} in namespace {{ $namespace }}.

WHAT RUNS WHEN
{{- if eq .Values.mode "initContainer" }}
  No Job. Each of the application's pods that includes "alembic-job.initContainers" migrates before it starts, one pod at
  a time; the others wait for it.
{{- else if eq $provider "argocd" }}
  The Job {{ $name }} runs in each {{ .Values.hooks.argocd.hook }} of Argo CD, in wave {{ .Values.hooks.argocd.wave | int }}.
{{- else if eq $provider "none" }}
  The Job {{ $job }} ran with this release; each upgrade has one of a new name. Nothing orders it before your pods:
  let them wait with the template "alembic-job.initContainers", and Helm for it with --wait-for-jobs.
{{- else if eq .Values.hooks.firstInstall "resource" }}
  {{- if .Release.IsInstall }}
  On this first install the Job {{ $job }} is an ordinary resource, beside the database.
  Let your pods wait with the template "alembic-job.initContainers", and Helm for it with --wait-for-jobs.
  If this install fails because the database does not come up, an upgrade cannot repair it: its hook waits for that database.
  `helm uninstall` and install again; or `helm upgrade --no-hooks` with what repairs it, then upgrade once more.
  {{- end }}
  Before each upgrade the Job {{ $name }} runs as a hook. If it fails, the upgrade fails and the old pods stay.
{{- else }}
  Before each install and upgrade the Job {{ $name }} runs as a hook. If it fails, the release fails and the old pods stay.
{{- end }}

HOW LONG
{{- if eq .Values.mode "initContainer" }}
  Each try at most {{ include "alembic-job.deadline" . }}.
{{- else }}
  The Job with all its retries at most {{ include "alembic-job.activeDeadlineSeconds" . }}s, each try at most {{ include "alembic-job.deadline" . }}.
  {{- if has $provider (list "helm" "flux") }}
  So {{ ternary "the HelmRelease's spec.timeout" "Helm's --timeout" (eq $provider "flux") }} must be {{ $timeout }} or more (the default is 5m). For longer migrations raise timeoutSeconds, and that with it.
  {{- end }}
{{- end }}

WHY IT FAILED
{{- if eq .Values.mode "initContainer" }}
  kubectl -n {{ $namespace }} logs POD -c {{ include "alembic-job.name" . }}-migrate --tail=1
{{- else }}
  The last line of each try, and what each try said, the newest last:
  kubectl -n {{ $namespace }} logs -l job-name={{ $job }} --tail=1 --prefix
  kubectl -n {{ $namespace }} get pods -l job-name={{ $job }} --sort-by=.metadata.creationTimestamp -o jsonpath='{range .items[*]}{.metadata.name}{": "}{.status.containerStatuses[*].state.terminated.message}{"\n"}{end}'

  Nothing there? Then no container started: the image, a key of the Secret or a quota. Once the Job's deadline is over, the
  pod is gone, and only these tell:
  kubectl -n {{ $namespace }} describe job/{{ $job }}
  kubectl -n {{ $namespace }} get events --sort-by=.lastTimestamp
{{- end }}
{{- if .Values.backup.schedule }}

BACKUPS
  {{- if .Values.backup.cronJob.suspend }}
  The CronJob {{ include "alembic-job.backupName" . }} is suspended (backup.cronJob.suspend).
  {{- else }}
  The CronJob {{ include "alembic-job.backupName" . }} takes one at {{ .Values.backup.schedule }}{{ with .Values.backup.cronJob.timeZone }} ({{ . }}){{ end }}.
  {{- end }} One now:
  kubectl -n {{ $namespace }} create job --from=cronjob/{{ include "alembic-job.backupName" . }} {{ include "alembic-job.named" (list . "-backup-now" 52) }}
{{- end }}
{{- if .Values.manual.enabled }}

BY HAND
  The question{{ if ne (join " " .Values.manual.args) "status" }} or command{{ end }} `{{ join " " .Values.manual.args }}`:
  kubectl -n {{ $namespace }} create job --from=cronjob/{{ include "alembic-job.manualName" . }} {{ $byHand }}
  {{- $back := "[\"rollback\",\"--steps\",\"1\"]" }}
  {{- if not (or (include "alembic-job.backupUrl" .) (eq .Values.backup.mode "off")) }}
  {{- $back = "[\"rollback\",\"--steps\",\"1\",\"--no-backup\"]" }}
  {{- end }}

  Anything else, for example the last revision back:
  kubectl -n {{ $namespace }} create job --from=cronjob/{{ include "alembic-job.manualName" . }} {{ $byHand }} --dry-run=client -o json | jq '.spec.template.spec.containers[0].args={{ $back }}' | kubectl create -f -
{{- end }}

GOING BACK
{{- $tolerates := eq (default (ternary "fail" "tolerate" (ne $isHook "")) .Values.migrations.settings.whenAhead) "tolerate" }}
{{- $outcome := ternary "leaves the newer schema as it is and ends well" "fails with exit code 28" $tolerates }}
{{- $undoes := eq (toString .Values.migrations.settings.whenAhead) "rollback" }}
{{- if $undoes }}
{{- $outcome = "undoes what that image lacks, unless data would be lost" }}
{{- end }}
  {{- if .Values.rollback.enabled }}
  `helm rollback` TO this release runs the Job {{ include "alembic-job.rollbackName" . }}, {{ ternary "once the older pods are ready if you say --wait" "before anything else" (eq .Values.rollback.when "post") }}: by the history in
  the database it undoes what the image {{ include "alembic-job.image" . }} lacks, {{ ternary "without a backup (backup.mode is off)" "after a backup" (eq .Values.backup.mode "off") }}.
  Where data would be lost it changes nothing and fails with exit code 26, and so does the rollback. What would be lost:
  kubectl -n {{ $namespace }} logs -l job-name={{ include "alembic-job.rollbackName" . }} --tail=1 --prefix
  {{- if .Values.manual.enabled }}
  To agree to that for a revision, then go back again and name the release's revision:
  kubectl -n {{ $namespace }} create job --from=cronjob/{{ include "alembic-job.manualName" . }} {{ $byHand }} --dry-run=client -o json | jq '.spec.template.spec.containers[0].args=["consent","REVISION"]' | kubectl create -f -
  helm -n {{ $namespace }} rollback {{ .Release.Name }} {{ .Release.Revision }} --wait --timeout {{ $timeout }}
  {{- end }}
  {{- else if or (eq .Values.mode "initContainer") (has $provider (list "helm" "flux")) }}
  `helm rollback` runs no Job: the older pods run on the newer schema.
  {{- if and (eq .Values.mode "job") (eq .Values.hooks.firstInstall "resource") }}
  Only back to the first revision it runs that one's ordinary Job again, which {{ ternary "fails with exit code 28" "leaves the newer schema as it is" (eq (default "" .Values.migrations.settings.whenAhead) "fail") }}.
  {{- end }}
  {{- else if eq $provider "argocd" }}
  A sync to an older commit runs the older image's Job, which {{ $outcome }} (migrations.settings.whenAhead).
  {{- else }}
  `helm rollback` runs the older image's Job again, which {{ $outcome }} (migrations.settings.whenAhead).
  {{- end }}
  {{- if eq .Values.mode "job" }}
  {{- if not .Values.waitForMigrations.enabled }}
  {{- else if eq .Values.waitForMigrations.whenAhead "tolerate" }}
  The older pods' waiting init container lets them (waitForMigrations.whenAhead is tolerate).
  {{- else }}
  The older pods' waiting init container does NOT let them start (waitForMigrations.whenAhead is fail).
  {{- end }}
  {{- if has $provider (list "helm" "flux") }}
  `helm upgrade` back to an older chart or image does run its Job, which {{ ternary $outcome (ternary "leaves the newer schema as it is and ends well" "fails with exit code 28" (eq (default "fail" .Values.migrations.settings.whenAhead) "tolerate")) $undoes }} (migrations.settings.whenAhead).
  {{- end }}
  {{- end }}
  {{- if not .Values.rollback.enabled }}
  To take revisions back, do it by hand, after the application went back: `rollback --to REVISION`.
  {{- end }}
{{- with include "alembic-job.hookLeftovers" . }}

AFTER UNINSTALL
  Helm leaves its hooks where they are:
  kubectl -n {{ $namespace }} delete --ignore-not-found {{ . }}
{{- end }}
{{- end }}
