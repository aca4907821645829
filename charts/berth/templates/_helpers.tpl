{{- define "berth.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "berth.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "berth.selectorLabels" -}}
app.kubernetes.io/name: {{ include "berth.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "berth.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "berth.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: berth
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "berth.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "berth.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "berth.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* What the controller does in the namespaces that it looks after; tests/chart compares it with what it asks for. */}}
{{- define "berth.controllerRules" -}}
- apiGroups: [berth.dev]
  resources: [items, members]
  verbs: [list, watch]
- apiGroups: [berth.dev]
  resources: [assignments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [berth.dev]
  resources: [pools]
  verbs: [get, list, watch, create]
- apiGroups: [berth.dev]
  resources: [items/status, members/status, pools/status]
  verbs: [patch]
# Not used in requests: the policy for workers exempts everyone who may manage Members.
- apiGroups: [berth.dev]
  resources: [members]
  verbs: [manage]
# The Leases of Members. `get`: an expired Lease is read before its Member counts as dead.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* What a worker does in its namespace. */}}
{{- define "berth.workerRules" -}}
- apiGroups: [berth.dev]
  resources: [members]
  verbs: [get, create, patch, delete]
- apiGroups: [berth.dev]
  resources: [assignments]
  verbs: [get, watch]
- apiGroups: [berth.dev]
  resources: [assignments/status]
  verbs: [patch]
- apiGroups: [berth.dev]
  resources: [items]
  verbs: [get]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update, delete]
{{- end }}

{{- define "berth.testNamespace" -}}
{{- default (default .Release.Namespace (first .Values.watchNamespaces)) .Values.test.namespace }}
{{- end }}
