import { collectDefaultMetrics, Registry } from 'prom-client'
import type { DiscoveryEvents } from './discovery/contract.js'
import type { Health, HealthRules } from './health/state.js'
import { countDeadLetters } from './metrics/dead-letters.js'
import { errorTypes, openOwn, unknownName } from './metrics/families.js'
import { trackFirstHuman } from './metrics/first-human.js'
import { queueNow, targetsNow } from './metrics/gauges.js'
import { openFamilies } from './metrics/series.js'
import { server } from './metrics/table.js'
import type { Mode } from './mode.js'
import type { Accepted } from './pipeline/accept.js'
import type { DeadLetterEvents } from './pipeline/dead-letters.js'
import type { DeliveryEvents } from './pipeline/deliver.js'
import { unhurried } from './pipeline/hurry.js'
import { attemptEnd, type Job, untouched } from './pipeline/job.js'
import type { LiveTarget } from './pipeline/live.js'
import type { OwedEvents } from './pipeline/owed.js'
import type { PublishEvents } from './pipeline/publish.js'
import { rememberedLast } from './pipeline/remembered.js'
import type { PublishResult } from './pipeline/result.js'
import type { Retry } from './pipeline/retry.js'
import { priorityOf } from './pipeline/retry-rules.js'
import type { Roster, RosterEvents } from './pipeline/roster.js'
import type { Store } from './queues/contract.js'

/** Where a scrape looks up what stands now. Nothing of it is used before the first scrape. */
export interface MetricsSources {
  readonly roster: Pick<Roster, 'all'>
  readonly store: Store
  readonly retry: Pick<Retry, 'active'>
  readonly workers: number
  readonly healthRules: Pick<HealthRules, 'intervalMs'>
  /** Deliveries in flight. */
  inFlight(): number
  mode(): Pick<Mode, 'mode' | 'transitions'>
  now(): number
}

/** Observers that record what happens, named after who tells them, and the text that Prometheus reads. */
export interface Metrics {
  text(): Promise<string>
  readonly contentType: string
  /** Critical alerts that no person can know of yet; the oldest one's age in milliseconds. */
  undelivered(): { count: number; oldestAgeMs: number }
  readonly publish: Pick<PublishEvents, 'published' | 'cancelled'> & {
    /** The body of a publish was understood, or was not. */
    received(accepted: Accepted | undefined): void
  }
  readonly delivery: Pick<DeliveryEvents, 'attempted' | 'settled' | 'truncated' | 'circuit'>
  readonly owed: OwedEvents
  readonly roster: RosterEvents
  readonly discovery: DiscoveryEvents
  readonly health: { checked(live: LiveTarget, before: Health, durationMs: number): void }
  readonly deadLetters: DeadLetterEvents
  readonly refresh: { began(): void; ended(status: 'success' | 'failure', seconds: number): void }
  readonly http: { onResponse(route: string, method: string, statusCode: number, seconds: number): void }
}

/**
 * Every metric of the service. Events change plain numbers and nothing else, since they come several times for each
 * delivery; all else is done by the scrape.
 */
