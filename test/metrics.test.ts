import { execFileSync } from 'node:child_process'
import t from 'tap'
import { unknownHealth } from '../src/health/state.js'
import { prefix, publishing, server } from '../src/metrics/table.js'
import { ownDirectory } from './support/directory.js'
import { observed, receiver } from './support/observed.js'
import { needs } from './support/programs.js'

const critical = { alert_name: 'DiskFull', status: 'firing', labels: { alertname: 'DiskFull', severity: 'critical' } }

/** The series of these names, with their values. */
function only(series: Map<string, number>, ...names: string[]): Record<string, number> {
  return Object.fromEntries([...series].filter(([key]) => names.includes(key.replace(/\{.*/, ''))))
}

t.test('a publish is counted by its result, and each target by its own', async t => {
  const good = await receiver(t)
  const bad = await receiver(t)
  bad.status = 503
  const { publish, scrape, metrics } = await observed(t, [
    { name: 'good', type: 'webhook', url: good.url },
    { name: 'bad', type: 'webhook', url: bad.url },
    { name: 'picky', type: 'webhook', url: good.url, filter: { severities: ['info'] } }
  ])
  await publish(critical)
  await publish(critical, ['good'])
  await publish(critical, ['nobody'])
  metrics.publish.received(undefined)
  const series = await scrape()
  t.strictSame(
    only(
      series,
      'parallel_total',
      'parallel_success_total',
      'parallel_partial_success_total',
      'parallel_failure_total',
      'parallel_duration_seconds_count',
      'parallel_targets_total',
      'parallel_targets_success_total',
      'parallel_targets_skipped_total',
      'parallel_goroutines',
      'alerts_received_total',
      'alerts_invalid_total'
    ),
    {
      'parallel_total{result="success"}': 1,
      'parallel_total{result="partial_success"}': 1,
      'parallel_total{result="failure"}': 1,
      parallel_success_total: 1,
      parallel_partial_success_total: 1,
      parallel_failure_total: 1,
      'parallel_duration_seconds_count{result="success"}': 1,
      'parallel_duration_seconds_count{result="partial_success"}': 1,
      'parallel_duration_seconds_count{result="failure"}': 1,
      'parallel_targets_total{target_type="webhook"}': 4,
      'parallel_targets_total{target_type="unknown"}': 1,
      'parallel_targets_success_total{target_name="good"}': 2,
      'parallel_targets_success_total{target_name="bad"}': 0,
      'parallel_targets_success_total{target_name="picky"}': 0,
      'parallel_targets_skipped_total{target_name="picky",skip_reason="filtered"}': 1,
      parallel_goroutines: 0,
      'alerts_received_total{status="firing"}': 3,
      'alerts_received_total{status="resolved"}': 0,
      alerts_invalid_total: 1
    }
  )
  const failures = Object.entries(only(series, 'parallel_targets_failure_total')).filter(([, value]) => value > 0)
  t.strictSame(failures, [
    ['parallel_targets_failure_total{target_name="_unknown",error_type="configuration"}', 1],
    ['parallel_targets_failure_total{target_name="bad",error_type="transient"}', 1]
  ])
})

t.test('attempts, retries and their ends are counted', async t => {
  const target = await receiver(t)
  target.status = 503
  const { publish, scrape, workedOff } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }])
  await publish(critical)
  const owed = await scrape()
  t.equal(owed.get('queue_size{priority="high"}'), 1)
  t.equal(owed.get('queue_available'), 1)
  target.status = 200
  await workedOff()
  const series = await scrape()
  t.strictSame(
    only(
      series,
      'delivery_attempts_total',
      'delivery_attempt_duration_seconds_count',
      'delivery_end_to_end_seconds_count',
      'queue_size',
      'queue_oldest_age_seconds',
      'queue_submissions_total',
      'jobs_processed_total',
      'job_duration_seconds_count',
      'job_wait_time_seconds_count',
      'retry_attempts_total',
      'workers_active',
      'workers_idle'
    ),
    {
      'delivery_attempts_total{target_name="hook",target_type="webhook",error_reason="server_error"}': 1,
      'delivery_attempts_total{target_name="hook",target_type="webhook",error_reason=""}': 1,
      'delivery_attempt_duration_seconds_count{target_type="webhook"}': 2,
      'delivery_end_to_end_seconds_count{priority="high"}': 1,
      'delivery_end_to_end_seconds_count{priority="medium"}': 0,
      'delivery_end_to_end_seconds_count{priority="low"}': 0,
      'queue_size{priority="high"}': 0,
      'queue_size{priority="medium"}': 0,
      'queue_size{priority="low"}': 0,
      'queue_oldest_age_seconds{priority="high"}': 0,
      'queue_oldest_age_seconds{priority="medium"}': 0,
      'queue_oldest_age_seconds{priority="low"}': 0,
      'queue_submissions_total{priority="high",result="queued"}': 1,
      'queue_submissions_total{priority="high",result="unavailable"}': 0,
      'queue_submissions_total{priority="medium",result="queued"}': 0,
      'queue_submissions_total{priority="medium",result="unavailable"}': 0,
      'queue_submissions_total{priority="low",result="queued"}': 0,
      'queue_submissions_total{priority="low",result="unavailable"}': 0,
      'jobs_processed_total{target_name="hook",state="delivered"}': 1,
      'job_duration_seconds_count{target_type="webhook",priority="high"}': 1,
      'job_wait_time_seconds_count{priority="high"}': 1,
      'job_wait_time_seconds_count{priority="medium"}': 0,
      'job_wait_time_seconds_count{priority="low"}': 0,
      'retry_attempts_total{target_name="hook",error_type="transient"}': 1,
      workers_active: 0,
      workers_idle: 10
    }
  )
})

