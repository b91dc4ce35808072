{{- define "specdecode.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Release and chart, once where one contains the other. 45 characters: suffixes follow. */}}
{{- define "specdecode.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains (include "specdecode.name" .) .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "specdecode.name" .) | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "specdecode.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "specdecode.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name must be set where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "specdecode.selectorLabels" -}}
app.kubernetes.io/name: specdecode-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "specdecode.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "specdecode.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: specdecode-operator
{{- end }}

{{- define "specdecode.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What only a person can put right, said before anything is applied. */}}
{{- define "specdecode.check" -}}
{{- $p := .Values.prometheus }}
{{- if and $p.bearerToken.secretName $p.basicAuth.secretName }}
{{- fail "prometheus.bearerToken.secretName and prometheus.basicAuth.secretName exclude each other; set one of them" }}
{{- end }}
{{- if and $p.basicAuth.secretName (not $p.basicAuth.username) }}
{{- fail "prometheus.basicAuth.username must be set where prometheus.basicAuth.secretName is" }}
{{- end }}
{{- if and $p.basicAuth.username (not $p.basicAuth.secretName) }}
{{- fail "prometheus.basicAuth.secretName must be set where prometheus.basicAuth.username is; no password is taken from values" }}
{{- end }}
{{- $free := list "SPECDECODE_LISTEN_ADDRESS" "SPECDECODE_RESYNC_INTERVAL_SECONDS" "SPECDECODE_WORKERS" "SPECDECODE_KUBECONFIG" }}
{{- range .Values.extraEnv }}
{{- if and (hasPrefix "SPECDECODE_" .name) (not (has .name $free)) }}
{{- fail (printf "extraEnv sets %s, which the chart sets from its values, or which is none; extraEnv may set %s" .name (join ", " $free)) }}
{{- end }}
{{- end }}
{{- $values := dict
    "--prometheus-url" "prometheus.url"
    "--scrape-interval" "prometheus.scrapeIntervalSeconds"
    "--evaluation-interval" "evaluationIntervalSeconds"
    "--namespace" "watch.namespaces"
    "--pod-monitor" "podMonitor.enabled"
    "--no-pod-monitor" "podMonitor.enabled"
    "--hub" "hub.enabled"
    "--no-hub" "hub.enabled"
    "--models-directory" "models.claimName"
    "--log-format" "logFormat"
    "--shards" "shards"
}}
{{- range .Values.extraArgs }}
{{- if hasPrefix "--listen-port" . }}
{{- fail (printf "extraArgs has %s: Service, probes and NetworkPolicy go to port 8080; leave it out" .) }}
{{- end }}
{{- $value := get $values (splitList "=" . | first) }}
{{- if $value }}
{{- fail (printf "extraArgs has %s, which the value %s sets; an option would win over it unseen" . $value) }}
{{- end }}
{{- end }}
{{- if and (gt (int .Values.shards) 1) (lt (int .Values.replicas) 2) }}
{{- fail (printf "shards is %d and replicas is %d: one replica looks after everything; set replicas to %d, or shards to 1" (int .Values.shards) (int .Values.replicas) (int .Values.shards)) }}
{{- end }}
{{- range $label, $_ := .Values.podLabels }}
{{- if hasPrefix "app.kubernetes.io/" $label }}
{{- fail (printf "podLabels has %s: labels of app.kubernetes.io/ select the operator's pods and its children; use another prefix" $label) }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled }}
{{- fail "monitoring.serviceMonitor.enabled and monitoring.podMonitor.enabled would scrape the operator twice; set one of them" }}
{{- end }}
{{- end }}

{{/* Exactly the verbs that the operator uses; tests hold it against the API server's audit log. */}}
{{- define "specdecode.rules" -}}
- apiGroups: [specdecode.io]
  resources: [specdecodedeployments]
  verbs: [get, list, watch]
- apiGroups: [specdecode.io]
  resources: [specdecodedeployments/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if .Values.podMonitor.enabled }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, create, patch]
{{- end }}
{{- end }}
