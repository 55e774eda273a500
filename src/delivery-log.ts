import type { AlertStatus } from './alert.js'
import { mapped } from './mapped.js'
import type { DeliveryEvents } from './pipeline/deliver.js'
import type { DeadLetter, Entry } from './pipeline/entry.js'
import { type Job, untouched } from './pipeline/job.js'
import type { Sequenced } from './pipeline/lifecycle.js'
import type { OwedEvents } from './pipeline/owed.js'
import type { DeliveryQuery, DeliveryView } from './routes/deliveries.js'
import { pageSize } from './routes/http.js'

/** The last deliveries of this process, one for each part, whatever became of it. */
export interface DeliveryLog extends Pick<DeliveryEvents, 'settled'>, OwedEvents {
  get(id: string): DeliveryView | undefined
  /** Newest first. The cursor stays good while newer ones come. */
  list(query: DeliveryQuery): { items: DeliveryView[]; next_cursor: string | null }
}

export interface DeliveryLogOptions {
  /** Deliveries that are remembered. Default: 10,000. */
  readonly capacity?: number
  now(): number
}

/** What deliveries of one notification have in common. Its alerts themselves would hold too much memory. */
interface About {
  readonly publishId: string
  readonly acceptedAt: number
  readonly alertName: string
  readonly status: AlertStatus
  readonly count: number
  readonly fingerprints: readonly string[]
}

/** One place of the log. It is filled anew when its turn comes again: nothing is made and thrown away per delivery. */
interface Logged {
  /** How many came before it. */
  number: number
  id: string
  target: string
  type: string
  about: About
  /** Those before the one that delivered it. */
  attempts: Entry['attempts']
  /** When the attempt that delivered it began; 0 where none did. Plain numbers, as nearly all have just this one. */
  deliveredAt: number
  deliveredMs: number
  statusCode: number | undefined
  state: DeliveryView['state']
  finishedAt: number
  failure: { readonly reason: string; readonly message: string } | undefined
}

/** Fingerprints that are remembered of one notification. */
const mostFingerprints = 256

/** Longest alert name that is remembered, in UTF-16 units. */
const longestName = 256

/** A text of its own: part of a long one would hold all of that. */
const short = (text: string): string =>
  text.length > longestName ? `${Buffer.from(text.slice(0, longestName - 1))}…` : text

/** It is written to several times per publish and seldom read: views are built at reading. */
export function createDeliveryLog({ capacity = 10_000, now }: DeliveryLogOptions): DeliveryLog {
  const ring: Logged[] = []
  /** Those that are owed, the only ones that can still change. */
  const owed = new Map<string, Logged>()
  let written = 0
  let lastAlerts: readonly Sequenced[] | undefined
  let lastAbout = nothing

  const rememberedAbout = (entry: Entry): About => {
    if (entry.alerts !== lastAlerts || entry.accepted_at !== lastAbout.acceptedAt) {
      lastAlerts = entry.alerts
      lastAbout = aboutOf(entry)
    }
    return lastAbout
  }

  /** The entry's place, or the place of the oldest. */
  const placeOf = (id: string): Logged => {
    const known = owed.size > 0 ? owed.get(id) : undefined
    if (known) return known
    const place = written % capacity
    const logged = (ring[place] ??= blank())
    if (logged.state === 'queued') owed.delete(logged.id)
    logged.number = written++
    return logged
  }

  const put = (entry: Entry, state: Logged['state'], failure: Logged['failure']): Logged => {
    const logged = placeOf(entry.id)
    if (state === 'queued') owed.set(entry.id, logged)
    else if (owed.size > 0) owed.delete(entry.id)
    logged.id = entry.id
    logged.target = entry.target
    logged.type = entry.type
    logged.about = rememberedAbout(entry)
    logged.attempts = entry.attempts
    logged.deliveredAt = 0
    logged.state = state
    logged.finishedAt = now()
    logged.failure = failure
    return logged
  }

  /** Newest first, from the one with that number. */
  function* from(number: number): Generator<Logged> {
    for (let each = number; each >= Math.max(written - capacity, 0); each--) yield ring[each % capacity]!
  }

  return {
    settled(job, result) {
      // What an earlier request did is logged already, and what was refused as a dead letter.
      if (result === untouched || ('recorded' in result && result.recorded)) return
      if (result.kind !== 'refused') {
        const failure =
          result.kind === 'nothing' ? whyNothing[result.step] : result.kind === 'delivered' ? undefined : result.failure
        const logged = put(job.entry, result.kind === 'unowned' ? 'failed' : result.kind, failure)
        if (result.kind === 'delivered') tookPlace(logged, job, result.statusCode)
      }
      for (const { id } of job.folded) {
        const waiting = owed.get(id)
        if (!waiting || id === job.entry.id) continue
        owed.delete(id)
        waiting.finishedAt = now()
        if (result.kind === 'delivered') {
          waiting.state = 'delivered'
          waiting.failure = undefined
          tookPlace(waiting, job, result.statusCode)
        } else {
          waiting.state = 'nothing'
          waiting.failure = { reason: 'merged', message: `it goes on as delivery ${job.entry.id}` }
        }
      }
    },
    submitted(entry, result) {
      if (result === 'queued') put(entry, 'queued', entry.failure)
    },
    buried(letter) {
      put(letter, 'refused', letter.failure).finishedAt = letter.buried_at
    },
    get(id) {
      for (const logged of from(written - 1)) if (logged.id === id) return viewOf(logged)
      return undefined
    },
    list({ state, target, fingerprint, cursor, limit = pageSize }) {
      const items: DeliveryView[] = []
      for (const logged of from(cursor === undefined ? written - 1 : Math.min(numberOf(cursor), written) - 1)) {
        if (state !== undefined && logged.state !== state) continue
        if (target !== undefined && logged.target !== target) continue
        if (fingerprint !== undefined && !logged.about.fingerprints.includes(fingerprint)) continue
        if (items.length === limit) return { items, next_cursor: cursorOf(logged.number + 1) }
        items.push(viewOf(logged))
      }
      return { items, next_cursor: null }
    }
  }
}

