import { delivered as healed } from '../health/state.js'
import type { Fields, Hold, Store } from '../queues/contract.js'
import type { Failure, Memory, Message } from '../targets/contract.js'
import { failure } from '../targets/failures.js'
import type { Sender } from '../targets/send.js'
import { type Attempted, attempt } from './attempt.js'
import { type Breaker, type BreakerRules, begun, failed, neutral, type Probe, permits, succeeded } from './breaker.js'
import {
  alertId,
  attemptsKept,
  type Entry,
  entryId,
  memoryId,
  outcomeField,
  outcomeId,
  type Ref,
  slotId,
  stateField
} from './entry.js'
import { type Job, type PartResult, untouched } from './job.js'
import type { Ticket } from './lanes.js'
import { contentKeyOf, type Round } from './ledger.js'
import { type TargetState, unpackState } from './lifecycle.js'
import { type LiveTarget, rateWaitMs, returnToken, takeToken } from './live.js'
import { recordedOutcome } from './outcome.js'
import type { Owed } from './owed.js'
import { delayMs, isLast, type RetryRules } from './retry-rules.js'
import { alertsOf, carry, fingerprintsOf, isSame, isSettled, mostMerged, narrow, plan, tells } from './takeover.js'
import type { Tracer } from './tracer.js'

/** What the pipeline tells whoever keeps metrics, logs and statistics. */
export interface DeliveryEvents {
  started(job: Job): void
  attempted(job: Job, attempted: Attempted, durationMs: number): void
  settled(job: Job, result: PartResult): void
  truncated(target: string, field: string): void
  circuit(live: LiveTarget, before: Breaker): void
  /** A target that failed takes alerts again. */
  recovered(live: LiveTarget): void
}

export interface DeliverDeps {
  readonly store: Store
  readonly owed: Owed
  readonly sender: Sender
  readonly events: DeliveryEvents
  readonly tracer?: Tracer | undefined
  readonly breakerRules: BreakerRules
  readonly retryRules: RetryRules
  readonly attemptTimeoutMs: number
  now(): number
  random(): number
}

/** What the store knows that matters to a job, read once its lanes are its own. */
interface Known {
  readonly states: (TargetState | undefined)[]
  readonly memory: Memory
  readonly waiting: readonly string[]
  readonly ledger: Fields | undefined
  /** Whether the entry still stands in the queue as it was read: another process may have been at it meanwhile. */
  readonly stands: boolean
  /** Whether a delivery of the same part for the same key has succeeded. */
  readonly deliveredElsewhere: boolean
}

/** What a job holds until it is through. */
interface Held {
  readonly tickets: Ticket[]
  readonly holds: Hold[]
}

/** What the settling of an attempt needs besides its outcome. Times are milliseconds since the epoch. */
interface Times {
  readonly began: number
  readonly startedAt: number
  readonly hold: Hold | undefined
  readonly probe: Probe | undefined
  /** What the target had of each of the entry's alerts. */
  readonly states: readonly (TargetState | undefined)[]
}

const nothingRemembered: Memory = {}
const nothingWaits: readonly string[] = []

export interface Deliver {
  /** Carries one part through; resolves once it is delivered, owed, refused or has nothing to tell. Never rejects. */
  deliver(job: Job): Promise<PartResult>
  /** Has a running part owned by the queue, without disturbing its attempt; undefined if it cannot be owned. */
  handOver(job: Job): Promise<PartResult | undefined>
}

