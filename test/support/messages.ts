import { readFileSync } from 'node:fs'
import type { Alert, Notification } from '../../src/alert.js'
import type { Message } from '../../src/targets/contract.js'

/** The moment at which every message of the tests is written, in milliseconds since the epoch. */
export const testNow = Date.parse('2026-11-20T18:20:00Z')

export type FixtureName =
  | 'firing-1'
  | 'firing-3'
  | 'mixed-1-resolved-of-3'
  | 'resolved-2'
  | 'storm-120'
  | 'watchdog-empty-annotations'

/** One alert, firing unless told otherwise. */
export function alertOf(overrides: Partial<Alert> = {}): Alert {
  return {
    alert_name: 'NodeCPUHigh',
    fingerprint: '40740cd330866521',
    status: 'firing',
    labels: { alertname: 'NodeCPUHigh', instance: 'node-1:9100', namespace: 'prod', severity: 'critical' },
    annotations: { summary: 'CPU above 90% on node-1' },
    starts_at: '2026-11-20T18:17:30.86Z',
    ...overrides
  }
}

/** A notification as a real Alertmanager posted it, read into our words, its bytes kept as `body`. */
export function notificationOf(fixture: FixtureName): Notification {
  const body = readFileSync(new URL(`../fixtures/alertmanager/${fixture}.json`, import.meta.url))
  const v4 = JSON.parse(body.toString()) as V4
  return {
    receiver: v4.receiver.replaceAll('\\', ''),
    group_key: v4.groupKey,
    group_labels: v4.groupLabels,
    common_labels: v4.commonLabels,
    common_annotations: v4.commonAnnotations,
    external_url: v4.externalURL,
    truncated_alerts: v4.truncatedAlerts,
    alerts: v4.alerts.map(alert => ({
      alert_name: alert.labels.alertname ?? '',
      fingerprint: alert.fingerprint,
      status: alert.status,
      labels: alert.labels,
      annotations: alert.annotations,
      starts_at: alert.startsAt,
      ...(alert.status === 'resolved' ? { ends_at: alert.endsAt } : {}),
      ...(alert.generatorURL ? { generator_url: alert.generatorURL } : {})
    })),
    body
  }
}

/** A notification of these alerts that did not come from an Alertmanager. */
export function notificationWith(alerts: readonly Alert[]): Notification {
  return {
    receiver: '',
    group_key: '',
    group_labels: {},
    common_labels: {},
    common_annotations: {},
    external_url: '',
    truncated_alerts: 0,
    alerts
  }
}

/** A message with all alerts of its notification; by default of one firing alert, live, at `testNow`. */
export function messageOf(overrides: Partial<Message> = {}): Message {
  const notification =
    overrides.notification ?? (overrides.alerts ? notificationWith(overrides.alerts) : notificationOf('firing-1'))
  return {
    notification,
    alerts: notification.alerts,
    part: '',
    publishId: '01939f5e-8b5a-7c3e-9d2f-2f6f3a0c1d4e',
    deliveryKey: '3c1a6f0e5b7d4982a1c0e9f8d7b6a594',
    now: testNow,
    lateByMs: 0,
    memory: {},
    mayHave: false,
    firedAndResolved: false,
    truncated: () => {},
    ...overrides
  }
}

interface V4 {
  receiver: string
  groupKey: string
  groupLabels: Record<string, string>
  commonLabels: Record<string, string>
  commonAnnotations: Record<string, string>
  externalURL: string
  truncatedAlerts: number
  alerts: {
    status: Alert['status']
    labels: Record<string, string>
    annotations: Record<string, string>
    startsAt: string
    endsAt: string
    generatorURL: string
    fingerprint: string
  }[]
}
