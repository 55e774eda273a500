{{/* A checksum restarts the pods when a Secret of the chart changes. */}}
{{- define "alert-fanout.podAnnotations" -}}
kubectl.kubernetes.io/default-container: server
{{- if .Values.apiTokens.tokens }}
checksum/tokens: {{ include (print $.Template.BasePath "/tokens.yaml") . | sha256sum | quote }}
{{- end }}
{{- if .Values.config.REDIS_URL }}
checksum/redis: {{ include (print $.Template.BasePath "/redis.yaml") . | sha256sum | quote }}
{{- end }}
{{- end -}}

{{/* The pod that serves, the same in a StatefulSet and in a Deployment. */}}
{{- define "alert-fanout.pod" -}}
{{- $watches := eq (include "alert-fanout.discovery" .) "kubernetes" -}}
metadata:
  labels:
    {{- /* Selectors find the pods by the first of these: podLabels must not replace them. */}}
    {{- $selector := include "alert-fanout.selector" . | fromYaml }}
    {{- merge $selector (.Values.podLabels | default dict) (dict "app.kubernetes.io/version" .Chart.AppVersion) | toYaml | nindent 4 }}
  annotations:
    {{- include "alert-fanout.over" (list .Values.podAnnotations (include "alert-fanout.podAnnotations" .)) | nindent 4 }}
spec:
  serviceAccountName: {{ include "alert-fanout.serviceAccountName" . | quote }}
  automountServiceAccountToken: {{ $watches }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "alert-fanout.gracePeriod" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: server
      image: {{ include "alert-fanout.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      env:
        {{- include "alert-fanout.env" . | trim | nindent 8 }}
      ports:
        - name: http
          containerPort: {{ include "alert-fanout.port" . }}
          protocol: TCP
      lifecycle:
        preStop:
          # Until nobody is sent here any more; the image has no shell that is sure to stay.
          exec: { command: [node, -e, "setTimeout(() => {}, 5000)"] }
      startupProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      {{- with include "alert-fanout.volumeMounts" . | trim }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
  {{- with include "alert-fanout.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if eq (include "alert-fanout.queue" .) "redis" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "alert-fanout.selector" . | nindent 10 }}
  {{- end }}
{{- end -}}

{{- define "alert-fanout.volumeMounts" -}}
{{- if eq (include "alert-fanout.queue" .) "embedded" }}
- name: data
  mountPath: {{ include "alert-fanout.queueDir" . | quote }}
{{- end }}
{{- if include "alert-fanout.tokensSecret" . }}
- name: tokens
  mountPath: /etc/alert-fanout/tokens
  readOnly: true
{{- end }}
{{- if include "alert-fanout.targetFilesSecret" . }}
- name: targets
  mountPath: /etc/alert-fanout/targets
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without the queue's claim where a StatefulSet brings it as a template. */}}
{{- define "alert-fanout.volumes" -}}
{{- if eq (include "alert-fanout.queue" .) "embedded" }}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir: {}
{{- else if .Values.persistence.existingClaim }}
- name: data
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim | quote }}
{{- end }}
{{- end }}
{{- with include "alert-fanout.tokensSecret" . }}
- name: tokens
  secret:
    secretName: {{ . | quote }}
    defaultMode: 288 # 0440, in a form that YAML 1.1 and 1.2 read alike
    items:
      - key: {{ $.Values.apiTokens.key | quote }}
        path: tokens
{{- end }}
{{- with include "alert-fanout.targetFilesSecret" . }}
- name: targets
  secret:
    secretName: {{ . | quote }}
    defaultMode: 288 # 0440, in a form that YAML 1.1 and 1.2 read alike
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
