import { mapped } from '../mapped.js'
import type { Store } from '../queues/contract.js'
import { type Accepted, stampedAt } from './accept.js'
import { type Admission, createAdmissions } from './admission.js'
import { Crowd } from './crowd.js'
import type { Deliver } from './deliver.js'
import { chooseAmongAll } from './elsewhere.js'
import { newId } from './entry.js'
import { FanOut, type FanOutPlan, owedAsWhole } from './fan-out.js'
import { createHurry, type Hurry } from './hurry.js'
import type { PartResult } from './job.js'
import { type EffectiveOptions, publishTimeoutMs } from './options.js'
import { createPledges } from './pledge.js'
import {
  type PublishResult,
  publishResult,
  statusOf,
  type TargetResult,
  tallyOf,
  targetResult,
  type Verdict
} from './result.js'
import type { Roster } from './roster.js'
import { passedUnknown, type Scope, type SkipReason } from './select.js'
import type { Tracer } from './tracer.js'
import { isMany, turn } from './turn.js'

export interface PublishRequest {
  readonly accepted: Accepted
  readonly scope: Scope
  readonly names?: readonly string[] | undefined
  readonly options: EffectiveOptions
  /** The body as it came: part of the key that the caller chose. */
  readonly bytes: Buffer
  readonly idempotencyKey?: string | undefined
  /** Tells the Alertmanagers of an HA pair apart. */
  readonly sender: string
  readonly traceparent?: string | undefined
  /** Asked for by hand: no filter keeps it from its targets. */
  readonly unfiltered?: boolean
  /** When all of the body was there, in milliseconds since the epoch: what its caller waits for counts from then. Default: now. */
  readonly arrivedAt?: number
  /** Calls back, at most once, when the caller hangs up before the answer. */
  onGone(callback: () => void): void
}

export type Published =
  | {
      readonly kind: 'published'
      readonly result: PublishResult
      readonly verdict: Verdict
      /** What is done behind the answer; absent: nothing. Never rejects. */
      readonly rest: Promise<void> | undefined
      answered(): void
    }
  | { readonly kind: 'no_enabled_targets' }
  | { readonly kind: 'cancelled' }

export interface PublishEvents {
  /** Results in, whatever they are. */
  published(result: PublishResult, verdict: Verdict, accepted: Accepted): void
  cancelled(): void
  /** Something an operator should look at, in a few fixed words. */
  warn(message: string, fields: Record<string, unknown>): void
}

export interface PublishDeps {
  readonly store: Store
  readonly roster: Roster
  readonly deliver: Deliver
  readonly events: PublishEvents
  readonly tracer?: Tracer | undefined
  readonly ackTimeoutMs: number
  readonly dedupWindowMs: number
  /** How long dead letters are kept, in milliseconds. */
  readonly retentionMs: number
  readonly healthIntervalMs: number
  now(): number
}

/** With no queue to hand over to, an Alertmanager body waits this long for its attempts: below Alertmanager's own 10 s. */
const unownedWaitMs = 9_000
/** The attempts of a large notification have at least the rest of `ACK_TIMEOUT`. */
const mostEarly = 0.9
/** How long it takes to own a publish as a whole on a slow machine while others want the event loop, in milliseconds. */
const pledgeMs = ({ bytes }: PublishRequest): number => 500 + bytes.length / 6_000

export interface Publish {
  /** Fans one notification out: every chosen target is attempted in parallel, and each one's outcome comes back. */
  publish(request: PublishRequest): Promise<Published>
  /** Publishes under way. */
  inFlight(): number
  /** Ends all waiting: what still runs is owned by the queue, and every caller gets an answer. */
  cutShort(): void
  /** Goes on with what a process before this one, or another one that is gone, did not get to. Once the targets are known. */
  start(): void
  stop(): Promise<void>
}

