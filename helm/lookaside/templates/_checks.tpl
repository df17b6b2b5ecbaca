{{/* What holds between values; a single value is checked by values.schema.json. */}}
{{- define "lookaside.check" -}}
{{- with .Values }}
{{- if not (or .kubernetes.enabled .static.services .static.existingConfigMap .dns.names) }}
{{- fail "there is nothing to serve: set kubernetes.enabled, static.services, static.existingConfigMap or dns.names" }}
{{- end }}
{{- if and .static.services .static.existingConfigMap }}
{{- fail "static.services and static.existingConfigMap don't go together" }}
{{- end }}
{{- if and (or .kubernetes.podSelector .kubernetes.metadataLabels) (not .kubernetes.pods) }}
{{- fail "kubernetes.podSelector and kubernetes.metadataLabels need kubernetes.pods" }}
{{- end }}
{{- if and .tls.enabled (not .tls.secretName) (not .tls.certManager.enabled) }}
{{- fail "tls.enabled needs tls.secretName or tls.certManager.enabled" }}
{{- end }}
{{- if and (not .tls.enabled) (or .tls.secretName .tls.clients.verify .tls.certManager.enabled) }}
{{- fail "tls.secretName, tls.clients.verify and tls.certManager.enabled need tls.enabled" }}
{{- end }}
{{- if and .tls.certManager.enabled (not .tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.enabled needs tls.certManager.issuerRef.name" }}
{{- end }}
{{- if and .tls.enabled (eq .probes.type "grpc") }}
{{- fail "probes.type grpc doesn't go with tls.enabled: the kubelet's gRPC probes don't speak TLS; use http" }}
{{- end }}
{{- if and .auth.tokenAudience (not .auth.allow) }}
{{- fail "auth.tokenAudience needs auth.allow, which says who may ask" }}
{{- end }}
{{- if and .auth.allow (not (or .auth.tokenAudience .tls.clients.verify)) }}
{{- fail "auth.allow needs auth.tokenAudience or tls.clients.verify: callers could not show who they are" }}
{{- end }}
{{- $clients := .tls.clients.verify }}
{{- $audience := .auth.tokenAudience }}
{{- range $identity, $_ := .auth.allow }}
{{- if and (hasPrefix "serviceaccount:" $identity) (not $audience) }}
{{- fail (printf "auth.allow: %s is about tokens and needs auth.tokenAudience" $identity) }}
{{- end }}
{{- if and (or (hasPrefix "dns:" $identity) (hasPrefix "spiffe:" $identity)) (not $clients) }}
{{- fail (printf "auth.allow: %s is about certificates and needs tls.clients.verify" $identity) }}
{{- end }}
{{- end }}
{{- if .autoscaling.enabled }}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) }}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" }}
{{- end }}
{{- if not (or .autoscaling.targetCPUUtilizationPercentage .autoscaling.targetMemoryUtilizationPercentage) }}
{{- fail "autoscaling.enabled needs targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage" }}
{{- end }}
{{- $requests := dig "requests" dict (default dict .resources) }}
{{- if and .autoscaling.targetCPUUtilizationPercentage (not $requests.cpu) }}
{{- fail "autoscaling.targetCPUUtilizationPercentage is a share of resources.requests.cpu, which is not set" }}
{{- end }}
{{- if and .autoscaling.targetMemoryUtilizationPercentage (not $requests.memory) }}
{{- fail "autoscaling.targetMemoryUtilizationPercentage is a share of resources.requests.memory, which is not set" }}
{{- end }}
{{- end }}
{{- if and .serviceMonitor.enabled .podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled together would count everything twice: set one" }}
{{- end }}
{{- if eq (int .ports.grpc) (int .ports.admin) }}
{{- fail "ports.grpc and ports.admin must be two" }}
{{- end }}
{{- end }}
{{- end }}