t.test('a new target has at most a dozen series, all at 0', async t => {
  const { scrape } = await observed(t, [{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:1' }])
  const own = [...(await scrape())].filter(([key]) => key.includes('target_name="hook"'))
  t.strictSame(own, [
    ['parallel_targets_success_total{target_name="hook"}', 0],
    ['parallel_targets_failure_total{target_name="hook",error_type="transient"}', 0],
    ['parallel_targets_failure_total{target_name="hook",error_type="rate_limited"}', 0],
    ['parallel_targets_failure_total{target_name="hook",error_type="configuration"}', 0],
    ['parallel_targets_failure_total{target_name="hook",error_type="permanent"}', 0],
    ['parallel_targets_failure_total{target_name="hook",error_type="unknown"}', 0],
    ['target_health_status{target_name="hook",target_type="webhook"}', 0],
    ['target_consecutive_failures{target_name="hook"}', 0],
    ['circuit_breaker_state{target_name="hook"}', 0],
    ['circuit_breaker_trips_total{target_name="hook"}', 0],
    ['circuit_breaker_recoveries_total{target_name="hook"}', 0],
    ['dlq_size{target_name="hook"}', 0]
  ])
})

t.test('a target that goes takes its series along, and none comes back through what still ran', async t => {
  const target = await receiver(t)
  const { publish, scrape, place, roster, metrics } = await observed(t, [
    { name: 'hook', type: 'webhook', url: target.url }
  ])
  await publish(critical)
  const live = roster.get('hook')!
  place([])
  metrics.health.checked(live, live.health, 3)
  metrics.delivery.truncated('hook', 'text')
  metrics.delivery.circuit(live, { state: 'open', since: 0, until: 0, reason: 'timeout' })
  t.strictSame(
    [...(await scrape()).keys()].filter(key => key.includes('"hook"')),
    []
  )
})

t.test('a target that goes keeps its series while it has dead letters', async t => {
  const target = await receiver(t)
  target.status = 400
  const { publish, scrape, place, deadLetters } = await observed(t, [
    { name: 'hook', type: 'webhook', url: target.url }
  ])
  await publish(critical)
  place([])
  const gone = await scrape()
  t.equal(gone.get('dlq_size{target_name="hook"}'), 1)
  t.equal(gone.get('dlq_writes_total{target_name="hook",error_reason="client_error"}'), 1)
  t.equal(gone.get('parallel_targets_failure_total{target_name="hook",error_type="permanent"}'), 1)
  t.notOk(gone.has('circuit_breaker_state{target_name="hook"}'), 'its state is none any more')
  await deadLetters.purgeBefore(Number.POSITIVE_INFINITY)
  t.strictSame(
    [...(await scrape()).keys()].filter(key => key.includes('"hook"')),
    []
  )
})

t.test('dead letters of an earlier life are counted, also for targets that are gone', async t => {
  const target = await receiver(t)
  target.status = 400
  let at = Date.now()
  const first = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }], { now: () => at })
  await first.publish(critical)
  const [record] = await first.store.list('dead/', undefined, 1)
  await first.scrape()
  // As another replica would: nobody tells this one.
  await first.store.write([{ id: 'dead/other', set: { ...record!.fields, id: 'other', target: 'lost' } }])
  t.notOk((await first.scrape()).has('dlq_size{target_name="lost"}'), 'counted not long ago')
  at += 301_000
  const later = await first.scrape()
  t.equal(later.get('dlq_size{target_name="lost"}'), 1)
  t.equal(later.get('dlq_size{target_name="hook"}'), 1)
})

