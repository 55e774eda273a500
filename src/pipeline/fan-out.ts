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

export interface FanOut {
  readonly deliveries: readonly Delivery[]
  /** Resolves once every part of every delivery has ended. */
  readonly ended: Promise<void>
  /** Has what still runs owned by the queue; what waited for its turn stops waiting and owns itself. */
  handOver(): Promise<void>
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
export function fanOut(plan: FanOutPlan, { deliver, isLatest, now }: FanOutDeps): FanOut {
  const { request, notification, admission, choices, publishId, acceptedAt, hurry } = plan
  const { options } = request
  const { alerts } = notification
  const { key, round, seq } = admission
  const sequenced = alerts.map<Sequenced>(alert => ({ alert, seq }))
  const group = groupOf(notification)
  const wholeSlot = slotOfGroup(notification, '')
  const base = `${key ?? publishId}/${round}`
  const content = `${(key ?? publishId).slice(0, 24)}.${round.toString(36)}`
  const refs = key === undefined ? noRefs : [{ key, round }]
  const room =
    options.maxConcurrent > 0 && options.maxConcurrent < choices.length ? createSlots(options.maxConcurrent) : undefined
  let positions: Map<Alert, number> | undefined
  /** Parts that have not ended, and one for the starting itself. */
  let left = 1
  let allEnded: () => void
  const ended = new Promise<void>(resolve => (allEnded = resolve))

  const deliveries = choices.map(open)
  const started = startAll()
  if (started) void started.then(leave)
  else leave()

  function open(choice: Choice): Running {
    const parts = choice.kind === 'send' ? partsOf(choice, notification) : noParts
    const waits = room && choice.kind === 'send' && !choice.heldBack
    return {
      choice,
      results: parts.map(() => undefined),
      durationMs: 0,
      parts,
      jobs: [],
      entrance: waits ? entranceTo(room, hurry, failures(choice) === 0) : undefined,
      waiting: undefined
    }
  }

  function leave(): void {
    if (--left === 0) allEnded()
  }

  /** In one go where there are few parts; else the targets take turns, and others get the event loop in between. */
  function startAll(): Promise<unknown> | undefined {
    if (alerts.length > startedAtOnce) return startInTurns()
    const later = inOrder()
      .map(delivery => startFrom(delivery, 0))
      .filter(start => start !== undefined)
    return later.length === 0 ? undefined : Promise.all(later)
  }

  /** The first to ask get what room there is: whoever failed last time asks last. */
  function inOrder(): readonly Running[] {
    return room ? [...deliveries].sort((a, b) => failures(a.choice) - failures(b.choice)) : deliveries
  }

  async function startInTurns(): Promise<void> {
    const later: (Promise<void> | undefined)[] = []
    for (const delivery of inOrder()) {
      later.push(startFrom(delivery, 0))
      // Many alerts take their time to be written for each target.
      await turn()
    }
    await Promise.all(later)
  }

  function startFrom(delivery: Running, from: number): Promise<void> | undefined {
    const { parts } = delivery
    const to = Math.min(from + startedAtOnce, parts.length)
    for (let index = from; index < to; index++) startPart(delivery, index)
    return to < parts.length ? turn().then(() => startFrom(delivery, to)) : undefined
  }

  function startPart(delivery: Running, index: number): void {
    const job = jobOf(delivery.choice as Send, delivery.parts[index]!, delivery.entrance?.enter)
    delivery.jobs.push(job)
    left++
    deliver.deliver(job, result => {
      delivery.results[index] = result
      delivery.durationMs = now() - acceptedAt
      delivery.waiting?.get(index)?.()
      if (delivery.entrance?.ended(delivery.parts.length)) delivery.entrance.leave()
      leave()
    })
  }

  function jobOf({ live, heldBack, ifOwed }: Send, part: Part, enter: Job['room']): Job {
    const isWhole = part.alerts.length === alerts.length
    return {
      live,
      entry: {
        id: newId('d', acceptedAt),
        target: live.name,
        type: live.type,
        part: part.key,
        slot: slotFor(live, part, isWhole),
        alerts: isWhole && !ifOwed ? sequenced : part.alerts.map(alert => ({ alert, seq, ifOwed: ifOwed?.has(alert) })),
        group,
        body: undefined,
        content: isWhole ? content : undefined,
        publish_id: publishId,
        base,
        traceparent: request.traceparent,
        refs,
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
      respectBreaker: options.respectCircuitBreakers,
      hurry,
      until: plan.until,
      patienceMs,
      room: enter,
      traceparent: request.traceparent,
      records: isWhole ? admission.records : recordsOf(part.alerts),
      // After a pause others may have been at it.
      fresh: !ifOwed && admission.isNew && isLatest(admission),
      running: false,
      handing: undefined
    }
  }

  function slotFor(live: LiveTarget, part: Part, isWhole: boolean): string {
    if (live.target.kind.lane(live.target.settings) === 'alert') return part.key
    return isWhole && part.key === '' ? wholeSlot : slotOf(live.target, part, notification)
  }

  function recordsOf(some: readonly Alert[]): Job['records'] {
    positions ??= new Map(alerts.map((alert, index) => [alert, index]))
    return some.map(alert => admission.records[positions!.get(alert)!])
  }

  async function settleNow(delivery: Running, index: number): Promise<void> {
    if (delivery.results[index]) return
    const job = delivery.jobs[index]!
    if (!job.running) {
      const waiting = (delivery.waiting ??= new Map<number, () => void>())
      return new Promise(resolve => waiting.set(index, resolve))
    }
    const owned = await deliver.handOver(job)
    delivery.results[index] ??= owned
  }

  return {
    deliveries,
    ended,
    async handOver() {
      await started
      await Promise.all(deliveries.flatMap(delivery => delivery.jobs.map((_, index) => settleNow(delivery, index))))
    }
  }
}

const noParts: readonly Part[] = []

const failures = (choice: Choice): number => (choice.kind === 'send' && choice.live.last?.success === false ? 1 : 0)

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

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
