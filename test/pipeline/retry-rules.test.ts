import fc from 'fast-check'
import t from 'tap'
import type { Alert } from '../../src/alert.js'
import { delayMs, isLast, priorityOf } from '../../src/pipeline/retry-rules.js'
import { failure } from '../../src/targets/failures.js'
import { alertOf } from '../support/messages.js'

const rules = { baseMs: 2_000, maxDelayMs: 300_000, maxAgeMs: 21_600_000, retentionMs: 604_800_000 }
const almostOne = 1 - Number.EPSILON

for (const [tries, most] of [
  [1, 2_000],
  [2, 4_000],
  [3, 8_000],
  [7, 128_000],
  [8, 256_000],
  [9, 300_000],
  [40, 300_000],
  [100_000, 300_000]
] as const) {
  t.test(`after ${tries} attempts the delay is anywhere from 0 to ${most} ms`, async t => {
    t.strictSame(
      [0, 0.5, almostOne].map(random => delayMs(tries, undefined, rules, random)),
      [0, most / 2, most]
    )
  })
}

for (const [retryAfterMs, delay] of [
  [undefined, 1_000],
  [0, 1_000],
  [999, 1_000],
  [7_000, 7_000],
  [3_600_000, 3_600_000]
] as const) {
  t.test(`a Retry-After of ${retryAfterMs} ms is a floor: ${delay} ms`, async t => {
    t.equal(delayMs(1, failure('rate_limited', 'slow down', { retryAfterMs }), rules, 0.5), delay)
  })
}

t.test('a delay is never negative, never a fraction, and never above the cap', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e6 }),
        fc.double({ min: 0, max: almostOne, noNaN: true }),
        (tries, random) => {
          const delay = delayMs(tries, undefined, rules, random)
          return Number.isInteger(delay) && delay >= 0 && delay <= Math.min(300_000, 2_000 * 2 ** (tries - 1))
        }
      )
    )
  )
})

for (const [what, closes, ageMs, last] of [
  ['a young one', false, 0, false],
  ['one of just the greatest age', false, rules.maxAgeMs, false],
  ['one beyond it', false, rules.maxAgeMs + 1, true],
  ['a resolve that closes something, beyond it', true, rules.maxAgeMs + 1, false],
  ['a resolve that closes something, beyond the retention', true, rules.retentionMs + 1, true]
] as const) {
  t.test(`a failed attempt of ${what} is ${last ? '' : 'not '}the last`, async t => {
    t.equal(isLast(1_000, closes, 1_000 + ageMs, rules), last)
  })
}

t.test('a resolve that closes something never gives up before others do', async t => {
  t.equal(isLast(0, true, 1_000, { ...rules, retentionMs: 1 }), false)
})

const of = (status: Alert['status'], label?: string, severity?: 'critical' | 'warning' | 'info' | 'noise') =>
  alertOf({
    status,
    labels: label === undefined ? {} : { severity: label },
    ...(severity ? { classification: { severity } } : {})
  })

for (const [what, alerts, priority] of [
  ['critical and firing', [of('firing', 'critical')], 'high'],
  ['critical in other letters', [of('firing', 'Critical')], 'high'],
  ['classified critical', [of('firing', 'info', 'critical')], 'high'],
  ['labelled critical, classified noise', [of('firing', 'critical', 'noise')], 'low'],
  ['critical and resolved', [of('resolved', 'critical')], 'low'],
  ['a warning', [of('firing', 'warning')], 'medium'],
  ['of no severity', [of('firing')], 'medium'],
  ['of a severity of one’s own', [of('firing', 'page')], 'medium'],
  ['information', [of('firing', 'info')], 'low'],
  ['resolved beside a warning', [of('resolved', 'critical'), of('firing', 'warning')], 'medium'],
  ['critical among others', [of('firing', 'info'), of('resolved'), of('firing', 'critical')], 'high']
] as const) {
  t.test(`what is ${what} has priority ${priority}`, async t => {
    t.equal(priorityOf(alerts.map(alert => ({ alert, seq: 1 }))), priority)
  })
}
