{{/* A security context for this cluster, (list CONTEXT MAP): OpenShift gives each namespace users and groups of its own,
and admits no others. Every user can run the image. */}}
{{- define "alembic-job.securityContext" -}}
{{- $root := index . 0 -}}
{{- $given := index . 1 -}}
{{- $asked := toString $root.Values.openshift -}}
{{- $found := $root.Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if or (eq $asked "true") (and (eq $asked "auto") $found) -}}
{{- $given = omit $given "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $given -}}
{{- end }}

{{/* A container of the job: (dict "root" CONTEXT "run" RUN "name" NAME "args" LIST ["extra" VARIABLES]
["resources" MAP]), with RUN as in _env.tpl. It has `args` alone and never a `command`: the image's entrypoint holds
signals back until the job can answer them. */}}
{{- define "alembic-job.container" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
name: {{ .name }}
image: {{ include "alembic-job.image" $root | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args:
  {{- toYaml .args | nindent 2 }}
{{- with include "alembic-job.env" . }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "alembic-job.envFrom" $root }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- default $values.resources .resources | toYaml | nindent 2 }}
securityContext:
  {{- include "alembic-job.securityContext" (list $root $values.containerSecurityContext) | nindent 2 }}
# where the job writes no message of its own, the end of its log says why
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - name: {{ include "alembic-job.name" $root }}-tmp
    mountPath: /tmp
{{- if include "alembic-job.hasBackups" . }}
  - name: {{ include "alembic-job.name" $root }}-backups
    mountPath: {{ $values.backup.mountPath | quote }}
    {{- with $values.backup.subPath }}
    subPath: {{ . | quote }}
    {{- end }}
{{- end }}
{{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* "true" where this run may take a backup. */}}
{{- define "alembic-job.hasBackups" -}}
{{- if and .root.Values.backup.existingClaim (include "alembic-job.works" .run) -}}true{{- end -}}
{{- end }}

{{/* The volumes of such a container, (dict "root" CONTEXT "run" RUN). */}}
{{- define "alembic-job.containerVolumes" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
- name: {{ include "alembic-job.name" $root }}-tmp
  emptyDir:
    sizeLimit: {{ $values.tmp.sizeLimit | quote }}
    {{- with $values.tmp.medium }}
    medium: {{ . }}
    {{- end }}
{{- if include "alembic-job.hasBackups" . }}
- name: {{ include "alembic-job.name" $root }}-backups
  persistentVolumeClaim:
    claimName: {{ tpl $values.backup.existingClaim $root | quote }}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A pod with one such container: its metadata and its spec. */}}
{{- define "alembic-job.podTemplate" -}}
metadata:
  labels:
    {{- include "alembic-job.podLabels" .root | fromJson | toYaml | nindent 4 }}
  annotations:
    {{- include "alembic-job.podAnnotations" .root | fromJson | toYaml | nindent 4 }}
spec:
  {{- include "alembic-job.podSpec" . | nindent 2 }}
{{- end }}

{{- define "alembic-job.podSpec" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
restartPolicy: Never
serviceAccountName: {{ include "alembic-job.serviceAccountName" $root | quote }}
automountServiceAccountToken: false
# variables like MIGRATE_PORT, which Kubernetes makes for a Service called migrate, look like settings
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int64 $values.job.terminationGracePeriodSeconds }}
securityContext:
  {{- include "alembic-job.securityContext" (list $root $values.podSecurityContext) | nindent 2 }}
{{- with include "alembic-job.imagePullSecrets" $root }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "alembic-job.besides" $root }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
containers:
  - {{ include "alembic-job.container" . | nindent 4 | trim }}
volumes:
  {{- include "alembic-job.containerVolumes" . | nindent 2 }}
{{- include "alembic-job.placement" $root }}
{{- end }}

{{/* Sidecars first: the init containers may need them. With restartPolicy Always they end when the job's container has
ended, so that the pod completes. */}}
{{- define "alembic-job.besides" -}}
{{- $all := list -}}
{{- range .Values.sidecars -}}
{{- $all = append $all (merge (dict "restartPolicy" "Always") .) -}}
{{- end -}}
{{- with concat $all .Values.initContainers -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}

{{/* Names, or maps with a name. */}}
{{- define "alembic-job.imagePullSecrets" -}}
{{- range concat (default list .Values.global.imagePullSecrets) (default list .Values.image.pullSecrets) | uniq }}
{{- $name := . }}
{{- if kindIs "map" . }}
{{- $name = .name }}
{{- end }}
- name: {{ $name | quote }}
{{- end }}
{{- end }}

{{/* Where the pod runs, and what it sees of the network: passed on as it is. */}}
{{- define "alembic-job.placement" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "runtimeClassName" "schedulerName" "hostAliases" "dnsPolicy" "dnsConfig" -}}
{{- with get $.Values $field }}
{{ dict $field . | toYaml }}
{{- end -}}
{{- end -}}
{{- end }}
