import Type, { type Static } from 'typebox'
import type { DiscoveryEvents } from './discovery/contract.js'
import type { Health } from './health/state.js'
import type { DeliveryEvents } from './pipeline/deliver.js'
import { unhurried } from './pipeline/hurry.js'
import { attemptEnd, untouched } from './pipeline/job.js'
import type { LiveTarget } from './pipeline/live.js'
import type { OwedEvents } from './pipeline/owed.js'
import type { PublishEvents } from './pipeline/publish.js'
import { openHistory, type StatisticsHistory } from './statistics/history.js'
import { openDurations, Summary } from './statistics/summary.js'

export { StatisticsHistory } from './statistics/history.js'

const Percent = (description: string) => Type.Number({ description: `${description} 0..100; 100 while there is none.` })

export const Statistics = Type.Object({
  since: Type.String({ description: 'RFC 3339: the start, or the last reset.' }),
  seconds: Type.Number({ description: 'Seconds since then.' }),
  publish: Type.Object({
    total: Type.Integer(),
    success: Type.Integer({ description: 'At least one target has it, and none failed.' }),
    partial_success: Type.Integer(),
    failure: Type.Integer(),
    cancelled: Type.Integer({ description: 'The caller hung up before anything was started.' }),
    success_rate: Percent('Publishes that at least one target has.'),
    per_second: Type.Number({ description: 'Over the last whole minute.' }),
    targets: Type.Object({
      total: Type.Integer(),
      success: Type.Integer(),
      failure: Type.Integer(),
      skipped: Type.Integer(),
      queued: Type.Integer()
    }),
    duration_ms: Summary
  }),
  delivery: Type.Object({
    attempts: Type.Integer(),
    failed_attempts: Type.Integer(),
    success_rate: Percent('Attempts that succeeded.'),
    errors: Type.Record(Type.String(), Type.Integer(), { description: 'Failed attempts by error_reason.' }),
    deduplicated: Type.Integer({ description: 'Parts not sent, since they were done for an earlier request.' }),
    attempt_ms: Summary,
    end_to_end_ms: Summary
  }),
  discovery: Type.Object({
    looks: Type.Integer(),
    errors: Type.Integer(),
    success_rate: Percent('Looks that succeeded.'),
    duration_ms: Summary
  }),
  health: Type.Object({
    checks: Type.Integer(),
    failures: Type.Integer(),
    success_rate: Percent('Checks that succeeded.'),
    duration_ms: Summary
  }),
  queue: Type.Object({
    submitted: Type.Integer({ description: 'Entries that became owed, once for each time.' }),
    unavailable: Type.Integer({ description: 'Entries that could not be owned.' }),
    processed: Type.Integer({ description: 'Turns of entries at a worker.' }),
    delivered: Type.Integer({ description: 'Entries delivered by a worker.' }),
    dead_letters: Type.Integer(),
    success_rate: Percent('Turns that delivered.')
  })
})
export type Statistics = Static<typeof Statistics>

export interface Unreached {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The caller was told so, and tries again. */
  readonly refused: boolean
}

/** Observers that count, and what they have counted. Memory is bounded, whatever happens. */
export interface StatisticsKeeper {
  readonly publish: Pick<PublishEvents, 'published' | 'cancelled'>
  readonly delivery: Pick<DeliveryEvents, 'attempted' | 'settled'>
  readonly owed: OwedEvents
  readonly discovery: DiscoveryEvents
  readonly health: { checked(live: LiveTarget, before: Health, durationMs: number): void }
  snapshot(): Statistics
  /** The newest publish, if nobody has it and nobody is owed it. A reset does not touch it. */
  unreached(): Unreached | undefined
  /** The last `windowMs` milliseconds, at most an hour. A reset does not touch it. */
  history(windowMs: number): StatisticsHistory
  reset(): void
}

