#!/usr/bin/env bash
# deploy.sh OVERLAY: applies an overlay and waits for its migrations. Exits with 1, and shows their log, if they fail.
set -euo pipefail

patience=600 # seconds; more than activeDeadlineSeconds of the Job

manifests=$(kubectl kustomize "$1")
namespace=$(awk '/^  namespace: / {print $2; exit}' <<<"$manifests")
job=$(kubectl apply --filename - --output name <<<"$manifests" | grep '^job\.batch/')
echo "waiting for $job"

conditions='{range .status.conditions[?(@.status=="True")]}{.type}{" "}{end}'
while true; do
  if ! state=$(kubectl --namespace "$namespace" get "$job" --output "jsonpath=$conditions"); then
    echo "$job cannot be read: was it deleted?" >&2
    exit 1
  fi
  case " $state" in
    *" Complete "*) break ;;
    *" Failed "*)
      kubectl --namespace "$namespace" logs --selector "batch.kubernetes.io/job-name=${job#job.batch/}" --tail=-1 --prefix
      echo "$job failed" >&2
      exit 1
      ;;
  esac
  if ((SECONDS > patience)); then
    echo "$job has not ended after $patience seconds" >&2
    exit 1
  fi
  sleep 2
done
kubectl --namespace "$namespace" rollout status deployment/shop --timeout=5m
