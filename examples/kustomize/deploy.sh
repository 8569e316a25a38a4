#!/usr/bin/env bash
# deploy.sh OVERLAY: applies an overlay and waits for its migrations. Exits with 1, and shows their log, if they fail.
set -euo pipefail

manifests=$(kubectl kustomize "$1")
namespace=$(awk '/^  namespace: / {print $2; exit}' <<<"$manifests")
job=$(kubectl apply --filename - --output name <<<"$manifests" | grep '^job\.batch/')
echo "waiting for $job"

# The Job ends by itself: see its activeDeadlineSeconds.
until kubectl --namespace "$namespace" wait "$job" --for=condition=Complete --timeout=5s >/dev/null 2>&1; do
  if kubectl --namespace "$namespace" wait "$job" --for=condition=Failed --timeout=0s >/dev/null 2>&1; then
    kubectl --namespace "$namespace" logs --selector "batch.kubernetes.io/job-name=${job#job.batch/}" --tail=-1 --prefix
    echo "$job failed" >&2
    exit 1
  fi
done
kubectl --namespace "$namespace" rollout status deployment/shop --timeout=5m
