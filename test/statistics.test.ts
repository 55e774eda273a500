import fc from 'fast-check'
import t from 'tap'
import Schema from 'typebox/schema'
import { unknownHealth } from '../src/health/state.js'
import { openDurations } from '../src/statistics/summary.js'
import { createStatistics, Statistics, StatisticsHistory } from '../src/statistics.js'
import { observed, receiver } from './support/observed.js'

const warning = { alert_name: 'DiskFull', status: 'firing', labels: { alertname: 'DiskFull', severity: 'warning' } }
const start = Date.parse('2026-11-20T18:00:00Z')

/** A publish's answer, as far as statistics look at it. */
function answer(kind: 'success' | 'partial_success' | 'failure', duration_ms: number) {
  const success_count = kind === 'failure' ? 0 : 1
  const failure_count = kind === 'success' ? 0 : 1
  const total_targets = success_count + failure_count
  const counts = { total_targets, success_count, failure_count, skipped_count: 0, queued_count: failure_count }
  return {
    ...counts,
    success: kind !== 'failure',
    is_partial_success: kind === 'partial_success',
    duration_ms
  } as never
}

t.test('nothing happened yet: zeros, no NaN, and the rates of a clean slate', async t => {
  const statistics = createStatistics({ now: () => start })
  const none = { count: 0, avg: 0, min: 0, max: 0, p50: 0, p95: 0, p99: 0 }
  t.strictSame(statistics.snapshot(), {
    since: '2026-11-20T18:00:00.000Z',
    seconds: 0,
    publish: {
      total: 0,
      success: 0,
      partial_success: 0,
      failure: 0,
      cancelled: 0,
      success_rate: 100,
      per_second: 0,
      targets: { total: 0, success: 0, failure: 0, skipped: 0, queued: 0 },
      duration_ms: none
    },
    delivery: {
      attempts: 0,
      failed_attempts: 0,
      success_rate: 100,
      errors: {},
      deduplicated: 0,
      attempt_ms: none,
      end_to_end_ms: none
    },
    discovery: { looks: 0, errors: 0, success_rate: 100, duration_ms: none },
    health: { checks: 0, failures: 0, success_rate: 100, duration_ms: none },
    queue: { submitted: 0, unavailable: 0, processed: 0, delivered: 0, dead_letters: 0, success_rate: 100 }
  })
})

t.test('what really happened is counted in every part', async t => {
  const good = await receiver(t)
  const bad = await receiver(t)
  bad.status = 503
  const { publish, statistics, workedOff } = await observed(t, [
    { name: 'good', type: 'webhook', url: good.url },
    { name: 'bad', type: 'webhook', url: bad.url }
  ])
  await publish(warning)
  await publish(warning, ['good'], 'once')
  await publish(warning, ['good'], 'once')
  bad.status = 400
  await workedOff()
  const { publish: published, delivery, queue } = statistics.snapshot()
  t.match(published, {
    total: 3,
    success: 2,
    partial_success: 1,
    failure: 0,
    success_rate: 100,
    targets: { total: 4, success: 3, failure: 1, skipped: 0, queued: 1 },
    duration_ms: { count: 3 }
  })
  t.match(delivery, {
    attempts: 4,
    failed_attempts: 2,
    success_rate: 50,
    errors: { server_error: 1, client_error: 1 },
    deduplicated: 1,
    attempt_ms: { count: 4 },
    end_to_end_ms: { count: 2 }
  })
  t.strictSame(queue, {
    submitted: 1,
    unavailable: 0,
    processed: 1,
    delivered: 0,
    dead_letters: 1,
    success_rate: 0
  })
})

t.test('looks for targets and health checks are counted', async t => {
  const statistics = createStatistics({ now: () => start })
  statistics.discovery.looked('list', 20)
  statistics.discovery.looked('watch', 40, 'unreachable')
  const health = { ...unknownHealth, status: 'healthy', checks: 1, successes: 1 } as const
  statistics.health.checked({ health } as never, health, 3)
  statistics.health.checked({ health: { ...health, consecutiveFailures: 1 } } as never, health, 5)
  const { discovery, health: checks } = statistics.snapshot()
  t.match(discovery, { looks: 2, errors: 1, success_rate: 50, duration_ms: { count: 2, avg: 30, min: 20, max: 40 } })
  t.match(checks, { checks: 2, failures: 1, success_rate: 50, duration_ms: { count: 2, avg: 4, min: 3, max: 5 } })
})

t.test('a reset starts anew and leaves the history alone', async t => {
  let at = start
  const statistics = createStatistics({ now: () => at })
  statistics.publish.published(answer('failure', 10), {} as never, {} as never)
  statistics.publish.cancelled()
  at += 30_000
  statistics.reset()
  at += 5_000
  const { since, seconds, publish } = statistics.snapshot()
  t.strictSame({ since, seconds }, { since: '2026-11-20T18:00:30.000Z', seconds: 5 })
  t.match(publish, { total: 0, failure: 0, cancelled: 0, duration_ms: { count: 0 } })
  const { points } = statistics.history(60_000)
  t.equal(
    points.reduce((sum, point) => sum + point.publishes, 0),
    1
  )
})

