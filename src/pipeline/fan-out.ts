import type { Alert, Notification } from '../alert.js'
import { mapped } from '../mapped.js'
import type { Part } from '../targets/contract.js'
import type { Admission } from './admission.js'
import type { Deliver, JobEnd, Terms } from './deliver.js'
import { type Entry, isPerAlert, lanesFor, newId, perGroup, slotOf, slotOfGroup } from './entry.js'
import type { Hurry } from './hurry.js'
import type { Job, PartResult } from './job.js'
import type { Ticket } from './lanes.js'
import type { Sequenced } from './lifecycle.js'
import type { LiveTarget } from './live.js'
import { internal } from './outcome.js'
import type { PublishRequest } from './publish.js'
import type { Choice } from './select.js'
import { createSlots, type Slots } from './slots.js'
import { unlisting } from './takeover.js'
import { isMany, turn } from './turn.js'

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

/** Of a large notification, the parts that begin, or are owned in one write, before others get the event loop. */
const begunAtOnce = 25
const ownedAtOnce = 100
/** Parts of one delivery that are under way at once: of tens of thousands, those that only wait would fill the memory. */
const mostUnderWay = 1_000
/** Time that it takes to own one part, and one alert, among many on a slow machine, in milliseconds. */
const partMs = 0.06
const alertMs = 0.02
/** Longest wait for a rate-limit token, in milliseconds. */
const patienceMs = 2_000
const noRefs: Entry['refs'] = []
const noAttempts: Entry['attempts'] = []
const noEntries: readonly Entry[] = []

const noParts: readonly Part[] = []
/** Of deliveries that have no parts, or none yet. */
const nothingYet: never[] = []

/** A delivery with its parts at hand. */
class Running implements Delivery, JobEnd {
  results: (PartResult | undefined)[] = nothingYet
  durationMs = 0
  parts: readonly Part[] = noParts
  /** As the parts are: those that have begun and not ended. */
  jobs: (Job | undefined)[] = nothingYet
  /** How many have begun: the next one's index. */
  begun = 0
  endedCount = 0
  /** Of those under way, how many are being owned in one write with others. */
  owning = 0
  /** As the parts are, where there are many: their places in the lanes, which they take before they begin. */
  tickets: Ticket[] | undefined = undefined
  /** Parts for which somebody was in their lanes. */
  late: Set<number> | undefined = undefined
  /** More parts will begin once others have had the event loop. */
  coming = false

  constructor(
    readonly choice: Choice,
    readonly entrance: Entrance | undefined,
    private readonly whom: { partEnded(delivery: Running, index: number, result: PartResult): void }
  ) {}

  ended({ index }: Job, result: PartResult): void {
    this.whom.partEnded(this, index, result)
  }
}

type Send = Choice & { readonly kind: 'send' }

/** Starts every chosen delivery, all in parallel, and gathers their results. */
export class FanOut {
  /** Resolves once every part of every delivery has ended. */
  readonly ended: Promise<void>
  readonly #deliveries: readonly Running[]
  /** Resolves once it is known what parts there are; undefined: it is. */
  readonly laidOut: Promise<unknown> | undefined
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
  /** Deliveries of which more parts will begin. */
  #coming: Running[] | undefined
  /** Parts that were handed over and have not ended. */
  #handed: Set<Job> | undefined
  #othersEnded: (() => void) | undefined
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
    this.#sequenced = mapped(notification.alerts, alert => ({ alert, seq }))
    this.#group = groupOf(notification)
    this.#wholeSlot = slotOfGroup(notification, '')
    this.#base = `${key ?? publishId}/${round}`
    this.#content = `${(key ?? publishId).slice(0, 24)}.${round.toString(36)}`
    this.#refs = key === undefined ? noRefs : [{ key, round }]
    this.#room = maxConcurrent > 0 && maxConcurrent < choices.length ? createSlots(maxConcurrent) : undefined
    this.#deliveries = mapped(choices, choice => this.#open(choice))
    this.laidOut = this.#startAll()
    if (this.laidOut) void this.laidOut.then(() => this.#leave())
    else this.#leave()
  }

