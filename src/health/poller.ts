import type { LiveTarget } from '../pipeline/live.js'
import { heap, type Slots } from '../queues/heap.js'
import { failure } from '../targets/failures.js'
import type { Check } from './check.js'
import { checkFailed, checkSucceeded, type Health, type HealthRules, type HealthStatus } from './state.js'

/** Keeps the health of every enabled target up to date. */
export interface Poller {
  /** Begins to check; what appeared until then is due at once. */
  start(): void
  /** Starts nothing more, breaks off what runs, and resolves once that has ended. */
  stop(): Promise<void>
  /**
   * The target's health after a check of its settings of now: the one under way, or else the next one to begin. A
   * disabled target is checked as well. Before `start` it waits for it; after `stop` it tells what was known.
   */
  checkNow(live: LiveTarget): Promise<Health>
  /** A target is new, or its settings are: it is checked at once, and left alone if it is disabled. */
  appeared(live: LiveTarget): void
  gone(live: LiveTarget): void
}

export interface PollerDeps {
  readonly check: Check
  readonly rules: PollRules
  readonly events: PollerEvents
  /** Milliseconds since the epoch. */
  now(): number
  random(): number
}

export interface PollRules extends HealthRules {
  /** Longest check, in milliseconds. */
  readonly timeoutMs: number
  /** Checks at once. */
  readonly maxConcurrent: number
}

export interface PollerEvents {
  /** A check has ended and `live.health` tells its result; `before` is what it was until then. */
  checked(live: LiveTarget, before: Health, durationMs: number): void
}

/** A target that is checked. It lies in the heap unless its check runs. */
interface Watch {
  readonly live: LiveTarget
  /** By the monotonic clock: setting the system's clock must not stop the checks. */
  dueAt: number
  slot: number
  /** Breaks off the check under way. */
  running: AbortController | undefined
  /** Who waits for the result of the next check to end. */
  readonly askers: ((health: Health) => void)[]
}

/** Longest sleep, in milliseconds; a timer takes no more than 2^31. */
const maxSleepMs = 3_600_000
const unhealthyMs = 30_000
const slots: Slots<Watch> = {
  of: watch => watch.slot,
  put(watch, position) {
    watch.slot = position
  }
}

export function createPoller({ check, rules, events, now, random }: PollerDeps): Poller {
  const watches = new Map<LiveTarget, Watch>()
  const due = heap<Watch>((a, b) => a.dueAt < b.dueAt, slots)
  const checks = new Set<Promise<void>>()
  let timer: NodeJS.Timeout | undefined
  let wakesAt = Number.POSITIVE_INFINITY
  let on = false
  let stopped = false

  /** One timer for all targets: it is set for whichever is due first. */
  function sleep(): void {
    const next = on && checks.size < rules.maxConcurrent ? due.top() : undefined
    if (timer && next && next.dueAt >= wakesAt) return
    clearTimeout(timer)
    timer = undefined
    if (!next) return
    wakesAt = next.dueAt
    timer = setTimeout(wake, Math.min(Math.max(next.dueAt - performance.now(), 0), maxSleepMs))
  }

  function wake(): void {
    timer = undefined
    while (checks.size < rules.maxConcurrent) {
      const next = due.top()
      // A timer may fire a fraction of a millisecond early.
      if (!next || next.dueAt > performance.now() + 1) break
      due.remove(next)
      const running = run(next)
      checks.add(running)
      void running.then(() => {
        checks.delete(running)
        sleep()
      })
    }
    sleep()
  }

  async function run(watch: Watch): Promise<void> {
    const { live } = watch
    const broken = new AbortController()
    const began = performance.now()
    watch.running = broken
    const checked = async () => check(live.target, { timeoutMs: rules.timeoutMs, now: now(), signal: broken.signal })
    const failed = await checked().catch(() => failure('internal', 'the health check failed'))
    watch.running = undefined
    if (!broken.signal.aborted) {
      const latencyMs = performance.now() - began
      const before = live.health
      const ended = { latencyMs, now: now(), rules }
      live.health = failed ? checkFailed(before, failed.reason, ended) : checkSucceeded(before, ended)
      events.checked(live, before, latencyMs)
      tell(watch)
    }
    if (stopped || !isWanted(watch)) forget(watch)
    else place(watch, broken.signal.aborted ? 0 : pollDelayMs(live.health.status, rules, random()))
  }

  const isWanted = ({ live, askers }: Watch) => live.present && (live.target.settings.enabled || askers.length > 0)

  function place(watch: Watch, delayMs: number): void {
    watch.dueAt = performance.now() + delayMs
    due.add(watch)
    sleep()
  }

  function forget(watch: Watch): void {
    watches.delete(watch.live)
    tell(watch)
  }

  function tell({ live, askers }: Watch): void {
    for (const answer of askers.splice(0)) answer(live.health)
  }

  function watchOf(live: LiveTarget): Watch {
    const known = watches.get(live)
    if (known) return known
    const watch: Watch = { live, dueAt: 0, slot: 0, running: undefined, askers: [] }
    watches.set(live, watch)
    due.add(watch)
    return watch
  }

  /** Has the target checked as soon as there is room, or no more if nobody wants it to be. */
  function hurry(watch: Watch): void {
    due.remove(watch)
    if (isWanted(watch)) place(watch, 0)
    else {
      forget(watch)
      sleep()
    }
  }

  return {
    start() {
      on = true
      sleep()
    },
    async stop() {
      on = false
      stopped = true
      sleep()
      for (const watch of watches.values()) watch.running?.abort()
      await Promise.all(checks)
      for (const watch of watches.values()) {
        due.remove(watch)
        forget(watch)
      }
    },
    checkNow(live) {
      if (stopped || !live.present) return Promise.resolve(live.health)
      const watch = watchOf(live)
      return new Promise(resolve => {
        watch.askers.push(resolve)
        if (!watch.running) hurry(watch)
      })
    },
    appeared(live) {
      if (stopped) return
      const watch = watchOf(live)
      // A check under way has seen the settings of before: its result would say nothing of these.
      if (watch.running) watch.running.abort()
      else hurry(watch)
    },
    gone(live) {
      const watch = watches.get(live)
      if (watch?.running) watch.running.abort()
      else if (watch) hurry(watch)
    }
  }
}

/** How long until the next check, in milliseconds: the interval, shorter while unhealthy, give or take a tenth. */
export function pollDelayMs(status: HealthStatus, rules: Pick<PollRules, 'intervalMs'>, random: number): number {
  const base = status === 'unhealthy' ? Math.min(unhealthyMs, rules.intervalMs) : rules.intervalMs
  return base * (0.9 + 0.2 * random)
}
