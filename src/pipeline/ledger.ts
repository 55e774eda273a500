import { hash } from 'node:crypto'
import type { Alert, Notification } from '../alert.js'
import { mapped } from '../mapped.js'
import { type Fields, noFields } from '../queues/contract.js'
import { rememberedLast } from './remembered.js'

/** What a publish key is remembered by. Times are milliseconds since the epoch. */
export interface Round {
  /** Larger than every earlier round of the key. */
  readonly round: number
  /** Last time that the key was seen in this round. */
  readonly seenAt: number
  /** When a 2xx was last handed to the caller; absent before. */
  readonly answeredAt?: number
  /** Who has posted it in this round. */
  readonly senders: readonly string[]
  /** When the round began, if the caller chose the key: alerts without a time of their own have that one. */
  readonly beganAt?: number
}

/** What a POST means, given what is remembered of its key. */
export type Meaning =
  /** Nothing useful is known: everybody is due a message. */
  | { readonly kind: 'fresh' }
  /** The caller tries again what was not acknowledged: who has it is left alone. */
  | { readonly kind: 'resume' }
  /** Another Alertmanager of an HA pair, or the same one in a hurry: nothing is sent twice. */
  | { readonly kind: 'twin' }
  /** Alertmanager repeats itself on purpose: everybody is told again. */
  | { readonly kind: 'reminder' }
  /** One of its alerts had another state since: it fires anew. */
  | { readonly kind: 'refire' }

export interface Sighting {
  readonly now: number
  readonly sender: string
  /** Alertmanager says itself that the repeat interval has elapsed. */
  readonly reminder: boolean
  /** Another state of one of its alerts was accepted since. */
  readonly outdated: boolean
  readonly dedupWindowMs: number
  /** A key that the caller chose (`Idempotency-Key`): its result stands for 24 h. */
  readonly chosenKey: boolean
  /** When a process last followed one that had crashed, and may have forgotten what that accepted last; else 0. */
  readonly interruptedAt: number
}

/** Where a key's record tells when a round was answered: said later than the rest, when a newer round may have begun. */
export const answeredField = (round: number): string => `answered:${round}`

/**
 * Whose record a key is remembered in: that of the alert with this fingerprint; undefined: the key has a record of its own.
 * Most notifications carry one alert, and to keep two records for each costs twice as much.
 */
export const besideOf = rememberedLast((key: string): string | undefined =>
  key.length > hashLength ? key.slice(hashLength + 1) : undefined
)

/** Where the last round of a key is told. In an alert's record there may be several keys: of other groups and receivers. */
export const roundField = rememberedLast((key: string): string =>
  besideOf(key) === undefined ? 'm' : `m:${key.slice(0, 16)}`
)

/** What a key is remembered by, out of the record where it is. */
export function roundOf(record: Fields | undefined, key: string): Round | undefined {
  const round = record?.[roundField(key)] as Round | undefined
  return round && answered(round, record)
}

/** Keys that are remembered in an alert's record. */
export function keysBeside(record: Fields): number {
  let count = 0
  for (const field in record) if (field.startsWith('m:')) count++
  return count
}

/**
 * What an alert's record need not remember any more when a round of a key begins, or goes on, in it, as changes: rounds of
 * another state, which are void, and of keys that were not seen after `since`, with all that is told of them.
 */
export function forgotten(record: Fields, key: string, round: number, { isSame, since }: Stays): Fields {
  const rounds = new Set([round])
  const own = roundField(key)
  const over = noFields()
  for (const field in record) {
    if (!field.startsWith('m:') || field === own) continue
    const other = record[field] as Round
    if (isSame && other.seenAt > since) rounds.add(other.round)
    else over[field] = null
  }
  for (const field in record) {
    const of = roundIn(field)
    if (of !== undefined && !rounds.has(of)) over[field] = null
  }
  return over
}

interface Stays {
  /** The alert's state is the one that it had. */
  readonly isSame: boolean
  /** Milliseconds since the epoch. */
  readonly since: number
}

/** The round that a field of a record tells of; undefined where it tells of none. */
function roundIn(field: string): number | undefined {
  if (field.startsWith('t:')) return undefined
  const start = field.startsWith('answered:') ? 'answered:'.length : field.lastIndexOf('/') + 1
  return start === 0 ? undefined : Number(field.slice(start))
}