export function createPublish(deps: PublishDeps): Publish {
  const { store, roster, deliver, events, tracer, now } = deps
  const { dedupWindowMs, retentionMs } = deps
  const admissions = createAdmissions({ store, dedupWindowMs, retentionMs, now, warn: events.warn })
  const fanOutDeps = { deliver, isLatest: admissions.isLatest, now }
  const pledges = createPledges({
    store,
    roster,
    fanOut: fanOutDeps,
    healthIntervalMs: deps.healthIntervalMs,
    retentionMs,
    warn: events.warn,
    now
  })
  const underWay = new Crowd<Hurry>()
  /** How long the answer to an Alertmanager body may take. */
  const waitMs = store.durable ? deps.ackTimeoutMs : unownedWaitMs

  return {
    async publish(request) {
      const hurry = createHurry()
      underWay.add(hurry)
      const span = tracer?.publish(request)
      let published: Published | undefined
      try {
        published = await publish(span ? { ...request, traceparent: span.traceparent } : request, hurry)
        return published
      } finally {
        underWay.delete(hurry)
        span?.end(published)
      }
    },
    inFlight: () => underWay.size,
    cutShort() {
      for (const hurry of underWay.all()) hurry.end()
    },
    start: pledges.start,
    stop: pledges.stop
  }

  async function publish(request: PublishRequest, hurry: Hurry): Promise<Published> {
    const acceptedAt = now()
    const { accepted, options, scope, names, unfiltered } = request
    const many = isMany(accepted.notification.alerts)
    if (many) await turn()
    const admitted = admissions.admit(request, acceptedAt)
    const admission = admitted instanceof Promise ? await admitted : admitted
    const notification = stampedAt(accepted, admission.known?.beganAt)
    const { healthIntervalMs } = deps
    const { records } = admission
    const selection = { scope, names, unfiltered, options, now: acceptedAt, healthIntervalMs, records }
    const chosen = chooseAmongAll(store, notification, { roster, selection })
    const choices = chosen instanceof Promise ? await chosen : chosen
    // Who is under way was looked at in one turn with what is recorded: nobody is missed in between.
    if (many) await turn()
    if (choices.length === 0) {
      const verdict = { status: 503, code: 'NO_ENABLED_TARGETS' } as const
      events.published(publishResult(newId('p', acceptedAt), [], now() - acceptedAt), verdict, accepted)
      return { kind: 'no_enabled_targets' }
    }
    let gone = false
    request.onGone(() => {
      gone = true
      hurry.end()
    })
    if (gone) {
      events.cancelled()
      return { kind: 'cancelled' }
    }

    const passed = passedUnknown(choices, selection)
    if (passed.length > 0)
      events.warn('nothing is known of the health of some targets: they are tried', { target_names: passed })

    const publishId = newId('p', acceptedAt)
    const ends = endsOf(request, acceptedAt, choices.length)
    // What the queue takes over goes on for as long as its target is given.
    const until = store.durable && ends.ackAt < ends.until ? Number.POSITIVE_INFINITY : ends.until
    const plan = { request, notification, admission, choices, publishId, acceptedAt, until, hurry }
    const fan = new FanOut(plan, fanOutDeps)
    const rest = (await inTime(fan, plan, ends)) ? undefined : await owned(fan, plan)

    const tookMs = now() - acceptedAt
    const outcomes = outcomesOf(fan, rest ? owedAsWhole : timedOutAfter(tookMs))
    const results = resultsOf(fan, outcomes, tookMs)
    const result = publishResult(publishId, results, tookMs)
    const verdict = verdictOf(scope, outcomes, results)
    events.published(result, verdict, accepted)
    return { kind: 'published', result, verdict, rest: rest?.ended, answered: answeredWith(admission, verdict) }
  }

  /** Here, where it keeps nothing else of the publish until its answer is through. */
  function answeredWith(admission: Admission, verdict: Verdict): () => void {
    return () => admissions.answered(admission, verdict)
  }

  function endsOf({ accepted, arrivedAt, options }: PublishRequest, acceptedAt: number, targets: number): Ends {
    const until = acceptedAt + publishTimeoutMs(options, targets)
    return { until, ackAt: accepted.source === 'api' ? Number.POSITIVE_INFINITY : (arrivedAt ?? acceptedAt) + waitMs }
  }

  /** Has the queue own what has not ended. If that is only owned as a whole so far: when the rest of it has ended. */
  async function owned(fan: FanOut, plan: FanOutPlan): Promise<Rest | undefined> {
    await fan.laidOut
    const isLong = store.durable && fan.writingMs() >= pledgeMs(plan.request)
    const pledge = isLong ? await pledges.make(plan) : undefined
    const handed = fan.handOver()
    // Whatever went wrong, what is not owed by then is tried again.
    if (pledge) return { ended: handed.catch(() => {}).then(() => pledges.ended(pledge, fan)) }
    await handed
    return undefined
  }

  /** Waits for the deliveries; false if the answer is due, or the caller gone, while attempts still run. */
  async function inTime(fan: FanOut, { request, hurry }: FanOutPlan, { until, ackAt }: Ends): Promise<boolean> {
    const mostMs = Math.min(pledgeMs(request), mostEarly * waitMs)
    const { ended } = fan
    let expired = false
    // What is left must be written down by the time that the answer is due.
    const writingMs = (): number => (store.durable ? Math.min(fan.writingMs(), mostMs) : 0)
    let earlyMs = writingMs()
    const look = (): void => {
      const gainedMs = earlyMs - writingMs()
      earlyMs -= gainedMs
      if (gainedMs >= 1) timer = setTimeout(look, gainedMs)
      else {
        expired = ackAt >= until
        hurry.end()
      }
    }
    let timer = setTimeout(look, Math.min(ackAt, until) - earlyMs - now())
    const done = await hurry.beat(ended)
    clearTimeout(timer)
    // At the publish's own deadline the attempts time out by themselves, and say so.
    if (expired) await ended
    return done || expired
  }
}

