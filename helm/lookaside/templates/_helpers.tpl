{{- define "lookaside.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: "-headless" and the like come after it. */}}
{{- define "lookaside.fullname" -}}
{{- $name := include "lookaside.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Objects of the cluster share their names with those of other namespaces' releases. */}}
{{- define "lookaside.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "lookaside.fullname" .) }}
{{- end }}

{{- define "lookaside.selectorLabels" -}}
{{- include "lookaside.componentLabels" (list . "balancer") }}
{{- end }}

{{- define "lookaside.testLabels" -}}
{{- include "lookaside.componentLabels" (list . "test") }}
{{- end }}

{{- define "lookaside.componentLabels" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "lookaside.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* The labels and annotations of an object, by a dict: "root" is $; "labels" and "annotations" are those of its own, which win over the common ones; "selected" is the template of the labels that it is selected by, which win over all. */}}
{{- define "lookaside.metadata" -}}
{{- $root := .root }}
{{- $labels := include (default "lookaside.selectorLabels" .selected) $root | fromYaml }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $labels "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
labels:
  {{- merge $labels (default dict .labels) (default dict $root.Values.commonLabels) | toYaml | nindent 2 }}
{{- with merge dict (default dict .annotations) (default dict $root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Takes (list $ CONTAINERS): one without a security context gets the chart's, whole, so that the Pod stays restricted. */}}
{{- define "lookaside.extraContainers" -}}
{{- $context := default dict (first .).Values.securityContext }}
{{- $containers := list }}
{{- range last . }}
{{- $containers = append $containers (hasKey . "securityContext" | ternary . (set (deepCopy .) "securityContext" $context)) }}
{{- end }}
{{- toYaml $containers }}
{{- end }}

{{- define "lookaside.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lookaside.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lookaside.image" -}}
{{- with .Values.image }}
{{- $name := list .registry .repository | compact | join "/" }}
{{- if .digest }}
{{- printf "%s@%s" $name .digest }}
{{- else }}
{{- printf "%s:%s" $name (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "lookaside.tlsSecret" -}}
{{- default (printf "%s-tls" (include "lookaside.fullname" .)) .Values.tls.secretName }}
{{- end }}

{{- define "lookaside.clientCaSecret" -}}
{{- default (include "lookaside.tlsSecret" .) .Values.tls.clients.secretName }}
{{- end }}

{{- define "lookaside.hasStatic" -}}
{{- if or .Values.static.services .Values.static.existingConfigMap }}true{{ end }}
{{- end }}

{{/* Whether the Pods talk to the API server. */}}
{{- define "lookaside.callsApi" -}}
{{- if or .Values.kubernetes.enabled .Values.auth.tokenAudience }}true{{ end }}
{{- end }}

{{/* A length of time as the service's settings have it, in whole seconds. */}}
{{- define "lookaside.seconds" -}}
{{- $unit := toString . | regexFind "[a-z]*$" }}
{{- $seconds := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "" 1.0) $unit }}
{{- toString . | trimSuffix $unit | float64 | mulf $seconds | ceil | int }}
{{- end }}

{{/* Longer than the service takes to end: its grace (30s by itself) and the admin port's. */}}
{{- define "lookaside.terminationGracePeriodSeconds" -}}
{{- $grace := dig "grace" "30s" (default dict .Values.config) | include "lookaside.seconds" | int }}
{{- ternary (add .Values.preStopSeconds $grace 10) .Values.terminationGracePeriodSeconds (kindIs "invalid" .Values.terminationGracePeriodSeconds) }}
{{- end }}

{{- define "lookaside.probes" -}}
{{- default (ternary "http" "grpc" .Values.tls.enabled) .Values.probes.type }}
{{- end }}

{{- define "lookaside.host" -}}
{{- printf "%s.%s.svc" (include "lookaside.fullname" .) .Release.Namespace }}
{{- end }}

{{/* What `helm test` asks for; "" where nothing is known to be served. */}}
{{- define "lookaside.testService" -}}
{{- if .Values.test.service }}
{{- .Values.test.service }}
{{- else if and .Values.kubernetes.enabled (or (not .Values.kubernetes.namespaces) (has .Release.Namespace .Values.kubernetes.namespaces)) }}
{{- printf "%s.%s" (include "lookaside.fullname" .) .Release.Namespace }}
{{- else if .Values.static.services }}
{{- keys .Values.static.services | sortAlpha | first }}
{{- else if .Values.dns.names }}
{{- first .Values.dns.names | regexFind "^[^.:]+([.][^.:]+)?" }}
{{- end }}
{{- end }}

{{/* The config file of the service. */}}
{{- define "lookaside.config" -}}
{{- $config := default dict .Values.config | deepCopy }}
{{- $sources := list }}
{{- if include "lookaside.hasStatic" . }}
{{- $key := empty .Values.static.existingConfigMap | ternary "services.yaml" .Values.static.key }}
{{- $sources = append $sources (printf "file:/etc/lookaside/services/%s" $key) }}
{{- end }}
{{- range .Values.dns.names }}
{{- $sources = append $sources (printf "dns:%s" .) }}
{{- end }}
{{- if .Values.kubernetes.enabled }}
{{- $sources = append $sources "kubernetes" }}
{{- with .Values.kubernetes.namespaces }}
{{- $_ := set $config "namespace" . }}
{{- end }}
{{- if .Values.kubernetes.pods }}
{{- $_ := set $config "pods" true }}
{{- end }}
{{- with .Values.kubernetes.podSelector }}
{{- $_ := set $config "pod_selector" . }}
{{- end }}
{{- with .Values.kubernetes.metadataLabels }}
{{- $_ := set $config "metadata_label" . }}
{{- end }}
{{- end }}
{{- $_ := set $config "source" $sources }}
{{- $_ := set $config "listen" (printf ":%v" .Values.ports.grpc) }}
{{- $_ := set $config "admin" (printf ":%v" .Values.ports.admin) }}
{{- with .Values.auth.allow }}
{{- $_ := set $config "allow" . }}
{{- end }}
{{- with .Values.auth.tokenAudience }}
{{- $_ := set $config "token_audience" . }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $config "tls_cert" "/etc/lookaside/tls/tls.crt" }}
{{- $_ := set $config "tls_key" "/etc/lookaside/tls/tls.key" }}
{{- if .Values.tls.clients.verify }}
{{- $_ := set $config "tls_client_ca" (printf "/etc/lookaside/client-ca/%s" .Values.tls.clients.key) }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}
