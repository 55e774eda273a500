import { type Alert, commonOf, type Notification } from '../alert.js'
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
  notificationOf,
  outcomeField,
  outcomeId,
  type Ref,
  slotId,
  stateField
} from './entry.js'
import type { Hurry } from './hurry.js'
import type { Ticket } from './lanes.js'
import { contentKeyOf, type Round } from './ledger.js'
import { merge, type Sequenced, type Step, stepOf, type TargetState, unpackState } from './lifecycle.js'
import { type LiveTarget, rateWaitMs, returnToken, takeToken } from './live.js'
import type { Owed } from './owed.js'
import { delayMs, isLast, type RetryRules } from './retry-rules.js'
import type { Tracer } from './tracer.js'

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
  /** An attempt is under way. */
  running: boolean
  /** The running attempt is being written down: its outcome must not be before that. */
  handing: Promise<unknown> | undefined
}

/** What became of one part. */
export type PartResult = {
  readonly attempts: number
  readonly durationMs: number
  readonly statusCode?: number | undefined
} & (
  | { readonly kind: 'delivered'; readonly recorded?: boolean }
  | {
      readonly kind: 'queued'
      readonly id: string
      readonly failure?: FailureShown
      readonly heldBack?: HeldBack
      readonly recorded?: boolean
    }
  /** Refused for good. */
  | { readonly kind: 'refused'; readonly failure: FailureShown; readonly id?: string; readonly recorded?: boolean }
  /** Could be tried again, but nobody can own it. */
  | { readonly kind: 'unowned'; readonly failure?: FailureShown; readonly heldBack?: HeldBack }
  /** There is nothing to tell this target. */
  | { readonly kind: 'nothing'; readonly step: Exclude<Step, 'send' | 'fired_and_resolved'> }
)

export type FailureShown = Pick<Failure, 'type' | 'reason' | 'message'>

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

/** Another process is at it, or is done with it. */
export const untouched: PartResult = { kind: 'nothing', step: 'outdated', attempts: 0, durationMs: 0 }

const tells = (step: Step): boolean => step === 'send' || step === 'fired_and_resolved'

const isSettled = (step: Step): boolean => step === 'superseded' || step === 'resolved_not_wanted'

/** Whether an entry is just what was read of it before its lanes were taken. */
function isSame(stands: Entry, read: Entry): boolean {
  return (
    stands.tries === read.tries &&
    stands.due_at === read.due_at &&
    stands.base === read.base &&
    stands.alerts.length === read.alerts.length
  )
}

/** The alerts' names, each once: an alert that stands twice in a notification must not wait for itself. */
function fingerprintsOf(alerts: readonly Sequenced[]): string[] {
  if (alerts.length === 1) return [alerts[0]!.alert.fingerprint]
  return [...new Set(alerts.map(({ alert }) => alert.fingerprint))]
}

const alertsOf = (alerts: readonly Sequenced[]): Alert[] => alerts.map(({ alert }) => alert)

const noProbe = { probe: undefined }

interface Plan {
  /** For each of the entry's alerts. */
  readonly steps: readonly Step[]
  /** How many of them the target is told. */
  readonly telling: number
  /** All that are told fired and resolved unheard. */
  readonly firedAndResolved: boolean
}

function plan(job: Job, states: readonly (TargetState | undefined)[]): Plan {
  const { kind, settings } = job.live.target
  const reader = { audience: kind.audience, sendResolved: settings.send_resolved, mayHave: job.entry.may_have }
  let telling = 0
  let firedAndResolved = true
  const steps = job.entry.alerts.map((item, index) => {
    const step = stepOf(item, states[index], reader)
    if (tells(step)) telling++
    if (step === 'send') firedAndResolved = false
    return step
  })
  return { steps, telling, firedAndResolved }
}

/** Leaves only the alerts in the job that the target is told. */
function narrow(job: Job, steps: readonly Step[]): void {
  const { entry } = job
  entry.alerts = entry.alerts.filter((_, index) => tells(steps[index]!))
  entry.body = undefined
  entry.content = undefined
  job.notification = regrouped(job.notification, alertsOf(entry.alerts))
}

/** The notification with other alerts, and what these have in common. */
function regrouped(notification: Notification, alerts: readonly Alert[]): Notification {
  const common = { common_labels: commonOf(alerts, 'labels'), common_annotations: commonOf(alerts, 'annotations') }
  return { ...notification, ...common, alerts, body: undefined }
}

