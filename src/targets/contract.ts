import type { TSchema } from 'typebox'
import type { Alert, Notification } from '../alert.js'
import type { Problem } from '../schema.js'
import type { TargetSettings } from './settings.js'

/** What one request carries, and the unit of which outcome, ledger record and queue entry are kept. */
export interface Part {
  /** Tells the parts of one delivery apart: `''`, an alert's fingerprint, or a peer. Stable for the same input. */
  readonly key: string
  readonly alerts: readonly Alert[]
}

/** Everything a kind may look at to write the requests of one part. The same message always gives the same bytes. */
export interface Message {
  readonly notification: Notification
  /** The part's alerts: those that passed the target's filter. Never empty. */
  readonly alerts: readonly Alert[]
  readonly part: string
  readonly publishId: string
  /** Stable over retries and crashes, different for every different content: the outbound `Idempotency-Key`. */
  readonly deliveryKey: string
  /** Milliseconds since the epoch. The only clock that a kind may read. */
  readonly now: number
  /** How long the alert waited before this attempt, in milliseconds; 0 for a live one. Readers of a late message are told. */
  readonly lateByMs: number
  /** What the vendor told at earlier deliveries of this part's lane (an incident id, a thread), and `openedUnknown`. */
  readonly memory: Memory
  /** An earlier attempt, or that of another process, may have arrived although its answer did not. */
  readonly mayHave: boolean
  /** The alert fired and resolved before the target ever heard of it: one message tells both. */
  readonly firedAndResolved: boolean
  /** Reports that a field was cut to fit a vendor limit, for the metric. */
  truncated(field: string): void
}

export type Memory = Readonly<Record<string, string>>

/** In a memory, beside what the kind has put there: something may be open at the vendor that nobody has the id of. */
export const openedUnknown = { may_have: '1' } satisfies Memory

/** One HTTP request, complete but for the headers that every kind sends. */
export interface WireRequest {
  readonly method: 'POST' | 'PUT' | 'GET' | 'PATCH'
  /** Scheme, host and port. */
  readonly origin: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

/** What came back: at most 64 KiB of the body, header names in lower case. */
export interface WireAnswer {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** What a failure means for the retry: see `failures.ts`. */
export type ErrorType = 'transient' | 'rate_limited' | 'configuration' | 'permanent' | 'unknown'

export const errorReasons = [
  'timeout',
  'dns',
  'connection',
  'tls',
  'rate_limited',
  'server_error',
  'auth',
  'not_found',
  'client_error',
  'rejected',
  'blocked_address',
  'payload_too_large',
  'target_not_found',
  'queue_full',
  'cancelled',
  'internal'
] as const
/** Why, from a closed set that is also the metric label. */
export type ErrorReason = (typeof errorReasons)[number]

export interface Failure {
  readonly kind: 'failed'
  readonly type: ErrorType
  readonly reason: ErrorReason
  /** For people; carries no secret, no URL and nothing that the target said but its documented code. */
  readonly message: string
  readonly statusCode?: number
  /** The target's own `Retry-After`, in milliseconds, clamped to [0, 1 h]. */
  readonly retryAfterMs?: number
  /** The target may have got it nonetheless (timeout, reset). */
  readonly mayHave: boolean
}

export type Verdict =
  | { readonly kind: 'delivered'; readonly memory?: Memory }
  /** Go on with these requests instead of those that were left. */
  | { readonly kind: 'instead'; readonly requests: readonly WireRequest[]; readonly memory?: Memory }
  | Failure

/** A target's kind, opened with the settings of one target: what is worth computing once is computed by then. */
export interface OpenTarget {
  /** Scheme, host and port of wherever its requests may go: what the health check connects to. */
  readonly origins: readonly string[]
  /** Whether it passes an Alertmanager body on as it came: then its bytes are kept for retries as well. */
  readonly wantsBytes?: boolean
  /** Nothing that the vendor tells is needed again, which saves looking it up. */
  readonly forgets?: boolean
  /** A 2xx is a success whatever it says, so `answer` needs neither its headers nor its body, which is faster unread. */
  readonly statusTells?: boolean
  /**
   * The servers of a cluster that each get everything in a part of its own: the keys of their parts. Each has lanes and
   * states of its own, so that one that hangs keeps none of the others waiting. What waits for one that has left goes to
   * the first. Default: none, the target is one.
   */
  readonly peers?: readonly string[]
  /** Default: one part with all alerts. */
  parts?(alerts: readonly Alert[], notification: Notification): Part[]
  /** The requests of one part, in order. They are sent one after the other; the first failure ends the attempt. */
  requests(message: Message): WireRequest[]
  /**
   * Reads an answer where the status alone does not tell. Default: `judgeByStatus`. `request` is the very object that
   * `requests` or an `instead` gave, so a kind may note in it what the request was for.
   */
  answer?(answer: WireAnswer, message: Message, request: WireRequest): Verdict
}

/** A kind of target: one file, one line in the registry. */
export interface TargetKind<S extends TargetSettings = TargetSettings> {
  readonly type: string
  /** The vendor's name as people write it, for error texts and documents. */
  readonly title: string
  readonly schema: TSchema
  readonly defaults: {
    readonly rateLimit?: { readonly requests: number; readonly perMs: number; readonly burst: number }
    readonly maxConcurrent: number
  }
  /** Lanes and waiting slots are kept per alert (incident tools) or per receiver and group (chat, webhooks). */
  lane(settings: S): 'alert' | 'group'
  /** `chat`: a resolve of something the target never saw is worth one message. `incident`: it is not. */
  readonly audience: 'chat' | 'incident'
  /** Whether people get to see it at once, as on a pager or in a chat: counts for the time to first human. Default: no. */
  readonly reachesPeople?: true
  /** `any`: the delivery succeeds once one part did (an HA pair). Default `all`. */
  readonly succeedsWith?: 'all' | 'any'
  /** What the vendor takes at most. Bodies are trimmed to it; the contract test holds every kind to it. */
  readonly limits?: { readonly bodyBytes: number }
  /** Answers that say more than their status does, as the vendor documents them; the contract test holds `answer` to them. */
  readonly answers?: readonly {
    readonly statusCode: number
    readonly body: string
    readonly means: 'delivered' | ErrorReason
  }[]
  /** Rules that a schema cannot say, such as fields that need each other. Default: none. */
  check?(settings: S, root: string): Problem[]
  open(settings: S): OpenTarget
}
