import Type, { type Static } from 'typebox'
import { type Alert, type Notification, statusOf } from '../alert.js'
import { mapped } from '../mapped.js'
import { SecretText } from '../schema.js'
import { addressOf, fieldOf, urlProblems } from './address.js'
import type { Message, TargetKind } from './contract.js'
import { partPerAlert } from './incident.js'
import { settingsOf } from './settings.js'
import { json, lateness } from './text.js'

const schema = settingsOf(
  'webhook',
  {
    url: SecretText({ description: 'an http or https URL' }),
    format: Type.Enum(['webhook', 'alertmanager'], {
      default: 'webhook',
      description: 'What is posted: our own JSON, or an Alertmanager webhook body (the very bytes where one came in).'
    }),
    batch: Type.Enum(['notification', 'alert'], {
      default: 'notification',
      description: 'One request for the whole notification, or one for each alert.'
    })
  },
  [
    {
      name: 'hook',
      type: 'webhook',
      url: 'https://hooks.example.com/alerts',
      auth: { type: 'bearer', token: 'example-token' }
    },
    { name: 'hook-v4', type: 'webhook', url: 'http://v4.example.com:8080/in?team=ops', format: 'alertmanager' },
    {
      name: 'hook-signed',
      type: 'webhook',
      url: 'https://signed.example.com/',
      batch: 'alert',
      auth: { type: 'hmac', secret: 'whsec_ZXhhbXBsZS1zaWduaW5nLXNlY3JldA==' }
    },
    {
      name: 'hook-v4-single',
      type: 'webhook',
      url: 'https://single.example.com/alert',
      format: 'alertmanager',
      batch: 'alert',
      auth: { type: 'api_key', header: 'X-Api-Key', value: 'example-key' }
    }
  ]
)
type Settings = Static<typeof schema>

/** Any HTTP receiver, in our own JSON or in Alertmanager's. */
export const webhook: TargetKind<Settings> = {
  type: 'webhook',
  title: 'Webhook',
  schema,
  defaults: { maxConcurrent: 50 },
  audience: 'chat',
  lane: settings => (settings.batch === 'alert' ? 'alert' : 'group'),
  check: (settings, root) => urlProblems(settings.url, fieldOf(root, 'url')),
  open({ url, format, batch }) {
    const { origin, path } = addressOf(url)
    const body = format === 'webhook' ? ownBody : alertmanagerBody
    const post = (message: Message, alerts: readonly Alert[]) =>
      ({ method: 'POST', origin, path, headers, body: body(message, alerts) }) as const
    return {
      origins: [origin],
      forgets: true,
      wantsBytes: format === 'alertmanager',
      parts: batch === 'alert' ? partPerAlert : undefined,
      requests:
        batch === 'alert'
          ? message => message.alerts.map(alert => post(message, [alert]))
          : message => [post(message, message.alerts)]
    }
  }
}

const headers = { 'content-type': 'application/json' }

function ownBody(message: Message, alerts: readonly Alert[]): Buffer {
  const late = lateness(message.lateByMs) !== undefined
  if (late || message.firedAndResolved) return Buffer.from(json(own(message, alerts, late)))
  const written = writtenOf(message, alerts)
  written.own ??= Buffer.from(json(own(message, alerts, false)))
  return written.own
}

function own(message: Message, alerts: readonly Alert[], late: boolean) {
  const { notification } = message
  return {
    publish_id: message.publishId,
    status: statusOf(alerts),
    ...(message.firedAndResolved ? { fired_and_resolved: true } : {}),
    ...(late ? { late_by_ms: Math.round(message.lateByMs) } : {}),
    receiver: notification.receiver,
    group_key: notification.group_key,
    group_labels: notification.group_labels,
    common_labels: notification.common_labels,
    common_annotations: notification.common_annotations,
    external_url: notification.external_url,
    truncated_alerts: notification.truncated_alerts,
    alerts
  }
}

function alertmanagerBody(message: Message, alerts: readonly Alert[]): Buffer {
  const { notification } = message
  if (notification.body && same(alerts, notification.alerts)) return notification.body
  const written = writtenOf(message, alerts)
  written.v4 ??= Buffer.from(json(v4(notification, alerts)))
  return written.v4
}

/** An Alertmanager webhook body, version 4, with its fields in Alertmanager's own order. */
function v4(notification: Notification, alerts: readonly Alert[]) {
  return {
    receiver: notification.receiver,
    status: statusOf(alerts),
    alerts: mapped(alerts, alert => ({
      status: alert.status,
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: alert.starts_at,
      endsAt: alert.ends_at ?? '0001-01-01T00:00:00Z',
      generatorURL: alert.generator_url ?? '',
      fingerprint: alert.fingerprint,
      classification: alert.classification,
      enrichment: alert.enrichment
    })),
    groupLabels: notification.group_labels,
    commonLabels: notification.common_labels,
    commonAnnotations: notification.common_annotations,
    externalURL: notification.external_url,
    version: '4',
    groupKey: notification.group_key,
    truncatedAlerts: notification.truncated_alerts
  }
}

function same(alerts: readonly Alert[], all: readonly Alert[]): boolean {
  return alerts === all || (alerts.length === all.length && alerts.every((alert, index) => alert === all[index]))
}

interface Written {
  readonly notification: Notification
  readonly publishId: string
  own?: Buffer
  v4?: Buffer
}

/** Bodies already written, so that many webhooks that get the same alerts cost one serialisation. */
const bodies = new WeakMap<object, Written>()

function writtenOf({ notification, publishId }: Message, alerts: readonly Alert[]): Written {
  // A part of one alert is a new array for each target; the alert in it is not.
  const key = alerts.length === 1 ? alerts[0]! : alerts
  const known = bodies.get(key)
  if (known?.notification === notification && known.publishId === publishId) return known
  const fresh: Written = { notification, publishId }
  bodies.set(key, fresh)
  return fresh
}
