import { type HealthRules, healthStatuses, statusNow } from '../health/state.js'
import type { LiveTarget } from '../pipeline/live.js'
import { priorities, type Store } from '../queues/contract.js'
import type { Own } from './families.js'

interface Moment {
  readonly healthRules: Pick<HealthRules, 'intervalMs'>
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** What the queue holds at the moment. Rejects if the store is away. */
export async function queueNow(m: Own, store: Store, at: number): Promise<void> {
  const depths = await store.depths()
  for (const name of priorities) {
    let size = 0
    let oldest = at
    for (const { counts, oldest: since } of depths) {
      size += counts[name]
      oldest = Math.min(oldest, since[name] ?? at)
    }
    m.queue_size.at(name).value = size
    m.queue_oldest_age_seconds.at(name).value = (at - oldest) / 1000
  }
}

const breakerValues = { closed: 0, half_open: 1, open: 2 }

/** What the targets are at the moment. */
export function targetsNow(m: Own, targets: readonly LiveTarget[], { healthRules, at }: Moment): void {
  m.discovery_targets.drop()
  for (const { name, type, target, health, breaker } of targets) {
    m.discovery_targets.at(type, String(target.settings.enabled)).value++
    m.target_health_status.at(name, type).value = healthStatuses.indexOf(statusNow(health, at, healthRules))
    m.target_consecutive_failures.at(name).value = health.consecutiveFailures
    if (health.checks > 0) m.target_success_rate.at(name).value = health.successes / health.checks
    m.circuit_breaker_state.at(name).value = breakerValues[breaker.state]
  }
}
