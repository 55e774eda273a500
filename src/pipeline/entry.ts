import { hash, randomBytes } from 'node:crypto'
import type { Notification } from '../alert.js'
import { mapped } from '../mapped.js'
import { type Change, type Fields, oneField, type Place, type Priority } from '../queues/contract.js'
import type { Failure, OpenTarget, Part } from '../targets/contract.js'
import type { Target } from '../targets/target.js'
import { distinct } from './lanes.js'
import { besideOf } from './ledger.js'
import type { Sequenced } from './lifecycle.js'
import { rememberedLast } from './remembered.js'
import { priorityOf } from './retry-rules.js'

/** One HTTP exchange of a delivery, as the delivery log shows it. */
export interface AttemptRecord {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly duration_ms: number
  readonly status_code?: number | undefined
  readonly error_reason?: string | undefined
  readonly error?: string | undefined
}

/** A place in the ledger that wants to know how a part ended. */
export interface Ref {
  readonly key: string
  readonly round: number
}

/**
 * One part for one target, on its way. It lives in memory while all goes well and is written down once it is owed. It
 * carries no credential: the target is looked up by name when it is sent.
 */
export interface Entry {
  /** The delivery id that callers see. */
  readonly id: string
  readonly target: string
  readonly type: string
  readonly part: string
  /** Which peer of its target it goes to, where that has several: lanes and states are kept for each of them. */
  readonly peer?: string | undefined
  /** Where it waits: entries of one slot are merged. */
  readonly slot: string
  /** One incident stands for its group: then states are kept for each group. */
  readonly per_group?: true | undefined
  alerts: readonly Sequenced[]
  readonly group: Omit<Notification, 'alerts' | 'body'>
  /** Alertmanager's own bytes, as long as the alerts are just those. */
  body?: string | undefined
  /** What the outbound key says of the alerts, as long as they are all of their notification. */
  content?: string | undefined
  readonly publish_id: string
  /** What the outbound key is derived from: publish key and round. */
  readonly base: string
  /** The trace that its attempts belong to, as W3C trace context. */
  readonly traceparent?: string | undefined
  readonly refs: readonly Ref[]
  readonly accepted_at: number
  readonly due_at: number
  tries: number
  attempts: readonly AttemptRecord[]
  /** An earlier attempt may have arrived. */
  may_have: boolean
  /** Some of its alerts were left to a newer notification: that this one was told does not say that they were. */
  in_part?: true | undefined
  /** An attempt is under way: if its process dies, it may have arrived. */
  readonly running?: boolean | undefined
  /** When a dead letter was put back into the queue: its age counts from there. */
  readonly replayed_at?: number
  readonly failure?: Pick<Failure, 'type' | 'reason' | 'message' | 'statusCode'>
}

/** A dead letter: an entry that was given up, with when and why. */
export interface DeadLetter extends Entry {
  readonly buried_at: number
  readonly failure: Pick<Failure, 'type' | 'reason' | 'message' | 'statusCode'>
}

/** Whether the target may have it: an attempt that was under way when its process died may have arrived as well. */
export const mayHave = ({ may_have, running }: Pick<Entry, 'may_have' | 'running'>): boolean =>
  may_have || running === true

/** What becomes of an entry that is given up at a time, in milliseconds since the epoch. */
export function letterOf(entry: Entry, failure: DeadLetter['failure'], at: number): DeadLetter {
  return { ...entry, running: undefined, may_have: mayHave(entry), buried_at: at, failure }
}

/** Attempts beyond this many are forgotten, oldest first. */
export const attemptsKept = 50

