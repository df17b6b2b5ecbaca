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
{{- fail "auth.allow needs auth.tokenAudience or tls.clients.verify: callers could not identify themselves" }}
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
{{- $autoscaling := .autoscaling }}
{{- $resources := .resources }}
{{- $running := default list .extraContainers }}
{{- range .extraInitContainers }}
{{- if .restartPolicy }}
{{- $running = append $running . }}
{{- end }}
{{- end }}
{{- range $resource, $target := dict "cpu" "targetCPUUtilizationPercentage" "memory" "targetMemoryUtilizationPercentage" }}
{{- if get $autoscaling $target }}
{{- if not (dig "requests" $resource "" (default dict $resources)) }}
{{- fail (printf "autoscaling.%s is a share of resources.requests.%s, which is not set" $target $resource) }}
{{- end }}
{{- range $running }}
{{- if not (dig "resources" "requests" $resource "" .) }}
{{- fail (printf "autoscaling.%s is a share of what all containers request: the extra container %s needs resources.requests.%s" $target .name $resource) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .serviceMonitor.enabled .podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled together would count everything twice: set one" }}
{{- end }}
{{- if hasKey (default dict .commonAnnotations) "helm.sh/hook" }}
{{- fail "commonAnnotations: helm.sh/hook would make a hook of every object" }}
{{- end }}
{{- $type := default "ClusterIP" .service.type }}
{{- if and (or .service.loadBalancerClass .service.loadBalancerSourceRanges) (ne $type "LoadBalancer") }}
{{- fail "service.loadBalancerClass and service.loadBalancerSourceRanges need service.type LoadBalancer" }}
{{- end }}
{{- if and (or .service.externalTrafficPolicy .service.nodePort) (eq $type "ClusterIP") }}
{{- fail "service.externalTrafficPolicy and service.nodePort need service.type NodePort or LoadBalancer" }}
{{- end }}
{{- if and (eq (default "" .dnsPolicy) "None") (not (dig "nameservers" list (default dict .dnsConfig))) }}
{{- fail "dnsPolicy None needs dnsConfig.nameservers" }}
{{- end }}
{{- $names := list "lookaside" }}
{{- range concat (default list .extraInitContainers) (default list .extraContainers) }}
{{- if has .name $names }}
{{- fail (printf "extraInitContainers and extraContainers: there is a container %s already; give each a name of its own" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- if eq (int .ports.grpc) (int .ports.admin) }}
{{- fail "ports.grpc and ports.admin must be two" }}
{{- end }}
{{- end }}
{{- end }}