export function createDeliver(deps: DeliverDeps): Deliver {
  const { store, owed, sender, events, tracer, breakerRules, retryRules, now } = deps

  async function deliver(job: Job): Promise<PartResult> {
    const startedAt = now()
    events.started(job)
    const span = tracer?.delivery(job)
    if (span) job.traceparent = span.traceparent
    const held: Held = { tickets: [], holds: [] }
    let result: PartResult
    try {
      const ticket = job.live.lanes.take(fingerprintsOf(job.entry.alerts))
      held.tickets.push(ticket)
      // Whoever gets all at once needs to wait for nothing but the target itself.
      if (ticket.ready && !store.shared) result = await inLanes(job, knownAlready(job), held, startedAt)
      else if (await enter(job, ticket, held)) result = await inLanes(job, undefined, held, startedAt)
      // What stands in the queue just stays there; what came in is written down without its lanes.
      else result = job.stored ? untouched : await ownOnce(job)
    } catch (error) {
      const shown = failure('internal', `the delivery failed: ${error instanceof Error ? error.name : 'unknown error'}`)
      result = { kind: 'unowned', failure: shown, attempts: job.entry.tries, durationMs: now() - startedAt }
    } finally {
      for (const hold of held.holds) store.release(hold)
      for (const ticket of held.tickets) ticket.leave()
    }
    span?.end(result)
    events.settled(job, result)
    return result
  }

  /** Waits for the lanes of the job's alerts; false if the publish ended first. */
  async function enter(job: Job, ticket: Ticket, held: Held): Promise<boolean> {
    if (!ticket.ready && !(await job.hurry.beat(ticket.wait()))) {
      ticket.leave()
      return false
    }
    if (!store.shared) return true
    const names = fingerprintsOf(job.entry.alerts).map(name => `${job.live.name}/${name}`)
    while (!job.hurry.over) {
      const hold = await store.hold(names)
      if (hold) {
        held.holds.push(hold)
        return true
      }
      if (job.stored) return false
      await job.hurry.beat(new Promise(resolve => setTimeout(resolve, remoteRetryMs)))
    }
    return false
  }

  /** Has a part owned that never got its lanes, unless whoever has them carries the same one and it is owned by now. */
  async function ownOnce(job: Job): Promise<PartResult> {
    const { ledger } = await recall(job)
    return recordedOutcome(job, ledger) ?? owed.own(job, undefined, undefined)
  }

  async function inLanes(job: Job, already: Known | undefined, held: Held, startedAt: number): Promise<PartResult> {
    let known = already ?? (await recall(job))
    if (job.stored && !known.stands) return untouched
    // Two callers had it owned at once, and the other one's was faster.
    if (job.stored && known.deliveredElsewhere) return owed.close(job, [])
    const recorded = job.stored ? undefined : recordedOutcome(job, known.ledger)
    if (recorded) return recorded
    if (known.waiting.length > 0 && (await fold(job, known.waiting, held))) known = await recall(job)

    const { steps, firedAndResolved, telling } = plan(job, known.states)
    if (telling === 0) return owed.close(job, steps)
    let { states } = known
    if (telling < steps.length) {
      // What is not told replaces what waits all the same, in whatever slot that is.
      const untold = job.entry.alerts.filter((_, index) => states[index]?.owed && isSettled(steps[index]!))
      if (untold.length > 0) owed.dismiss(job.entry, untold)
      states = states.filter((_, index) => tells(steps[index]!))
      narrow(job, steps)
    }
    const hold = held.holds[0]
    if (job.heldBack) return owed.own(job, undefined, hold)
    if (job.stored || job.folded.length > 0) {
      const forbidden = forbiddenNow(job)
      if (forbidden) return owed.own(job, forbidden, hold)
      await owed.begin(job)
      if (job.hurry.over) return owed.own(job, undefined, hold)
    }

    const admitted = admitAtOnce(job) ?? (await admission(job))
    if (admitted === 'later') return owed.own(job, undefined, hold)
    if ('kind' in admitted) return owed.own(job, admitted, hold)
    const { live } = job
    const began = now()
    let attempted: Attempted | undefined
    job.running = true
    const span = tracer?.attempt(job)
    try {
      attempted = await attempt(live.target, messageOf(job, known, began, firedAndResolved), sender, {
        until: job.until,
        exchangeMs: live.target.settings.timeout ?? deps.attemptTimeoutMs,
        traceparent: span ? span.traceparent : job.traceparent,
        now
      })
    } finally {
      job.running = false
      live.slots.give()
      span?.end(attempted)
      if (!attempted) setBreaker(live, neutral(live.breaker, admitted.probe))
    }
    if (job.handing) await job.handing
    return settle(job, attempted, { began, startedAt, hold, probe: admitted.probe, states })
  }

  /** Saves the look-ups where nothing can have happened since the notification was accepted. */
  function knownAlready({ fresh, records, live }: Job): Known | undefined {
    if (!fresh || !records || !live.target.wire.forgets || store.owed(live.name) !== 0) return undefined
    const field = stateField(live.name)
    const states = records.map(record => unpackState(record?.[field]))
    return {
      states,
      memory: nothingRemembered,
      waiting: nothingWaits,
      ledger: undefined,
      stands: false,
      deliveredElsewhere: false
    }
  }

  function recall(job: Job): Known | Promise<Known> {
    const { entry } = job
    const { refs, alerts } = entry
    const [first] = refs
    const ids = [
      slotId(entry),
      memoryId(entry),
      job.stored ? entryId(entry.id) : first ? outcomeId(first, entry.part) : '',
      ...alerts.map(({ alert }) => alertId(alert.fingerprint)),
      ...(job.stored ? refs.map(ref => outcomeId(ref, entry.part)) : [])
    ]
    const field = outcomeField(entry.target)
    const isDelivered = (ledger: Fields | undefined): boolean => typeof ledger?.[field] === 'string'
    const isOver = ({ round }: Ref, ledger: Fields | undefined): boolean =>
      entry.part === '' && ledger !== undefined && (ledger.m as Round | undefined)?.round !== round
    const read = (records: readonly (Fields | undefined)[]): Known => {
      const ledgers = records.slice(3 + alerts.length)
      // How an earlier round ends is no business of the one that began since.
      if (job.stored && refs.some((ref, index) => isOver(ref, ledgers[index])))
        job.entry = { ...entry, refs: refs.filter((ref, index) => !isOver(ref, ledgers[index])) }
      return known(records, ledgers)
    }
    const known = (records: readonly (Fields | undefined)[], ledgers: readonly (Fields | undefined)[]): Known => ({
      waiting: Object.keys(records[0] ?? {}).filter(id => id !== entry.id),
      memory: (records[1] ?? {}) as Memory,
      ledger: job.stored ? undefined : records[2],
      stands: records[2] !== undefined && isSame(records[2] as unknown as Entry, entry),
      deliveredElsewhere: job.stored && refs.length > 0 && refs.every((_, index) => isDelivered(ledgers[index])),
      states: records.slice(3, 3 + alerts.length).map(record => unpackState(record?.[stateField(job.live.name)]))
    })
    const records = store.read(ids, store.shared ? needed(job) : undefined)
    return records instanceof Promise ? records.then(read, () => read([])) : read(records)
  }

  /** Of the records of alerts and keys just the job's own fields: a thousand targets or parts may have theirs there. */
  function needed({ entry, live, stored }: Job): (readonly string[] | undefined)[] {
    const ofAlert = [stateField(live.name)]
    const ofKey = ['m', outcomeField(entry.target)]
    const first = stored ? undefined : ofKey
    return [undefined, undefined, first, ...entry.alerts.map(() => ofAlert), ...entry.refs.map(() => ofKey)]
  }

  /** Takes over what waits in the job's slot, as far as all its lanes are free or already the job's. */
  async function fold(job: Job, ids: readonly string[], { tickets, holds }: Held): Promise<boolean> {
    const records = await store.read(ids.map(entryId))
    const own = new Set(job.entry.alerts.map(({ alert }) => alert.fingerprint))
    const taken: Entry[] = []
    for (const record of records) {
      const entry = record as unknown as Entry | undefined
      if (!entry || entry.type !== job.live.type) continue
      const more = fingerprintsOf(entry.alerts).filter(name => !own.has(name))
      if (more.length > 0 && own.size + more.length > mostMerged) continue
      const ticket = job.live.lanes.tryTake(more)
      if (!ticket) continue
      const hold =
        store.shared && more.length > 0 ? await store.hold(more.map(name => `${job.live.name}/${name}`)) : undefined
      if (store.shared && more.length > 0 && !hold) {
        ticket.leave()
        continue
      }
      tickets.push(ticket)
      if (hold) holds.push(hold)
      for (const name of more) own.add(name)
      taken.push(entry)
    }
    if (taken.length === 0) return false
    job.folded = [...job.folded, ...taken]
    carry(job, taken)
    return true
  }

  /** The admission of a job that nothing keeps waiting; undefined if it may have to. */
  function admitAtOnce(job: Job): { readonly probe: Probe | undefined } | undefined {
    const { live } = job
    if (job.room || forbiddenNow(job) || rateWaitMs(live, now()) > 0 || !live.slots.tryTake()) return undefined
    takeToken(live, now())
    return probing(live)
  }

  /** At once, before anybody else looks: of all that wait for a half-open circuit, one is the probe. */
  function probing(live: LiveTarget): { readonly probe: Probe | undefined } {
    const probe = begun(live.breaker, now())
    if (!probe) return noProbe
    setBreaker(live, probe)
    return { probe }
  }

  /** Waits for room, a token and a slot. Returns what is in the way, or whether it goes as a probe. */
  async function admission(job: Job): Promise<{ readonly probe: Probe | undefined } | Failure | 'later'> {
    const { live } = job
    const forbidden = forbiddenNow(job)
    if (forbidden) return forbidden
    if (job.room && !(await job.room())) return 'later'
    // Room that comes this late is no use: an attempt would time out, and the target would be blamed for it.
    if (!job.stored && job.until - now() < leastMs) return 'later'
    const waitMs = rateWaitMs(live, now())
    if (waitMs > job.patienceMs)
      return failure('rate_limited', `${live.target.kind.title} is at its rate limit`, { retryAfterMs: waitMs })
    takeToken(live, now())
    if (waitMs > 0 && !(await job.hurry.beat(new Promise(resolve => setTimeout(resolve, waitMs))))) {
      returnToken(live, now())
      return 'later'
    }
    if (!live.slots.tryTake()) {
      const place = live.slots.take()
      const won = await job.hurry.beat(place.taken)
      if (!won) {
        place.cancel()
        if (await place.taken) live.slots.give()
        returnToken(live, now())
        return 'later'
      }
    }
    // The wait may have been long enough for the circuit to open or a Retry-After to arrive.
    const changed = job.hurry.over ? 'later' : forbiddenNow(job)
    if (!changed) return probing(live)
    live.slots.give()
    returnToken(live, now())
    return changed
  }

  function forbiddenNow({ live, respectBreaker }: Job): Failure | undefined {
    const at = now()
    if (live.pausedUntil > at) {
      return failure('rate_limited', `${live.target.kind.title} asked to be left alone`, {
        retryAfterMs: live.pausedUntil - at
      })
    }
    if (respectBreaker && !permits(live.breaker, at)) return failure('connection', 'the circuit is open')
    return undefined
  }

  function messageOf(job: Job, known: Known, at: number, firedAndResolved: boolean): Message {
    const { entry, live, notification } = job
    const content = entry.content ?? contentKeyOf(entry.base, alertsOf(entry.alerts))
    return {
      notification,
      alerts: entry.content === undefined ? alertsOf(entry.alerts) : notification.alerts,
      part: entry.part,
      publishId: entry.publish_id,
      deliveryKey: `${content}-${live.mark}`,
      now: at,
      lateByMs: job.stored || job.folded.length > 0 ? at - entry.accepted_at : 0,
      memory: known.memory,
      mayHave: entry.may_have || known.states.some(state => state?.has === 'firing' && !state.sure),
      firedAndResolved,
      truncated: field => events.truncated(live.name, field)
    }
  }

  function settle(job: Job, attempted: Attempted, times: Times): PartResult | Promise<PartResult> {
    const { live, entry } = job
    const { outcome, statusCode } = attempted
    const at = now()
    const durationMs = at - times.began
    const failedNow = outcome.kind === 'failed' ? outcome : undefined
    const recovered = !failedNow && live.last?.success === false
    live.last = { at, success: !failedNow, statusCode, reason: failedNow?.reason, durationMs }
    const breaker = failedNow
      ? failed(live.breaker, times.probe, failedNow, { now: at, rules: breakerRules })
      : succeeded(live.breaker, times.probe, breakerRules)
    setBreaker(live, breaker)
    if (!failedNow) live.health = healed(live.health, at)
    events.attempted(job, attempted, durationMs)
    const { reason: error_reason, message: error } = failedNow ?? {}
    const record = { at: times.began, duration_ms: durationMs, status_code: statusCode, error_reason, error }
    entry.tries++
    entry.attempts = entry.attempts.length === 0 ? [record] : [...entry.attempts, record].slice(-attemptsKept)
    const took = at - times.startedAt
    if (recovered) events.recovered(live)
    if (!failedNow) return owed.done(job, times.states, attempted, took)
    if (failedNow.type === 'rate_limited')
      live.pausedUntil = Math.max(live.pausedUntil, at + (failedNow.retryAfterMs ?? 0))
    if (attempted.memory) owed.remember(entry, attempted.memory)
    if (failedNow.mayHave) entry.may_have = true
    if (failedNow.type === 'permanent') return owed.bury(job, failedNow, took)
    const closes = entry.alerts.every(({ alert }) => alert.status === 'resolved')
    if (isLast(entry.replayed_at ?? entry.accepted_at, closes, at, retryRules)) return owed.bury(job, failedNow, took)
    return owed.own(job, failedNow, times.hold, at + delayMs(entry.tries, failedNow, retryRules, deps.random()))
  }

  function setBreaker(live: LiveTarget, next: Breaker): void {
    const before = live.breaker
    live.breaker = next
    if (before.state !== next.state) events.circuit(live, before)
  }

  return {
    deliver,
    async handOver(job) {
      if (!store.durable) return undefined
      const dueAt = Math.max(job.until, now())
      const handed: Job = { ...job, entry: { ...job.entry, running: true } }
      const stood = job.stored
      // From here on the outcome of the running attempt has a record to settle, written or about to be.
      job.stored = true
      const owning = owed.own(handed, undefined, undefined, dueAt)
      job.handing = owning.catch(() => {})
      const result = await owning
      if (result.kind === 'queued') return result
      job.stored = stood
      return undefined
    }
  }
}

/** Time that a live attempt must have left to be begun, in milliseconds. */
const leastMs = 5

/** How often a lane that another process holds is tried again, in milliseconds. */
const remoteRetryMs = 50

const noProbe = { probe: undefined }
