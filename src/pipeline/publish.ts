import type { Alert, Notification } from '../alert.js'
import { type Change, type Fields, type Store, StoreUnavailable } from '../queues/contract.js'
import type { Part } from '../targets/contract.js'
import { type Accepted, stampedAt } from './accept.js'
import type { Deliver } from './deliver.js'
import { alertId, chosenId, type Entry, ledgerId, newId, slotOf, slotOfGroup } from './entry.js'
import { createHurry, type Hurry } from './hurry.js'
import type { Job, PartResult } from './job.js'
import {
  chosenKeyOf,
  type Meaning,
  meaningOf,
  publishKeyOf,
  type Round,
  roundAfter,
  type Sighting,
  stateOf
} from './ledger.js'
import { type EffectiveOptions, publishTimeoutMs } from './options.js'
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
import { type Choice, choose, type Scope } from './select.js'
import { createSlots, type Slots } from './slots.js'
import type { Tracer } from './tracer.js'

export interface PublishRequest {
  readonly accepted: Accepted
  readonly scope: Scope
  readonly names?: readonly string[]
  readonly options: EffectiveOptions
  /** The body as it came: part of the key that the caller chose. */
  readonly bytes: Buffer
  readonly idempotencyKey?: string
  /** Tells the Alertmanagers of an HA pair apart. */
  readonly sender: string
  readonly traceparent?: string
  /** Calls back, at most once, when the caller hangs up before the answer. */
  onGone(callback: () => void): void
}

export type Published =
  | { readonly kind: 'published'; readonly result: PublishResult; readonly verdict: Verdict; answered(): void }
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
  readonly healthIntervalMs: number
  now(): number
}

/** One target's delivery: its parts on their way, and what came of them so far. */
interface Delivery {
  readonly choice: Choice
  readonly jobs: Job[]
  /** Resolves once every part is on its way. */
  started: Promise<void>
  /** One for each job: resolves once its result is there. */
  readonly ends: Promise<void>[]
  readonly results: (PartResult | undefined)[]
  durationMs: number
}

/** With no queue to hand over to, an Alertmanager body waits this long for its attempts: below Alertmanager's own 10 s. */
const unownedWaitMs = 9_000
/** Parts that are started before others get the event loop. */
const startedAtOnce = 100
/** Records that are read before others get the event loop. */
const readAtOnce = 2_000
const noRefs: Entry['refs'] = []
const noAttempts: Entry['attempts'] = []
const noEntries: readonly Entry[] = []
const ledgerMs = 86_400_000
/** By then Alertmanager has tried again what it was not told before a crash, or has given it up. */
const doubtMs = 600_000
const stateMs = 7 * 86_400_000

export interface Publish {
  /** Fans one notification out: every chosen target is attempted in parallel, and each one's outcome comes back. */
  publish(request: PublishRequest): Promise<Published>
  /** Publishes under way. */
  inFlight(): number
  /** Ends all waiting: what still runs is owned by the queue, and every caller gets an answer. */
  cutShort(): void
}