t.test('percentiles stay within 1 % of the true ones', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.1, max: 3_000_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      all => {
        const durations = openDurations()
        for (const ms of all) durations.record(ms)
        const sorted = all.toSorted((a, b) => a - b)
        const summary = durations.summary()
        const near = (value: number, share: number) => {
          const exact = sorted[Math.max(Math.ceil((share / 100) * sorted.length) - 1, 0)]!
          return Math.abs(value - exact) <= exact * 0.01 + 0.01
        }
        return (
          summary.count === all.length &&
          summary.min === sorted[0] &&
          summary.max === sorted.at(-1) &&
          near(summary.p50, 50) &&
          near(summary.p95, 95) &&
          near(summary.p99, 99)
        )
      }
    )
  )
})

t.test('durations out of all bounds are taken as the bounds', async t => {
  const durations = openDurations()
  durations.record(-5)
  durations.record(30 * 86_400_000)
  t.match(durations.summary(), { count: 2, min: 0, p50: 0 })
})

const tried = (at: number) => ({ attemptedAt: at - 3, attemptMs: 3 }) as never

t.test('the history has an interval for every 10 s, also for those in which nothing happened', async t => {
  let at = start
  const statistics = createStatistics({ now: () => at })
  statistics.publish.published(answer('success', 100), {} as never, {} as never)
  statistics.publish.published(answer('partial_success', 300), {} as never, {} as never)
  at += 20_000
  statistics.delivery.attempted(tried(at), { outcome: { kind: 'failed', reason: 'timeout' } } as never, 3)
  statistics.owed.submitted({} as never, 'queued')
  statistics.owed.buried({} as never)
  const history = statistics.history(30_000)
  const nothing = {
    publishes: 0,
    success: 0,
    partial_success: 0,
    failure: 0,
    attempts: 0,
    failed_attempts: 0,
    queued: 0,
    dead_letters: 0,
    avg_duration_ms: 0,
    max_duration_ms: 0
  }
  t.strictSame(history.points, [
    {
      ...nothing,
      at: '2026-11-20T18:00:00.000Z',
      publishes: 2,
      success: 1,
      partial_success: 1,
      avg_duration_ms: 200,
      max_duration_ms: 300
    },
    { ...nothing, at: '2026-11-20T18:00:10.000Z' },
    { ...nothing, at: '2026-11-20T18:00:20.000Z', attempts: 1, failed_attempts: 1, queued: 1, dead_letters: 1 }
  ])
  t.match(history, { window_seconds: 30, interval_seconds: 10 })
})

t.test('what is older than an hour is forgotten, and never taken for something new', async t => {
  let at = start
  const statistics = createStatistics({ now: () => at })
  statistics.publish.published(answer('success', 1), {} as never, {} as never)
  at += 3_600_000
  t.equal(statistics.history(3_600_000).points.length, 360)
  t.ok(statistics.history(3_600_000).points.every(point => point.publishes === 0))
  t.equal(statistics.history(7_200_000).window_seconds, 3600, 'a longer window is cut to the hour')
  t.equal(statistics.history(0).window_seconds, 20, 'a trend needs two intervals')
})

t.test('the trend sets the newer half of the window beside the older one', async t => {
  let at = start
  const statistics = createStatistics({ now: () => at })
  const publish = (count: number, ms: number) => {
    for (let index = 0; index < count; index++)
      statistics.publish.published(answer('success', ms), {} as never, {} as never)
  }
  publish(10, 50)
  statistics.delivery.attempted(tried(at), { outcome: { kind: 'delivered' } } as never, 3)
  at += 10_000
  publish(20, 20)
  statistics.delivery.attempted(tried(at), { outcome: { kind: 'delivered' } } as never, 3)
  t.strictSame(statistics.history(20_000).trend, {
    publishes_per_minute: { direction: 'rising', before: 60, after: 120 },
    failed_attempts_percent: { direction: 'steady', before: 0, after: 0 },
    avg_duration_ms: { direction: 'falling', before: 50, after: 20 }
  })
})

t.test('the rate is that of the last whole minute', async t => {
  let at = start
  const statistics = createStatistics({ now: () => at })
  for (let second = 0; second < 60; second++) {
    for (let index = 0; index < 5; index++) statistics.publish.published(answer('success', 1), {} as never, {} as never)
    at += 1_000
  }
  t.equal(statistics.snapshot().publish.per_second, 5)
})

t.test('both answers are what their schemas say', async t => {
  const statistics = createStatistics({ now: () => start })
  statistics.publish.published(answer('partial_success', 1.5), {} as never, {} as never)
  t.ok(Schema.Check(Statistics, statistics.snapshot()))
  t.ok(Schema.Check(StatisticsHistory, statistics.history(60_000)))
})