  get deliveries(): readonly Delivery[] {
    return this.#deliveries
  }

  /** How long it takes to own what has not ended, in milliseconds; 0 if that is nothing to speak of. */
  writingMs(): number {
    if (!isMany(this.#sequenced)) return 0
    let ms = 0
    for (const { choice, parts, endedCount } of this.#deliveries) {
      if (choice.kind !== 'send') continue
      const { alerts, live } = choice
      // Some may not be laid out yet.
      const count = parts.length || (isPerAlert(live.target) ? alerts.length : 1)
      ms += (1 - endedCount / count) * (count * partMs + alerts.length * alertMs)
    }
    return ms
  }

  /** Whether all that has ended, or still runs, is told, given up or owed. */
  isOwned(): boolean {
    return this.#deliveries.every(
      ({ results, parts }) =>
        results.length === parts.length && results.every(result => result && result.kind !== 'unowned')
    )
  }

  /** Has what still runs owned by the queue; what waited for its turn stops waiting and owns itself. */
  async handOver(): Promise<void> {
    await this.laidOut
    this.#handed = new Set()
    const handing: Promise<void>[] = []
    for (const delivery of this.#deliveries)
      for (const [index, job] of delivery.jobs.entries()) {
        if (job && isMany(job.entry.alerts)) await turn()
        if (job?.running) handing.push(this.#hand(delivery, index))
      }
    await Promise.all(handing)
    if (this.#left > this.#handed.size) await new Promise<void>(resolve => (this.#othersEnded = resolve))
  }

  async #hand(delivery: Running, index: number): Promise<void> {
    const job = delivery.jobs[index]!
    this.#handed!.add(job)
    const owned = await this.deps.deliver.handOver(job)
    delivery.results[index] ??= owned
  }

  #open(choice: Choice): Running {
    const waits = this.#room && choice.kind === 'send' && !choice.heldBack
    const entrance = waits ? entranceTo(this.#room!, this.plan.hurry, failures(choice) === 0) : undefined
    return new Running(choice, entrance, this)
  }

  /** Lays out the delivery's parts. */
  #part(delivery: Running): void {
    const { choice } = delivery
    if (choice.kind !== 'send') return
    try {
      delivery.parts = partsOf(choice, this.plan.notification)
      delivery.results = mapped(delivery.parts, nothing)
      delivery.jobs = mapped(delivery.parts, nothing)
      this.#left += delivery.parts.length
    } catch (error) {
      // A bug in one kind costs nobody else anything.
      delivery.results = [{ kind: 'unowned', failure: internal(error), attempts: 0, durationMs: 0 }]
    }
  }

  #leave(): void {
    if (--this.#left === 0) this.#allEnded()
    if (this.#left === this.#handed?.size) this.#othersEnded?.()
  }

  /** The first to ask get what room there is: whoever failed last time asks last. */
  #inOrder(): readonly Running[] {
    return this.#room ? [...this.#deliveries].sort((a, b) => failures(a.choice) - failures(b.choice)) : this.#deliveries
  }

  /** In one go where there are few parts; else the targets take turns, and others get the event loop in between. */
  #startAll(): Promise<unknown> | undefined {
    if (isMany(this.#sequenced)) return this.#startInTurns()
    for (const delivery of this.#inOrder()) {
      this.#part(delivery)
      while (delivery.begun < delivery.parts.length) this.#begin(delivery)
    }
    return undefined
  }

  async #startInTurns(): Promise<void> {
    for (const delivery of this.#inOrder()) {
      this.#part(delivery)
      // Before they begin: what is accepted later must find them there, and come after them.
      if (delivery.parts.length > 0) this.#takeLanes(delivery)
      this.#beginSoon(delivery)
      // Many alerts take their time to be written for each target.
      await turn()
    }
    // What has not begun by the time that nobody waits any more is owned without having ended anything.
    void this.plan.hurry.beat(this.ended).then(() => {
      for (const delivery of this.#deliveries) this.#beginSoon(delivery)
    })
  }

  #takeLanes(delivery: Running): void {
    const { live } = delivery.choice as Send
    delivery.tickets = delivery.parts.map(part => {
      const at = { peer: peerAsLaidOut(live, part), slot: this.#slotOf(live, part) }
      const fingerprints = mapped(part.alerts, alert => alert.fingerprint)
      return live.lanes.take(lanesFor(live.target, at, fingerprints))
    })
    for (const [index, { ready }] of delivery.tickets.entries()) if (!ready) (delivery.late ??= new Set()).add(index)
  }

  /** Begins as many parts as there is room for; those that would only be owed are owned together. */
  #beginMore(delivery: Running): void {
    const { parts, begun, endedCount, owning } = delivery
    if (begun === parts.length) return
    const isShut = this.deps.deliver.isShut(this.#termsOf(delivery.choice as Send))
    const room = mostUnderWay - (isShut ? owning : begun - endedCount)
    const to = Math.min(begun + Math.min(room, isShut ? ownedAtOnce : begunAtOnce), parts.length)
    if (isShut) this.#ownTo(delivery, to)
    else while (delivery.begun < to) this.#begin(delivery)
    if (to > begun) this.#beginSoon(delivery)
  }

  #beginSoon(delivery: Running): void {
    if (delivery.coming || delivery.begun === delivery.parts.length) return
    delivery.coming = true
    if (this.#coming) this.#coming.push(delivery)
    else {
      this.#coming = [delivery]
      setImmediate(() => this.#takeTurns())
    }
  }

  /** One delivery at a time, or many targets would keep the event loop for long. */
  #takeTurns(): void {
    const delivery = this.#coming!.shift()!
    delivery.coming = false
    this.#beginMore(delivery)
    if (this.#coming!.length > 0) setImmediate(() => this.#takeTurns())
    else this.#coming = undefined
  }

  #begin(delivery: Running): void {
    this.deps.deliver.deliver(this.#nextJob(delivery), delivery)
  }

  #ownTo(delivery: Running, to: number): void {
    const jobs: Job[] = []
    while (delivery.begun < to) jobs.push(this.#nextJob(delivery))
    if (jobs.length === 0) return
    delivery.owning += jobs.length
    this.deps.deliver.ownAll(jobs, {
      ended: (job, result) => {
        delivery.owning--
        delivery.ended(job, result)
      }
    })
  }

  #nextJob(delivery: Running): Job {
    const index = delivery.begun++
    const job = this.#jobOf(delivery, index)
    delivery.jobs[index] = job
    return job
  }

  partEnded(delivery: Running, index: number, result: PartResult): void {
    delivery.results[index] = result
    delivery.durationMs = this.deps.now() - this.plan.acceptedAt
    this.#handed?.delete(delivery.jobs[index]!)
    delivery.jobs[index] = undefined
    if (++delivery.endedCount === delivery.parts.length) delivery.entrance?.leave()
    else this.#beginSoon(delivery)
    this.#leave()
  }

  #termsOf({ live, heldBack }: Send): Terms {
    const { request, hurry } = this.plan
    return { live, heldBack, hurry, patienceMs, respectBreaker: request.options.respectCircuitBreakers }
  }

  #jobOf({ choice, parts, entrance, tickets, late }: Running, index: number): Job {
    const { live, alerts, heldBack, ifOwed, stillFiring } = choice as Send
    const part = parts[index]!
    const { request, notification, admission, publishId, acceptedAt, until, hurry } = this.plan
    const { seq } = admission
    const isWhole = part.alerts.length === notification.alerts.length
    const isOwedSome =
      stillFiring !== undefined && alerts.length < notification.alerts.length && !isPerAlert(live.target)
    return {
      live,
      entry: {
        id: newId('d', acceptedAt),
        target: live.name,
        type: live.type,
        part: part.key,
        peer: peerAsLaidOut(live, part),
        slot: this.#slotOf(live, part),
        per_group: perGroup(live.target),
        alerts:
          isWhole && !ifOwed
            ? this.#sequenced
            : mapped(part.alerts, alert => ({ alert, seq, ifOwed: ifOwed?.has(alert) })),
        group: unlisting(this.#group, stillFiring ?? 0),
        body: undefined,
        content: isWhole ? this.#content : undefined,
        publish_id: publishId,
        base: this.#base,
        traceparent: request.traceparent,
        // Who is only told some of it, because that is owed, may come to want the rest, and is asked anew then.
        refs: isOwedSome ? noRefs : this.#refs,
        accepted_at: acceptedAt,
        due_at: acceptedAt,
        tries: 0,
        attempts: noAttempts,
        may_have: admission.doubtful
      },
      notification: unlisting(notification, stillFiring ?? 0),
      stored: false,
      folded: noEntries,
      heldBack,
      respectBreaker: request.options.respectCircuitBreakers,
      hurry,
      until,
      patienceMs,
      room: entrance?.enter,
      traceparent: request.traceparent,
      records: isWhole ? admission.records : this.#recordsOf(part.alerts),
      // After a pause others may have been at it.
      fresh: !ifOwed && !late?.has(index) && admission.isNew && this.deps.isLatest(admission),
      ticket: tickets?.[index],
      index,
      attemptedAt: 0,
      attemptMs: 0,
      seat: 0,
      running: false,
      states: undefined,
      handing: undefined
    }
  }

  #slotOf({ target }: LiveTarget, part: Part): string {
    const { notification } = this.plan
    const isWhole = part.key === '' && part.alerts.length === notification.alerts.length
    return isWhole ? this.#wholeSlot : slotOf(target, part, notification)
  }

  #recordsOf(some: readonly Alert[]): Job['records'] {
    const { notification, admission } = this.plan
    this.#positions ??= new Map(notification.alerts.map((alert, index) => [alert, index]))
    return mapped(some, alert => admission.records[this.#positions!.get(alert)!])
  }
}

/** What is told of a part that has not ended, once all of its publish is owed as a whole. */
export function owedAsWhole(delivery: Delivery, index: number): PartResult {
  const entry = (delivery as Running).jobs[index]?.entry
  return { kind: 'queued', id: entry?.id, attempts: entry?.tries ?? 0, durationMs: 0 }
}

const nothing = (): undefined => undefined

const failures = (choice: Choice): number => (choice.kind === 'send' && choice.live.last?.success === false ? 1 : 0)

/** What each part of a delivery carries: all in one, unless the target's kind divides it. */
export function partsOf(choice: Send, notification: Notification): readonly Part[] {
  return choice.live.target.wire.parts?.(choice.alerts, notification) ?? [{ key: '', alerts: choice.alerts }]
}

/** The peer of a part that was laid out for one, though that may have left meanwhile: whose lanes it has, or waits for. */
const peerAsLaidOut = ({ target }: LiveTarget, { key }: Part): string | undefined => target.wire.peers && key

function groupOf(notification: Notification): Entry['group'] {
  const { receiver, group_key, group_labels, common_labels, common_annotations, external_url, truncated_alerts } =
    notification
  return { receiver, group_key, group_labels, common_labels, common_annotations, external_url, truncated_alerts }
}

/** One delivery's room among those of its publish: taken by its first part, left by its last. */
interface Entrance {
  enter(): Promise<boolean>
  leave(): void
}

function entranceTo(room: Slots, hurry: Hurry, urgent: boolean): Entrance {
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
