import fc from 'fast-check'
import t from 'tap'
import { fullBucket, giveBack, type Rate, take, waitMs } from '../../src/pipeline/rate.js'

const slack: Rate = { requests: 1, perMs: 1_000, burst: 3 }

/** Milliseconds of waiting for each of so many tokens that are all asked for at once. */
function waits(rate: Rate, count: number): number[] {
  let bucket = fullBucket(rate, 0)
  return Array.from({ length: count }, () => {
    const wait = waitMs(bucket, rate, 0)
    bucket = take(bucket, rate, 0)
    return wait
  })
}

for (const [rate, expected] of [
  [slack, [0, 0, 0, 1_000, 2_000]],
  [{ requests: 120, perMs: 60_000, burst: 1 }, [0, 500, 1_000, 1_500]],
  [{ requests: 3, perMs: 1_000, burst: 1 }, [0, 334, 667, 1_000]],
  [{ requests: 0.5, perMs: 1_000, burst: 1 }, [0, 2_000, 4_000]]
] as const) {
  t.test(`${rate.requests} per ${rate.perMs} ms, ${rate.burst} at once: waits of ${expected}`, async t => {
    t.strictSame(waits(rate, expected.length), expected)
  })
}

t.test('tokens come back with time, never more than the burst', async t => {
  let bucket = fullBucket(slack, 0)
  for (let index = 0; index < 3; index++) bucket = take(bucket, slack, 0)
  t.strictSame(
    [0, 250, 500, 1_000].map(now => waitMs(bucket, slack, now)),
    [1_000, 750, 500, 0]
  )
  const rested = take(bucket, slack, 3_600_000)
  t.strictSame(rested, { tokens: 2, at: 3_600_000 })
})

t.test('a token that was promised and not used is given back', async t => {
  const promised = take(take(take(take(fullBucket(slack, 0), slack, 0), slack, 0), slack, 0), slack, 0)
  t.equal(waitMs(promised, slack, 0), 2_000)
  t.equal(waitMs(giveBack(promised, slack, 0), slack, 0), 1_000)
  t.strictSame(giveBack(fullBucket(slack, 0), slack, 0), { tokens: 3, at: 0 })
})

t.test('a clock that goes back neither gives tokens nor takes any', async t => {
  const bucket = { tokens: 1, at: 10_000 }
  t.strictSame([waitMs(bucket, slack, 5_000), take(bucket, slack, 5_000).tokens], [0, 0])
})

t.test('whoever waits as told keeps the rate over any time, and waits no longer than needed', async t => {
  const rate = fc.record({
    requests: fc.double({ min: 0.01, max: 1_000, noNaN: true }),
    perMs: fc.integer({ min: 1, max: 3_600_000 }),
    burst: fc.integer({ min: 1, max: 100 })
  })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(rate, fc.array(fc.nat(100_000), { minLength: 1, maxLength: 40 }), (rate, gaps) => {
        let [bucket, now] = [fullBucket(rate, 0), 0]
        for (const [sent, gap] of gaps.entries()) {
          now += gap
          const wait = waitMs(bucket, rate, now)
          if (!Number.isInteger(wait) || wait < 0 || wait > Math.ceil(rate.perMs / rate.requests)) return false
          now += wait
          bucket = take(bucket, rate, now)
          const most = rate.burst + (now * rate.requests) / rate.perMs
          if (sent + 1 > most + 1e-6) return false
        }
        return true
      })
    )
  )
})
