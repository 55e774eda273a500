import { type Alert, type AlertStatus, severityOf, statusOf } from '../alert.js'
import type { Message } from './contract.js'
import {
  alertKey,
  beginning,
  counts,
  end,
  groupHeadline,
  groupKey,
  groupStatusOf,
  headline,
  linksOf
} from './incident.js'
import type { RootlySettings } from './rootly.js'
import { cut, json, lateness } from './text.js'

/** Rootly documents no limits for texts and labels; these keep a page readable and a request small. */
const most = { title: 200, text: 2500, summary: 10_000, alerts: 20, labels: 100, label: 1000 }

/** What one incident or alert in Rootly is about, in Rootly's words. */
export interface Subject {
  /** Finds it again: the alert's fingerprint, or a hash of the group's key. */
  readonly key: string
  readonly title: string
  /** Markdown. Begins with the key, so that a search for it finds the incident even if only the head comes back. */
  readonly summary: string
  readonly labels: Readonly<Record<string, string>>
  readonly url: string | undefined
}

/** Reads a message's alert (or group) into what Rootly is told of it. */
export function subjectOf(message: Message, per: RootlySettings['per']): Subject {
  const { alerts, notification } = message
  const alert = alerts.at(-1)!
  const onCut = (field: string) => () => message.truncated(field)
  const key = per === 'alert' ? alertKey(alert) : groupKey(message)
  const title = per === 'alert' ? headline(alert) : groupHeadline(message)
  // A group of one is told as fully as the alert itself.
  const single = per === 'alert' || (alerts.length === 1 && notification.truncated_alerts === 0)
  const links = single
    ? linksOf(alert.annotations, alert.generator_url, message.truncated)
    : linksOf(notification.common_annotations, notification.external_url, message.truncated)
  const linked = links.map(({ href, text }) => `[${text}](<${href}>)`).join(' · ')
  const body = single ? aboutAlert(alert, message, linked) : aboutGroup(message, linked)
  return {
    key,
    title: cut(title, most.title, onCut('title')),
    summary: cut(
      [opening(message, key, statusIn(message, per)), ...body].filter(Boolean).join('\n\n'),
      most.summary,
      onCut('summary')
    ),
    labels: { ...labelsOf(single ? alert.labels : notification.common_labels, message), fingerprint: key },
    url: (links.find(link => link.text === 'Source') ?? links[0])?.href
  }
}

/** Whether what the incident or alert is about still fires; a group does as long as some of it is not known to be over. */
export function statusIn(message: Message, per: RootlySettings['per']): AlertStatus {
  return per === 'group' ? groupStatusOf(message) : statusOf(message.alerts)
}

/** How and when it ended, for `resolution_message`. */
export function resolutionOf({ alerts, lateByMs }: Message): string {
  const when = end(alerts)
  return [`Resolved${when === undefined ? '' : ` at ${when}`}`, lateness(lateByMs)].filter(Boolean).join(', ')
}

function opening({ alerts, lateByMs }: Message, key: string, status: AlertStatus): string {
  const since = beginning(alerts)
  const known = status === statusOf(alerts) ? status : 'not known to be resolved, firing'
  const what = `\`${key}\` ${known}${since === undefined ? '' : ` since ${since}`}`
  return [what, lateness(lateByMs)].filter(Boolean).join(', ')
}

function aboutAlert(
  { annotations, classification, enrichment, labels }: Alert,
  message: Message,
  linked: string
): string[] {
  const onCut = () => message.truncated('annotations')
  const shown = new Set(['summary', 'description', 'runbook_url', 'dashboard_url'])
  const others = Object.entries(annotations).filter(([name]) => !shown.has(name))
  return [
    cut(annotations.summary ?? '', most.text, onCut),
    cut(annotations.description ?? '', most.text, onCut),
    classification
      ? [
          `**Classified as ${classification.severity}**`,
          classification.confidence === undefined ? '' : ` (confidence ${classification.confidence})`,
          classification.reasoning ? `: ${cut(classification.reasoning, most.text, onCut)}` : ''
        ].join('')
      : '',
    (classification?.recommendations ?? []).map(advice => `- ${cut(advice, most.label, onCut)}`).join('\n'),
    linked,
    others.map(([name, text]) => `**${name}**: ${cut(text, most.label, onCut)}`).join('\n\n'),
    labelList(labels, message),
    enrichment ? `\`\`\`json\n${cut(json(enrichment), most.text, () => message.truncated('enrichment'))}\n\`\`\`` : ''
  ]
}

function aboutGroup(message: Message, linked: string): string[] {
  const { alerts, notification } = message
  const onCut = () => message.truncated('alerts')
  const shown = alerts
    .slice(0, most.alerts)
    .map(alert => `- ${stateOf(alert, onCut)}: ${cut(headline(alert), most.title, onCut)}`)
  const more = alerts.length - shown.length + notification.truncated_alerts
  return [
    counts(message),
    [...shown, ...(more > 0 ? [`- +${more} more`] : [])].join('\n'),
    linked,
    labelList(notification.common_labels, message)
  ]
}

function stateOf(alert: Alert, onCut: () => void): string {
  const severity = severityOf(alert)
  return severity === undefined ? alert.status : `${alert.status}, ${span(cut(severity, most.label, onCut))}`
}

/** Code spans, so that a label's text cannot become markup. */
function labelList(labels: Readonly<Record<string, string>>, message: Message): string {
  return Object.entries(labels)
    .map(([name, value]) => `- ${span(name)}: ${span(cut(value, most.label, () => message.truncated('labels')))}`)
    .join('\n')
}

function span(text: string): string {
  return `\`${text.replace(/[`\s]+/g, ' ')}\``
}

function labelsOf(labels: Readonly<Record<string, string>>, message: Message): Record<string, string> {
  const onCut = () => message.truncated('labels')
  const entries = Object.entries(labels)
  if (entries.length > most.labels) onCut()
  return Object.fromEntries(
    entries.slice(0, most.labels).map(([name, value]) => [cut(name, most.label, onCut), cut(value, most.label, onCut)])
  )
}
