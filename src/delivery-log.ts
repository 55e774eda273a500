import type { AlertStatus } from './alert.js'
import { mapped } from './mapped.js'
import type { DeliveryEvents } from './pipeline/deliver.js'
import type { DeadLetter, Entry } from './pipeline/entry.js'
import { attemptEnd, type Job, untouched } from './pipeline/job.js'
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

/** What is known of one delivery. */
interface Logged {
  readonly id: string
  readonly target: string
  readonly type: string
  readonly about: About
  /** Those before the one that delivered it. */
  readonly attempts: Entry['attempts']
  /** When the attempt that delivered it began; 0 where none did. */
  readonly deliveredAt: number
  readonly deliveredMs: number
  /** 0: none. */
  readonly statusCode: number
  readonly state: DeliveryView['state']
  readonly finishedAt: number
  readonly failure: { readonly reason: string; readonly message: string } | undefined
}

/**
 * The places of the log, a list for each thing that is known: of thousands that are filled in turn, neighbours then lie side
 * by side in memory, and nothing is made and thrown away for a delivery.
 */
class Places {
  readonly ids: string[]
  readonly targets: string[]
  readonly types: string[]
  readonly abouts: About[]
  readonly attempts: Entry['attempts'][]
  readonly states: Logged['state'][]
  readonly failures: Logged['failure'][]
  readonly deliveredAt: Float64Array
  readonly deliveredMs: Float64Array
  readonly finishedAt: Float64Array
  readonly statusCodes: Uint16Array

  constructor(capacity: number) {
    this.ids = new Array(capacity).fill('')
    this.targets = new Array(capacity).fill('')
    this.types = new Array(capacity).fill('')
    this.abouts = new Array(capacity).fill(nothing)
    this.attempts = new Array(capacity).fill([])
    this.states = new Array(capacity).fill('nothing')
    this.failures = new Array(capacity).fill(undefined)
    this.deliveredAt = new Float64Array(capacity)
    this.deliveredMs = new Float64Array(capacity)
    this.finishedAt = new Float64Array(capacity)
    this.statusCodes = new Uint16Array(capacity)
  }

  at(place: number): Logged {
    return {
      id: this.ids[place]!,
      target: this.targets[place]!,
      type: this.types[place]!,
      about: this.abouts[place]!,
      attempts: this.attempts[place]!,
      deliveredAt: this.deliveredAt[place]!,
      deliveredMs: this.deliveredMs[place]!,
      statusCode: this.statusCodes[place]!,
      state: this.states[place]!,
      finishedAt: this.finishedAt[place]!,
      failure: this.failures[place]
    }
  }

  /** The attempt that delivered it. */
  delivered(place: number, { attemptedAt, attemptMs }: Job, statusCode = 0): void {
    this.deliveredAt[place] = attemptedAt
    this.deliveredMs[place] = attemptMs
    this.statusCodes[place] = statusCode
  }
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
  const places = new Places(capacity)
  /** Where those are that are owed, the only ones that can still change. */
  const owed = new Map<string, number>()
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
  const placeOf = (id: string): number => {
    const known = owed.size > 0 ? owed.get(id) : undefined
    if (known !== undefined) return known
    const place = written++ % capacity
    if (places.states[place] === 'queued') owed.delete(places.ids[place]!)
    return place
  }

  const put = (entry: Entry, state: Logged['state'], failure: Logged['failure'], at = now()): number => {
    const place = placeOf(entry.id)
    if (state === 'queued') owed.set(entry.id, place)
    else if (owed.size > 0) owed.delete(entry.id)
    places.ids[place] = entry.id
    places.targets[place] = entry.target
    places.types[place] = entry.type
    places.abouts[place] = rememberedAbout(entry)
    places.attempts[place] = entry.attempts
    places.deliveredAt[place] = 0
    places.states[place] = state
    places.finishedAt[place] = at
    places.failures[place] = failure
    return place
  }

  /** Numbers of deliveries, newest first, from that one on. */
  function* from(number: number): Generator<number> {
    for (let each = number; each >= Math.max(written - capacity, 0); each--) yield each
  }

  return {
    settled(job, result) {
      // What an earlier request did is logged already, and what was refused as a dead letter.
      if (result === untouched || ('recorded' in result && result.recorded)) return
      if (result.kind === 'delivered')
        places.delivered(put(job.entry, 'delivered', undefined, attemptEnd(job)), job, result.statusCode)
      else if (result.kind !== 'refused') {
        const failure = result.kind === 'nothing' ? whyNothing[result.step] : result.failure
        put(job.entry, result.kind === 'unowned' ? 'failed' : result.kind, failure)
      }
      for (const { id } of job.folded) {
        const waiting = owed.get(id)
        if (waiting === undefined || id === job.entry.id) continue
        owed.delete(id)
        places.finishedAt[waiting] = now()
        if (result.kind === 'delivered') {
          places.states[waiting] = 'delivered'
          places.failures[waiting] = undefined
          places.delivered(waiting, job, result.statusCode)
        } else {
          places.states[waiting] = 'nothing'
          places.failures[waiting] = { reason: 'merged', message: `it goes on as delivery ${job.entry.id}` }
        }
      }
    },
    submitted(entry, result) {
      if (result === 'queued') put(entry, 'queued', entry.failure)
    },
    buried(letter) {
      places.finishedAt[put(letter, 'refused', letter.failure)] = letter.buried_at
    },
    get(id) {
      for (const number of from(written - 1))
        if (places.ids[number % capacity] === id) return viewOf(places.at(number % capacity))
      return undefined
    },
    list({ state, target, fingerprint, cursor, limit = pageSize }) {
      const items: DeliveryView[] = []
      for (const number of from(cursor === undefined ? written - 1 : Math.min(numberOf(cursor), written) - 1)) {
        const place = number % capacity
        if (state !== undefined && places.states[place] !== state) continue
        if (target !== undefined && places.targets[place] !== target) continue
        if (fingerprint !== undefined && !places.abouts[place]!.fingerprints.includes(fingerprint)) continue
        if (items.length === limit) return { items, next_cursor: cursorOf(number + 1) }
        items.push(viewOf(places.at(place)))
      }
      return { items, next_cursor: null }
    }
  }
}

/** A delivery that the log does not know, as the store has it or as it is under way: like one that it knows. */
export function deliveryView(entry: Entry | DeadLetter): DeliveryView {
  const buriedAt = 'buried_at' in entry ? entry.buried_at : undefined
  return viewOf({
    id: entry.id,
    target: entry.target,
    type: entry.type,
    about: aboutOf(entry),
    attempts: entry.attempts,
    state: buriedAt === undefined ? 'queued' : 'refused',
    finishedAt: buriedAt ?? 0,
    failure: entry.failure,
    deliveredAt: 0,
    deliveredMs: 0,
    statusCode: 0
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

/** Why a target was told nothing, by the step that the delivery ended with. */
const whyNothing = {
  superseded: { reason: 'superseded', message: 'it ended before the target had heard of it' },
  outdated: { reason: 'outdated', message: 'a newer state of it came first' },
  resolved_not_wanted: { reason: 'resolved_not_wanted', message: 'the target wants no resolved alerts' }
}

const nothing: About = { publishId: '', acceptedAt: 0, alertName: '', status: 'resolved', count: 0, fingerprints: [] }

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