export function createStatistics({ now }: { now(): number }): StatisticsKeeper {
  const history = openHistory(now)
  const durations = {
    publish: openDurations(),
    attempt: openDurations(),
    endToEnd: openDurations(),
    discovery: openDurations(),
    health: openDurations()
  }
  let since = now()
  let counts = zero()
  let unreached: Unreached | undefined

  return {
    publish: {
      published(result, { status }) {
        const reached = result.success_count > 0 || result.queued_count > 0
        const at = now()
        unreached = reached ? undefined : { at, refused: status >= 400 }
        const { success, is_partial_success, duration_ms } = result
        const word = is_partial_success ? 'partial_success' : success ? 'success' : 'failure'
        counts.publish[word]++
        counts.targets.total += result.total_targets
        counts.targets.success += result.success_count
        counts.targets.failure += result.failure_count
        counts.targets.skipped += result.skipped_count
        counts.targets.queued += result.queued_count
        durations.publish.record(duration_ms)
        history.add('publishes', at)
        history.add(word, at)
        history.duration(duration_ms, at)
      },
      cancelled: () => void counts.publish.cancelled++
    },

    delivery: {
      attempted(job, { outcome }, durationMs) {
        counts.attempts++
        durations.attempt.record(durationMs)
        const at = attemptEnd(job)
        history.add('attempts', at)
        if (outcome.kind !== 'failed') return
        counts.failedAttempts++
        counts.errors[outcome.reason] = (counts.errors[outcome.reason] ?? 0) + 1
        history.add('failed_attempts', at)
      },
      settled(job, result) {
        const { hurry, entry } = job
        if (result === untouched) return
        if ('recorded' in result && result.recorded) {
          counts.deduplicated++
          return
        }
        if (result.kind === 'delivered') durations.endToEnd.record(Math.max(attemptEnd(job) - entry.accepted_at, 0))
        if (hurry !== unhurried) return
        counts.queue.processed++
        if (result.kind === 'delivered') counts.queue.delivered++
      }
    },

    owed: {
      submitted(_entry, result) {
        counts.queue[result === 'queued' ? 'submitted' : 'unavailable']++
        if (result === 'queued') history.add('queued', now())
      },
      buried() {
        counts.queue.dead_letters++
        history.add('dead_letters', now())
      }
    },

    discovery: {
      looked(_operation, durationMs, error) {
        counts.looks++
        if (error !== undefined) counts.failedLooks++
        durations.discovery.record(durationMs)
      }
    },

    health: {
      checked({ health }, _before, durationMs) {
        counts.checks++
        if (health.consecutiveFailures > 0) counts.failedChecks++
        durations.health.record(durationMs)
      }
    },

    history: history.read,

    reset() {
      since = now()
      counts = zero()
      for (const each of Object.values(durations)) each.reset()
    },

    unreached: () => unreached,
    snapshot() {
      const { publish, targets, queue, attempts, failedAttempts, looks, failedLooks, checks, failedChecks } = counts
      const total = publish.success + publish.partial_success + publish.failure
      return {
        since: new Date(since).toISOString(),
        seconds: Math.max(now() - since, 0) / 1000,
        publish: {
          total,
          ...publish,
          success_rate: percent(publish.success + publish.partial_success, total),
          per_second: history.publishesPerSecond(),
          targets: { ...targets },
          duration_ms: durations.publish.summary()
        },
        delivery: {
          attempts,
          failed_attempts: failedAttempts,
          success_rate: percent(attempts - failedAttempts, attempts),
          errors: { ...counts.errors },
          deduplicated: counts.deduplicated,
          attempt_ms: durations.attempt.summary(),
          end_to_end_ms: durations.endToEnd.summary()
        },
        discovery: {
          looks,
          errors: failedLooks,
          success_rate: percent(looks - failedLooks, looks),
          duration_ms: durations.discovery.summary()
        },
        health: {
          checks,
          failures: failedChecks,
          success_rate: percent(checks - failedChecks, checks),
          duration_ms: durations.health.summary()
        },
        queue: { ...queue, success_rate: percent(queue.delivered, queue.processed) }
      }
    }
  }
}

function zero() {
  return {
    publish: { success: 0, partial_success: 0, failure: 0, cancelled: 0 },
    targets: { total: 0, success: 0, failure: 0, skipped: 0, queued: 0 },
    attempts: 0,
    failedAttempts: 0,
    errors: {} as Record<string, number>,
    deduplicated: 0,
    looks: 0,
    failedLooks: 0,
    checks: 0,
    failedChecks: 0,
    queue: { submitted: 0, unavailable: 0, processed: 0, delivered: 0, dead_letters: 0 }
  }
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 100 : Math.round((part / whole) * 10_000) / 100
}
