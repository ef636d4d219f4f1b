{{- define "cloud-image-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cloud-image-operator.fullname" -}}
{{- $name := include "cloud-image-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Names of what belongs to the cluster: two releases may differ only in their namespace. */}}
{{- define "cloud-image-operator.clusterName" -}}
{{- $name := include "cloud-image-operator.fullname" . }}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s-%s" .Release.Namespace $name | trunc 200 }}{{ end }}
{{- end }}

{{- define "cloud-image-operator.selector" -}}
app.kubernetes.io/name: {{ include "cloud-image-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cloud-image-operator.labels" -}}
{{ include "cloud-image-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cloud-image-operator.crdMetadata" -}}
{{- $annotations := deepCopy .Values.crds.annotations }}
{{- if .Values.crds.keep }}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" }}
{{- end }}
labels:
  {{- include "cloud-image-operator.labels" . | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "cloud-image-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "cloud-image-operator.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "cloud-image-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "cloud-image-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* Of a dict with `image` and `root`. */}}
{{- define "cloud-image-operator.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* As JSON: what endpoints of accounts may begin with. */}}
{{- define "cloud-image-operator.endpoints" -}}
{{- $endpoints := .Values.allowEndpoints }}
{{- if .Values.simulator.enabled }}
{{- range $port := list 8801 8802 8803 8804 }}
{{- $endpoints = append $endpoints (printf "http://127.0.0.1:%d" $port) }}
{{- end }}
{{- end }}
{{- $endpoints | uniq | toJson }}
{{- end }}

{{- /* As JSON: the namespaces in which Secrets are read; none: all. */}}
{{- define "cloud-image-operator.secretNamespaces" -}}
{{- .Values.rbac.secrets.namespaces | default .Values.watchNamespaces | uniq | toJson }}
{{- end }}

{{- define "cloud-image-operator.secretsRule" -}}
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.rbac.secrets.names }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [get, list, watch]
{{- end }}

{{- define "cloud-image-operator.eventsRule" -}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- /* Values that the schema cannot hold against each other. */}}
{{- define "cloud-image-operator.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicas is more than 1, so leaderElection.enabled must be true: only one operator may work at a time" }}
{{- end }}
{{- if and (gt (int .Values.shards) 1) (not .Values.leaderElection.enabled) }}
{{- fail "shards is more than 1, so leaderElection.enabled must be true: each shard is worked on by who holds its Lease" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) .Values.simulator.enabled }}
{{- fail "replicas is more than 1, and simulator.enabled is true: each pod would have vendors of its own; set replicas to 1" }}
{{- end }}
{{- end }}
