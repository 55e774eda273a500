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

/** The state that a probe makes when it begins, and by which its end is known: nothing else has that very object. */
export type Probe = Extract<Breaker, { state: 'half_open' }>

/**
 * The breaker once an attempt has begun, if that changes it: one that `permits` lets through after the open time is a
 * probe. One that went without asking, or while the circuit was closed, is none.
 */
export function begun(breaker: Breaker, now: number): Probe | undefined {
  if (breaker.state === 'closed' || !permits(breaker, now)) return undefined
  const successes = breaker.state === 'half_open' ? breaker.successes : 0
  return { state: 'half_open', since: breaker.since, reason: breaker.reason, successes, probing: true }
}

/** The breaker after a part was delivered; `probe` is what `begun` gave for that attempt. */
export function succeeded(breaker: Breaker, probe: Probe | undefined, rules: BreakerRules): Breaker {
  if (breaker.state === 'closed') return closed
  // An attempt that began before the circuit opened and still succeeds does not close it: the probes do.
  if (breaker !== probe) return breaker
  const successes = breaker.successes + 1
  return successes < rules.successThreshold ? { ...breaker, successes, probing: false } : closed
}

/**
 * The breaker after an attempt that failed. Rate limits and refusals of the alert itself say nothing about the target; a
 * configuration failure opens at once.
 */
export function failed(
  breaker: Breaker,
  probe: Probe | undefined,
  failure: Pick<Failure, 'type' | 'reason'>,
  options: { now: number; rules: BreakerRules }
): Breaker {
  const { now, rules } = options
  if (failure.type === 'rate_limited' || failure.type === 'permanent' || failure.reason === 'cancelled')
    return neutral(breaker, probe)
  const open: Breaker = {
    state: 'open',
    since: breaker.state === 'closed' ? now : breaker.since,
    until: now + rules.openMs,
    reason: failure.reason
  }
  if (failure.type === 'configuration' || breaker === probe) return open
  if (breaker.state !== 'closed') return breaker
  return breaker.failures + 1 >= rules.failureThreshold ? open : { state: 'closed', failures: breaker.failures + 1 }
}

/** The breaker after an attempt that says nothing about the target: a probe's place is free again. */
export function neutral(breaker: Breaker, probe: Probe | undefined): Breaker {
  return breaker === probe ? { ...breaker, probing: false } : breaker
}

/** The breaker once its target's settings changed: an open one is probed at once. */
export function changed(breaker: Breaker, now: number): Breaker {
  return breaker.state === 'open' ? { ...breaker, until: now } : breaker
}
