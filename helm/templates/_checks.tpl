{{/* Values that each are well formed but do not go together. Every message begins with the value to change. */}}
{{- define "alert-fanout.checks" -}}
{{- include "alert-fanout.addresses" . -}}
{{- $queue := include "alert-fanout.queue" . -}}
{{- $discovery := include "alert-fanout.discovery" . -}}
{{- if and (ne $queue "redis") (gt (int .Values.replicas) 1) -}}
{{- fail (printf "replicas: %d replicas need config.QUEUE=redis; with config.QUEUE=%s the queue belongs to one process, so use 1" (int .Values.replicas) $queue) -}}
{{- end -}}
{{- if and (ne $queue "redis") .Values.autoscaling.enabled -}}
{{- fail (printf "autoscaling.enabled: more than one replica needs config.QUEUE=redis; it is %s" $queue) -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas: is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and (eq $queue "redis") (not (include "alert-fanout.redisSecret" .)) -}}
{{- fail "redis.existingSecret: config.QUEUE=redis needs a Redis: name a Secret that holds its URL, or set config.REDIS_URL" -}}
{{- end -}}
{{- if and .Values.redis.existingSecret .Values.config.REDIS_URL -}}
{{- fail "redis.existingSecret: config.REDIS_URL is set as well; set one of them" -}}
{{- end -}}
{{- if not (hasPrefix "/" (include "alert-fanout.queueDir" .)) -}}
{{- fail "config.QUEUE_DIR: must be an absolute path, the volume is mounted there" -}}
{{- end -}}
{{- if and .Values.apiTokens.existingSecret .Values.apiTokens.tokens -}}
{{- fail "apiTokens.tokens: apiTokens.existingSecret is set as well; set one of them" -}}
{{- end -}}
{{- if and .Values.config.API_TOKENS_FILE (include "alert-fanout.tokensSecret" .) -}}
{{- fail "config.API_TOKENS_FILE: apiTokens mounts the file and sets this; set one of them" -}}
{{- end -}}
{{- if and .Values.targets .Values.targetsSecret -}}
{{- fail "targets: targetsSecret is set as well; set one of them" -}}
{{- end -}}
{{- if eq $discovery "file" -}}
{{- if and .Values.config.TARGETS_FILE (include "alert-fanout.targetFilesSecret" .) -}}
{{- fail "config.TARGETS_FILE: targets and targetsSecret mount a directory and set this; set one of them" -}}
{{- end -}}
{{- if not (or .Values.config.TARGETS_FILE (include "alert-fanout.targetFilesSecret" .)) -}}
{{- fail "config.DISCOVERY: file needs targets, targetsSecret or config.TARGETS_FILE" -}}
{{- end -}}
{{- else -}}
{{- if .Values.targetsSecret -}}
{{- fail "targetsSecret: is read with config.DISCOVERY=file only; with kubernetes, label the Secret instead" -}}
{{- end -}}
{{- if .Values.targets -}}
{{- $namespaces := include "alert-fanout.namespaces" . | fromJsonArray -}}
{{- if not (or (has "*" $namespaces) (has .Release.Namespace $namespaces)) -}}
{{- fail (printf "targets: they are created in namespace %s, which config.K8S_NAMESPACES leaves out" .Release.Namespace) -}}
{{- end -}}
{{- if not (include "alert-fanout.targetLabels" .) -}}
{{- fail "targets: config.K8S_LABEL_SELECTOR must be a plain list of key=value, so that they can be labelled to match" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.serviceMonitor -}}
{{- if and .enabled .interval .scrapeTimeout -}}
{{- if gt (include "alert-fanout.milliseconds" .scrapeTimeout | int64) (include "alert-fanout.milliseconds" .interval | int64) -}}
{{- fail (printf "serviceMonitor.scrapeTimeout: is %s, longer than serviceMonitor.interval, which is %s; Prometheus refuses that" .scrapeTimeout .interval) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not patterns of the schema: helm shows what does not match one, and a URL may hold a password. */}}
{{- define "alert-fanout.addresses" -}}
{{- with .Values.config.REDIS_URL -}}
{{- if not (regexMatch "^(?i)rediss?://." (trim .)) -}}
{{- fail "config.REDIS_URL: is no Redis URL; write it as rediss://user:password@host:6379/0" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.OTEL_EXPORTER_OTLP_ENDPOINT | default "" | trim -}}
{{- if not (regexMatch "^(?i)https?:." .) -}}
{{- fail "config.OTEL_EXPORTER_OTLP_ENDPOINT: is no http or https URL; write it as http://collector:4318" -}}
{{- end -}}
{{- end -}}
{{- range $name, $target := .Values.targets -}}
{{- range prepend ($target.urls | default list) $target.url | compact -}}
{{- if not (regexMatch "^(?i)https?:." (trim .)) -}}
{{- fail (printf "targets.%s: has a URL that is not http or https; write it as https://host/path" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name := list "EGRESS_DENY" "EGRESS_ALLOW" -}}
{{- range splitList "," (get $.Values.config $name | default "") -}}
{{- if and (trim .) (not (regexMatch "^[0-9A-Fa-fXx.:]+(%[0-9A-Za-z]+)?/[0-9]+$" (trim .))) -}}
{{- fail (printf "config.%s: %s is no CIDR range; write ranges as 10.0.0.0/8,fd00::/8" $name (trim .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
