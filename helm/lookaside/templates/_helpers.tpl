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

{{- define "lookaside.commonLabels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lookaside.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lookaside.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: balancer
{{- end }}

{{- define "lookaside.labels" -}}
{{ include "lookaside.commonLabels" . }}
{{ include "lookaside.selectorLabels" . }}
{{- end }}

{{- define "lookaside.testLabels" -}}
app.kubernetes.io/name: {{ include "lookaside.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
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
{{- $name := ternary (printf "%s/%s" .registry .repository) .repository (ne .registry "") }}
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
{{- end }}
{{- end }}

{{/* The config file of the service. */}}
{{- define "lookaside.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $sources := list }}
{{- if include "lookaside.hasStatic" . }}
{{- $key := ternary .Values.static.key "services.yaml" (ne .Values.static.existingConfigMap "") }}
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
