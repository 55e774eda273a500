import { type DeliveryEvents, type Job, untouched } from './pipeline/deliver.js'
import type { Entry } from './pipeline/entry.js'
import type { Sequenced } from './pipeline/lifecycle.js'
import type { OwedEvents } from './pipeline/owed.js'
import type { DeliveryQuery, DeliveryView } from './routes/deliveries.js'

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
  readonly alertName: string
  readonly count: number
  readonly fingerprints: readonly string[]
}

interface Logged {
  readonly number: number
  readonly id: string
  publishId: string
  target: string
  type: string
  about: About
  acceptedAt: number
  attempts: Entry['attempts']
  state: DeliveryView['state']
  finishedAt: number | undefined
  failure: { readonly reason: string; readonly message: string } | undefined
}

/** Fingerprints that are remembered of one notification. */
const mostFingerprints = 256

/** It is written to several times per publish and seldom read: views are built at reading. */
export function createDeliveryLog({ capacity = 10_000, now }: DeliveryLogOptions): DeliveryLog {
  const byId = new Map<string, Logged>()
  const ring: Logged[] = []
  let written = 0
  let lastAlerts: readonly Sequenced[] | undefined
  let lastAbout: About

  const aboutOf = (alerts: readonly Sequenced[]): About => {
    if (alerts !== lastAlerts) {
      lastAlerts = alerts
      lastAbout = {
        alertName: alerts[0]?.alert.alert_name ?? '',
        count: alerts.length,
        fingerprints: alerts.slice(0, mostFingerprints).map(({ alert }) => alert.fingerprint)
      }
    }
    return lastAbout
  }

  const put = (entry: Entry, state: Logged['state'], failure: Logged['failure']): void => {
    const { id, publish_id: publishId, target, type, accepted_at: acceptedAt, attempts } = entry
    const about = aboutOf(entry.alerts)
    const finishedAt = state === 'queued' ? undefined : now()
    // Only what was there before is looked for: a retry, or what an owed entry became part of.
    const known = byId.get(id)
    if (known) {
      Object.assign(known, { publishId, target, type, about, acceptedAt, attempts, state, finishedAt, failure })
      return
    }
    const number = written++
    const place = number % capacity
    const oldest = ring[place]
    if (oldest) byId.delete(oldest.id)
    const logged: Logged = {
      number,
      id,
      publishId,
      target,
      type,
      about,
      acceptedAt,
      attempts,
      state,
      finishedAt,
      failure
    }
    ring[place] = logged
    byId.set(id, logged)
  }

  return {
    settled(job, result) {
      // What an earlier request did is logged already.
      if (result === untouched || ('recorded' in result && result.recorded)) return
      const failure = 'failure' in result ? result.failure : undefined
      put(job.entry, result.kind === 'unowned' ? 'failed' : result.kind, failure)
      for (const id of takenOver(job)) {
        const logged = byId.get(id)
        if (logged?.state === 'queued') Object.assign(logged, { state: 'nothing', finishedAt: now() })
      }
    },
    submitted(entry, result) {
      if (result === 'queued') put(entry, 'queued', entry.failure)
    },
    buried: letter => put(letter, 'refused', letter.failure),
    get(id) {
      const logged = byId.get(id)
      return logged && viewOf(logged)
    },
    list({ state, target, fingerprint, cursor, limit }) {
      const items: DeliveryView[] = []
      const from = cursor === undefined ? written : Math.min(numberOf(cursor), written)
      for (let number = from - 1; number >= Math.max(written - capacity, 0); number--) {
        const logged = ring[number % capacity]!
        if (state !== undefined && logged.state !== state) continue
        if (target !== undefined && logged.target !== target) continue
        if (fingerprint !== undefined && !logged.about.fingerprints.includes(fingerprint)) continue
        if (items.length === limit) return { items, next_cursor: cursorOf(number + 1) }
        items.push(viewOf(logged))
      }
      return { items, next_cursor: null }
    }
  }
}

/** Entries that the job carried besides its own. */
function takenOver({ entry, folded }: Job): string[] {
  return folded.length === 0 ? [] : folded.map(({ id }) => id).filter(id => id !== entry.id)
}

const cursorOf = (number: number): string => Buffer.from(String(number)).toString('base64url')

/** A cursor that is none ends the list. */
function numberOf(cursor: string): number {
  const number = Number(Buffer.from(cursor, 'base64url').toString())
  return Number.isInteger(number) ? number : 0
}

const iso = (ms: number): string => new Date(ms).toISOString()

function viewOf(logged: Logged): DeliveryView {
  const { failure, about } = logged
  return {
    id: logged.id,
    publish_id: logged.publishId,
    target: logged.target,
    target_type: logged.type,
    state: logged.state,
    alert_name: about.alertName,
    alert_count: about.count,
    fingerprints: [...about.fingerprints],
    accepted_at: iso(logged.acceptedAt),
    finished_at: logged.finishedAt === undefined ? null : iso(logged.finishedAt),
    attempts: logged.attempts.map(attempt => ({ ...attempt, at: iso(attempt.at) })),
    ...(failure ? { error: failure.message, error_reason: failure.reason } : {})
  }
}
