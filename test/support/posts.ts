import type { StandIn } from './stand-in.js'

/** An alert of `groupOf`, as short as can be. */
export interface Short {
  readonly name: string
  readonly status?: 'firing' | 'resolved'
  readonly severity?: string
  readonly startsAt?: string
}

/** An Alertmanager body with alerts in states of their own, in a group of a name: `'A'` fires, `'-A'` is resolved. */
export function group(groupKey: string, ...alerts: (string | Short)[]): object {
  const wire = alerts.map(each => {
    const short = typeof each === 'string' ? shortOf(each) : each
    const { name, status = 'firing', severity = 'critical', startsAt = '2026-11-20T18:17:30.86Z' } = short
    return {
      status,
      labels: { alertname: name, severity },
      annotations: { summary: `${name} is bad` },
      startsAt,
      endsAt: status === 'firing' ? '0001-01-01T00:00:00Z' : '2026-11-20T18:30:00Z',
      generatorURL: '',
      fingerprint: fingerprintOf(name)
    }
  })
  return bodyOf({ groupKey, alerts: wire, status: 'firing' })
}

/** The fingerprint that an alert of that name has there. */
export const fingerprintOf = (name: string): string => Buffer.from(name.padEnd(16, '.')).toString('hex')

/** An Alertmanager body of alerts as they stand in one. */
export function bodyOf(body: { groupKey: string; alerts: readonly object[]; [field: string]: unknown }): object {
  return {
    receiver: 'team',
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: 'http://alertmanager:9093',
    version: '4',
    truncatedAlerts: 0,
    ...body
  }
}

function shortOf(text: string): Short {
  return text.startsWith('-') ? { name: text.slice(1), status: 'resolved' } : { name: text }
}

/** What a webhook got, one text per request: `A,-B`, as `group` takes it; `!` before what fired and resolved unheard. */
export function told(hook: StandIn): string[] {
  return hook.requests.map(request => {
    const { alerts, fired_and_resolved: both } = request.json()
    const names = alerts.map(
      (alert: { alert_name: string; status: string }) => `${alert.status === 'resolved' ? '-' : ''}${alert.alert_name}`
    )
    return `${both ? '!' : ''}${names.join()}`
  })
}

/** What a PagerDuty stand-in got: `A` for a trigger, `-A` for a resolve. */
export function events(pagerduty: StandIn): string[] {
  return pagerduty.requests.map(request => {
    const { event_action, dedup_key } = request.json()
    const name = Buffer.from(dedup_key, 'hex').toString().replace(/\.+$/, '')
    return `${event_action === 'resolve' ? '-' : ''}${name}`
  })
}

export const webhook = (name: string, url: string, more: object = {}): object => ({
  name,
  type: 'webhook',
  url,
  ...more
})

export const pagerduty = (name: string, url: string, more: object = {}): object => ({
  name,
  type: 'pagerduty',
  url,
  routing_key: 'key',
  rate_limit: { requests: 100_000, per: '1s', burst: 100_000 },
  ...more
})

/** Rootly, as the stand-in at that URL. */
export const rootlyAt = (url: string, more: object = {}): object => ({
  name: 'rootly',
  type: 'rootly',
  url,
  auth: { type: 'bearer', token: 'token' },
  ...more
})
