import type { Alert, Notification } from '../alert.js'
import type { Part } from '../targets/contract.js'
import type { Admission } from './admission.js'
import type { Deliver } from './deliver.js'
import { type Entry, newId, slotOf, slotOfGroup } from './entry.js'
import type { Hurry } from './hurry.js'
import type { Job, PartResult } from './job.js'
import type { Sequenced } from './lifecycle.js'
import type { LiveTarget } from './live.js'
import type { PublishRequest } from './publish.js'
import type { Choice } from './select.js'
import { createSlots, type Slots } from './slots.js'
import { turn } from './turn.js'

/** One target's delivery: its parts on their way, and what came of them so far. */
export interface Delivery {
  readonly choice: Choice
  /** As the parts are; a part without a result has not ended. */
  readonly results: (PartResult | undefined)[]
  /** Until its last result so far, in milliseconds; 0 before the first. */
  durationMs: number
}

/** What one publish is about. Times are milliseconds since the epoch. */
export interface FanOutPlan {
  readonly request: PublishRequest
  readonly notification: Notification
  readonly admission: Admission
  readonly choices: readonly Choice[]
  readonly publishId: string
  readonly acceptedAt: number
  readonly until: number
  readonly hurry: Hurry
}

export interface FanOutDeps {
  readonly deliver: Deliver
  /** Whether no other notification was accepted since. */
  isLatest(admission: Admission): boolean
  now(): number
}

/** Parts that are started before others get the event loop. */
const startedAtOnce = 100
/** Longest wait for a rate-limit token, in milliseconds. */
const patienceMs = 2_000
const noRefs: Entry['refs'] = []
const noAttempts: Entry['attempts'] = []
const noEntries: readonly Entry[] = []

/** A delivery with its parts at hand. */
interface Running extends Delivery {
  readonly parts: readonly Part[]
  readonly jobs: Job[]
  readonly entrance: Entrance | undefined
  /** Whoever waits for a part to end, by its index. */
  waiting: Map<number, () => void> | undefined
}

type Send = Choice & { readonly kind: 'send' }

/** Starts every chosen delivery, all in parallel, and gathers their results. */
export class FanOut {
  /** Resolves once every part of every delivery has ended. */
  readonly ended: Promise<void>
  readonly #deliveries: readonly Running[]
  readonly #started: Promise<unknown> | undefined
  readonly #room: Slots | undefined
  readonly #sequenced: readonly Sequenced[]
  readonly #group: Entry['group']
  readonly #wholeSlot: string
  readonly #base: string
  readonly #content: string
  readonly #refs: Entry['refs']
  #positions: Map<Alert, number> | undefined
  /** Parts that have not ended, and one for the starting itself. */
  #left = 1
  #allEnded!: () => void

  constructor(
    private readonly plan: FanOutPlan,
    private readonly deps: FanOutDeps
  ) {
    const { notification, admission, choices, publishId } = plan
    const { key, round, seq } = admission
    const { maxConcurrent } = plan.request.options
    this.ended = new Promise(resolve => {
      this.#allEnded = resolve
    })
    this.#sequenced = notification.alerts.map(alert => ({ alert, seq }))
    this.#group = groupOf(notification)
    this.#wholeSlot = slotOfGroup(notification, '')
    this.#base = `${key ?? publishId}/${round}`
    this.#content = `${(key ?? publishId).slice(0, 24)}.${round.toString(36)}`
    this.#refs = key === undefined ? noRefs : [{ key, round }]
    this.#room = maxConcurrent > 0 && maxConcurrent < choices.length ? createSlots(maxConcurrent) : undefined
    this.#deliveries = choices.map(choice => this.#open(choice))
    this.#started = this.#startAll()
    if (this.#started) void this.#started.then(() => this.#leave())
    else this.#leave()
  }

  get deliveries(): readonly Delivery[] {
    return this.#deliveries
  }

  /** Has what still runs owned by the queue; what waited for its turn stops waiting and owns itself. */
  async handOver(): Promise<void> {
    await this.#started
    await Promise.all(
      this.#deliveries.flatMap(delivery => delivery.jobs.map((_, index) => this.#settleNow(delivery, index)))
    )
  }

  #open(choice: Choice): Running {
    const parts = choice.kind === 'send' ? partsOf(choice, this.plan.notification) : noParts
    const waits = this.#room && choice.kind === 'send' && !choice.heldBack
    return {
      choice,
      results: parts.map(() => undefined),
      durationMs: 0,
      parts,
      jobs: [],
      entrance: waits ? entranceTo(this.#room!, this.plan.hurry, failures(choice) === 0) : undefined,
      waiting: undefined
    }
  }

  #leave(): void {
    if (--this.#left === 0) this.#allEnded()
  }

  /** The first to ask get what room there is: whoever failed last time asks last. */
  #inOrder(): readonly Running[] {
    return this.#room ? [...this.#deliveries].sort((a, b) => failures(a.choice) - failures(b.choice)) : this.#deliveries
  }

  /** In one go where there are few parts; else the targets take turns, and others get the event loop in between. */
  #startAll(): Promise<unknown> | undefined {
    if (this.#sequenced.length > startedAtOnce) return this.#startInTurns()
    let later: Promise<void>[] | undefined
    for (const delivery of this.#inOrder()) {
      const rest = this.#startFrom(delivery, 0)
      if (rest) (later ??= []).push(rest)
    }
    return later && Promise.all(later)
  }