t.test('a replayed dead letter is counted, and leaves the pile', async t => {
  const target = await receiver(t)
  target.status = 400
  const { publish, scrape, deadLetters, workedOff } = await observed(t, [
    { name: 'hook', type: 'webhook', url: target.url }
  ])
  await publish(critical)
  target.status = 200
  await deadLetters.replayAll({}, { skipResolved: true, dryRun: false, spacingMs: 0 })
  await workedOff()
  const series = await scrape()
  t.strictSame(only(series, 'dlq_size', 'dlq_writes_total', 'dlq_replays_total', 'jobs_processed_total'), {
    'dlq_size{target_name="hook"}': 0,
    'dlq_writes_total{target_name="hook",error_reason="client_error"}': 1,
    'dlq_replays_total{target_name="hook",result="queued"}': 1,
    'jobs_processed_total{target_name="hook",state="delivered"}': 1
  })
})

t.test('a circuit that opens is a trip, and one that closes a recovery', async t => {
  const target = await receiver(t)
  target.status = 401
  let at = Date.now()
  const { publish, scrape } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }], { now: () => at })
  const circuit = async () =>
    only(await scrape(), 'circuit_breaker_state', 'circuit_breaker_trips_total', 'circuit_breaker_recoveries_total')
  await publish(critical)
  t.strictSame(await circuit(), {
    'circuit_breaker_state{target_name="hook"}': 2,
    'circuit_breaker_trips_total{target_name="hook"}': 1,
    'circuit_breaker_recoveries_total{target_name="hook"}': 0
  })
  target.status = 200
  at += 31_000
  await publish(critical)
  t.strictSame(await circuit(), {
    'circuit_breaker_state{target_name="hook"}': 0,
    'circuit_breaker_trips_total{target_name="hook"}': 1,
    'circuit_breaker_recoveries_total{target_name="hook"}': 1
  })
})

