import type { Notification } from '../alert.js'
import type { Fields } from '../queues/contract.js'
import type { Failure } from '../targets/contract.js'
import type { Entry } from './entry.js'
import type { Hurry } from './hurry.js'
import type { Ticket } from './lanes.js'
import type { TargetState, Untold } from './lifecycle.js'
import type { LiveTarget } from './live.js'

/** Why a target that was asked for is not reached now. */
export type HeldBack = 'circuit_open' | 'unhealthy' | 'degraded'

/** One part for one target on its way, live or out of the queue. */
export interface Job {
  readonly live: LiveTarget
  entry: Entry
  /** What the entry's alerts came in. */
  notification: Notification
  /** The entry stands in the store, where it must be settled. */
  stored: boolean
  /** Entries that waited in the same slot and are now carried by this one. */
  folded: readonly Entry[]
  /** Set: nothing is attempted, the part is owed at once. */
  readonly heldBack?: HeldBack | undefined
  readonly respectBreaker: boolean
  readonly hurry: Hurry
  /** When every attempt must have ended, in milliseconds since the epoch. */
  readonly until: number
  /** Longest wait for a rate-limit token, in milliseconds. */
  readonly patienceMs: number
  /** Room among the deliveries of the publish; false if the publish ended first. */
  readonly room?: (() => Promise<boolean>) | undefined
  /** Of its publish, and of its own delivery once that has begun where traces are made. */
  traceparent?: string | undefined
  /** What was known of the alerts when the notification was accepted: it still holds if no lane had to be waited for. */
  readonly records: readonly (Fields | undefined)[] | undefined
  /** The publish is a new round of its key, so the ledger cannot know of it. */
  readonly fresh: boolean
  /** Its places in the lanes of its alerts, if they were taken before it begins. */
  readonly ticket?: Ticket | undefined
  /** Which part of its delivery it is; 0 out of the queue. */
  readonly index: number
  /** When the last attempt began, in milliseconds since the epoch, and how long it took; 0 before the first. */
  attemptedAt: number
  attemptMs: number
  /** Its place among those in hand. */
  seat: number
  /** An attempt is under way. */
  running: boolean
  /** What the target had of the entry's alerts before its attempt; absent before there is one. */
  states: readonly (TargetState | undefined)[] | undefined
  /** The running attempt is being written down: its outcome must not be before that. */
  handing: Promise<unknown> | undefined
}

/** When the job's last attempt ended, in milliseconds since the epoch. */
export const attemptEnd = ({ attemptedAt, attemptMs }: Job): number => attemptedAt + attemptMs

/** What became of one part. */
export type PartResult = {
  readonly attempts: number
  readonly durationMs: number
  readonly statusCode?: number | undefined
} & (
  | { readonly kind: 'delivered'; readonly recorded?: boolean }
  | {
      readonly kind: 'queued'
      /** Its delivery id; absent where it has none yet. */
      readonly id: string | undefined
      readonly failure?: FailureShown
      readonly heldBack?: HeldBack
      readonly recorded?: boolean
    }
  /** Refused for good. */
  | { readonly kind: 'refused'; readonly failure: FailureShown; readonly id?: string; readonly recorded?: boolean }
  /** Could be tried again, but nobody can own it. */
  | { readonly kind: 'unowned'; readonly failure?: FailureShown; readonly heldBack?: HeldBack }
  /** There is nothing to tell this target. */
  | { readonly kind: 'nothing'; readonly step: Untold }
)

export type FailureShown = Pick<Failure, 'type' | 'reason' | 'message'>

/** Another process is at it, or is done with it. */
export const untouched: PartResult = { kind: 'nothing', step: 'outdated', attempts: 0, durationMs: 0 }