/** Times by which a publish must end, in milliseconds since the epoch: its attempts, and what its caller waits for. */
interface Ends {
  readonly until: number
  readonly ackAt: number
}

/** In an object, since it is not waited for. */
interface Rest {
  readonly ended: Promise<void>
}

type Outcome = Parameters<typeof tallyOf>[0][number]

function resultsOf({ deliveries }: FanOut, outcomes: readonly Outcome[], tookMs: number): TargetResult[] {
  return mapped(deliveries, ({ choice, durationMs }, index) =>
    targetResult(choice, outcomes[index]!.parts, choice.kind === 'send' ? durationMs || tookMs : 0)
  )
}

/** `unended` says what is told of a part that has not ended. */
function outcomesOf({ deliveries }: FanOut, unended: typeof owedAsWhole): Outcome[] {
  return mapped(deliveries, delivery => ({
    choice: delivery.choice,
    parts: mapped(delivery.results, (result, index) => result ?? unended(delivery, index))
  }))
}

/** An attempt that runs on although nobody can own it. */
function timedOutAfter(durationMs: number): () => PartResult {
  return () => ({ kind: 'unowned', failure: timedOut, attempts: 1, durationMs })
}

const timedOut = { type: 'transient', reason: 'timeout', message: 'the target did not answer in time' } as const

function verdictOf(scope: Scope, outcomes: readonly Outcome[], results: readonly TargetResult[]): Verdict {
  if (outcomes.every(({ choice }) => choice.kind === 'unknown')) return { status: 404, code: 'TARGET_NOT_FOUND' }
  if (scope === 'healthy') {
    // Who wants none of it says nothing about who should have had it.
    const wanted = results.filter(result => result.skip_reason === undefined || byHealth.has(result.skip_reason))
    if (wanted.length > 0 && wanted.every(({ skipped, queued }) => skipped && !queued))
      return { status: 503, code: 'NO_HEALTHY_TARGETS' }
  }
  return statusOf(tallyOf(outcomes))
}

const byHealth: ReadonlySet<SkipReason> = new Set(['unhealthy', 'degraded', 'circuit_open'])
