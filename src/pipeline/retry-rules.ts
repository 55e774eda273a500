import { severityOf } from '../alert.js'
import type { Priority } from '../queues/contract.js'
import type { Failure } from '../targets/contract.js'
import type { Sequenced } from './lifecycle.js'

export interface RetryRules {
  readonly baseMs: number
  readonly maxDelayMs: number
  readonly maxAgeMs: number
  /** How long what tells an end is tried. */
  readonly retentionMs: number
}

/**
 * Milliseconds to wait after a failed attempt: `baseMs` × 2^n up to `maxDelayMs`, full jitter; the target's own
 * `Retry-After` is the floor. `tries` counts the attempts so far, from 1; `random` is in [0, 1).
 */
export function delayMs(tries: number, failure: Failure | undefined, rules: RetryRules, random: number): number {
  const ceiling = Math.min(rules.maxDelayMs, rules.baseMs * 2 ** Math.min(tries - 1, 40))
  return Math.max(failure?.retryAfterMs ?? 0, Math.round(random * ceiling))
}

/** Whether a failed attempt was the last one: nothing dies of age without an attempt that failed. */
export function isLast(acceptedAt: number, tellsAnEnd: boolean, now: number, rules: RetryRules): boolean {
  return now - acceptedAt > (tellsAnEnd ? Math.max(rules.retentionMs, rules.maxAgeMs) : rules.maxAgeMs)
}

/** high: critical and firing; low: resolved, or info; else medium. The most urgent alert decides. */
export function priorityOf(alerts: readonly Sequenced[]): Priority {
  let best: Priority = 'low'
  for (const { alert } of alerts) {
    const severity = severityOf(alert)?.toLowerCase()
    if (alert.status === 'firing' && severity === 'critical') return 'high'
    if (alert.status === 'firing' && severity !== 'info' && severity !== 'noise') best = 'medium'
  }
  return best
}
