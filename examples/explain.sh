#!/bin/sh
# What each target would get, and why or why not; nothing is sent. Reads the body from a file if one is named:
# any body that the publish routes take. ALERT_FANOUT_URL and ALERT_FANOUT_TOKEN say where, and as whom.
set -eu
explain() {
  curl --silent --show-error --fail-with-body \
    ${ALERT_FANOUT_TOKEN:+--header "Authorization: Bearer $ALERT_FANOUT_TOKEN"} \
    --header 'Content-Type: application/json' --data-binary "@$1" \
    "${ALERT_FANOUT_URL:-http://localhost:8080}/api/v1/publish/explain?scope=all"
}
if [ $# -gt 0 ]; then
  explain "$1"
else
  explain - <<'JSON'
{
  "alert": {
    "alert_name": "NodeCPUHigh",
    "status": "firing",
    "labels": { "severity": "warning", "namespace": "prod", "instance": "node-1:9100" },
    "annotations": { "summary": "CPU above 90% on node-1" }
  }
}
JSON
fi
