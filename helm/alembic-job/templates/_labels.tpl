{{/* Several maps as one, the later ones on top, as JSON: text that went through YAML would lose line ends. */}}
{{- define "alembic-job.merged" -}}
{{- $all := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end }}

{{/* What tells this chart's objects from others: labels that an upgrade never changes. */}}
{{- define "alembic-job.selectorLabels" -}}
app.kubernetes.io/name: {{ include "alembic-job.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: migrations
{{- end }}

{{/* The metadata of a resource, (dict "root" CONTEXT "name" NAME ["labels" MAP] ["annotations" MAP] ["managed" YAML]):
`managed` are the annotations that make it a hook, which nobody overrides. */}}
{{- define "alembic-job.metadata" -}}
{{- $root := .root -}}
{{- $managed := default "" .managed | fromYaml -}}
name: {{ .name | quote }}
labels:
  {{- $own := include "alembic-job.ownLabels" $root | fromYaml }}
  {{- include "alembic-job.merged" (list $root.Values.commonLabels .labels $own) | fromJson | toYaml | nindent 2 }}
{{- with include "alembic-job.merged" (list $root.Values.commonAnnotations .annotations $managed) | fromJson }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "alembic-job.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | regexFind "^.*[A-Za-z0-9]" | quote }}
{{ include "alembic-job.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end }}

{{/* Labels of pods, as JSON. */}}
{{- define "alembic-job.podLabels" -}}
{{- $own := include "alembic-job.selectorLabels" . | fromYaml -}}
{{- $mesh := dict -}}
{{- if not .Values.mesh.inject -}}
{{- $mesh = dict "sidecar.istio.io/inject" "false" -}}
{{- end -}}
{{- include "alembic-job.merged" (list .Values.commonLabels $mesh .Values.podLabels $own) -}}
{{- end }}

{{/* Annotations of pods, as JSON. An ordinary proxy of a mesh would run on after the job, and the Job would never complete. */}}
{{- define "alembic-job.podAnnotations" -}}
{{- $mesh := dict "linkerd.io/inject" "disabled" -}}
{{- if .Values.mesh.inject -}}
{{- $mesh = dict "sidecar.istio.io/nativeSidecar" "true" "config.beta.linkerd.io/proxy-enable-native-sidecar" "true" -}}
{{- end -}}
{{- include "alembic-job.merged" (list $mesh .Values.podAnnotations) -}}
{{- end }}
