import { delivered as healed } from '../health/state.js'
import { mapped } from '../mapped.js'
import type { Hold, Store } from '../queues/contract.js'
import type { Failure, Memory, Message } from '../targets/contract.js'
import { groupStatusOf } from '../targets/incident.js'
import type { Sender } from '../targets/send.js'
import type { Target } from '../targets/target.js'
import { type Attempted, type Attempting, createAttempts } from './attempt.js'
import { type Breaker, type BreakerRules, failed, neutral, succeeded } from './breaker.js'
import { attemptsKept, laneId, lanesOf, newestSeq, standsForGroup } from './entry.js'
import { type Asking, createGate, noProbe, type Pass } from './gate.js'
import { type Job, type PartResult, untouched } from './job.js'
import { distinct, type Ticket } from './lanes.js'
import { contentKeyOf } from './ledger.js'
import { afterTelling, hasFiredSince, type TargetState } from './lifecycle.js'
import { type LiveTarget, learn, slotsOf } from './live.js'
import { createLook, type Held, type Telling } from './look.js'
import { internal, recordedOutcome } from './outcome.js'
import type { Owed } from './owed.js'
import { createRecall, type Known } from './recall.js'
import { delayMs, isLast, type RetryRules } from './retry-rules.js'
import { alertsOf, goesWhole, unlisting } from './takeover.js'
import type { Span, Tracer } from './tracer.js'
import { isMany, turn } from './turn.js'

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

/** Whoever waits for the end of a job. */
export interface JobEnd {
  ended(job: Job, result: PartResult): void
}

/** Goes on once an attempt is settled. */
type Then = (course: Course, result: PartResult) => void

/**
 * A job on its way, from its lanes to its end. One object for all that comes up meanwhile: each delivery makes one, and
 * would else make a dozen.
 */
class Course implements Attempting {
  /** What its attempt begins with. */
  telling: Telling | undefined = undefined
  hold: Hold | undefined = undefined
  pass: Pass = noProbe
  goOn: Then = nothingMore
  /** The settings that its attempt goes by: there may be new ones by the time that it ends. */
  target: Target
  /** When its attempt began, in milliseconds since the epoch. */
  began = 0
  message: Message | undefined = undefined
  exchangeMs = 0
  until = 0
  traceparent: string | undefined = undefined
  attemptSpan: Span<Attempted> | undefined = undefined

  constructor(
    readonly job: Job,
    readonly ticket: Ticket,
    readonly span: Span<PartResult> | undefined,
    readonly whom: JobEnd,
    private readonly ended: (course: Course, attempted: Attempted) => void,
    /** Milliseconds since the epoch. */
    readonly startedAt: number
  ) {
    this.target = job.live.target
  }

  attempted(attempted: Attempted): void {
    this.ended(this, attempted)
  }
}

const nothingMore: Then = () => {}

/** What decides whether attempts can be begun. */
export type Terms = Asking & Pick<Job, 'heldBack' | 'hurry'>

export interface Deliver {
  /** Carries one part through; `whom` is told once it is delivered, owed, refused or has nothing to tell. */
  deliver(job: Job, whom: JobEnd): void
  /** Whether an attempt that is not begun yet would not be begun now either, but owed. */
  isShut(job: Terms): boolean
  /** Has parts of one target owned that no attempt is begun of, with one write for all; `whom` is told of each. */
  ownAll(jobs: readonly Job[], whom: JobEnd): void
  /** Has a running part owned by the queue, without disturbing its attempt; undefined if it cannot be owned. */
  handOver(job: Job): Promise<PartResult | undefined>
}