t.test('health checks are counted, and the state of each target told', async t => {
  let at = 1_000_000_000_000
  const { scrape, metrics, roster } = await observed(
    t,
    [
      { name: 'fine', type: 'webhook', url: 'http://127.0.0.1:1' },
      { name: 'ill', type: 'webhook', url: 'http://127.0.0.1:1' }
    ],
    { now: () => at }
  )
  const fine = roster.get('fine')!
  const ill = roster.get('ill')!
  fine.health = { ...unknownHealth, status: 'healthy', lastCheck: at, lastSuccess: at, checks: 4, successes: 3 }
  metrics.health.checked(fine, fine.health, 12)
  ill.health = {
    ...unknownHealth,
    status: 'unhealthy',
    consecutiveFailures: 3,
    lastCheck: at,
    errorReason: 'connection',
    checks: 3
  }
  metrics.health.checked(ill, ill.health, 5)
  const names = [
    'health_checks_total',
    'health_check_duration_seconds_count',
    'target_health_status',
    'target_consecutive_failures',
    'target_success_rate',
    'health_check_errors_total'
  ]
  t.strictSame(only(await scrape(), ...names), {
    'health_checks_total{target_name="fine",status="success"}': 1,
    'health_checks_total{target_name="ill",status="failure"}': 1,
    'health_check_duration_seconds_count{target_type="webhook"}': 2,
    'target_health_status{target_name="fine",target_type="webhook"}': 1,
    'target_health_status{target_name="ill",target_type="webhook"}': 3,
    'target_consecutive_failures{target_name="fine"}': 0,
    'target_consecutive_failures{target_name="ill"}': 3,
    'target_success_rate{target_name="fine"}': 0.75,
    'target_success_rate{target_name="ill"}': 0,
    'health_check_errors_total{target_name="ill",error_reason="connection"}': 1
  })
  at += 3_600_000
  t.equal((await scrape()).get('target_health_status{target_name="ill",target_type="webhook"}'), 0, 'too long ago')
})

t.test('looks for targets and refreshes are counted', async t => {
  let at = 1_000_000_000_000
  const { scrape, metrics, roster } = await observed(
    t,
    [
      { name: 'on', type: 'webhook', url: 'http://127.0.0.1:1' },
      { name: 'off', type: 'webhook', url: 'http://127.0.0.1:1', enabled: false }
    ],
    { now: () => at }
  )
  metrics.discovery.looked('list', 40)
  at += 5_000
  metrics.discovery.looked('watch', 9_000, 'unreachable', 'not told')
  const invalid = { source: 'Secret ops/slack', problems: [] }
  roster.apply(
    {
      targets: [],
      invalid: [
        { ...invalid, stale: false },
        { ...invalid, stale: false }
      ]
    },
    at
  )
  metrics.refresh.began()
  t.equal((await scrape()).get('refresh_in_progress'), 1)
  metrics.refresh.ended('failure', 0.2)
  const series = await scrape()
  t.strictSame(
    only(
      series,
      'discovery_duration_seconds_count',
      'discovery_secrets_total',
      'discovery_last_success_timestamp_seconds',
      'discovery_last_error_timestamp_seconds',
      'refresh_total',
      'refresh_duration_seconds_count',
      'refresh_in_progress',
      'discovery_targets'
    ),
    {
      'discovery_duration_seconds_count{operation="list"}': 1,
      'discovery_duration_seconds_count{operation="watch"}': 1,
      'discovery_secrets_total{status="valid"}': 2,
      'discovery_secrets_total{status="invalid"}': 2,
      'discovery_secrets_total{status="stale"}': 0,
      discovery_last_success_timestamp_seconds: 1_000_000_000,
      discovery_last_error_timestamp_seconds: 1_000_000_005,
      'refresh_total{status="success"}': 0,
      'refresh_total{status="failure"}': 1,
      'refresh_duration_seconds_count{status="failure"}': 1,
      refresh_in_progress: 0
    }
  )
  t.equal(series.get('discovery_errors_total{error_type="unreachable"}'), 1)
})

t.test('targets are counted by type and whether they are enabled, and the mode follows', async t => {
  const { scrape, place } = await observed(t, [
    { name: 'on', type: 'webhook', url: 'http://127.0.0.1:1' },
    { name: 'off', type: 'webhook', url: 'http://127.0.0.1:1', enabled: false }
  ])
  const names = ['discovery_targets', 'mode_current', 'mode_transitions_total']
  t.strictSame(only(await scrape(), ...names), {
    'discovery_targets{type="webhook",enabled="true"}': 1,
    'discovery_targets{type="webhook",enabled="false"}': 1,
    mode_current: 0,
    mode_transitions_total: 0
  })
  place([])
  t.strictSame(only(await scrape(), ...names), { mode_current: 1, mode_transitions_total: 1 })
})

