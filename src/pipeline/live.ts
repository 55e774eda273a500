import { hash } from 'node:crypto'
import { type Health, unknownHealth } from '../health/state.js'
import type { ErrorReason } from '../targets/contract.js'
import type { Target } from '../targets/target.js'
import { type Breaker, changed, closed } from './breaker.js'
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
  /** Where it has several peers: what is known of each that was tried. */
  peers: Map<string, Peer> | undefined
}

/** One peer of a target: if it hangs or fails, that takes no room from the others and says nothing about them. */
interface Peer {
  readonly slots: Slots
  /** Its last attempt failed. */
  failing: boolean
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
    slots: createSlots(maxConcurrentOf(target)),
    peers: undefined
  }
}

function maxConcurrentOf(target: Target): number {
  return target.settings.max_concurrent ?? target.kind.defaults.maxConcurrent
}

/** Room for attempts at the target, or at one of its peers. */
export function slotsOf(live: LiveTarget, peer: string | undefined): Slots {
  return peer === undefined ? live.slots : peerOf(live, peer).slots
}

function peerOf(live: LiveTarget, name: string): Peer {
  live.peers ??= new Map()
  let peer = live.peers.get(name)
  if (!peer) live.peers.set(name, (peer = { slots: createSlots(maxConcurrentOf(live.target)), failing: false }))
  return peer
}

/** How many attempts are under way. */
export function inFlightAt({ slots, peers }: LiveTarget): number {
  let count = slots.inUse()
  for (const peer of peers?.values() ?? []) count += peer.slots.inUse()
  return count
}

/** Gives a target its new settings. */
export function renew(live: LiveTarget, target: Target, now: number): void {
  live.target = target
  live.slots.resize(maxConcurrentOf(target))
  for (const { slots } of live.peers?.values() ?? []) slots.resize(maxConcurrentOf(target))
  live.breaker = changed(live.breaker, now)
  live.pausedUntil = 0
  live.bucket = undefined
}

/**
 * Notes how an attempt ended. `recovered`: what failed last time works. `accuses`: a failure that the circuit counts; that
 * of a peer is none as long as another one works, or the one that is down would close the way to all.
 */
export function learn(
  live: LiveTarget,
  peer: string | undefined,
  last: LastResult
): { readonly recovered: boolean; readonly accuses: boolean } {
  const { success } = last
  const failedBefore = peer === undefined ? live.last?.success === false : peerOf(live, peer).failing
  live.last = last
  if (peer !== undefined) peerOf(live, peer).failing = !success
  return {
    recovered: success && failedBefore,
    accuses: !success && (peer === undefined || !live.target.wire.peers?.some(name => works(live, name)))
  }
}

/** When the target took something with its last attempt, and no peer of it failed last; undefined otherwise. */
export function reachedAt(live: LiveTarget): number | undefined {
  if (!live.last?.success) return undefined
  return live.target.wire.peers?.every(name => works(live, name)) === false ? undefined : live.last.at
}

const works = ({ peers }: LiveTarget, name: string): boolean => peers?.get(name)?.failing !== true

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

/** Gives a token back that was taken or promised and is not used. */
export function returnToken(live: LiveTarget, now: number): void {
  const rate = rateOf(live.target)
  if (rate && live.bucket) live.bucket = giveBack(live.bucket, rate, now)
}
