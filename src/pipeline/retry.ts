import { type Priority, priorities, type Store, StoreUnavailable } from '../queues/contract.js'
import { failure } from '../targets/failures.js'
import { permits } from './breaker.js'
import type { Deliver } from './deliver.js'
import { type Entry, entryId, lanesOf, mayHave, notificationOf, peerOf, perGroup, placeOf } from './entry.js'
import { unhurried } from './hurry.js'
import { type Job, type PartResult, untouched } from './job.js'
import { type LiveTarget, rateWaitMs, reachedAt } from './live.js'
import type { Owed } from './owed.js'
import type { Roster } from './roster.js'
import { isMany, turn } from './turn.js'

export interface RetryDeps {
  readonly store: Store
  readonly roster: Roster
  readonly deliver: Deliver
  readonly owed: Owed
  readonly workers: number
  /** Alerts of entries with many that are in hand at once; one such entry alone is taken whatever it has. */
  readonly maxAlerts: number
  now(): number
  /** A turn of the loop that failed, e.g. for a store that is away. */
  failed(error: unknown): void
}

/** Works off what is owed. */
export interface Retry {
  /** Begins; call it once the targets are known. */
  start(): void
  /** Looks at once: something became due, or a target changed. */
  wake(): void
  /** Makes everything that the target is owed due now. */
  hasten(target: string): void
  active(): number
  /** Starts nothing more, and resolves once what runs has ended. */
  stop(): Promise<void>
}

/** Longest sleep, in milliseconds: what other processes enqueue is found by then. */
const maxSleepMs = 1_000
/** A target that has been gone for this long will not come back for its entries. */
const missingMs = 15 * 60_000
/** An entry that cannot be sent now for reasons of its own is looked at again after so long, in milliseconds. */
const restMs = 250
const strayMs = 60_000
const mostLarge = 1_000
/** Entries of one target are made due for a success so often at most, in milliseconds: some may fail whatever succeeds. */
const hastenMs = 5_000
/** Of eight entries, so many are taken from each priority first: high goes first, but none starves. */
const turns: readonly Priority[] = ['high', 'high', 'medium', 'high', 'high', 'medium', 'high', 'low']

const nobodyThere = failure('target_not_found', 'no target has had this name and type for 15 minutes')

