#!/bin/sh
# One alert to the targets that it names. ALERT_FANOUT_URL and ALERT_FANOUT_TOKEN say where, and as whom. With an
# IDEMPOTENCY_KEY the same call can be made again without sending anything twice.
set -eu
curl --silent --show-error --fail-with-body \
  ${ALERT_FANOUT_TOKEN:+--header "Authorization: Bearer $ALERT_FANOUT_TOKEN"} \
  ${IDEMPOTENCY_KEY:+--header "Idempotency-Key: $IDEMPOTENCY_KEY"} \
  --header 'Content-Type: application/json' --data-binary @- \
  "${ALERT_FANOUT_URL:-http://localhost:8080}/api/v1/publish/parallel" <<'JSON'
{
  "target_names": ["slack-ops", "pagerduty-oncall"],
  "alert": {
    "alert_name": "NodeCPUHigh",
    "status": "firing",
    "labels": { "severity": "critical", "namespace": "prod", "instance": "node-1:9100" },
    "annotations": {
      "summary": "CPU above 90% on node-1",
      "runbook_url": "https://runbooks.example.com/node-cpu-high"
    },
    "classification": {
      "severity": "critical",
      "confidence": 0.93,
      "reasoning": "The node serves checkout, and its load has doubled within ten minutes.",
      "recommendations": ["Look for a runaway batch job on node-1"]
    }
  }
}
JSON
