import t from 'tap'
import {
  checkFailed,
  checkSucceeded,
  delivered,
  type Health,
  type HealthStatus,
  statusNow,
  unknownHealth
} from '../../src/health/state.js'

const rules = { failureThreshold: 3, degradedMs: 2_000, intervalMs: 120_000 }
const at = { latencyMs: 40, now: 5_000, rules }

const healthy: Health = {
  ...unknownHealth,
  status: 'healthy',
  latencyMs: 12,
  lastCheck: 1_000,
  lastSuccess: 1_000,
  consecutiveFailures: 0,
  checks: 1,
  successes: 1
}
const slow: Health = { ...healthy, status: 'degraded', latencyMs: 2_000 }
const failing: Health = { ...healthy, status: 'degraded', consecutiveFailures: 2, errorReason: 'timeout', checks: 3 }
const unhealthy: Health = { ...failing, status: 'unhealthy', consecutiveFailures: 3, checks: 4 }
const neverSeen: Health = {
  ...unknownHealth,
  status: 'unhealthy',
  latencyMs: 1,
  lastCheck: 1_000,
  consecutiveFailures: 3,
  errorReason: 'connection',
  checks: 3,
  successes: 0
}
const all = { unknown: unknownHealth, healthy, slow, failing, unhealthy, 'never seen': neverSeen }

t.test('one check that reaches it makes a target healthy, or degraded if it was slow', async t => {
  for (const [what, health] of Object.entries(all)) {
    const next: Health = {
      ...unknownHealth,
      status: 'healthy',
      latencyMs: 40,
      lastCheck: 5_000,
      lastSuccess: 5_000,
      consecutiveFailures: 0,
      checks: health.checks + 1,
      successes: health.successes + 1
    }
    t.strictSame(checkSucceeded(health, at), next, what)
    t.strictSame(checkSucceeded(health, { ...at, latencyMs: 1_999.9 }), { ...next, latencyMs: 1_999.9 }, what)
    t.strictSame(
      checkSucceeded(health, { ...at, latencyMs: 2_000 }),
      { ...next, status: 'degraded', latencyMs: 2_000 },
      `${what}, slowly`
    )
  }
})

t.test('checks that fail make a target degraded, and unhealthy from the threshold on', async t => {
  const table: [string, Health, HealthStatus, number][] = [
    ['unknown', unknownHealth, 'degraded', 1],
    ['healthy', healthy, 'degraded', 1],
    ['slow', slow, 'degraded', 1],
    ['one failure', { ...failing, consecutiveFailures: 1 }, 'degraded', 2],
    ['one below the threshold', failing, 'unhealthy', 3],
    ['unhealthy', unhealthy, 'unhealthy', 4],
    ['never seen', neverSeen, 'unhealthy', 4]
  ]
  for (const [what, health, status, consecutiveFailures] of table) {
    const next: Health = {
      ...unknownHealth,
      status,
      latencyMs: 40,
      lastCheck: 5_000,
      lastSuccess: health.lastSuccess,
      consecutiveFailures,
      errorReason: 'dns',
      checks: health.checks + 1,
      successes: health.successes
    }
    t.strictSame(checkFailed(health, 'dns', at), next, what)
  }
})

t.test('with a threshold of one the first failed check is enough', async t => {
  const next = checkFailed(healthy, 'tls', { ...at, rules: { ...rules, failureThreshold: 1 } })
  t.match(next, { status: 'unhealthy', consecutiveFailures: 1, errorReason: 'tls' })
})

t.test('a delivered part heals, but leaves a target that is merely slow degraded', async t => {
  const healed = (health: Health): Health => ({
    ...health,
    status: 'healthy',
    lastSuccess: 5_000,
    consecutiveFailures: 0,
    errorReason: undefined
  })
  t.strictSame(delivered(unknownHealth, 5_000), healed(unknownHealth), 'unknown')
  t.strictSame(delivered(healthy, 5_000), { ...healthy, lastSuccess: 5_000 }, 'healthy')
  t.strictSame(delivered(slow, 5_000), { ...slow, lastSuccess: 5_000 }, 'slow')
  t.strictSame(delivered(failing, 5_000), healed(failing), 'failing')
  t.strictSame(delivered(unhealthy, 5_000), healed(unhealthy), 'unhealthy')
  t.strictSame(delivered(neverSeen, 5_000), healed(neverSeen), 'never seen')
})

t.test('what nobody has heard of for 10 minutes and three intervals is unknown', async t => {
  const table: [string, Health, number, HealthStatus][] = [
    ['2m', healthy, 601_000, 'healthy'],
    ['2m', healthy, 601_001, 'unknown'],
    ['2m', unhealthy, 601_000, 'unhealthy'],
    ['2m', unhealthy, 601_001, 'unknown'],
    ['10m', failing, 1_801_000, 'degraded'],
    ['10m', failing, 1_801_001, 'unknown'],
    ['2m', unknownHealth, 1_000, 'unknown']
  ]
  for (const [interval, health, now, status] of table) {
    const intervalMs = interval === '2m' ? 120_000 : 600_000
    t.equal(statusNow(health, now, { intervalMs }), status, `${health.status} after ${now}, every ${interval}`)
  }
})

t.test('deliveries keep a target known while it is not checked', async t => {
  t.equal(statusNow(delivered(healthy, 500_000), 1_000_000, rules), 'healthy')
  t.equal(statusNow(delivered(unknownHealth, 500_000), 1_000_000, rules), 'healthy')
})
