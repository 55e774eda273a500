import { createHash } from 'node:crypto'
import { type Alert, type AlertStatus, statusOf, timeAsRead } from '../alert.js'
import type { Message, Part } from './contract.js'

/** What incident tools have in common: one alert or one group becomes one incident, found again by a key. */

/** One part for each alert; alerts that share a fingerprint share a part, the later one last. */
export function partPerAlert(alerts: readonly Alert[]): Part[] {
  const byFingerprint = new Map<string, Alert[]>()
  for (const alert of alerts) {
    const same = byFingerprint.get(alert.fingerprint)
    if (same) same.push(alert)
    else byFingerprint.set(alert.fingerprint, [alert])
  }
  return [...byFingerprint].map(([key, same]) => ({ key, alerts: same }))
}

/** The incident key of an alert: its fingerprint, hashed if it is longer than the 255 characters that vendors take. */
export function alertKey(alert: Alert): string {
  return alert.fingerprint.length <= 255 ? alert.fingerprint : sha256(alert.fingerprint)
}

/**
 * The incident key of a group: SHA-256 hex of its group key, as Alertmanager's own PagerDuty integration has it. Alerts
 * that came without a group are known by their fingerprints, or all such notifications would share one incident.
 */
export function groupKey({ notification, alerts }: Message): string {
  return sha256(
    notification.group_key ||
      alerts
        .map(alert => alert.fingerprint)
        .sort()
        .join(' ')
  )
}

/**
 * `resolved` only if all of the group is: of those that Alertmanager left out nothing is known, and its own status is of
 * those that it lists (`max_alerts` of prometheus/alertmanager notify/webhook truncates before the status is computed).
 */
export function groupStatusOf({ notification, alerts }: Message): AlertStatus {
  return notification.truncated_alerts > 0 ? 'firing' : statusOf(alerts)
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** One line for people about one alert: `NodeCPUHigh: CPU above 90% on node-1`. Never empty. */
export function headline(alert: Alert): string {
  const name = oneLine(alert.alert_name) || 'Alert'
  const text = oneLine(alert.annotations.summary || alert.annotations.description || alert.labels.instance || '')
  return text === '' || text === name ? name : `${name}: ${text}`
}

/** One line for people about a group: `NodeCPUHigh, prod (2 firing, 1 resolved)`. Never empty. */
export function groupHeadline(message: Message): string {
  const { notification, alerts } = message
  const names = Object.values(notification.group_labels).map(oneLine).filter(Boolean)
  const title = names.join(', ') || oneLine(alerts[0]!.alert_name) || 'Alerts'
  return `${title} (${counts(message)})`
}

/** `2 firing, 1 resolved, 5 not listed`, leaving out what there is none of. */
export function counts({ notification, alerts }: Message): string {
  const firing = alerts.filter(alert => alert.status === 'firing').length
  const parts = [
    [firing, 'firing'],
    [alerts.length - firing, 'resolved'],
    [notification.truncated_alerts, 'not listed']
  ] as const
  return parts.flatMap(([count, word]) => (count > 0 ? [`${count} ${word}`] : [])).join(', ')
}

export interface Link {
  readonly href: string
  readonly text: string
}

/** The runbook, the dashboard and the source of an alert (or of a group's common annotations), where they are web links. */
export function linksOf(
  annotations: Readonly<Record<string, string>>,
  source: string | undefined,
  truncated: (field: string) => void
): Link[] {
  const candidates = [
    { href: annotations.runbook_url, text: 'Runbook' },
    { href: annotations.dashboard_url, text: 'Dashboard' },
    { href: source, text: 'Source' }
  ]
  if (candidates.some(({ href = '' }) => href.length > longestUrl)) truncated('links')
  return candidates.flatMap(({ href, text }) => (webUrl(href) ? [{ href: href!, text }] : []))
}

const longestUrl = 2048

/** The text if it is an http or https URL that a vendor will take: a cut URL is none, so a longer one is left out. */
export function webUrl(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= longestUrl && /^https?:\/\/\S+$/i.test(text) && URL.canParse(text)
    ? text
    : undefined
}

/** The text if it is an RFC 3339 time; Alertmanager bodies are delivered with odd ones, which vendors would refuse. */
export function time(text: string | undefined): string | undefined {
  return text === undefined ? undefined : timeAsRead(text)
}

/** When the first alert that fires began, else the first of all; undefined if none tells. */
export function beginning(alerts: readonly Alert[]): string | undefined {
  const status = statusOf(alerts)
  return byTime(alerts.flatMap(alert => (alert.status === status ? (time(alert.starts_at) ?? []) : [])))[0]
}

/** When the last alert ended; undefined while one fires or if none tells. */
export function end(alerts: readonly Alert[]): string | undefined {
  if (statusOf(alerts) === 'firing') return undefined
  return byTime(alerts.flatMap(alert => time(alert.ends_at) ?? [])).at(-1)
}

function byTime(times: string[]): string[] {
  return times.sort((a, b) => Date.parse(a) - Date.parse(b))
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}