/** Lets the job carry what it took over: the newest state of every alert, under the id that callers already know. */
function carry(job: Job, taken: readonly Entry[]): void {
  const own = job.entry
  const all = [own, ...taken]
  const newest = all.reduce((a, b) => (newestSeq(b) > newestSeq(a) ? b : a))
  const oldest = all.reduce((a, b) => (b.accepted_at < a.accepted_at ? b : a))
  const others = all
    .filter(entry => entry !== newest)
    .reduce<Sequenced[]>((merged, entry) => merge(entry.alerts, merged), [])
  const alerts = merge(others, newest.alerts)
  const grew = alerts.length > newest.alerts.length
  job.entry = {
    ...newest,
    id: oldest.id,
    alerts,
    body: grew ? undefined : newest.body,
    content: grew ? undefined : newest.content,
    refs: distinctRefs(all),
    // What nobody replaced has waited since the oldest was accepted.
    accepted_at: alerts.some(item => oldest.alerts.includes(item)) ? oldest.accepted_at : newest.accepted_at,
    tries: Math.max(...all.map(entry => entry.tries)),
    attempts: all
      .flatMap(entry => entry.attempts)
      .sort((a, b) => a.at - b.at)
      .slice(-attemptsKept),
    may_have: all.some(entry => entry.may_have || entry.running === true),
    running: undefined
  }
  if (grew) job.notification = regrouped(job.notification, alertsOf(alerts))
  else if (newest !== own) job.notification = notificationOf(job.entry)
}

const newestSeq = ({ alerts }: Entry): number => alerts.reduce((newest, { seq }) => Math.max(newest, seq), 0)

function distinctRefs(entries: readonly Entry[]): Entry['refs'] {
  return [...new Map(entries.flatMap(entry => entry.refs).map(ref => [`${ref.round}/${ref.key}`, ref])).values()]
}

/** What the ledger already knows of this part. */
function recordedOutcome({ entry, live }: Job, ledger: Fields | undefined): PartResult | undefined {
  if (!ledger) return undefined
  const [ref] = entry.refs
  if (!ref) return undefined
  const outcome = ledger[outcomeField(live.name)]
  return outcome === undefined ? undefined : readOutcome(outcome as Outcome, live.target.version)
}

/** A part's outcome as the ledger keeps it; the frequent one is short. */
export type Outcome =
  | `d ${number} ${number} ${number}`
  | readonly ['q', id: string]
  | readonly [
      'r',
      type: Failure['type'],
      reason: Failure['reason'],
      message: string,
      statusCode: number | null,
      attempts: number,
      id: string,
      targetVersion: string
    ]

/** The outcome of a part that was delivered; a status of 0 stands for none. */
export function deliveredOutcome(status: number | undefined, attempts: number, durationMs: number): Outcome {
  const statusCode = status ?? 0
  const index = attempts === 1 && durationMs < 1_000 ? statusCode * 1_000 + durationMs : -1
  // Thousands of publishes end alike, and each is remembered for a day.
  const known = frequentOutcomes.get(index)
  if (known !== undefined) return known
  const outcome: Outcome = `d ${statusCode} ${attempts} ${durationMs}`
  if (index >= 0) frequentOutcomes.set(index, outcome)
  return outcome
}

const frequentOutcomes = new Map<number, Outcome>()

function readOutcome(outcome: Outcome, version: string): PartResult | undefined {
  if (typeof outcome === 'string') {
    const [, status, attempts, durationMs] = outcome.split(' ').map(Number)
    return {
      kind: 'delivered',
      recorded: true,
      attempts: attempts!,
      durationMs: durationMs!,
      statusCode: status || undefined
    }
  }
  switch (outcome[0]) {
    case 'q':
      return { kind: 'queued', recorded: true, id: outcome[1], attempts: 0, durationMs: 0 }
    case 'r': {
      const [, type, reason, message, statusCode, attempts, id, refusedBy] = outcome
      // A target whose settings changed since may well take it now.
      if (refusedBy !== version) return undefined
      return {
        kind: 'refused',
        recorded: true,
        failure: { type, reason, message },
        id,
        attempts,
        durationMs: 0,
        statusCode: statusCode ?? undefined
      }
    }
  }
}
