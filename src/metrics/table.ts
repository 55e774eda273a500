import { counter, gauge, histogram } from './series.js'

const attemptSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const waitSeconds = [0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21_600]
const lookSeconds = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800]

/** Goes before every name of `publishing`. */
export const prefix = 'alert_history_publishing_'

/** Every metric of the service, under the name that follows the prefix. */
export const publishing = {
  parallel_duration_seconds: histogram(
    'How long publishes took, from acceptance to answer.',
    [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    'result'
  ),
  parallel_total: counter('Publishes by result: success, partial_success or failure.', 'result'),
  parallel_success_total: counter('Publishes that at least one target has, and none failed.'),
  parallel_partial_success_total: counter('Publishes that some targets have and some failed.'),
  parallel_failure_total: counter('Publishes that no target has.'),
  parallel_cancelled_total: counter('Publishes whose caller hung up before anything was started.'),
  parallel_targets_total: counter('Targets of publishes, by their type.', 'target_type'),
  parallel_targets_success_total: counter('Publishes that the target has.', 'target_name'),
  parallel_targets_failure_total: counter(
    'Publishes that failed at the target, owed or not. A name that no target has counts as _unknown.',
    'target_name',
    'error_type'
  ),
  parallel_targets_skipped_total: counter('Publishes that the target was left out of.', 'target_name', 'skip_reason'),
  parallel_goroutines: gauge('Deliveries in flight. The name is inherited.'),

  delivery_attempts_total: counter(
    'Attempts, live and out of the queue; an empty error_reason is success.',
    'target_name',
    'target_type',
    'error_reason'
  ),
  delivery_attempt_duration_seconds: histogram('How long attempts took.', attemptSeconds, 'target_type'),
  delivery_end_to_end_seconds: histogram(
    'From acceptance until the target has it, retries included.',
    waitSeconds,
    'priority'
  ),
  duplicates_suppressed_total: counter('Parts not sent, since they were done for an earlier request.', 'target_name'),
  payload_truncations_total: counter('Fields cut to fit a limit of the vendor.', 'target_name', 'field'),
  alerts_received_total: counter('Alerts accepted.', 'status'),
  alerts_invalid_total: counter('Bodies refused, and alerts accepted with values that Alertmanager would not send.'),
  time_to_first_human_seconds: histogram(
    'From acceptance of a critical alert until the first target that people read (Slack, PagerDuty, Rootly) has it.',
    [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600]
  ),
  undelivered_criticals: gauge(
    'Critical alerts accepted that no target that people read (Slack, PagerDuty, Rootly) has yet.'
  ),
  undelivered_critical_oldest_age_seconds: gauge('Age of the oldest of them; 0 without any.'),

  discovery_targets: gauge('Targets known.', 'type', 'enabled'),
  discovery_duration_seconds: histogram('How long looks for targets took.', lookSeconds, 'operation'),
  discovery_errors_total: counter('Looks for targets that failed.', 'error_type'),
  discovery_secrets_total: counter(
    'Target definitions read: valid, invalid, or stale (invalid, its last valid version stays).',
    'status'
  ),
  discovery_last_success_timestamp_seconds: gauge('When a look for targets last succeeded.'),
  discovery_last_error_timestamp_seconds: gauge('When a look for targets last failed; 0 if none did.'),
  refresh_total: counter('Refreshes of the targets.', 'status'),
  refresh_duration_seconds: histogram('How long refreshes took.', lookSeconds, 'status'),
  refresh_in_progress: gauge('1 while a refresh runs.'),

  health_checks_total: counter('Health checks: success or failure.', 'target_name', 'status'),
  health_check_duration_seconds: histogram('How long health checks took.', attemptSeconds, 'target_type'),
  target_health_status: gauge('0 unknown, 1 healthy, 2 degraded, 3 unhealthy.', 'target_name', 'target_type'),
  target_consecutive_failures: gauge('Health checks that failed in a row.', 'target_name'),
  target_success_rate: gauge('Share of the health checks that succeeded, from 0 to 1.', 'target_name'),
  health_check_errors_total: counter('Health checks that failed, by reason.', 'target_name', 'error_reason'),

  queue_available: gauge('1 while the store of the queue can be reached and written.'),
  queue_size: gauge('Entries owed.', 'priority'),
  queue_oldest_age_seconds: gauge('Age of the oldest entry owed; 0 without any.', 'priority'),
  queue_submissions_total: counter('Entries handed to the queue: queued or unavailable.', 'priority', 'result'),
  jobs_processed_total: counter('Entries worked off, by what became of them.', 'target_name', 'state'),
  job_duration_seconds: histogram(
    'How long attempts out of the queue took.',
    attemptSeconds,
    'target_type',
    'priority'
  ),
  job_wait_time_seconds: histogram('From an entry being due until its attempt.', waitSeconds, 'priority'),
  retry_attempts_total: counter(
    'Attempts out of the queue, by the error that made them necessary; empty: it waited without one.',
    'target_name',
    'error_type'
  ),
  circuit_breaker_state: gauge('0 closed, 1 half open, 2 open.', 'target_name'),
  circuit_breaker_trips_total: counter('Times that the circuit opened.', 'target_name'),
  circuit_breaker_recoveries_total: counter('Times that the circuit closed again.', 'target_name'),
  workers_active: gauge('Workers of the queue at an attempt.'),
  workers_idle: gauge('Workers of the queue without one.'),
  dlq_size: gauge('Dead letters.', 'target_name'),
  dlq_writes_total: counter('Entries given up.', 'target_name', 'error_reason'),
  dlq_replays_total: counter('Dead letters replayed, by result.', 'target_name', 'result'),

  mode_current: gauge('0 normal, 1 metrics-only (no target is enabled).'),
  mode_transitions_total: counter('Changes of the mode.')
}

/** The HTTP server's own, without the prefix. */
export const server = {
  http_request_duration_seconds: histogram(
    'How long requests took, by route pattern, method and status class.',
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    'route',
    'method',
    'status'
  )
}
