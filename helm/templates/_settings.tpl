{{/* What follows from the values: the few decisions that several objects share. */}}

{{/* YAML 1.1 reads an unquoted off as false. */}}
{{- define "alert-fanout.queue" -}}
{{- kindIs "bool" .Values.config.QUEUE | ternary "off" (.Values.config.QUEUE | default "embedded") -}}
{{- end -}}

{{- define "alert-fanout.discovery" -}}
{{- .Values.config.DISCOVERY | default "kubernetes" -}}
{{- end -}}

{{- define "alert-fanout.port" -}}
{{- .Values.config.PORT | default 8080 | int -}}
{{- end -}}

{{- define "alert-fanout.queueDir" -}}
{{- .Values.config.QUEUE_DIR | default "/data" -}}
{{- end -}}

{{/* The watched namespaces as a JSON array; ["*"] for all, [] where nothing is watched. */}}
{{- define "alert-fanout.namespaces" -}}
{{- $names := list -}}
{{- if eq (include "alert-fanout.discovery" .) "kubernetes" -}}
{{- range splitList "," (.Values.config.K8S_NAMESPACES | default .Release.Namespace) -}}
{{- with trim . -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if has "*" $names -}}{{- $names = list "*" -}}{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{/* The labels, as a JSON object, that make a Secret match the label selector; empty where it is no plain list of key=value. */}}
{{- define "alert-fanout.targetLabels" -}}
{{- $labels := dict -}}
{{- $plain := true -}}
{{- range splitList "," (.Values.config.K8S_LABEL_SELECTOR | default "publishing-target=true") -}}
{{- $term := trim . | replace "==" "=" -}}
{{- if regexMatch "^[A-Za-z0-9./_-]+=[A-Za-z0-9._-]*$" $term -}}
{{- $pair := splitn "=" 2 $term -}}
{{- $_ := set $labels $pair._0 $pair._1 -}}
{{- else -}}
{{- $plain = false -}}
{{- end -}}
{{- end -}}
{{- if $plain -}}{{- $labels | toJson -}}{{- end -}}
{{- end -}}

{{/* The milliseconds of a duration such as 500ms, 20s, 2m, 1h, 7d. */}}
{{- define "alert-fanout.milliseconds" -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $number := trimSuffix $unit . | float64 -}}
{{- mulf $number (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit) | ceil | int64 -}}
{{- end -}}

{{/* Longer than the drain: what is left then has to be queued and the store closed before the kill. */}}
{{- define "alert-fanout.gracePeriod" -}}
{{- $drain := include "alert-fanout.milliseconds" (.Values.config.DRAIN_TIMEOUT | default "20s") -}}
{{- add (divf $drain 1000 | ceil) 15 -}}
{{- end -}}

{{- define "alert-fanout.tokensSecret" -}}
{{- if .Values.apiTokens.existingSecret -}}
{{- .Values.apiTokens.existingSecret -}}
{{- else if .Values.apiTokens.tokens -}}
{{- include "alert-fanout.fullname" . }}-tokens
{{- end -}}
{{- end -}}

{{- define "alert-fanout.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}
{{- .Values.redis.existingSecret -}}
{{- else if .Values.config.REDIS_URL -}}
{{- include "alert-fanout.fullname" . }}-redis
{{- end -}}
{{- end -}}

{{/* The Secret whose keys are target files; empty unless targets are read from files. */}}
{{- define "alert-fanout.targetFilesSecret" -}}
{{- if eq (include "alert-fanout.discovery" .) "file" -}}
{{- if .Values.targetsSecret -}}
{{- .Values.targetsSecret -}}
{{- else if .Values.targets -}}
{{- include "alert-fanout.fullname" . }}-targets
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A value as the process reads it. YAML numbers reach a template as floats: 1000000 must not become 1e+06. */}}
{{- define "alert-fanout.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{- int64 . -}}{{- else -}}{{- toString . -}}{{- end -}}
{{- end -}}

{{- define "alert-fanout.env" -}}
{{- $env := omit .Values.config "REDIS_URL" -}}
{{- $_ := set $env "QUEUE" (include "alert-fanout.queue" .) -}}
{{- $_ := set $env "DISCOVERY" (include "alert-fanout.discovery" .) -}}
{{- with include "alert-fanout.namespaces" . | fromJsonArray -}}
{{- $_ := set $env "K8S_NAMESPACES" (join "," .) -}}
{{- end -}}
{{- if eq (include "alert-fanout.queue" .) "embedded" -}}
{{- $_ := set $env "QUEUE_DIR" (include "alert-fanout.queueDir" .) -}}
{{- end -}}
{{- if include "alert-fanout.tokensSecret" . -}}
{{- $_ := set $env "API_TOKENS_FILE" "/etc/alert-fanout/tokens/tokens" -}}
{{- end -}}
{{- if include "alert-fanout.targetFilesSecret" . -}}
{{- $_ := set $env "TARGETS_FILE" "/etc/alert-fanout/targets" -}}
{{- end -}}
{{- range $name, $value := $env }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ include "alert-fanout.text" $value | quote }}
{{- end }}
{{- end }}
{{- with include "alert-fanout.redisSecret" . }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.redis.key | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