t.test('the store being away costs the queue gauges and nothing else', async t => {
  const { scrape, store, metrics } = await observed(t, [])
  await store.close()
  metrics.publish.received(undefined)
  const series = await scrape()
  t.equal(series.get('queue_available'), 0)
  t.equal(series.get('alerts_invalid_total'), 1)
})

t.test('what a vendor limit cut is counted by field', async t => {
  const { scrape, metrics } = await observed(t, [{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:1' }])
  metrics.delivery.truncated('hook', 'text')
  t.equal((await scrape()).get('payload_truncations_total{target_name="hook",field="text"}'), 1)
})

t.test('what is not sent a second time is counted as suppressed, and as no delivery', async t => {
  const target = await receiver(t)
  const { publish, scrape } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }])
  await publish(critical, ['hook'], 'once')
  await publish(critical, ['hook'], 'once')
  t.strictSame(
    only(await scrape(), 'duplicates_suppressed_total', 'delivery_attempts_total', 'delivery_end_to_end_seconds_count'),
    {
      'duplicates_suppressed_total{target_name="hook"}': 1,
      'delivery_attempts_total{target_name="hook",target_type="webhook",error_reason=""}': 1,
      'delivery_end_to_end_seconds_count{priority="high"}': 1,
      'delivery_end_to_end_seconds_count{priority="medium"}': 0,
      'delivery_end_to_end_seconds_count{priority="low"}': 0
    }
  )
})

t.test('requests are counted by route, method and status class', async t => {
  const { scrape, metrics } = await observed(t, [])
  metrics.http.onResponse('/api/v1/targets/:name', 'GET', 404, 0.002)
  metrics.http.onResponse('/api/v1/targets/:name', 'GET', 200, 0.02)
  const series = await scrape()
  t.strictSame(only(series, 'http_request_duration_seconds_count'), {
    'http_request_duration_seconds_count{route="/api/v1/targets/:name",method="GET",status="4xx"}': 1,
    'http_request_duration_seconds_count{route="/api/v1/targets/:name",method="GET",status="2xx"}': 1
  })
  const bucket = 'http_request_duration_seconds_bucket{route="/api/v1/targets/:name",method="GET",status="4xx",le='
  t.equal(series.get(`${bucket}"0.001"}`), 0)
  t.equal(series.get(`${bucket}"0.005"}`), 1)
  t.equal(series.get(`${bucket}"+Inf"}`), 1)
})

t.test('a critical alert waits for its first person, wherever it waits', async t => {
  const pager = await receiver(t)
  const hook = await receiver(t)
  let at = Date.now()
  pager.status = 503
  const { publish, scrape, workedOff } = await observed(
    t,
    [
      { name: 'chat', type: 'slack', url: pager.url },
      { name: 'hook', type: 'webhook', url: hook.url }
    ],
    { now: () => at }
  )
  const names = [
    'undelivered_criticals',
    'undelivered_critical_oldest_age_seconds',
    'time_to_first_human_seconds_count',
    'time_to_first_human_seconds_sum'
  ]
  await publish(critical)
  at += 90_000
  t.strictSame(only(await scrape(), ...names), {
    time_to_first_human_seconds_sum: 0,
    time_to_first_human_seconds_count: 0,
    undelivered_criticals: 1,
    undelivered_critical_oldest_age_seconds: 90
  })
  pager.status = 200
  await workedOff()
  t.strictSame(only(await scrape(), ...names), {
    time_to_first_human_seconds_sum: 90,
    time_to_first_human_seconds_count: 1,
    undelivered_criticals: 0,
    undelivered_critical_oldest_age_seconds: 0
  })
})

t.test('a critical alert that no person was to get keeps nobody waiting', async t => {
  const hook = await receiver(t)
  hook.status = 503
  const { publish, scrape } = await observed(t, [
    { name: 'hook', type: 'webhook', url: hook.url },
    { name: 'chat', type: 'slack', url: hook.url, filter: { severities: ['info'] } }
  ])
  await publish(critical)
  t.equal((await scrape()).get('undelivered_criticals'), 0)
})