/** The store's record of an entry that waits; `id` is its delivery id. */
export const entryId = (id: string): string => `entry/${id}`
/** The record of a dead letter. Listed, they come in the order in which their deliveries were accepted. */
export const deadId = (id: string): string => `dead/${id}`
/** The record of a slot, which has a field for each entry that waits there. */
export const slotId = (entry: Pick<Entry, 'target' | 'slot'>): string => `slot/${entry.target}/${entry.slot}`
/** The record of what the target's kind remembers of a slot, such as the message that it edits. */
export const memoryId = (entry: Pick<Entry, 'target' | 'slot'>): string => `memory/${entry.target}/${entry.slot}`
/** The record of what a target was told last of a slot as a whole, where one incident or message stands for its group. */
export const groupId = (entry: Pick<Entry, 'target' | 'slot'>): string => `group/${entry.target}/${entry.slot}`
/** The record of an alert: its last status, and a field for what each target has of it. */
export const alertId = rememberedLast((fingerprint: string) => `alert/${fingerprint}`)
/** Where it is told of a publish key what its last round is, and how its parts ended: in a record of its own, or an alert's. */
export const ledgerId = rememberedLast((key: string) => {
  const fingerprint = besideOf(key)
  return fingerprint === undefined ? `ledger/${key}` : alertId(fingerprint)
})
/** Where it stands which body an `Idempotency-Key` came with last. */
export const chosenId = (idempotencyKey: string): string => `chosen/${hash('sha1', idempotencyKey)}`
/** What an alert's lane is called among those of its target. */
export const laneOf = (peer: string | undefined, fingerprint: string): string =>
  peer === undefined ? fingerprint : `${peer}/${fingerprint}`
/** What the lane is called that all alerts of a group share where one incident or message stands for it. */
export const laneOfGroup = (slot: string): string => `group/${slot}`
/** What a lane of a target is called where other processes see it. */
export const laneId = (target: string, lane: string): string => `${target}/${lane}`
const targetField = rememberedText(target => `t:${target}`)
/**
 * The field of an alert's record that tells what one target has of it, or one of its peers, or the incident of one group:
 * of what one of them has nothing follows for the others. Alertmanagers do not pass alerts on to each other, and an alert
 * that two groups carry is in two incidents.
 */
export function stateField({
  target,
  peer,
  slot,
  per_group
}: Pick<Entry, 'target' | 'peer' | 'slot' | 'per_group'>): string {
  if (per_group) return `t:${target}/${slot}`
  return targetField(peer === undefined ? target : `${target}/${peer}`)
}

/** What the fields of all peers, or groups, of a target begin with. */
export const fieldsWithin = (target: string): string => targetField(`${target}/`)
const outcomesOf = rememberedText(target => `${target}/`)
/**
 * The field of an outcome's record that tells how the target's part ended in that round: an attempt may end when the key
 * has a newer round already, which knows nothing of it.
 */
export const outcomeField = (target: string, { round }: Ref): string => outcomesOf(target) + round
/**
 * Where the outcome of a part stands: where its key is told of, or for one of many parts in a record of its own, since
 * thousands of parts in one record would have it copied thousands of times.
 */
export const outcomeId = (ref: Ref, part: string): string =>
  isWithKey(ref, part) ? ledgerId(ref.key) : `ledger/${ref.key}/${ref.round}/${part}`

/** Whether the outcome of a part stands where its key is told of. Of an alert by itself there are not many parts. */
export const isWithKey = ({ key }: Ref, part: string): boolean => part === '' || part === besideOf(key)

/** A text for each target, made once: as names of fields they would otherwise be made for every alert. */
function rememberedText(make: (target: string) => string): (target: string) => string {
  const made = new Map<string, string>()
  return target => {
    let text = made.get(target)
    if (text === undefined) made.set(target, (text = make(target)))
    return text
  }
}

const processMark = randomBytes(4).toString('hex')
const heads: Record<'p' | 'd', { at: number; text: string }> = { p: { at: 0, text: '' }, d: { at: 0, text: '' } }
let made = 0

/** A new id: sortable by the time it was made, and different in every process. */
export function newId(prefix: 'p' | 'd', now: number): string {
  const head = heads[prefix]
  if (head.at !== now) {
    head.at = now
    head.text = `${prefix}${now.toString(36)}${processMark}`
  }
  made = (made + 1) % 0x1000000
  return head.text + (made + 0x1000000).toString(36)
}

/** Where an entry stands in line: see `priorityOf`. */
export function priority(entry: Entry): Priority {
  return priorityOf(entry.alerts)
}

/** Which peer a part goes to by now; undefined where the target has none. */
export function peerOf({ peers }: OpenTarget, part: string): string | undefined {
  return peers && !peers.includes(part) ? peers[0] : peers && part
}

/** Whether each alert is told, and waits, by itself. */
export const isPerAlert = (target: Target): boolean => target.kind.lane(target.settings) === 'alert'

