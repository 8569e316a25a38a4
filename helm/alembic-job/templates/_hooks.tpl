{{- define "alembic-job.provider" -}}
{{- ternary .Values.hooks.provider "none" .Values.hooks.enabled -}}
{{- end }}

{{/* "true" where Helm, or Flux through Helm, runs the hooks. */}}
{{- define "alembic-job.helmRunsHooks" -}}
{{- if has (include "alembic-job.provider" .) (list "helm" "flux") -}}true{{- end -}}
{{- end }}

{{/* "true" where the Job is a resource of the release on its first install: a pre-install hook would wait for a database
that comes only after it. Argo CD orders by waves and renders as if everything were an install. */}}
{{- define "alembic-job.isFirstResource" -}}
{{- if and (include "alembic-job.helmRunsHooks" .) (eq .Values.hooks.firstInstall "resource") .Release.IsInstall -}}
true
{{- end -}}
{{- end }}

{{- define "alembic-job.jobIsHook" -}}
{{- if and (ne (include "alembic-job.provider" .) "none") (not (include "alembic-job.isFirstResource" .)) -}}true{{- end -}}
{{- end }}

{{/* The annotations that say when the Job runs. Not on a rollback: that has a Job of its own, see rollback.yaml. */}}
{{- define "alembic-job.jobHook" -}}
{{- $hooks := .Values.hooks -}}
{{- $provider := include "alembic-job.provider" . -}}
{{- if eq $provider "argocd" -}}
{{- include "alembic-job.argoHook" (dict "phase" $hooks.argocd.hook "wave" $hooks.argocd.wave) -}}
{{- else if include "alembic-job.jobIsHook" . -}}
{{- include "alembic-job.helmHook" (list . (ternary "pre-upgrade" "pre-install,pre-upgrade" (eq $hooks.firstInstall "resource"))) -}}
{{- end }}
{{- if eq $provider "flux" }}
kustomize.toolkit.fluxcd.io/force: enabled
{{- end }}
{{- end }}

{{/* A Job's annotations as a hook of Helm's: (list CONTEXT EVENTS). */}}
{{- define "alembic-job.helmHook" -}}
{{- $root := index . 0 -}}
{{- $hooks := $root.Values.hooks -}}
helm.sh/hook: {{ index . 1 }}
helm.sh/hook-weight: {{ $hooks.weight | int | quote }}
helm.sh/hook-delete-policy: {{ $hooks.deletePolicy }}
{{- if and $hooks.outputLogPolicy (eq (include "alembic-job.provider" $root) "helm") }}
helm.sh/hook-output-log-policy: {{ $hooks.outputLogPolicy }}
{{- end }}
{{- end }}

{{/* The annotations of what must be there before the Job: it comes earlier, and stays after it. On a rollback the older
release's own is brought back, as everything else of it is. */}}
{{- define "alembic-job.prerequisiteHook" -}}
{{- $hooks := .Values.hooks -}}
{{- $provider := include "alembic-job.provider" . -}}
{{- if eq $provider "argocd" -}}
{{- $phase := ternary "PreSync" "" (eq $hooks.argocd.hook "PreSync") -}}
{{- include "alembic-job.argoHook" (dict "phase" $phase "wave" (sub $hooks.argocd.wave 1)) -}}
{{- else if include "alembic-job.helmRunsHooks" . -}}
helm.sh/hook: {{ ternary "pre-install,pre-upgrade,pre-rollback" "pre-install,pre-upgrade" .Values.rollback.enabled }}
helm.sh/hook-weight: {{ sub $hooks.weight 10 | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
{{- end }}

{{/* (dict "phase" PHASE "wave" WAVE): without a phase an ordinary resource of that wave. Ordinary resources come only
after PreSync, so what a PreSync hook needs is one, too. */}}
{{- define "alembic-job.argoHook" -}}
{{- if .phase -}}
argocd.argoproj.io/hook: {{ .phase }}
argocd.argoproj.io/hook-delete-policy: BeforeHookCreation
{{ end -}}
argocd.argoproj.io/sync-wave: {{ .wave | int | quote }}
{{- end }}

{{/* What `helm uninstall` does not remove: everything that is a hook of Helm's. */}}
{{- define "alembic-job.hookLeftovers" -}}
{{- $ours := list -}}
{{- if include "alembic-job.helmRunsHooks" . -}}
{{- if eq .Values.mode "job" -}}
{{- $ours = append $ours (printf "job/%s" (include "alembic-job.fullname" .)) -}}
{{- end -}}
{{- if .Values.rollback.enabled -}}
{{- $ours = append $ours (printf "job/%s" (include "alembic-job.rollbackName" .)) -}}
{{- end -}}
{{- if .Values.serviceAccount.create -}}
{{- $ours = append $ours (printf "serviceaccount/%s" (include "alembic-job.serviceAccountName" .)) -}}
{{- end -}}
{{- if .Values.externalSecret.enabled -}}
{{- $ours = append $ours (printf "externalsecret/%s" (include "alembic-job.ownSecretName" .)) -}}
{{- end -}}
{{- if or .Values.externalSecret.enabled (include "alembic-job.inlineSecrets" .) -}}
{{- $ours = append $ours (printf "secret/%s" (include "alembic-job.secretName" .)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.test.enabled (ne (include "alembic-job.provider" .) "argocd") -}}
{{- $ours = append $ours (printf "pod/%s" (include "alembic-job.named" (list . "-migrated"))) -}}
{{- end -}}
{{- join " " $ours -}}
{{- end }}

{{/* (list CONTEXT KIND NAME SETTING): Helm deletes what has a hook's name before it makes the hook, whoever made it. So what is
not this release's stops the release. `helm template` sees no cluster, and nothing is stopped. */}}
{{- define "alembic-job.guard" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $name := index . 2 -}}
{{- if include "alembic-job.helmRunsHooks" $root -}}
{{- with lookup "v1" $kind $root.Release.Namespace $name -}}
{{- $labels := default dict .metadata.labels -}}
{{- if or (ne (toString (get $labels "app.kubernetes.io/instance")) $root.Release.Name) (ne (toString (get $labels "app.kubernetes.io/component")) "migrations") -}}
{{- printf "the %s %s exists and is not of this release, which would delete it and make its own: %s" $kind $name (index $ 3) | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