t.test('a critical alert that resolves needs no person any more', async t => {
  const chat = await receiver(t)
  chat.status = 503
  const { publish, scrape } = await observed(t, [{ name: 'chat', type: 'slack', url: chat.url }])
  await publish(critical)
  t.equal((await scrape()).get('undelivered_criticals'), 1)
  await publish({ ...critical, status: 'resolved' })
  t.equal((await scrape()).get('undelivered_criticals'), 0)
})

for (const [what, status, told] of [
  ['owed', 503, { queued: true }],
  ['refused', 400, { success: false, queued: undefined }]
] as const) {
  t.test(
    `a critical alert that was ${what} before a restart still waits, and one that somebody has does not`,
    async t => {
      const chat = await receiver(t)
      const pager = await receiver(t)
      const settings = [
        { name: 'chat', type: 'slack', url: chat.url },
        { name: 'pager', type: 'pagerduty', url: pager.url, routing_key: '0123456789abcdef0123456789abcdef' }
      ]
      let at = Date.now()
      const queueDir = ownDirectory(t)
      chat.status = status
      pager.status = 202
      const first = await observed(t, settings, { now: () => at, queueDir })
      await first.publish(critical)
      pager.status = status
      const other = { ...critical, alert_name: 'Fire', labels: { alertname: 'Fire', severity: 'critical' } }
      const { results } = await first.publish(other)
      t.match(results, [told, told])
      await first.close()
      at += 60_000
      const second = await observed(t, settings, { now: () => at, queueDir })
      const series = await second.scrape()
      t.equal(series.get('undelivered_criticals'), 1)
      t.equal(series.get('undelivered_critical_oldest_age_seconds'), 60)
    }
  )
}

t.test('a critical alert that another replica delivered waits no more', async t => {
  const chat = await receiver(t)
  let at = Date.now()
  chat.status = 503
  const { publish, scrape, store } = await observed(t, [{ name: 'chat', type: 'slack', url: chat.url }], {
    now: () => at
  })
  const { results } = await publish(critical)
  t.match(results, [{ queued: true }])
  const [record] = await store.list('alert/', undefined, 1)
  store.note([{ id: record!.id, set: { 't:chat': `${at * 1000} f!-` } }])
  at += 10_000
  t.equal((await scrape()).get('undelivered_criticals'), 0)
})

t.test('every metric of the table is exported with its help and type', async t => {
  const { metrics } = await observed(t, [])
  const text = await metrics.text()
  const expected = [
    ...Object.entries(publishing).map(([name, { type }]) => `# TYPE ${prefix}${name} ${type}`),
    ...Object.entries(server).map(([name, { type }]) => `# TYPE ${name} ${type}`)
  ]
  for (const line of expected) t.ok(text.includes(`${line}\n`), line)
  t.match(metrics.contentType, /^text\/plain; version=0\.0\.4/)
})

t.test('label values are escaped', async t => {
  const { metrics, scrape } = await observed(t, [{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:1' }])
  metrics.delivery.truncated('hook', 'a"b\\c\nd')
  t.equal((await scrape()).get('payload_truncations_total{target_name="hook",field="a\\"b\\\\c\\nd"}'), 1)
})

t.test('promtool finds nothing to complain about', async t => {
  if (!needs(t, 'promtool')) return
  const target = await receiver(t)
  const { publish, metrics, workedOff, roster } = await observed(t, [
    { name: 'hook', type: 'webhook', url: target.url },
    { name: 'chat', type: 'slack', url: target.url }
  ])
  target.status = 503
  await publish(critical)
  target.status = 200
  await workedOff()
  const live = roster.get('hook')!
  metrics.health.checked(live, live.health, 3)
  metrics.discovery.looked('list', 3, 'other')
  metrics.http.onResponse('/metrics', 'GET', 200, 0.01)
  const output = execFileSync('promtool', ['check', 'metrics'], { input: await metrics.text(), encoding: 'utf8' })
  t.equal(output, '')
})