/** Whether what is told of some alerts changes what the target shows of their whole group: an incident, a message that is edited. */
export const standsForGroup = (target: Target): boolean =>
  !isPerAlert(target) && !target.wire.peers && (target.kind.audience === 'incident' || !target.wire.forgets)

/** Whether each group has an incident of its own. In a chat all groups are read together, so that one order holds for all. */
export const perGroup = (target: Target): true | undefined =>
  (standsForGroup(target) && target.kind.audience === 'incident') || undefined

/** The newest place in the order of acceptance among an entry's alerts. */
export const newestSeq = ({ alerts }: Pick<Entry, 'alerts'>): number =>
  alerts.reduce((newest, { seq }) => Math.max(newest, seq), 0)

/** The lanes that a part of these alerts needs at the target, each once: an alert that stands twice must not wait for itself. */
export function lanesFor(
  target: Target,
  { peer, slot }: Pick<Entry, 'peer' | 'slot'>,
  fingerprints: readonly string[]
): readonly string[] {
  const lanes = peer === undefined ? fingerprints : mapped(fingerprints, fingerprint => laneOf(peer, fingerprint))
  // Other alerts of the group open and close the same incident, so they wait for each other, too.
  return distinct(standsForGroup(target) ? [...lanes, laneOfGroup(slot)] : lanes)
}

/** The same for an entry, which carries its alerts. */
export function lanesOf(target: Target, entry: Pick<Entry, 'peer' | 'slot' | 'alerts'>): readonly string[] {
  const fingerprints = mapped(entry.alerts, ({ alert }) => alert.fingerprint)
  return lanesFor(target, entry, fingerprints)
}

/** Where a part of a notification waits: per alert for incident tools, per receiver and group for the others. */
export function slotOf(target: Target, part: Part, notification: Notification): string {
  if (isPerAlert(target)) return part.key
  return slotOfGroup(notification.group_key ? notification : { ...notification, alerts: part.alerts }, part.key)
}

/** The slot of a group. What came without a group key is a group of its own alerts. */
export function slotOfGroup(notification: Notification, part: string): string {
  const { receiver, group_key, alerts } = notification
  const group = group_key || alerts.map(alert => alert.fingerprint).join(' ')
  const text = `${receiver}\n${group}\n${part}`
  let slot = slots.get(text)
  if (slot !== undefined) return slot
  slot = hash('sha1', text)
  if (slots.size >= 1_000) slots.clear()
  if (text.length <= 1_000) slots.set(text, slot)
  return slot
}

/** Slots of groups seen lately, as far as their names are short: a group notifies again and again. */
const slots = new Map<string, string>()

/** The changes that write an entry down, at its place in the queue and among what waits in its slot. */
export function stored(entry: Entry): Change[] {
  const place = placeOf(entry, entry.due_at)
  return [
    { id: entryId(entry.id), set: fieldsOf(entry), replace: true, expiresAt: Infinity, place },
    { id: slotId(entry), set: oneField(entry.id, 1) }
  ]
}

/** What an entry or dead letter is written as. Without what is undefined, so that a store can take it as it is. */
export function fieldsOf(entry: Entry): Fields {
  const fields: Fields = {}
  for (const name in entry) {
    const value = entry[name as keyof Entry]
    if (value !== undefined) fields[name] = value
  }
  return fields
}

/** Where an entry waits in the queue until it is due. */
export function placeOf(entry: Entry, dueAt: number): Place {
  return { target: entry.target, priority: priority(entry), dueAt, acceptedAt: entry.replayed_at ?? entry.accepted_at }
}

/** The notification that an entry carries. */
export function notificationOf(entry: Entry): Notification {
  const alerts = mapped(entry.alerts, ({ alert }) => alert)
  return { ...entry.group, alerts, ...(entry.body === undefined ? {} : { body: Buffer.from(entry.body) }) }
}

/** What of a failure is kept and shown. */
export function shown({
  type,
  reason,
  message,
  statusCode
}: Failure): Pick<Failure, 'type' | 'reason' | 'message' | 'statusCode'> {
  return { type, reason, message, ...(statusCode === undefined ? {} : { statusCode }) }
}