/** The same where a store that is away knows no more than how parts ended meanwhile: fields that end in their round. */
export function roundOfOutcomes(record: Fields | undefined, now: number): Round | undefined {
  const rounds = Object.keys(record ?? {}).map(field => roundIn(field) ?? 0)
  const round = rounds.reduce((newest, each) => (each > newest ? each : newest), 0)
  return round === 0 ? undefined : answered({ round, seenAt: now, senders: [] }, record)
}

function answered(round: Round, record: Fields | undefined): Round {
  const answeredAt = record?.[answeredField(round.round)] as number | undefined
  return answeredAt === undefined ? round : { ...round, answeredAt }
}

const resumeMs = 600_000
const dayMs = 86_400_000

/** Decides what a POST of a known key means. */
export function meaningOf(known: Round | undefined, sighting: Sighting): Meaning {
  if (!known) return { kind: 'fresh' }
  const { now, sender, reminder, outdated, dedupWindowMs, chosenKey, interruptedAt } = sighting
  const age = now - known.seenAt
  if (chosenKey) return { kind: age > dayMs ? 'fresh' : known.answeredAt === undefined ? 'resume' : 'twin' }
  if (outdated) return { kind: 'refire' }
  if (known.answeredAt === undefined) return { kind: age > resumeMs ? 'fresh' : 'resume' }
  if (now - known.answeredAt <= dedupWindowMs) {
    // No sender repeats so soon what was answered, unless there was another state since: one that a crash had forgotten.
    const isForgotten = known.answeredAt < interruptedAt && known.senders.includes(sender)
    return { kind: isForgotten ? 'refire' : 'twin' }
  }
  // A sender unseen in this round is the pair's other half, late; but one that comes much later may just have moved.
  return { kind: reminder || known.senders.includes(sender) || age > resumeMs ? 'reminder' : 'twin' }
}

/** The round after a POST of that meaning; `next` numbers a new one. */
export function roundAfter(known: Round | undefined, meaning: Meaning, sighting: Sighting, next: number): Round {
  const { now, sender, chosenKey } = sighting
  if (!known || (meaning.kind !== 'resume' && meaning.kind !== 'twin'))
    return chosenKey
      ? { round: next, seenAt: now, senders: [sender], beganAt: now }
      : { round: next, seenAt: now, senders: [sender] }
  return {
    ...known,
    seenAt: now,
    senders: known.senders.includes(sender) ? known.senders : [...known.senders, sender].slice(-16)
  }
}

/** The state of an alert that counts: annotations and the like may change at every flush. */
export function stateOf(alert: Alert): string {
  return alert.status === 'firing' ? `firing ${alert.starts_at}` : `resolved ${alert.starts_at} ${alert.ends_at ?? ''}`
}

/** Whether what is recorded as the state of an alert is its end. */
export const isEnd = (state: unknown): boolean => typeof state === 'string' && state.startsWith('resolved')

/** The length of a SHA-1 in hexadecimal digits. */
const hashLength = 40

/** The same key, remembered in the record of its only alert. */
export const beside = (key: string, fingerprint: string): string => `${key}@${fingerprint}`

/** The publish key of an Alertmanager body: what its retries, its twins and its reminders have in common. */
export function publishKeyOf(notification: Notification): string {
  const states = mapped(notification.alerts, alert => `${alert.fingerprint} ${stateOf(alert)}`)
  if (states.length > 1) states.sort()
  return hash('sha1', `${notification.receiver}\n${notification.group_key}\n${states.join('\n')}`)
}

/** The publish key of any other body, with the key that the caller chose. */
export function chosenKeyOf(idempotencyKey: string, body: Buffer): string {
  return hash('sha1', Buffer.concat([Buffer.from(`${idempotencyKey}\n`), body]))
}

/** What an outbound request carries, in short: the same for every retry, another one for other alerts or another round. */
export function contentKeyOf(base: string, alerts: readonly Alert[]): string {
  const states = mapped(alerts, alert => `${alert.fingerprint} ${stateOf(alert)}`)
  return hash('sha1', `${base}\n${states.join('\n')}`).slice(0, 24)
}
