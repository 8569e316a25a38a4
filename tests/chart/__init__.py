"""The Helm chart, without a cluster: rendered by a real Helm, validated against Kubernetes' own schemas."""
