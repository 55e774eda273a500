import t from 'tap'
import { readConfig } from '../../src/config.js'
import {
  defaultOptions,
  effectiveOptions,
  optionsFromBody,
  optionsFromQuery,
  publishTimeoutMs
} from '../../src/pipeline/options.js'

const config = readConfig({})
if (!config.ok) throw new Error('the defaults are not valid')
const defaults = defaultOptions(config.value)

t.test('the defaults are the configuration’s', async t => {
  t.strictSame(defaults, {
    timeoutMs: 30_000,
    adaptive: true,
    maxConcurrent: 50,
    checkHealth: true,
    healthStrategy: 'skip_unhealthy',
    respectCircuitBreakers: true
  })
})

t.test('what a publish asks for wins, and nothing else changes', async t => {
  t.strictSame(effectiveOptions(defaults, {}), defaults)
  t.strictSame(effectiveOptions(defaults, { max_concurrent: 0 }), { ...defaults, maxConcurrent: 0 })
  t.strictSame(effectiveOptions(defaults, { check_health: false }), { ...defaults, checkHealth: false })
  t.strictSame(
    effectiveOptions(defaults, {
      timeout: 60_000,
      max_concurrent: 200,
      check_health: false,
      health_strategy: 'skip_unhealthy_and_degraded',
      respect_circuit_breakers: false
    }),
    {
      timeoutMs: 60_000,
      adaptive: false,
      maxConcurrent: 200,
      checkHealth: false,
      healthStrategy: 'skip_unhealthy_and_degraded',
      respectCircuitBreakers: false
    }
  )
})

for (const [targets, ms] of [
  [0, 5_000],
  [1, 5_500],
  [10, 10_000],
  [50, 30_000],
  [51, 30_000],
  [1_000, 30_000]
] as const) {
  t.test(`${targets} targets get ${ms} ms`, async t => t.equal(publishTimeoutMs(defaults, targets), ms))
}

t.test('a timeout that was asked for is never shortened, and the adaptive one can be off', async t => {
  t.equal(publishTimeoutMs(effectiveOptions(defaults, { timeout: 25_000 }), 1), 25_000)
  t.equal(publishTimeoutMs({ ...defaults, adaptive: false }, 1), 30_000)
  t.equal(publishTimeoutMs({ ...defaults, timeoutMs: 2_000 }, 1), 2_000)
})

t.test('options are read from a body', async t => {
  for (const none of [undefined, null, {}]) t.strictSame(optionsFromBody(none), { ok: true, value: {} })
  t.strictSame(optionsFromBody({ timeout: '500ms', max_concurrent: 0, check_health: false }), {
    ok: true,
    value: { timeout: 500, max_concurrent: 0, check_health: false }
  })
})

t.test('the same options are read from a query, which may say other things too', async t => {
  t.strictSame(optionsFromQuery({ target: ['a', 'b'], scope: 'all' }), { ok: true, value: {} })
  t.strictSame(
    optionsFromQuery({
      target: 'a',
      timeout: '1h',
      max_concurrent: '7',
      check_health: 'true',
      health_strategy: 'publish_to_all',
      respect_circuit_breakers: 'false'
    }),
    {
      ok: true,
      value: {
        timeout: 3_600_000,
        max_concurrent: 7,
        check_health: true,
        health_strategy: 'publish_to_all',
        respect_circuit_breakers: false
      }
    }
  )
})

for (const [name, inBody, inQuery] of [
  ['timeout', 10, '10'],
  ['timeout', 'soon', 'soon'],
  ['timeout', '0s', '0s'],
  ['timeout', '61m', '61m'],
  ['timeout', `${'9'.repeat(400)}s`, `${'9'.repeat(400)}s`],
  ['timeout', ['1s', '2s'], ['1s', '2s']],
  ['max_concurrent', -1, '-1'],
  ['max_concurrent', 1.5, '1.5'],
  ['max_concurrent', '5', ''],
  ['max_concurrent', 1_000_001, '99999999999999999999'],
  ['check_health', 'true', 'yes'],
  ['check_health', 1, '1'],
  ['health_strategy', 'all', 'all'],
  ['health_strategy', 5, '5'],
  ['respect_circuit_breakers', null, 'no']
] as const) {
  t.test(`${name} ${JSON.stringify(inBody).slice(0, 20)} is refused, in a body and in a query`, async t => {
    t.match(optionsFromBody({ [name]: inBody }), {
      problems: [{ field: `options.${name}`, message: /./, suggestion: /./ }]
    })
    t.match(optionsFromQuery({ [name]: inQuery }), { problems: [{ field: name, message: /./, suggestion: /./ }] })
  })
}
