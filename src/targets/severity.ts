import { type Alert, severityOf, statusOf } from '../alert.js'

/**
 * The severities that we know, the mildest first. The empty one is an alert that says nothing, `none` that of the
 * Watchdog of prometheus-operator/kube-prometheus, which always fires.
 */
const ranks = new Map(
  ['none', 'noise', 'info', 'warning', '', 'error', 'critical'].map((severity, rank) => [severity, rank])
)

/** Whether a severity, in lower case, is one that we know. */
export function isKnown(severity: string): boolean {
  return ranks.has(severity)
}

/** How grave an alert is, to compare: a severity that we do not know may well be somebody's gravest, and ranks as `error`. */
export function gravityOf(alert: Alert): number {
  return rankOf(wordOf(alert))
}

/** The severity of the gravest alert that fires (of all if none does), in lower case; undefined if that one has none. */
export function gravest(alerts: readonly Alert[]): string | undefined {
  const status = statusOf(alerts)
  const found = new Set(alerts.flatMap(alert => (alert.status === status ? [wordOf(alert)] : [])))
  // By name first, so that of several unknown ones it is always the same.
  const [worst] = [...found].sort().sort((a, b) => rankOf(b) - rankOf(a))
  return worst || undefined
}

function wordOf(alert: Alert): string {
  return severityOf(alert)?.toLowerCase() ?? ''
}

function rankOf(severity: string): number {
  return ranks.get(severity) ?? ranks.get('error')!
}