/** A delivery that the log does not know, as the store has it or as it is under way: like one that it knows. */
export function deliveryView(entry: Entry | DeadLetter): DeliveryView {
  const buriedAt = 'buried_at' in entry ? entry.buried_at : undefined
  return viewOf({
    ...blank(),
    id: entry.id,
    target: entry.target,
    type: entry.type,
    about: aboutOf(entry),
    attempts: entry.attempts,
    state: buriedAt === undefined ? 'queued' : 'refused',
    finishedAt: buriedAt ?? 0,
    failure: entry.failure
  })
}

function aboutOf({ alerts, publish_id, accepted_at }: Entry): About {
  return {
    publishId: publish_id,
    acceptedAt: accepted_at,
    alertName: short(alerts[0]?.alert.alert_name ?? ''),
    status: alerts.some(({ alert }) => alert.status === 'firing') ? 'firing' : 'resolved',
    count: alerts.length,
    fingerprints: mapped(alerts.slice(0, mostFingerprints), ({ alert }) => alert.fingerprint)
  }
}

/** The attempt that delivered it. */
function tookPlace(logged: Logged, { attemptedAt, attemptMs }: Job, statusCode: number | undefined): void {
  logged.deliveredAt = attemptedAt
  logged.deliveredMs = attemptMs
  logged.statusCode = statusCode
}

/** Why a target was told nothing, by the step that the delivery ended with. */
const whyNothing = {
  superseded: { reason: 'superseded', message: 'it ended before the target had heard of it' },
  outdated: { reason: 'outdated', message: 'a newer state of it came first' },
  resolved_not_wanted: { reason: 'resolved_not_wanted', message: 'the target wants no resolved alerts' }
}

const nothing: About = { publishId: '', acceptedAt: 0, alertName: '', status: 'resolved', count: 0, fingerprints: [] }

function blank(): Logged {
  return {
    number: 0,
    id: '',
    target: '',
    type: '',
    about: nothing,
    attempts: [],
    deliveredAt: 0,
    deliveredMs: 0,
    statusCode: undefined,
    state: 'nothing',
    finishedAt: 0,
    failure: undefined
  }
}

const cursorOf = (number: number): string => Buffer.from(String(number)).toString('base64url')

/** A cursor that is none ends the list. */
function numberOf(cursor: string): number {
  const number = Number(Buffer.from(cursor, 'base64url').toString())
  return Number.isInteger(number) ? number : 0
}

const iso = (ms: number): string => new Date(ms).toISOString()

function viewOf(logged: Logged): DeliveryView {
  const { failure, about, deliveredAt, deliveredMs, statusCode } = logged
  const attempts = logged.attempts.map(attempt => ({ ...attempt, at: iso(attempt.at) }))
  if (deliveredAt > 0)
    attempts.push({
      at: iso(deliveredAt),
      duration_ms: deliveredMs,
      ...(statusCode ? { status_code: statusCode } : {})
    })
  return {
    id: logged.id,
    publish_id: about.publishId,
    target: logged.target,
    target_type: logged.type,
    state: logged.state,
    alert_name: about.alertName,
    alert_status: about.status,
    alert_count: about.count,
    fingerprints: [...about.fingerprints],
    accepted_at: iso(about.acceptedAt),
    finished_at: logged.state === 'queued' ? null : iso(logged.finishedAt),
    attempts,
    ...(failure ? { error: failure.message, error_reason: failure.reason } : {})
  }
}
