import { priorities } from '../queues/contract.js'
import type { ErrorType } from '../targets/contract.js'
import { openFamilies } from './series.js'
import { prefix, publishing } from './table.js'

/** The service's own metrics, by their names without the prefix. */
export type Own = ReturnType<typeof openFamilies<typeof publishing>>

export const errorTypes: readonly ErrorType[] = ['transient', 'rate_limited', 'configuration', 'permanent', 'unknown']

/** A name that no target can have: what a caller makes up must not become a label. */
export const unknownName = '_unknown'

/** The service's own metrics, those that do not depend on targets at 0. */
export function openOwn(): Own {
  const m = openFamilies(prefix, publishing)
  startAtZero(m)
  return m
}

/** A counter that is not there yet hides its first event from `rate`. */
function startAtZero(m: Own): void {
  for (const family of Object.values(m)) if (family.labels.length === 0) (family as Own['parallel_goroutines']).at()
  for (const word of ['success', 'partial_success', 'failure'] as const) {
    m.parallel_duration_seconds.at(word)
    m.parallel_total.at(word)
  }
  m.parallel_targets_failure_total.at(unknownName, 'configuration')
  for (const status of ['firing', 'resolved']) m.alerts_received_total.at(status)
  for (const name of priorities) {
    m.delivery_end_to_end_seconds.at(name)
    m.job_wait_time_seconds.at(name)
    for (const result of ['queued', 'unavailable']) m.queue_submissions_total.at(name, result)
  }
  for (const status of ['valid', 'invalid', 'stale']) m.discovery_secrets_total.at(status)
  for (const error of ['unreachable', 'forbidden', 'invalid', 'gone', 'other']) m.discovery_errors_total.at(error)
  for (const status of ['success', 'failure']) m.refresh_total.at(status)
}
