{{/* The chart's name, or what nameOverride says. */}}
{{- define "alert-fanout.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What every object of the release is called. 52 characters leave room for what Kubernetes appends to pods. */}}
{{- define "alert-fanout.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "alert-fanout.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "alert-fanout.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of an object outside the release's namespace: two releases of one name must not meet there. */}}
{{- define "alert-fanout.foreignName" -}}
{{- printf "%s-%s" (include "alert-fanout.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "alert-fanout.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "alert-fanout.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What tells this release's objects from all others. Never changes over upgrades. */}}
{{- define "alert-fanout.releaseLabels" -}}
app.kubernetes.io/name: {{ include "alert-fanout.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The pods that serve. The component keeps the test pod out of the Service. */}}
{{- define "alert-fanout.selector" -}}
{{ include "alert-fanout.releaseLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "alert-fanout.metadataLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "alert-fanout.labels" -}}
{{ include "alert-fanout.selector" . }}
{{ include "alert-fanout.metadataLabels" . }}
{{- end -}}

{{/* Labels or annotations of the values over others, so that none stands twice. */}}
{{- define "alert-fanout.over" -}}
{{- toYaml (merge (dict) (first . | default dict) (last . | fromYaml)) -}}
{{- end -}}

{{- define "alert-fanout.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