  async #startInTurns(): Promise<void> {
    const later: (Promise<void> | undefined)[] = []
    for (const delivery of this.#inOrder()) {
      later.push(this.#startFrom(delivery, 0))
      // Many alerts take their time to be written for each target.
      await turn()
    }
    await Promise.all(later)
  }

  #startFrom(delivery: Running, from: number): Promise<void> | undefined {
    const { parts } = delivery
    const to = Math.min(from + startedAtOnce, parts.length)
    for (let index = from; index < to; index++) this.#startPart(delivery, index)
    return to < parts.length ? turn().then(() => this.#startFrom(delivery, to)) : undefined
  }

  #startPart(delivery: Running, index: number): void {
    const job = this.#jobOf(delivery.choice as Send, delivery.parts[index]!, delivery.entrance?.enter)
    delivery.jobs.push(job)
    this.#left++
    this.deps.deliver.deliver(job, result => this.#partEnded(delivery, index, result))
  }

  #partEnded(delivery: Running, index: number, result: PartResult): void {
    delivery.results[index] = result
    delivery.durationMs = this.deps.now() - this.plan.acceptedAt
    delivery.waiting?.get(index)?.()
    if (delivery.entrance?.ended(delivery.parts.length)) delivery.entrance.leave()
    this.#leave()
  }

  #jobOf({ live, heldBack, ifOwed }: Send, part: Part, enter: Job['room']): Job {
    const { request, notification, admission, publishId, acceptedAt, until, hurry } = this.plan
    const { seq } = admission
    const isWhole = part.alerts.length === notification.alerts.length
    return {
      live,
      entry: {
        id: newId('d', acceptedAt),
        target: live.name,
        type: live.type,
        part: part.key,
        slot: this.#slotOf(live, part, isWhole),
        alerts:
          isWhole && !ifOwed ? this.#sequenced : part.alerts.map(alert => ({ alert, seq, ifOwed: ifOwed?.has(alert) })),
        group: this.#group,
        body: undefined,
        content: isWhole ? this.#content : undefined,
        publish_id: publishId,
        base: this.#base,
        traceparent: request.traceparent,
        refs: this.#refs,
        accepted_at: acceptedAt,
        due_at: acceptedAt,
        tries: 0,
        attempts: noAttempts,
        may_have: admission.doubtful
      },
      notification,
      stored: false,
      folded: noEntries,
      heldBack,
      respectBreaker: request.options.respectCircuitBreakers,
      hurry,
      until,
      patienceMs,
      room: enter,
      traceparent: request.traceparent,
      records: isWhole ? admission.records : this.#recordsOf(part.alerts),
      // After a pause others may have been at it.
      fresh: !ifOwed && admission.isNew && this.deps.isLatest(admission),
      attemptedAt: 0,
      attemptMs: 0,
      seat: 0,
      running: false,
      handing: undefined
    }
  }

  #slotOf(live: LiveTarget, part: Part, isWhole: boolean): string {
    if (live.target.kind.lane(live.target.settings) === 'alert') return part.key
    return isWhole && part.key === '' ? this.#wholeSlot : slotOf(live.target, part, this.plan.notification)
  }

  #recordsOf(some: readonly Alert[]): Job['records'] {
    const { notification, admission } = this.plan
    this.#positions ??= new Map(notification.alerts.map((alert, index) => [alert, index]))
    return some.map(alert => admission.records[this.#positions!.get(alert)!])
  }

  async #settleNow(delivery: Running, index: number): Promise<void> {
    if (delivery.results[index]) return
    const job = delivery.jobs[index]!
    if (!job.running) {
      delivery.waiting ??= new Map()
      const { waiting } = delivery
      return new Promise(resolve => waiting.set(index, resolve))
    }
    const owned = await this.deps.deliver.handOver(job)
    delivery.results[index] ??= owned
  }
}

const noParts: readonly Part[] = []

const failures = (choice: Choice): number => (choice.kind === 'send' && choice.live.last?.success === false ? 1 : 0)

function partsOf(choice: Send, notification: Notification): readonly Part[] {
  return choice.live.target.wire.parts?.(choice.alerts, notification) ?? [{ key: '', alerts: choice.alerts }]
}

function groupOf(notification: Notification): Entry['group'] {
  const { receiver, group_key, group_labels, common_labels, common_annotations, external_url, truncated_alerts } =
    notification
  return { receiver, group_key, group_labels, common_labels, common_annotations, external_url, truncated_alerts }
}

/** One delivery's room among those of its publish: taken by its first part, left by its last. */
interface Entrance {
  enter(): Promise<boolean>
  /** Counts one part that has ended; true if it was the last of so many. */
  ended(parts: number): boolean
  leave(): void
}

function entranceTo(room: Slots, hurry: Hurry, urgent: boolean): Entrance {
  let entered: Promise<boolean> | undefined
  let count = 0
  const enter = async (): Promise<boolean> => {
    const place = room.take(urgent)
    if (await hurry.beat(place.taken)) return true
    place.cancel()
    return place.taken
  }
  return {
    enter: () => (entered ??= enter()),
    ended: parts => ++count === parts,
    leave: () => void entered?.then(taken => taken && room.give())
  }
}
