import type { ErrorReason } from '../targets/contract.js'

export const healthStatuses = ['unknown', 'healthy', 'degraded', 'unhealthy'] as const
export type HealthStatus = (typeof healthStatuses)[number]

/**
 * What is known of a target's health. Times are milliseconds since the epoch. Made with all its fields, in this order:
 * each delivery looks at it, and of objects that are made in several ways V8 compiles what looks at them again and again.
 */
export interface Health {
  readonly status: HealthStatus
  /** Of the last check, in milliseconds. */
  readonly latencyMs: number | undefined
  readonly lastCheck: number | undefined
  readonly lastSuccess: number | undefined
  readonly consecutiveFailures: number
  readonly errorReason: ErrorReason | undefined
  readonly checks: number
  readonly successes: number
}

export interface HealthRules {
  readonly failureThreshold: number
  readonly degradedMs: number
  readonly intervalMs: number
}

/** A check that has ended. */
export interface Checked {
  readonly latencyMs: number
  /** When it ended, in milliseconds since the epoch. */
  readonly now: number
  readonly rules: Pick<HealthRules, 'failureThreshold' | 'degradedMs'>
}

export const unknownHealth: Health = {
  status: 'unknown',
  latencyMs: undefined,
  lastCheck: undefined,
  lastSuccess: undefined,
  consecutiveFailures: 0,
  errorReason: undefined,
  checks: 0,
  successes: 0
}

/** The health after a check that reached the target; a slow one makes it degraded. */
export function checkSucceeded(health: Health, { latencyMs, now, rules }: Checked): Health {
  return {
    status: latencyMs >= rules.degradedMs ? 'degraded' : 'healthy',
    latencyMs,
    lastCheck: now,
    lastSuccess: now,
    consecutiveFailures: 0,
    errorReason: undefined,
    checks: health.checks + 1,
    successes: health.successes + 1
  }
}

/** The health after a check that did not: degraded at first, unhealthy from the threshold on. */
export function checkFailed(health: Health, reason: ErrorReason, { latencyMs, now, rules }: Checked): Health {
  const consecutiveFailures = health.consecutiveFailures + 1
  return {
    status: consecutiveFailures >= rules.failureThreshold ? 'unhealthy' : 'degraded',
    latencyMs,
    lastCheck: now,
    lastSuccess: health.lastSuccess,
    consecutiveFailures,
    errorReason: reason,
    checks: health.checks + 1,
    successes: health.successes
  }
}

/** The health after a part was delivered: whatever takes alerts is healthy, unless its last check was merely slow. */
export function delivered(health: Health, now: number): Health {
  const { status, latencyMs, lastCheck, lastSuccess, consecutiveFailures, checks, successes } = health
  const slow = status === 'degraded' && consecutiveFailures === 0
  // To the second is enough: this is asked for each of thousands of deliveries.
  if ((status === 'healthy' || slow) && now - (lastSuccess ?? 0) < 1_000) return health
  return {
    status: slow ? status : 'healthy',
    latencyMs,
    lastCheck,
    lastSuccess: now,
    consecutiveFailures: 0,
    errorReason: undefined,
    checks,
    successes
  }
}

/** The status to act upon: what is older than 10 min and 3 intervals is no longer known. */
export function statusNow(health: Health, now: number, rules: Pick<HealthRules, 'intervalMs'>): HealthStatus {
  const heard = Math.max(health.lastCheck ?? 0, health.lastSuccess ?? 0)
  return now - heard > Math.max(600_000, 3 * rules.intervalMs) ? 'unknown' : health.status
}
