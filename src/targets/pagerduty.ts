import Type, { type Static } from 'typebox'
import type { Alert } from '../alert.js'
import { type Problem, SecretText } from '../schema.js'
import { addressOf, fieldOf, urlProblems } from './address.js'
import type { Message, TargetKind, Verdict, WireAnswer, WireRequest } from './contract.js'
import { failure, judgeByStatus } from './failures.js'
import {
  alertKey,
  beginning,
  counts,
  end,
  groupHeadline,
  groupKey,
  groupStatusOf,
  headline,
  linksOf,
  partPerAlert,
  webUrl
} from './incident.js'
import { detailsOf, eventBytes, fit, type Room } from './pagerduty-details.js'
import { settingsOf } from './settings.js'
import { gravest } from './severity.js'
import { cut, lateness } from './text.js'

const schema = settingsOf(
  'pagerduty',
  {
    url: SecretText({
      default: 'https://events.pagerduty.com',
      description: 'the Events API: https://events.pagerduty.com, or https://events.eu.pagerduty.com in the EU'
    }),
    routing_key: SecretText({ description: 'the integration key of a service or of an event orchestration' }),
    per: Type.Enum(['alert', 'group'], {
      default: 'alert',
      description: 'One PagerDuty alert for each alert, or one for each Alertmanager group.'
    }),
    change_events: Type.Boolean({
      default: false,
      description: 'Sends alerts labelled change_event="true" as change events, which page nobody.'
    })
  },
  [
    { name: 'pd', type: 'pagerduty', routing_key: 'e93facc04764012d7bfb002500d5d1a6' },
    { name: 'pd-group', type: 'pagerduty', routing_key: 'e93facc04764012d7bfb002500d5d1a6', per: 'group' },
    {
      name: 'pd-changes',
      type: 'pagerduty',
      url: 'https://events.pagerduty.example.com/v2/enqueue',
      routing_key: 'e93facc04764012d7bfb002500d5d1a6',
      change_events: true
    }
  ]
)
type Settings = Static<typeof schema>

/**
 * PagerDuty through its Events API v2 (developer.pagerduty.com: "Events API v2 Overview", "Send an Alert Event", "Send a
 * Change Event"). A resolve finds its trigger by `dedup_key`, so nothing has to be remembered.
 */
export const pagerduty: TargetKind<Settings> = {
  type: 'pagerduty',
  title: 'PagerDuty',
  schema,
  defaults: { rateLimit: { requests: 120, perMs: 60_000, burst: 60 }, maxConcurrent: 10 },
  audience: 'incident',
  reachesPeople: true,
  limits: { bodyBytes: eventBytes },
  lane: settings => settings.per,
  answers: [
    { statusCode: 202, body: '{"status":"success","message":"Event processed","dedup_key":"k"}', means: 'delivered' },
    {
      statusCode: 400,
      body: '{"status":"invalid event","message":"Event object is invalid","errors":["\'payload.source\' is missing or blank"]}',
      means: 'client_error'
    },
    {
      statusCode: 400,
      body: '{"status":"invalid event","message":"Event object is invalid","errors":["Length of \'routing_key\' is incorrect (should be 32 characters)"]}',
      means: 'auth'
    }
  ],
  check: (settings, root) => [...urlProblems(settings.url, fieldOf(root, 'url')), ...keyProblems(settings, root)],
  open({ url, routing_key, per, change_events }) {
    // Other tools want the whole endpoint here, so it is taken as well.
    const { origin, under } = addressOf(url.reveal().replace(/\/v2\/enqueue\/?(?=$|\?)/, ''))
    const headers = { 'content-type': 'application/json' }
    const isChange = (alert: Alert) => change_events && alert.labels.change_event === 'true'
    const post = (path: string, message: Message, event: (room: Room) => object): WireRequest => {
      const body = fit(message, room => ({ routing_key: routing_key.reveal(), ...event(room) }))
      return { method: 'POST', origin, path: under(path), headers, body }
    }
    const alertRequest = (message: Message, alert: Alert) =>
      isChange(alert)
        ? post('/v2/change/enqueue', message, room => changeEvent(message, alert, room))
        : post('/v2/enqueue', message, room => alertEvent(message, alert, room))
    const common = { origins: [origin], forgets: true, answer, statusTells: true }
    if (per === 'alert') {
      return {
        ...common,
        parts: partPerAlert,
        requests: message => message.alerts.map(alert => alertRequest(message, alert))
      }
    }
    return {
      ...common,
      parts: alerts => {
        const group = alerts.filter(alert => !isChange(alert))
        const whole = group.length === alerts.length ? alerts : group
        return [...(group.length > 0 ? [{ key: '', alerts: whole }] : []), ...partPerAlert(alerts.filter(isChange))]
      },
      requests: message => {
        const alerts = message.alerts.filter(alert => !isChange(alert))
        const group = { ...message, alerts }
        return [
          ...(alerts.length > 0 ? [post('/v2/enqueue', message, room => groupEvent(group, room))] : []),
          ...message.alerts.filter(isChange).map(alert => alertRequest(message, alert))
        ]
      }
    }
  }
}

function keyProblems({ routing_key }: Settings, root: string): Problem[] {
  if (!/\s/.test(routing_key.reveal())) return []
  const suggestion = 'write it on one line, without a newline at its end'
  return [{ field: fieldOf(root, 'routing_key'), message: 'has white space in it', suggestion }]
}

