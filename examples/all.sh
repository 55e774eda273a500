#!/bin/sh
# Several alerts, as one notification, to every enabled target. ALERT_FANOUT_URL and ALERT_FANOUT_TOKEN say where, and as
# whom.
set -eu
curl --silent --show-error --fail-with-body \
  ${ALERT_FANOUT_TOKEN:+--header "Authorization: Bearer $ALERT_FANOUT_TOKEN"} \
  --header 'Content-Type: application/json' --data-binary @- \
  "${ALERT_FANOUT_URL:-http://localhost:8080}/api/v1/publish/parallel/all" <<'JSON'
{
  "alerts": [
    {
      "alert_name": "DiskFull",
      "status": "firing",
      "labels": { "severity": "critical", "namespace": "prod", "instance": "db-1" },
      "annotations": { "summary": "The disk of db-1 is full in 2 h" }
    },
    {
      "alert_name": "DiskFull",
      "status": "firing",
      "labels": { "severity": "critical", "namespace": "prod", "instance": "db-2" },
      "annotations": { "summary": "The disk of db-2 is full in 3 h" }
    }
  ]
}
JSON