export function createMetrics(sources: MetricsSources): Metrics {
  const { now } = sources
  const m = openOwn()
  const http = openFamilies('', server)
  const processMetrics = defaultMetrics()
  const deadLetters = countDeadLetters(now)
  const firstHuman = trackFirstHuman(seconds => m.time_to_first_human_seconds.at().observe(seconds), now)
  /** Names that may have series: those of the present targets, and of gone ones that have dead letters. */
  const names = new Set<string>()
  const ofTargets = Object.values(m).filter(family => family.labels[0] === 'target_name')
  const states = [m.target_health_status, m.target_consecutive_failures, m.target_success_rate, m.circuit_breaker_state]
  const priority = rememberedLast(priorityOf)

  function keep(name: string): void {
    names.add(name)
    m.dlq_size.at(name).value = deadLetters.of(name)
  }

  function forget(name: string): void {
    names.delete(name)
    for (const family of ofTargets) family.drop(name)
  }

  function keepBuried(target: string, by: 1 | -1): void {
    deadLetters.change(target, by)
    keep(target)
  }

  return {
    contentType: processMetrics.contentType,

    async text() {
      const { store, roster } = sources
      try {
        const looked = [firstHuman.check(store, roster.all()), queueNow(m, store, now())]
        await Promise.all([...looked, deadLetters.freshen(store)])
        m.queue_available.at().value = (await store.status()).available ? 1 : 0
      } catch {
        // Without the store the rest is worth all the more.
        m.queue_available.at().value = 0
      }
      for (const name of deadLetters.targets()) if (deadLetters.of(name) > 0) keep(name)
      const targets = roster.all()
      const present = new Set(targets.map(({ name }) => name))
      for (const name of names) if (!present.has(name) && deadLetters.of(name) === 0) forget(name)
      targetsNow(m, targets, { healthRules: sources.healthRules, at: now() })
      const { count, oldestAgeMs } = firstHuman.undelivered()
      m.undelivered_criticals.at().value = count
      m.undelivered_critical_oldest_age_seconds.at().value = oldestAgeMs / 1000
      m.parallel_goroutines.at().value = sources.inFlight()
      const active = sources.retry.active()
      m.workers_active.at().value = active
      m.workers_idle.at().value = Math.max(sources.workers - active, 0)
      const { mode, transitions } = sources.mode()
      m.mode_current.at().value = mode === 'normal' ? 0 : 1
      m.mode_transitions_total.at().value = transitions
      const own = [...Object.values(m), ...Object.values(http)].map(family => family.text()).join('')
      return own + (await processMetrics.metrics())
    },

    undelivered: firstHuman.undelivered,

    publish: {
      received(accepted) {
        if (!accepted) {
          m.alerts_invalid_total.at().value++
          return
        }
        const { alerts } = accepted.notification
        for (const { status } of alerts) m.alerts_received_total.at(status).value++
        m.alerts_invalid_total.at().value += accepted.oddAlerts
        firstHuman.received(accepted)
      },
      published(result, _verdict, accepted) {
        const word = resultOf(result)
        m.parallel_duration_seconds.at(word).observe(result.duration_ms / 1000)
        m.parallel_total.at(word).value++
        m[`parallel_${word}_total`].at().value++
        for (const { target_name, target_type, success, skipped, skip_reason, error_type } of result.results) {
          m.parallel_targets_total.at(target_type ?? 'unknown').value++
          const name = target_type === undefined ? unknownName : target_name
          if (name !== unknownName && !names.has(name)) continue
          if (success) m.parallel_targets_success_total.at(name).value++
          else if (skipped) m.parallel_targets_skipped_total.at(name, skip_reason ?? 'filtered').value++
          // What is merely still under way, or waits for its turn, has no error yet.
          else m.parallel_targets_failure_total.at(name, error_type ?? 'transient').value++
        }
        firstHuman.published(result, accepted)
      },
      cancelled: () => void m.parallel_cancelled_total.at().value++
    },

    delivery: {
      attempted(job, { outcome }, durationMs) {
        const { live, entry } = job
        const seconds = durationMs / 1000
        const reason = outcome.kind === 'failed' ? outcome.reason : ''
        m.delivery_attempt_duration_seconds.at(live.type).observe(seconds)
        if (isRetry(job)) {
          m.job_duration_seconds.at(live.type, priority(entry.alerts)).observe(seconds)
          const waitedMs = now() - durationMs - entry.due_at
          m.job_wait_time_seconds.at(priority(entry.alerts)).observe(Math.max(waitedMs, 0) / 1000)
        }
        if (!names.has(live.name)) return
        m.delivery_attempts_total.at(live.name, live.type, reason).value++
        if (isRetry(job)) m.retry_attempts_total.at(live.name, entry.failure?.type ?? '').value++
      },
      settled(job, result) {
        if (result === untouched) return
        const { live, entry } = job
        firstHuman.settled(job, result)
        const recorded = 'recorded' in result && result.recorded
        if (result.kind === 'delivered' && !recorded)
          m.delivery_end_to_end_seconds
            .at(priority(entry.alerts))
            .observe(Math.max(attemptEnd(job) - entry.accepted_at, 0) / 1000)
        if (!names.has(live.name)) return
        if (recorded) m.duplicates_suppressed_total.at(live.name).value++
        if (isRetry(job)) m.jobs_processed_total.at(live.name, result.kind).value++
      },
      truncated(target, field) {
        if (names.has(target)) m.payload_truncations_total.at(target, field).value++
      },
      circuit(live, before) {
        if (!names.has(live.name)) return
        const { state } = live.breaker
        if (state === 'open' && before.state === 'closed') m.circuit_breaker_trips_total.at(live.name).value++
        if (state === 'closed') m.circuit_breaker_recoveries_total.at(live.name).value++
      }
    },

    owed: {
      submitted: (entry, result) => void m.queue_submissions_total.at(priority(entry.alerts), result).value++,
      buried({ target, failure }) {
        keepBuried(target, 1)
        m.dlq_writes_total.at(target, failure.reason).value++
      }
    },

    deadLetters: {
      replayed(target, result) {
        keep(target)
        m.dlq_replays_total.at(target, result).value++
      },
      removed: target => keepBuried(target, -1)
    },

    roster: {
      appeared({ name }) {
        keep(name)
        m.parallel_targets_success_total.at(name)
        for (const errorType of errorTypes) m.parallel_targets_failure_total.at(name, errorType)
        m.circuit_breaker_trips_total.at(name)
        m.circuit_breaker_recoveries_total.at(name)
      },
      gone({ name }) {
        if (deadLetters.of(name) === 0) forget(name)
        // Its dead letters are still of interest then, its state is none any more.
        else for (const family of states) family.drop(name)
      },
      applied({ targets, invalid }) {
        const stale = invalid.filter(each => each.stale).length
        m.discovery_secrets_total.at('valid').value += targets.length - stale
        m.discovery_secrets_total.at('invalid').value += invalid.length - stale
        m.discovery_secrets_total.at('stale').value += stale
      }
    },

    discovery: {
      looked(operation, durationMs, error) {
        m.discovery_duration_seconds.at(operation).observe(durationMs / 1000)
        if (error === undefined) m.discovery_last_success_timestamp_seconds.at().value = now() / 1000
        else {
          m.discovery_last_error_timestamp_seconds.at().value = now() / 1000
          m.discovery_errors_total.at(error).value++
        }
      }
    },

    refresh: {
      began: () => void (m.refresh_in_progress.at().value = 1),
      ended(status, seconds) {
        m.refresh_in_progress.at().value = 0
        m.refresh_total.at(status).value++
        m.refresh_duration_seconds.at(status).observe(seconds)
      }
    },

    health: {
      checked({ name, type, health }, _before, durationMs) {
        m.health_check_duration_seconds.at(type).observe(durationMs / 1000)
        if (!names.has(name)) return
        const reason = health.consecutiveFailures > 0 ? (health.errorReason ?? 'internal') : undefined
        m.health_checks_total.at(name, reason === undefined ? 'success' : 'failure').value++
        if (reason !== undefined) m.health_check_errors_total.at(name, reason).value++
      }
    },

    http: {
      onResponse(route, method, statusCode, seconds) {
        http.http_request_duration_seconds.at(route, method, `${Math.floor(statusCode / 100)}xx`).observe(seconds)
      }
    }
  }
}

function resultOf({ success, is_partial_success }: PublishResult): 'success' | 'partial_success' | 'failure' {
  return is_partial_success ? 'partial_success' : success ? 'success' : 'failure'
}

/** Whether it came out of the queue: nobody waits for it. */
function isRetry({ hurry }: Job): boolean {
  return hurry === unhurried
}

/** Node's own, but for gauges whose names end like a counter's. */
function defaultMetrics(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const kind of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${kind}_total`)
  return registry
}