export function createRetry(deps: RetryDeps): Retry {
  const { store, roster, deliver, owed, workers, maxAlerts, now } = deps
  const running = new Map<string, Promise<void>>()
  const perTarget = new Map<string, Set<Job>>()
  /** Entries that were started for each target so far: whose turn it is among its priorities. */
  const served = new Map<string, number>()
  /** Since when there is no target of a name, or of a name and type, that entries wait for. */
  const missingSince = new Map<string, number>()
  /** Entries that another process has in hand, and until when they are left alone. */
  const resting = new Map<string, number>()
  /** Entries with many alerts, and how many: those that there is no room for are not read again and again. */
  const large = new Map<string, number>()
  let alertsInHand = 0
  /** When entries of a target were last made due for a success. */
  const hastenedAt = new Map<string, number>()
  const quarter = Math.max(1, Math.floor(workers / 4))
  let first = 0
  /** When the last look at the queue began, in milliseconds since the epoch. */
  let lookedAt = 0
  let timer: NodeJS.Timeout | undefined
  let looking = false
  let again = false
  let on = false

  const sleep = (ms: number): void => {
    clearTimeout(timer)
    if (on) timer = setTimeout(look, Math.min(Math.max(ms, 1), maxSleepMs))
  }

  function look(): void {
    if (looking) {
      again = true
      return
    }
    looking = true
    again = false
    round()
      .catch(error => {
        deps.failed(error)
        return maxSleepMs
      })
      .then(ms => {
        looking = false
        sleep(again ? 1 : ms)
      })
  }

  /** Starts what can be started; returns how long nothing more will be due, in milliseconds. */
  async function round(): Promise<number> {
    const at = now()
    if (store.shared) {
      // What could not be written down would be done again, by this process and by the others.
      const { available, warnings } = await store.status()
      if (!available) throw new StoreUnavailable(warnings[0])
    }
    const earliest = await store.earliest()
    const ready: LiveTarget[] = []
    let nextAt = at + maxSleepMs
    for (const [name, earliestAt] of earliest) {
      const live = roster.get(name)
      if (!live) {
        await missing(name, at)
        continue
      }
      missingSince.delete(name)
      const reached = isReached(live, at)
      if (reached) await hastenFor(name, at)
      const dueAt = reached ? at : earliestAt
      const openAt = Math.max(dueAt, readyAt(live, at))
      if (openAt <= at) ready.push(live)
      else nextAt = Math.min(nextAt, openAt)
    }
    lookedAt = at
    for (const name of hastenedAt.keys()) if (!earliest.has(name)) hastenedAt.delete(name)
    for (const name of missingSince.keys()) if (!earliest.has(name.split('/')[0]!)) missingSince.delete(name)
    for (const name of served.keys()) if (!earliest.has(name)) served.delete(name)
    for (const [id, until] of resting) if (until <= at) resting.delete(id)
    // Some are gone, for others took them over; who is still there is found out anew.
    if (large.size > mostLarge) large.clear()
    // Alone it leaves a share free all the same: whoever comes due meanwhile would wait for its slowest attempt.
    const share = ready.length > 1 ? quarter : Math.max(1, workers - quarter)
    let started = true
    while (on && started && running.size < workers) {
      started = false
      for (const live of rotated(ready)) {
        if (running.size >= workers) break
        if ((perTarget.get(live.name)?.size ?? 0) >= share || readyAt(live, now()) > now()) continue
        if (await startOne(live)) started = true
      }
    }
    return nextAt - now()
  }

  /**
   * Whether the target took something since the last look, or since its entries were last made due for that. Where others
   * use the queue too they may have seen it fail: who saw that alone knows at once that it recovered. Asked here, where
   * it is known who is owed anything, it costs a publish nothing.
   */
  function isReached(live: LiveTarget, at: number): boolean {
    const reached = store.shared ? reachedAt(live) : undefined
    if (reached === undefined) return false
    const since = hastenedAt.get(live.name)
    return since === undefined ? reached >= lookedAt : reached >= since && at - since >= hastenMs
  }

  async function hastenFor(target: string, at: number): Promise<void> {
    // What succeeds from here on may be news for what fails meanwhile.
    const since = now()
    await store.hasten(target, at)
    hastenedAt.set(target, since)
  }

  /** A different target is first at each round, so that the last free worker goes round as well. */
  function rotated(list: readonly LiveTarget[]): readonly LiveTarget[] {
    const from = list.length === 0 ? 0 : first++ % list.length
    return [...list.slice(from), ...list.slice(0, from)]
  }

  /** When the target may be tried at all, health aside; Infinity while it is disabled. */
  function readyAt(live: LiveTarget, at: number): number {
    if (!live.target.settings.enabled) return Number.POSITIVE_INFINITY
    const circuit = permits(live.breaker, at)
      ? at
      : live.breaker.state === 'open'
        ? live.breaker.until
        : Number.POSITIVE_INFINITY
    return Math.max(live.pausedUntil, circuit, at + rateWaitMs(live, at, starting(live)))
  }

  /** How many of the target's jobs may still take a token: what gets none would have been leased and written for nothing. */
  function starting(live: LiveTarget): number {
    let count = 0
    for (const job of perTarget.get(live.name) ?? []) if (!job.running) count++
    return count
  }

  async function startOne(live: LiveTarget): Promise<boolean> {
    const count = served.get(live.name) ?? 0
    const preferred = turns[count % turns.length]!
    for (const priority of [preferred, ...priorities.filter(each => each !== preferred)]) {
      // A few more than are in hand already: those whose lanes are taken are passed over.
      for (const id of await store.due(live.name, priority, now(), 16 + running.size + resting.size + large.size)) {
        if (running.has(id) || resting.has(id) || !isRoomFor(id)) continue
        const [record] = await store.read([id])
        if (!record) continue
        const entry = record as unknown as Entry
        if (!entry.alerts) {
          // A version before made places of records that were gone.
          store.note([{ id, drop: true, place: null }])
          continue
        }
        if (isMany(entry.alerts)) {
          large.set(id, entry.alerts.length)
          await turn()
        }
        if (running.has(id) || !isRoomFor(id)) continue
        if (entry.type !== live.type) {
          await stray(entry)
          continue
        }
        if (missingSince.size > 0) missingSince.delete(`${live.name}/${live.type}`)
        const peer = peerOf(live.target.wire, entry.part)
        const lanes = live.lanes.tryTake(lanesOf(live.target, { ...entry, peer }))
        if (!lanes) continue
        // The delivery takes the lanes itself, at once: nobody comes between.
        lanes.leave()
        served.set(live.name, count + 1)
        run(id, live, entry)
        return true
      }
    }
    return false
  }

  /** Whether its alerts fit into memory beside those that are in hand. */
  function isRoomFor(id: string): boolean {
    const alerts = large.get(id) ?? 0
    return alerts === 0 || alertsInHand === 0 || alertsInHand + alerts <= maxAlerts
  }

  /** An entry of an earlier target of that name, but of another type, waits like one whose target is gone. */
  async function stray(entry: Entry): Promise<void> {
    const name = `${entry.target}/${entry.type}`
    const at = now()
    const since = missingSince.get(name) ?? at
    missingSince.set(name, since)
    if (at - since >= missingMs) return owed.giveUp([entry], nobodyThere)
    const place = placeOf(entry, Math.min(at + strayMs, since + missingMs))
    // Another process may have delivered it meanwhile.
    store.note([{ id: entryId(entry.id), place, update: true }])
  }

  function run(id: string, live: LiveTarget, entry: Entry): void {
    const job = jobOf(live, entry)
    const jobs = perTarget.get(live.name) ?? new Set()
    perTarget.set(live.name, jobs.add(job))
    const alerts = large.get(id) ?? 0
    large.delete(id)
    alertsInHand += alerts
    const delivered = new Promise<PartResult>(resolve =>
      deliver.deliver(job, { ended: (_, result) => resolve(result) })
    )
    const work = delivered.then(result => {
      running.delete(id)
      alertsInHand -= alerts
      if (result === untouched) resting.set(id, now() + restMs)
      jobs.delete(job)
      if (jobs.size === 0) perTarget.delete(live.name)
      if (on) sleep(1)
    })
    running.set(id, work)
  }

  function jobOf(live: LiveTarget, entry: Entry): Job {
    const clean: Entry = {
      ...entry,
      running: undefined,
      peer: peerOf(live.target.wire, entry.part),
      per_group: perGroup(live.target),
      may_have: mayHave(entry)
    }
    return {
      live,
      entry: clean,
      notification: notificationOf(clean),
      stored: true,
      folded: [],
      index: 0,
      attemptedAt: 0,
      attemptMs: 0,
      seat: 0,
      running: false,
      states: undefined,
      handing: undefined,
      respectBreaker: true,
      hurry: unhurried,
      // It may wait for its turn at the target as long as it takes: only its exchanges have an end.
      until: Number.POSITIVE_INFINITY,
      patienceMs: 0,
      traceparent: clean.traceparent,
      records: undefined,
      fresh: false
    }
  }

  /** Entries of a target that is gone wait for its return, and are given up after a while. */
  async function missing(name: string, at: number): Promise<void> {
    const since = missingSince.get(name) ?? roster.goneSince(name) ?? at
    missingSince.set(name, since)
    if (at - since < missingMs) return
    for (const priority of priorities) {
      const ids = await store.due(name, priority, Number.POSITIVE_INFINITY, 500)
      const records = (await store.read(ids)) as unknown as (Entry | undefined)[]
      await owed.giveUp(
        records.filter(entry => entry !== undefined),
        nobodyThere
      )
    }
  }

  return {
    start() {
      on = true
      look()
    },
    wake: () => {
      if (on) look()
    },
    hasten(target) {
      store.hasten(target, now()).then(() => on && look(), deps.failed)
    },
    active: () => running.size,
    async stop() {
      on = false
      clearTimeout(timer)
      await Promise.all(running.values())
    }
  }
}
