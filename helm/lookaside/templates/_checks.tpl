{{/* What holds between values; a single value is checked by values.schema.json. */}}
{{- define "lookaside.check" -}}
{{- with .Values }}
{{- if not (or .kubernetes.enabled .static.services .static.existingConfigMap) }}
{{- fail "there is nothing to serve: set kubernetes.enabled, static.services or static.existingConfigMap" }}
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
{{- if eq (int .ports.grpc) (int .ports.admin) }}
{{- fail "ports.grpc and ports.admin must be two" }}
{{- end }}
{{- end }}
{{- end }}