export function createPublish(deps: PublishDeps): Publish {
  const { store, roster, deliver, events, tracer, now } = deps
  const underWay = new Set<Hurry>()
  const interruptedAt = store.interrupted ? now() : 0
  const doubtUntil = interruptedAt && interruptedAt + doubtMs
  /** The place of the notification that was accepted last. */
  let latest = 0
  /** Keys of a shared store that are being looked up. */
  const looking = new Map<string, Promise<unknown>>()

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
      for (const hurry of underWay) hurry.end()
    }
  }

  async function publish(request: PublishRequest, hurry: Hurry): Promise<Published> {
    const acceptedAt = now()
    const { accepted, options } = request
    const many = accepted.notification.alerts.length > startedAtOnce
    if (many) await turn()
    const admission = await admit(request, acceptedAt)
    const notification = stampedAt(accepted, admission.known?.beganAt)
    const choices = choose(notification, roster, {
      scope: request.scope,
      ...(request.names ? { names: request.names } : {}),
      options,
      now: acceptedAt,
      healthIntervalMs: deps.healthIntervalMs,
      records: admission.records
    })
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
    const until = acceptedAt + publishTimeoutMs(options, choices.length)
    const publishId = newId('p', acceptedAt)
    const sequenced = notification.alerts.map(alert => ({ alert, seq: admission.seq }))
    const { alerts: _alerts, body: _body, ...group } = notification
    const base = `${admission.key ?? publishId}/${admission.round}`
    const content = `${(admission.key ?? publishId).slice(0, 24)}.${admission.round.toString(36)}`
    const room =
      options.maxConcurrent > 0 && options.maxConcurrent < choices.length
        ? createSlots(options.maxConcurrent)
        : undefined
    let started = 0
    let positions: Map<Alert, number> | undefined
    const recordsOf = (alerts: readonly Alert[]) => {
      positions ??= new Map(notification.alerts.map((alert, index) => [alert, index]))
      return alerts.map(alert => admission.records[positions!.get(alert)!])
    }

    const refs = admission.key === undefined ? noRefs : [{ key: admission.key, round: admission.round }]
    const wholeSlot = slotOfGroup(notification, '')

    const jobOf = (choice: Choice & { kind: 'send' }, part: Part, room: Job['room']): Job => {
      const { live, ifOwed } = choice
      const { seq } = admission
      const whole = part.alerts.length === notification.alerts.length
      const byAlert = live.target.kind.lane(live.target.settings) === 'alert'
      const entry: Entry = {
        id: newId('d', acceptedAt),
        target: live.name,
        type: live.type,
        part: part.key,
        slot: byAlert ? part.key : whole && part.key === '' ? wholeSlot : slotOf(live.target, part, notification),
        alerts: whole && !ifOwed ? sequenced : part.alerts.map(alert => ({ alert, seq, ifOwed: ifOwed?.has(alert) })),
        group,
        content: whole ? content : undefined,
        publish_id: publishId,
        base,
        traceparent: request.traceparent,
        refs,
        accepted_at: acceptedAt,
        due_at: acceptedAt,
        tries: 0,
        attempts: noAttempts,
        may_have: admission.doubtful
      }
      return {
        live,
        entry,
        notification,
        stored: false,
        folded: noEntries,
        heldBack: choice.heldBack,
        respectBreaker: options.respectCircuitBreakers,
        hurry,
        until,
        patienceMs: 2_000,
        room,
        traceparent: request.traceparent,
        records: whole ? admission.records : recordsOf(part.alerts),
        // After a pause others may have been at it.
        fresh: !ifOwed && admission.isNew && latest === seq,
        running: false,
        handing: undefined
      }
    }

    const start = async (delivery: Delivery): Promise<void> => {
      const { choice, jobs, results, ends } = delivery
      if (choice.kind !== 'send') return
      const parts = partsOf(choice, notification)
      const entrance =
        room && !choice.heldBack ? entranceTo(room, hurry, choice.live.last?.success !== false) : undefined
      for (let index = 0; index < parts.length; index++) {
        if (++started % startedAtOnce === 0) await turn()
        const job = jobOf(choice, parts[index]!, entrance?.enter)
        jobs.push(job)
        ends.push(
          deliver.deliver(job).then(result => {
            results[index] = result
            delivery.durationMs = now() - acceptedAt
          })
        )
      }
      if (entrance) void Promise.all(ends).then(entrance.leave)
    }

    if (gone) {
      events.cancelled()
      return { kind: 'cancelled' }
    }
    const deliveries = choices.map<Delivery>(choice => ({
      choice,
      jobs: [],
      results: [],
      ends: [],
      durationMs: 0,
      started: Promise.resolve()
    }))
    // The first to ask get what room there is: whoever failed last time asks last.
    const inOrder = room ? [...deliveries].sort((a, b) => failures(a.choice) - failures(b.choice)) : deliveries
    for (const delivery of inOrder) {
      delivery.started = start(delivery)
      // Many alerts take their time to be written for each target: others get the event loop in between.
      if (many) await turn()
    }
    const all = Promise.all(
      deliveries.map(async delivery => {
        await delivery.started
        await Promise.all(delivery.ends)
      })
    )
    if (!(await inTime(all, hurry, accepted.source, until - now()))) await handOver(deliveries)

    const tookMs = now() - acceptedAt
    const outcomes = deliveries.map(delivery => ({
      choice: delivery.choice,
      parts: delivery.jobs.map((_, index) => delivery.results[index] ?? timedOut(tookMs))
    }))
    const results = deliveries.map(({ choice, durationMs }, index) =>
      targetResult(choice, outcomes[index]!.parts, durationMs || tookMs)
    )
    const result = publishResult(publishId, results, tookMs)
    const verdict = verdictOf(request.scope, outcomes, results)
    events.published(result, verdict, accepted)
    return { kind: 'published', result, verdict, answered: () => void answered(admission, verdict) }
  }

  /** Waits for the deliveries; false if the answer is due, or the caller gone, while attempts still run. */
  async function inTime(
    all: Promise<unknown>,
    hurry: Hurry,
    source: Accepted['source'],
    timeoutMs: number
  ): Promise<boolean> {
    const ackMs = source === 'api' ? Number.POSITIVE_INFINITY : store.durable ? deps.ackTimeoutMs : unownedWaitMs
    let expired = false
    const timer = setTimeout(
      () => {
        expired = ackMs >= timeoutMs
        hurry.end()
      },
      Math.min(ackMs, timeoutMs)
    )
    const done = await hurry.beat(all)
    clearTimeout(timer)
    // At the publish's own deadline the attempts time out by themselves, and say so.
    if (expired) await all
    return done || expired
  }

  /** Has what still runs owned by the queue; what waited for its turn stops waiting and owns itself. */
  async function handOver(deliveries: readonly Delivery[]): Promise<void> {
    await Promise.all(deliveries.map(delivery => delivery.started))
    await Promise.all(
      deliveries.flatMap(({ jobs, results, ends }) =>
        jobs.map(async (job, index) => {
          if (results[index]) return
          if (!job.running) return ends[index]
          const owned = await deliver.handOver(job)
          results[index] ??= owned
        })
      )
    )
  }

  interface Admission {
    readonly seq: number
    readonly key: string | undefined
    readonly round: number
    readonly meaning: Meaning | undefined
    readonly known: Round | undefined
    /** Of the alerts, in their order. */
    readonly records: readonly (Fields | undefined)[]
    /** The ledger has nothing of this round yet. */
    readonly isNew: boolean
    /** An attempt that nobody remembers may have arrived: the caller tries again what a process died over. */
    readonly doubtful: boolean
  }

  /** Gives the notification its place in the order of acceptance, and finds out what its key means. */
  async function admit(request: PublishRequest, at: number): Promise<Admission> {
    const { accepted, idempotencyKey } = request
    const key =
      accepted.source === 'alertmanager'
        ? publishKeyOf(accepted.notification)
        : idempotencyKey === undefined
          ? undefined
          : chosenKeyOf(idempotencyKey, request.bytes)
    if (key === undefined || !store.shared) return admitted(request, key, at)
    return alone(key, () => admitted(request, key, at))
  }

  /**
   * Lets one at a time look a key up and write it, in this process and in any other: twins that came at once would
   * both find nothing, and both send. Who waits for longer than a second goes on without.
   */
  async function alone<T>(key: string, look: () => Promise<T>): Promise<T> {
    const before = looking.get(key)
    const mine = (async () => {
      await before
      let hold = await store.hold([`//${key}`])
      for (const end = now() + 1_000; !hold && now() < end; hold = await store.hold([`//${key}`]))
        await new Promise(resolve => setTimeout(resolve, 10))
      try {
        return await look()
      } finally {
        if (hold) store.release(hold)
      }
    })()
    const ended = mine.catch(() => {})
    looking.set(key, ended)
    try {
      return await mine
    } finally {
      if (looking.get(key) === ended) looking.delete(key)
    }
  }

  async function admitted(request: PublishRequest, key: string | undefined, at: number): Promise<Admission> {
    const { accepted } = request
    const { alerts } = accepted.notification
    const isAlertmanager = accepted.source === 'alertmanager'
    try {
      const next = store.next()
      const seq = typeof next === 'number' ? next : await next
      latest = seq
      const ids = alerts.map(alert => alertId(alert.fingerprint))
      if (key !== undefined) ids.push(ledgerId(key))
      const chosen =
        isAlertmanager || request.idempotencyKey === undefined ? undefined : chosenId(request.idempotencyKey)
      if (chosen !== undefined) ids.push(chosen)
      const read = ids.length > readAtOnce ? readInTurns(ids) : store.read(ids)
      const records = read instanceof Promise ? await read : read
      const ledger = key === undefined ? undefined : records[alerts.length]
      const known = ledger?.m as Round | undefined
      const changes = alerts.map<Change>(alert => ({
        id: alertId(alert.fingerprint),
        set: { k: stateOf(alert) },
        expiresAt: at + stateMs
      }))
      if (key === undefined) {
        store.note(changes)
        return {
          seq,
          key,
          round: seq,
          meaning: undefined,
          known: undefined,
          records,
          isNew: true,
          doubtful: at < doubtUntil
        }
      }
      const sighting: Sighting = {
        now: at,
        sender: `${request.sender} ${accepted.notification.external_url}`,
        reminder: accepted.reminder,
        outdated: alerts.some((alert, index) => isOutdated(alert, records[index])),
        dedupWindowMs: deps.dedupWindowMs,
        chosenKey: !isAlertmanager,
        interruptedAt
      }
      const before = chosen === undefined ? undefined : records[alerts.length + 1]?.key
      if (before !== undefined && before !== key)
        events.warn('an Idempotency-Key came again with another body: it is published as a new one', {
          alert_fingerprint: alerts[0]!.fingerprint
        })
      const meaning = meaningOf(known, sighting)
      const after = roundAfter(known, meaning, sighting, seq)
      // A new round knows nothing of how the one before ended.
      const replace = known !== undefined && after.round !== known.round
      changes.push({ id: ledgerId(key), set: { m: after }, replace, expiresAt: at + ledgerMs })
      if (chosen !== undefined) changes.push({ id: chosen, set: { key }, expiresAt: at + ledgerMs })
      store.note(changes)
      const isNew = meaning.kind !== 'resume' && meaning.kind !== 'twin'
      const doubtful = meaning.kind === 'resume' || at < doubtUntil
      return {
        seq,
        key,
        round: after.round,
        meaning,
        known: after,
        records: records.slice(0, alerts.length),
        isNew,
        doubtful
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      // Without the store there is no dedup and no order across replicas, but who can be reached is reached.
      events.warn('the ledger cannot be read: publishing without it', {
        error: error instanceof Error ? error.message : 'unknown'
      })
      return {
        seq: at * 1000,
        key: undefined,
        round: at,
        meaning: undefined,
        known: undefined,
        records: [],
        isNew: false,
        doubtful: false
      }
    }
  }

  /** Reads many records without keeping the event loop to itself. The last ones are those that decide: nothing comes between. */
  async function readInTurns(ids: readonly string[]): Promise<(Fields | undefined)[]> {
    const records: (Fields | undefined)[] = []
    for (let from = 0; from < ids.length; from += readAtOnce) {
      if (from > 0) await turn()
      for (const record of await store.read(ids.slice(from, from + readAtOnce))) records.push(record)
    }
    return records
  }

  /** Remembers that the caller has been told, if it was told that all is well. */
  async function answered({ key, known }: Admission, verdict: Verdict): Promise<void> {
    if (key === undefined || !known || verdict.status >= 300 || known.answeredAt !== undefined) return
    try {
      const read = store.read([ledgerId(key)])
      const [record] = read instanceof Promise ? await read : read
      const current = record?.m as Round | undefined
      // A newer round may have begun before this answer was out.
      if (current?.round !== known.round) return
      store.note([{ id: ledgerId(key), set: { m: { ...current, answeredAt: now() } }, expiresAt: now() + ledgerMs }])
    } catch {
      // Without the store nothing is remembered: the caller's next try is taken for a retry, which reaches nobody twice.
    }
  }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

function isOutdated(alert: Alert, record: Fields | undefined): boolean {
  return typeof record?.k === 'string' && record.k !== stateOf(alert)
}

function partsOf(choice: Choice & { kind: 'send' }, notification: Notification): Part[] {
  return choice.live.target.wire.parts?.(choice.alerts, notification) ?? [{ key: '', alerts: choice.alerts }]
}

const failures = (choice: Choice): number => (choice.kind === 'send' && choice.live.last?.success === false ? 1 : 0)

/** One delivery's room among those of its publish: taken by its first part, left by its last. */
function entranceTo(room: Slots, hurry: Hurry, urgent: boolean): { enter: () => Promise<boolean>; leave(): void } {
  let entered: Promise<boolean> | undefined
  const enter = async (): Promise<boolean> => {
    const place = room.take(urgent)
    if (await hurry.beat(place.taken)) return true
    place.cancel()
    return place.taken
  }
  return {
    enter: () => (entered ??= enter()),
    leave: () => void entered?.then(taken => taken && room.give())
  }
}

/** An attempt that runs on although nobody can own it. */
function timedOut(durationMs: number): PartResult {
  const failure = { type: 'transient', reason: 'timeout', message: 'the target did not answer in time' } as const
  return { kind: 'unowned', failure, attempts: 1, durationMs }
}

function verdictOf(scope: Scope, outcomes: Parameters<typeof tallyOf>[0], results: readonly TargetResult[]): Verdict {
  if (outcomes.every(({ choice }) => choice.kind === 'unknown')) return { status: 404, code: 'TARGET_NOT_FOUND' }
  const byHealth = (result: TargetResult) =>
    result.skipped &&
    !result.queued &&
    (result.skip_reason === 'unhealthy' || result.skip_reason === 'degraded' || result.skip_reason === 'circuit_open')
  if (scope === 'healthy' && results.every(byHealth)) return { status: 503, code: 'NO_HEALTHY_TARGETS' }
  return statusOf(tallyOf(outcomes))
}
