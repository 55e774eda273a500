import { type Priority, priorities, type Store } from '../queues/contract.js'
import { failure } from '../targets/failures.js'
import { permits } from './breaker.js'
import type { Deliver, Job } from './deliver.js'
import { type Entry, notificationOf } from './entry.js'
import { unhurried } from './hurry.js'
import { type LiveTarget, rateWaitMs } from './live.js'
import type { Owed } from './owed.js'
import type { Roster } from './roster.js'

export interface RetryDeps {
  readonly store: Store
  readonly roster: Roster
  readonly deliver: Deliver
  readonly owed: Owed
  readonly workers: number
  /** Longest attempt out of the queue, in milliseconds. */
  readonly attemptTimeoutMs: number
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
/** Of eight entries, so many are taken from each priority first: high goes first, but none starves. */
const turns: readonly Priority[] = ['high', 'high', 'medium', 'high', 'high', 'medium', 'high', 'low']

export function createRetry(deps: RetryDeps): Retry {
  const { store, roster, deliver, owed, workers, now } = deps
  const running = new Map<string, Promise<void>>()
  const perTarget = new Map<string, number>()
  const missingSince = new Map<string, number>()
  let turn = 0
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
    const earliest = await store.earliest()
    const ready: LiveTarget[] = []
    let nextAt = at + maxSleepMs
    for (const [name, dueAt] of earliest) {
      const live = roster.get(name)
      if (!live) {
        await missing(name, at)
        continue
      }
      missingSince.delete(name)
      const openAt = Math.max(dueAt, readyAt(live, at))
      if (openAt <= at) ready.push(live)
      else nextAt = Math.min(nextAt, openAt)
    }
    for (const name of missingSince.keys()) if (!earliest.has(name)) missingSince.delete(name)
    // The others' share is kept free only while there are others.
    const share = ready.length > 1 ? Math.max(1, Math.floor(workers / 4)) : workers
    let started = true
    while (on && started && running.size < workers) {
      started = false
      for (const live of rotated(ready)) {
        if (running.size >= workers) break
        if ((perTarget.get(live.name) ?? 0) >= share || readyAt(live, now()) > now()) continue
        if (await startOne(live)) started = true
      }
    }
    return nextAt - now()
  }

  /** A different target is first at each round, so that the last free worker goes round as well. */
  function rotated(list: readonly LiveTarget[]): readonly LiveTarget[] {
    turn++
    const from = list.length === 0 ? 0 : turn % list.length
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
    return Math.max(live.pausedUntil, circuit, at + rateWaitMs(live, at))
  }

  async function startOne(live: LiveTarget): Promise<boolean> {
    const first = turns[turn % turns.length]!
    for (const priority of [first, ...priorities.filter(each => each !== first)]) {
      // A few more than one: those whose lanes are taken are passed over.
      for (const id of await store.due(live.name, priority, now(), 16)) {
        if (running.has(id)) continue
        const [record] = await store.read([id])
        if (!record || running.has(id)) continue
        const entry = record as unknown as Entry
        if (entry.type !== live.type) continue
        const lanes = live.lanes.tryTake([...new Set(entry.alerts.map(({ alert }) => alert.fingerprint))])
        if (!lanes) continue
        // The delivery takes the lanes itself, at once: nobody comes between.
        lanes.leave()
        run(id, live, entry)
        return true
      }
    }
    return false
  }

  function run(id: string, live: LiveTarget, entry: Entry): void {
    perTarget.set(live.name, (perTarget.get(live.name) ?? 0) + 1)
    const work = deliver.deliver(jobOf(live, entry)).then(() => {
      running.delete(id)
      const left = (perTarget.get(live.name) ?? 1) - 1
      if (left === 0) perTarget.delete(live.name)
      else perTarget.set(live.name, left)
      if (on) sleep(1)
    })
    running.set(id, work)
  }

  function jobOf(live: LiveTarget, entry: Entry): Job {
    // An attempt that was under way when its process died may have arrived.
    const { running: interrupted, ...own } = entry
    const clean: Entry = interrupted ? { ...own, may_have: true } : own
    return {
      live,
      entry: clean,
      notification: notificationOf(clean),
      contentKey: undefined,
      stored: true,
      folded: [],
      running: false,
      respectBreaker: true,
      hurry: unhurried,
      until: now() + (live.target.settings.timeout ?? deps.attemptTimeoutMs),
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
      for (const record of await store.read(ids)) {
        if (record)
          owed.giveUp(
            record as unknown as Entry,
            failure('target_not_found', 'no target has had this name for 15 minutes')
          )
      }
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
