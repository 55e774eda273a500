import { randomBytes } from 'node:crypto'
import type { Alert } from '../alert.js'
import { fingerprintOf } from '../fingerprint.js'
import type { LiveTarget } from './live.js'
import type { EffectiveOptions } from './options.js'
import type { Publish } from './publish.js'
import type { TargetResult } from './result.js'

/**
 * Sends a marked alert to one target on the real path, whatever its filter says, then resolves it; the result is that of
 * the firing.
 */
export async function sendTestAlert(
  live: LiveTarget,
  publish: Publish,
  defaults: EffectiveOptions,
  now: () => number
): Promise<TargetResult> {
  const labels = {
    alertname: 'AlertFanoutTest',
    severity: 'info',
    test: 'true',
    target: live.name,
    run: randomBytes(4).toString('hex')
  }
  const startedAt = new Date(now()).toISOString()
  const firing: Alert = {
    alert_name: labels.alertname,
    fingerprint: fingerprintOf(labels),
    status: 'firing',
    labels,
    annotations: {
      summary: `Test alert for ${live.name}`,
      description: 'Somebody asked alert-fanout to test this target. Nothing is wrong.'
    },
    starts_at: startedAt
  }
  const send = async (alert: Alert): Promise<TargetResult | undefined> => {
    const published = await publish.publish({
      accepted: {
        source: 'api',
        options: {},
        oddAlerts: 0,
        reminder: false,
        notification: {
          receiver: 'test',
          group_key: '',
          group_labels: {},
          common_labels: labels,
          common_annotations: alert.annotations,
          external_url: '',
          truncated_alerts: 0,
          alerts: [alert]
        }
      },
      scope: 'named',
      names: [live.name],
      unfiltered: true,
      options: { ...defaults, checkHealth: false },
      bytes: Buffer.alloc(0),
      sender: 'test',
      onGone: () => {}
    })
    return published.kind === 'published' ? published.result.results[0] : undefined
  }
  const result = await send(firing)
  if (result?.success || result?.queued)
    await send({ ...firing, status: 'resolved', ends_at: new Date(now()).toISOString() })
  return (
    result ?? {
      target_name: live.name,
      target_type: live.type,
      success: false,
      skipped: true,
      attempts: 0,
      duration_ms: 0
    }
  )
}
