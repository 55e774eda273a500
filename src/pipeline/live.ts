import { hash } from 'node:crypto'
import { type Health, unknownHealth } from '../health/state.js'
import type { ErrorReason } from '../targets/contract.js'
import type { Target } from '../targets/target.js'
import { type Breaker, closed } from './breaker.js'
import { createLanes, type Lanes } from './lanes.js'
import { type Bucket, fullBucket, giveBack, type Rate, take, waitMs } from './rate.js'
import { createSlots, type Slots } from './slots.js'

/** A target at run time: its settings of now, and what attempts have taught about it. One per name and type. */
export interface LiveTarget {
  readonly name: string
  readonly type: string
  /** A short hash of the name: tells targets apart in outbound keys. */
  readonly mark: string
  /** Replaced when the settings change; all else stays. */
  target: Target
  breaker: Breaker
  health: Health
  /** A `Retry-After` keeps every attempt away until then; milliseconds since the epoch. */
  pausedUntil: number
  bucket: Bucket | undefined
  last: LastResult | undefined
  /** Whether it is still among the discovered targets. */
  present: boolean
  /** When it came back after it was gone, in milliseconds since the epoch; 0 if it has always been there. */
  backAt: number
  readonly lanes: Lanes
  readonly slots: Slots
}

/** How the last attempt ended. */
export interface LastResult {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly success: boolean
  readonly statusCode?: number
  readonly reason?: ErrorReason
  readonly durationMs: number
}

export function createLive(target: Target): LiveTarget {
  return {
    name: target.name,
    type: target.type,
    mark: hash('sha1', target.name).slice(0, 8),
    target,
    breaker: closed,
    health: unknownHealth,
    pausedUntil: 0,
    bucket: undefined,
    last: undefined,
    present: true,
    backAt: 0,
    lanes: createLanes(),
    slots: createSlots(maxConcurrentOf(target))
  }
}

export function maxConcurrentOf(target: Target): number {
  return target.settings.max_concurrent ?? target.kind.defaults.maxConcurrent
}

/** The target's rate limit; undefined where there is none. */
export function rateOf(target: Target): Rate | undefined {
  const own = target.settings.rate_limit
  return own ? { requests: own.requests, perMs: own.per, burst: own.burst } : target.kind.defaults.rateLimit
}

/**
 * Milliseconds until the target's rate limit lets a request through; 0 for now. `ahead`: how many are about to take
 * their token before.
 */
export function rateWaitMs(live: LiveTarget, now: number, ahead = 0): number {
  const rate = rateOf(live.target)
  if (!rate) return 0
  let bucket = (live.bucket ??= fullBucket(rate, now))
  for (let each = 0; each < ahead; each++) bucket = take(bucket, rate, now)
  return waitMs(bucket, rate, now)
}

/** Takes a token, or promises one for when `rateWaitMs` has passed. */
export function takeToken(live: LiveTarget, now: number): void {
  const rate = rateOf(live.target)
  if (rate) live.bucket = take((live.bucket ??= fullBucket(rate, now)), rate, now)
}

export function returnToken(live: LiveTarget, now: number): void {
  const rate = rateOf(live.target)
  if (rate && live.bucket) live.bucket = giveBack(live.bucket, rate, now)
}