/** By the status, but that PagerDuty answers a wrong routing key with a 400, as it does an event that it cannot read. */
function answer(answer: WireAnswer, { now }: Message): Verdict {
  const { statusCode, body } = answer
  if (statusCode === 400 && blamesKey(body)) return failure('auth', 'PagerDuty refused the routing key', { statusCode })
  return judgeByStatus(answer, 'PagerDuty', now)
}

/**
 * PagerDuty has no codes for its refusals, only sentences: `"errors": ["Length of 'routing_key' is incorrect (should be 32
 * characters)"]` (envato/pagerduty issue 70), `Invalid routing key` (robusta-dev/robusta issue 571).
 */
function blamesKey(body: string): boolean {
  return sentencesOf(body).some(sentence => /\brouting[_ ]key\b/i.test(sentence))
}

/** Of what is no JSON only a whole sentence counts: a page of somebody's proxy may quote the event, key and all. */
function sentencesOf(body: string): string[] {
  try {
    const { message, errors } = JSON.parse(body) as { message?: unknown; errors?: unknown }
    return [message, errors].flat().filter(sentence => typeof sentence === 'string')
  } catch {
    return /^[\w ']{1,100}\.?$/.test(body.trim()) ? [body] : []
  }
}

function alertEvent(message: Message, alert: Alert, room: Room): object {
  const { labels, annotations } = alert
  return {
    event_action: alert.status === 'firing' ? 'trigger' : 'resolve',
    dedup_key: alertKey(alert),
    payload: {
      summary: cut(headline(alert), 1024, () => room.cut('summary')),
      source: sourceOf(labels, message, room),
      severity: severityFor([alert], room),
      timestamp: end([alert]) ?? beginning([alert]),
      component: short(labels.component || labels.service || labels.job, room, 'component'),
      group: short(labels.cluster || labels.namespace, room, 'group'),
      class: short(alert.alert_name, room, 'class'),
      custom_details: { late_by: lateBy(message), ...detailsOf(alert, room) }
    },
    ...context(message, room, annotations, alert.generator_url)
  }
}

function groupEvent(message: Message, room: Room): object {
  const { notification, alerts } = message
  const { common_labels: labels, common_annotations: annotations } = notification
  const firing = groupStatusOf(message) === 'firing'
  const shown = alerts.slice(0, room.alerts)
  if (shown.length < alerts.length) room.cut('alerts')
  return {
    event_action: firing ? 'trigger' : 'resolve',
    dedup_key: groupKey(message),
    payload: {
      summary: cut(groupHeadline(message), 1024, () => room.cut('summary')),
      source: sourceOf(labels, message, room),
      severity: severityFor(alerts, room),
      timestamp: (firing ? undefined : end(alerts)) ?? beginning(alerts),
      component: short(labels.component || labels.service || labels.job, room, 'component'),
      group: short(labels.cluster || labels.namespace, room, 'group'),
      class: short(labels.alertname, room, 'class'),
      custom_details: {
        late_by: lateBy(message),
        alerts: counts(message),
        details: shown.map(alert => ({
          alert_name: short(alert.alert_name, room, 'alert_name'),
          ...detailsOf(alert, room)
        })),
        not_shown: alerts.length - shown.length + notification.truncated_alerts || undefined
      }
    },
    ...context(message, room, annotations, undefined)
  }
}

/** A change has no end in PagerDuty: its resolve is told as one more event on the timeline. */
function changeEvent(message: Message, alert: Alert, room: Room): object {
  const ended = alert.status === 'resolved' ? 'Ended: ' : ''
  return {
    payload: {
      summary: cut(ended + headline(alert), 1024, () => room.cut('summary')),
      source: sourceOf(alert.labels, message, room),
      timestamp: end([alert]) ?? beginning([alert]),
      custom_details: { late_by: lateBy(message), ...detailsOf(alert, room) }
    },
    links: linksOf(alert.annotations, alert.generator_url, field => room.cut(field))
  }
}

function context(
  message: Message,
  room: Room,
  annotations: Readonly<Record<string, string>>,
  source: string | undefined
): object {
  const snapshot = webUrl(annotations.grafana_snapshot)
  return {
    client: 'alert-fanout',
    client_url: webUrl(message.notification.external_url),
    links: linksOf(annotations, source, field => room.cut(field)),
    // PagerDuty shows images from https only.
    images: snapshot?.startsWith('https:') ? [{ src: snapshot, href: snapshot, alt: 'Grafana snapshot' }] : []
  }
}

const severities = new Map([
  ['critical', 'critical'],
  ['error', 'error'],
  ['warning', 'warning'],
  ['info', 'info'],
  ['noise', 'info']
])

function severityFor(alerts: readonly Alert[], room: Room): string {
  const severity = gravest(alerts)
  const known = severity === undefined ? undefined : severities.get(severity)
  if (severity !== undefined && known === undefined) room.cut('severity')
  return known ?? 'error'
}

/** PagerDuty wants a source: the most telling of what names the place. */
function sourceOf(labels: Readonly<Record<string, string>>, { notification }: Message, room: Room): string {
  const { instance, host, node, pod, cluster, namespace, job } = labels
  const source = instance || host || node || pod || cluster || namespace || job || notification.external_url
  return short(source, room, 'source') ?? 'alert-fanout'
}

function short(text: string | undefined, room: Room, field: string): string | undefined {
  return text ? cut(text, 255, () => room.cut(field)) : undefined
}

function lateBy(message: Message): string | undefined {
  return lateness(message.lateByMs)?.replace('late by ', '')
}
