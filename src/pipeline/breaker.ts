import type { ErrorReason, Failure } from '../targets/contract.js'

/** Whether attempts at a target make sense. Each state carries just what it needs; times are milliseconds since the epoch. */
export type Breaker =
  | { readonly state: 'closed'; readonly failures: number }
  | { readonly state: 'open'; readonly since: number; readonly until: number; readonly reason: ErrorReason }
  | {
      readonly state: 'half_open'
      readonly since: number
      readonly reason: ErrorReason
      readonly successes: number
      readonly probing: boolean
    }

export interface BreakerRules {
  readonly failureThreshold: number
  readonly successThreshold: number
  readonly openMs: number
}

export const closed: Breaker = { state: 'closed', failures: 0 }

/** Whether an attempt may go now, without taking anything. */
export function permits(breaker: Breaker, now: number): boolean {
  switch (breaker.state) {
    case 'closed':
      return true
    case 'open':
      return now >= breaker.until
    case 'half_open':
      return !breaker.probing
  }
}

/** The breaker once an attempt has begun; call it only where `permits` said yes. After the open time it is a probe. */
export function begun(breaker: Breaker): Breaker {
  switch (breaker.state) {
    case 'closed':
      return breaker
    case 'open':
      return { state: 'half_open', since: breaker.since, reason: breaker.reason, successes: 0, probing: true }
    case 'half_open':
      return { ...breaker, probing: true }
  }
}

/** The breaker after a part was delivered. */
export function succeeded(breaker: Breaker, rules: BreakerRules): Breaker {
  if (breaker.state === 'half_open' && breaker.successes + 1 < rules.successThreshold) {
    return { ...breaker, successes: breaker.successes + 1, probing: false }
  }
  // An attempt that began before the circuit opened and still succeeds does not close it: the probes do.
  return breaker.state === 'open' ? breaker : closed
}

/**
 * The breaker after a failed attempt. Rate limits and refusals of the alert itself say nothing about the target; a
 * configuration failure opens at once.
 */
export function failed(
  breaker: Breaker,
  failure: Pick<Failure, 'type' | 'reason'>,
  now: number,
  rules: BreakerRules
): Breaker {
  if (failure.type === 'rate_limited' || failure.type === 'permanent' || failure.reason === 'cancelled')
    return neutral(breaker)
  const open: Breaker = {
    state: 'open',
    since: breaker.state === 'closed' ? now : breaker.since,
    until: now + rules.openMs,
    reason: failure.reason
  }
  if (failure.type === 'configuration' || breaker.state === 'half_open') return open
  if (breaker.state === 'open') return breaker
  return breaker.failures + 1 >= rules.failureThreshold ? open : { state: 'closed', failures: breaker.failures + 1 }
}

/** The breaker after an attempt that says nothing about the target: a probe's place is free again. */
export function neutral(breaker: Breaker): Breaker {
  return breaker.state === 'half_open' ? { ...breaker, probing: false } : breaker
}

/** The breaker once its target's settings changed: an open one is probed at once. */
export function changed(breaker: Breaker, now: number): Breaker {
  return breaker.state === 'open' ? { ...breaker, until: now } : breaker
}