export function createDeliver(deps: DeliverDeps): Deliver {
  const { store, owed, sender, events, tracer, breakerRules, retryRules, now } = deps
  const { already, recall } = createRecall(store)
  const gate = createGate({ circuit: events.circuit, now })
  const { inHand } = owed
  const { look, letGo } = createLook({ store, owed, recall })

  const attempt = createAttempts({ sender, now })

  function deliver(job: Job, whom: JobEnd): void {
    const course = begin(job, whom)
    try {
      if (!course.ticket.ready || !goesStraight(course)) goInTurn(course)
    } catch (error) {
      end(course, broken(course, error))
    }
  }

  function begin(job: Job, whom: JobEnd): Course {
    const startedAt = now()
    events.started(job)
    const span = tracer?.delivery(job)
    if (span) job.traceparent = span.traceparent
    const ticket = job.ticket ?? job.live.lanes.take(lanesOf(job.live.target, job.entry))
    return new Course(job, ticket, span, whom, attempted, startedAt)
  }

  function goInTurn(course: Course): void {
    void inTurn(course).then(result => end(course, result))
  }

  function end({ job, ticket, span, whom }: Course, result: PartResult): void {
    if (job.stored) inHand.delete(job.entry.id)
    ticket.leave()
    span?.end(result)
    try {
      events.settled(job, result)
    } finally {
      whom.ended(job, result)
    }
  }

  /**
   * Nearly every live delivery: nothing came between, nothing waits, and whoever gets all at once needs to wait for
   * nothing but the target itself. True if it is on its way.
   */
  function goesStraight(course: Course): boolean {
    const { job } = course
    const states = job.heldBack ? undefined : goesAsItCame(job)
    if (!states) return false
    const pass = gate.atOnce(job, course.startedAt)
    if (!pass) return false
    course.pass = pass
    course.telling = { states, memory: nothingRemembered, firedAndResolved: false, group: undefined }
    exchange(course, end, course.startedAt)
    return true
  }

  /** What the target has of the alerts of a job that needs no look into the store, since all of it is told as it came. */
  function goesAsItCame(job: Job): Known['states'] | undefined {
    if (store.shared || job.stored) return undefined
    const states = already(job)
    return states && goesWhole(job, states) ? states : undefined
  }

  /** The way of all others, lane by lane and wait by wait. Never rejects. */
  async function inTurn(course: Course): Promise<PartResult> {
    const { job, ticket } = course
    const held: Held = { tickets: [ticket], holds: [], entries: [] }
    try {
      if (await enter(job, ticket, held)) return await inLanes(course, held)
      // What stands in the queue just stays there; what came in is written down without its lanes.
      return job.stored ? untouched : await ownOnce(job)
    } catch (error) {
      return broken(course, error)
    } finally {
      letGo(held)
    }
  }

  function broken({ job, startedAt }: Course, error: unknown): PartResult {
    return { kind: 'unowned', failure: internal(error), attempts: job.entry.tries, durationMs: now() - startedAt }
  }

  /** Waits for the lanes of the job's alerts; false if the publish ended first. */
  async function enter(job: Job, ticket: Ticket, held: Held): Promise<boolean> {
    if (!ticket.ready && !(await job.hurry.beat(ticket.wait()))) {
      ticket.leave()
      return false
    }
    if (!store.shared) return true
    const names = lanesOf(job.live.target, job.entry).map(lane => laneId(job.live.name, lane))
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

  async function inLanes(course: Course, held: Held): Promise<PartResult> {
    const { job } = course
    const telling = await look(job, held)
    if ('kind' in telling) return telling
    const hold = held.holds[0]
    if (job.heldBack) return owed.own(job, undefined, hold)
    if (job.stored || job.folded.length > 0) {
      const forbidden = gate.forbidden(job)
      if (forbidden) return owed.own(job, forbidden, hold)
      if (isMany(job.entry.alerts)) await turn()
      const isBegun = await owed.begin(job, telling.states)
      if (!isBegun && job.stored) return untouched
      if (job.hurry.over) return owed.own(job, undefined, hold)
    }

    const pass = gate.atOnce(job, now()) ?? (await gate.wait(job))
    if (pass === 'later') return owed.own(job, undefined, hold)
    if ('kind' in pass) return owed.own(job, pass, hold)
    course.hold = hold
    course.pass = pass
    course.telling = telling
    return new Promise(resolve => exchange(course, (_, result) => resolve(result), now()))
  }

  /** Those whose lanes are all their own, in this process. Never rejects. */
  async function ownTogether(courses: readonly Course[]): Promise<void> {
    const held: Held = { tickets: [], holds: [], entries: [] }
    let results: readonly PartResult[]
    try {
      if (store.shared && !(await holdAll(courses, held))) {
        // Another process has some of the lanes: each part waits for its own.
        for (const course of courses) goInTurn(course)
        return
      }
      results = await ownInLanes(courses, held)
    } catch (error) {
      results = courses.map(course => broken(course, error))
    }
    letGo(held)
    for (const [index, course] of courses.entries()) end(course, results[index]!)
  }

  async function holdAll(courses: readonly Course[], { holds }: Held): Promise<boolean> {
    const lanes = courses.flatMap(({ job }) =>
      lanesOf(job.live.target, job.entry).map(lane => laneId(job.live.name, lane))
    )
    const hold = await store.hold(distinct(lanes))
    if (hold) holds.push(hold)
    return hold !== undefined
  }

  async function ownInLanes(courses: readonly Course[], held: Held): Promise<PartResult[]> {
    const [hold] = held.holds
    const ended = await Promise.all(
      mapped(courses, course => (goesAsItCame(course.job) ? undefined : lookFor(course, held)))
    )
    const left = courses.flatMap(({ job }, index) => (ended[index] ? [] : [job]))
    const owned = left.length > 0 ? await owed.ownAll(left, refusalOf(left[0]!), hold) : []
    let next = 0
    return mapped(ended, result => result ?? owned[next++]!)
  }

  /** What became of a part that needs not be owned; undefined if it does. Never rejects. */
  async function lookFor(course: Course, held: Held): Promise<PartResult | undefined> {
    try {
      const telling = await look(course.job, held)
      return 'kind' in telling ? telling : undefined
    } catch (error) {
      return broken(course, error)
    }
  }

  /** What keeps a target from being tried, as far as it is at fault. */
  function refusalOf(terms: Terms): Failure | undefined {
    return terms.heldBack || terms.hurry.over ? undefined : gate.refusal(terms)
  }

  function exchangeMsOf({ settings }: Target): number {
    return settings.timeout ?? deps.attemptTimeoutMs
  }

  /** The attempt, which begins at `at`, and what comes of it. */
  function exchange(course: Course, then: Then, at: number): void {
    const { job } = course
    const { live } = job
    const { target } = live
    const telling = course.telling!
    course.goOn = then
    course.target = target
    course.began = at
    course.until = job.until
    course.exchangeMs = exchangeMsOf(target)
    course.attemptSpan = tracer?.attempt(job)
    course.traceparent = course.attemptSpan ? course.attemptSpan.traceparent : job.traceparent
    job.running = true
    job.states = telling.states
    try {
      course.message = messageOf(job, telling, course.began)
      attempt(target, course.message, course)
    } catch (error) {
      over(course, undefined)
      gate.setBreaker(live, neutral(live.breaker, course.pass.probe))
      then(course, broken(course, error))
    }
  }

  function attempted(course: Course, attempted: Attempted): void {
    over(course, attempted)
    const { handing } = course.job
    if (handing) void handing.then(() => conclude(course, attempted))
    else conclude(course, attempted)
  }

  function conclude(course: Course, attempted: Attempted): void {
    const settled = settle(course, attempted)
    if (settled instanceof Promise) void settled.then(result => course.goOn(course, result))
    else course.goOn(course, settled)
  }

  function over({ job, attemptSpan }: Course, attempted: Attempted | undefined): void {
    job.running = false
    slotsOf(job.live, job.entry.peer).give()
    attemptSpan?.end(attempted)
  }

  /** Never throws and never rejects. */
  function settle(course: Course, attempted: Attempted): PartResult | Promise<PartResult> {
    try {
      const settled = outcomeOf(course, attempted)
      return settled instanceof Promise ? settled.catch(error => broken(course, error)) : settled
    } catch (error) {
      return broken(course, error)
    }
  }

  function messageOf(job: Job, { states, memory, firedAndResolved, group }: Telling, at: number): Message {
    const { entry, live } = job
    const notification = unlisting(job.notification, group && hasFiredSince(group, newestSeq(entry)) ? 1 : 0)
    const content = entry.content ?? contentKeyOf(entry.base, alertsOf(entry.alerts))
    return {
      notification,
      alerts: entry.content === undefined ? alertsOf(entry.alerts) : notification.alerts,
      part: entry.part,
      publishId: entry.publish_id,
      deliveryKey: `${content}-${live.mark}`,
      now: at,
      lateByMs: job.stored || job.folded.length > 0 ? at - entry.accepted_at : 0,
      memory,
      // Of an end that may not have arrived, what it was to end may be there as well.
      mayHave:
        entry.may_have ||
        memory.may_have !== undefined ||
        states.some(state => state?.has !== undefined && !state.sure),
      firedAndResolved,
      truncated: field => events.truncated(live.name, field)
    }
  }

  /** What an attempt came to, told to all who learn from it, and written down. */
  function outcomeOf(course: Course, attempted: Attempted): PartResult | Promise<PartResult> {
    const { job, startedAt, target, began, pass } = course
    const { live, entry } = job
    const { outcome } = attempted
    const at = now()
    const durationMs = at - began
    const failedNow = outcome.kind === 'failed' ? outcome : undefined
    const isOutdated = target !== live.target
    // An attempt with settings that were replaced meanwhile says nothing about the new ones.
    if (isOutdated) gate.setBreaker(live, neutral(live.breaker, pass.probe))
    const recovered = !isOutdated && learnFrom(course, attempted, at)
    job.attemptedAt = began
    job.attemptMs = durationMs
    events.attempted(job, attempted, durationMs)
    entry.tries++
    const took = at - startedAt
    if (recovered) events.recovered(live)
    if (!failedNow) return owed.done(job, course.telling!.states, attempted, took, groupAfter(course))
    const { reason: error_reason, message: error } = failedNow
    const record = { at: began, duration_ms: durationMs, status_code: attempted.statusCode, error_reason, error }
    entry.attempts = [...entry.attempts, record].slice(-attemptsKept)
    if (attempted.memory) owed.remember(entry, attempted.memory)
    if (failedNow.mayHave) entry.may_have = true
    if (failedNow.type === 'permanent') return owed.bury(job, failedNow, took, target)
    const tellsAnEnd = entry.alerts.some(({ alert }) => alert.status === 'resolved')
    if (failedNow.reason !== 'cancelled' && isLast(entry.replayed_at ?? entry.accepted_at, tellsAnEnd, at, retryRules))
      return owed.bury(job, failedNow, took, target)
    const waitMs = isOutdated ? 0 : delayMs(entry.tries, failedNow, retryRules, deps.random())
    return owed.own(job, failedNow, course.hold, at + waitMs)
  }

  function groupAfter({ job, telling, target, message }: Course): TargetState | undefined {
    if (!standsForGroup(target)) return undefined
    return afterTelling(telling!.group, groupStatusOf(message!), newestSeq(job.entry))
  }

  /** What an attempt says of its target: to health, circuit and pause. True if a target that failed takes alerts again. */
  function learnFrom({ job, pass, target, began }: Course, { outcome, statusCode }: Attempted, at: number): boolean {
    const { live, entry } = job
    const { probe } = pass
    if (outcome.kind === 'delivered') {
      const { recovered } = learn(live, entry.peer, { at, success: true, statusCode, durationMs: at - began })
      gate.setBreaker(live, succeeded(live.breaker, probe, breakerRules))
      live.health = healed(live.health, at)
      return recovered
    }
    const { type, reason, retryAfterMs = 0 } = outcome
    const { accuses } = learn(live, entry.peer, { at, success: false, statusCode, reason, durationMs: at - began })
    const isCutShort = reason === 'timeout' && job.until - began < Math.min(exchangeMsOf(target), fairMs)
    if (!accuses || isCutShort) gate.setBreaker(live, neutral(live.breaker, probe))
    else gate.setBreaker(live, failed(live.breaker, probe, outcome, { now: at, rules: breakerRules }))
    if (type === 'rate_limited') live.pausedUntil = Math.max(live.pausedUntil, at + retryAfterMs)
    return false
  }

  return {
    deliver,
    isShut: terms => terms.heldBack !== undefined || terms.hurry.over || gate.refusal(terms) !== undefined,
    ownAll(jobs, whom) {
      const courses = mapped(jobs, job => begin(job, whom))
      const ready = courses.filter(({ ticket }) => ticket.ready)
      for (const course of courses) if (!course.ticket.ready) goInTurn(course)
      if (ready.length > 0) void ownTogether(ready)
    },
    async handOver(job) {
      if (!store.durable) return undefined
      const dueAt = Math.max(Math.min(job.until, now() + exchangeMsOf(job.live.target)), now())
      const handed: Job = { ...job, entry: { ...job.entry, running: true } }
      const stood = job.stored
      // From here on the outcome of the running attempt has a record to settle, written or about to be.
      job.stored = true
      inHand.add(job.entry.id)
      const owning = owed.own(handed, undefined, undefined, dueAt)
      job.handing = owning.catch(() => {})
      const result = await owning
      if (result.kind === 'queued') return result
      job.stored = stood
      if (!stood) inHand.delete(job.entry.id)
      return undefined
    }
  }
}

const nothingRemembered: Memory = {}

/** Whoever is given less time, because its publish ends, is not to blame for taking longer, in milliseconds. */
const fairMs = 1_000

/** How often a lane that another process holds is tried again, in milliseconds. */
const remoteRetryMs = 50
