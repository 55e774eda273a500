import fc from 'fast-check'
import t from 'tap'
import {
  type Breaker,
  type BreakerRules,
  begun,
  changed,
  closed,
  failed,
  neutral,
  type Probe,
  permits,
  succeeded
} from '../../src/pipeline/breaker.js'
import type { ErrorReason, ErrorType } from '../../src/targets/contract.js'
import { failure } from '../../src/targets/failures.js'

const rules: BreakerRules = { failureThreshold: 3, successThreshold: 2, openMs: 30_000 }

const twoFailures: Breaker = { state: 'closed', failures: 2 }
const open: Breaker = { state: 'open', since: 1_000, until: 31_000, reason: 'timeout' }
const halfOpen: Probe = { state: 'half_open', since: 1_000, reason: 'timeout', successes: 0, probing: false }
const probing: Probe = { ...halfOpen, probing: true }
const lastProbe: Probe = { ...halfOpen, successes: 1, probing: true }

t.test('closed lets everything through, open nothing until its time, half-open one probe at a time', async t => {
  const table: [Breaker, number, boolean][] = [
    [closed, 0, true],
    [twoFailures, 0, true],
    [open, 1_000, false],
    [open, 30_999, false],
    [open, 31_000, true],
    [open, 99_000, true],
    [halfOpen, 31_000, true],
    [probing, 31_000, false],
    [probing, 99_000, false]
  ]
  for (const [breaker, now, permitted] of table) t.equal(permits(breaker, now), permitted, `${at(breaker)} at ${now}`)
})

t.test('an attempt that begins makes a probe of itself only where one may go', async t => {
  const table: [Breaker, number, Probe | undefined][] = [
    [closed, 0, undefined],
    [twoFailures, 0, undefined],
    [open, 30_999, undefined],
    [open, 31_000, probing],
    [halfOpen, 40_000, probing],
    [{ ...halfOpen, successes: 1 }, 40_000, lastProbe],
    [probing, 40_000, undefined]
  ]
  for (const [breaker, now, next] of table) t.same(begun(breaker, now), next, `${at(breaker)} at ${now}`)
})

t.test('a delivered part resets the failures, and a probe counts towards the threshold', async t => {
  const table: [string, Breaker, Probe | undefined, Breaker][] = [
    ['closed', closed, undefined, closed],
    ['closed with failures', twoFailures, undefined, closed],
    ['the first probe', probing, probing, { ...halfOpen, successes: 1 }],
    ['the last probe', lastProbe, lastProbe, closed],
    ['a late one while open', open, undefined, open],
    ['a late one while half-open', halfOpen, undefined, halfOpen],
    ['a late one beside a probe', lastProbe, undefined, lastProbe],
    ['a probe of an earlier time', lastProbe, probing, lastProbe],
    ['a probe that was outlived by a reset', closed, probing, closed]
  ]
  for (const [what, breaker, probe, next] of table) t.same(succeeded(breaker, probe, rules), next, what)
})

t.test('failures in a row, a failed probe, or one configuration failure open the circuit', async t => {
  const opened = (since: number, reason: ErrorReason): Breaker => ({ state: 'open', since, until: 80_000, reason })
  const table: [string, Breaker, Probe | undefined, ErrorReason, Breaker][] = [
    ['the first', closed, undefined, 'timeout', { state: 'closed', failures: 1 }],
    ['one below the threshold', { state: 'closed', failures: 1 }, undefined, 'connection', twoFailures],
    ['at the threshold', twoFailures, undefined, 'server_error', opened(50_000, 'server_error')],
    ['unknown ones count as well', twoFailures, undefined, 'internal', opened(50_000, 'internal')],
    ['bad credentials', closed, undefined, 'auth', opened(50_000, 'auth')],
    ['nothing there', closed, undefined, 'not_found', opened(50_000, 'not_found')],
    ['the first probe', probing, probing, 'connection', opened(1_000, 'connection')],
    ['the last probe', lastProbe, lastProbe, 'dns', opened(1_000, 'dns')],
    ['a probe, by its credentials', probing, probing, 'auth', opened(1_000, 'auth')],
    ['a late one while open', open, undefined, 'timeout', open],
    ['late credentials while open', open, undefined, 'auth', opened(1_000, 'auth')],
    ['a late one while half-open', halfOpen, undefined, 'timeout', halfOpen],
    ['a late one beside a probe', probing, undefined, 'timeout', probing],
    ['late credentials beside a probe', probing, undefined, 'auth', opened(1_000, 'auth')]
  ]
  for (const [what, breaker, probe, reason, next] of table) {
    t.same(failed(breaker, probe, failure(reason, 'it failed'), { now: 50_000, rules }), next, what)
  }
})

t.test('rate limits, refusals of the alert and cancelled attempts only free the place of a probe', async t => {
  const saysNothing: ErrorReason[] = ['rate_limited', 'client_error', 'rejected', 'payload_too_large', 'cancelled']
  for (const reason of saysNothing) {
    const after = (breaker: Breaker, probe?: Probe) =>
      failed(breaker, probe, failure(reason, 'it failed'), { now: 50_000, rules })
    t.equal(after(twoFailures), twoFailures, `${reason} while closed`)
    t.equal(after(open), open, `${reason} while open`)
    t.same(after(lastProbe, lastProbe), { ...halfOpen, successes: 1 }, `${reason} of a probe`)
    t.equal(after(probing), probing, `${reason} beside a probe`)
  }
  t.same(neutral(probing, probing), halfOpen, 'a probe that never went out')
  t.equal(neutral(probing, undefined), probing, 'another one that never went out')
})

t.test('a target that changed is probed at once', async t => {
  t.equal(changed(closed, 5_000), closed)
  t.equal(changed(twoFailures, 5_000), twoFailures)
  t.equal(changed(probing, 5_000), probing)
  const next = changed(open, 5_000)
  t.same(next, { ...open, until: 5_000 })
  t.equal(permits(next, 5_000), true)
})

type Step =
  | { do: 'begin'; afterMs: number }
  | { do: 'begin without asking'; afterMs: number }
  | { do: 'change'; afterMs: number }
  | { do: 'reset'; afterMs: number }
  | { do: 'end'; which: number; as: ErrorReason | 'delivered' | 'not sent'; afterMs: number }

const reasons: ErrorReason[] = ['timeout', 'server_error', 'auth', 'rate_limited', 'client_error', 'cancelled']
const afterMs = fc.nat(2_000)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant<'begin'>('begin'), afterMs }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant<'end'>('end'),
      which: fc.nat(20),
      as: fc.constantFrom<ErrorReason | 'delivered' | 'not sent'>('delivered', 'delivered', 'not sent', ...reasons),
      afterMs
    })
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant<'begin without asking'>('begin without asking'), afterMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant<'change'>('change'), afterMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant<'reset'>('reset'), afterMs }) }
)

t.test('whatever happens in whatever order, no more gets through than the rules allow', async t => {
  const table = fc.record({
    failureThreshold: fc.integer({ min: 1, max: 5 }),
    successThreshold: fc.integer({ min: 1, max: 4 }),
    openMs: fc.integer({ min: 1, max: 5_000 })
  })
  const seen = new Set<string>()
  fc.assert(
    fc.property(table, fc.array(step, { minLength: 1, maxLength: 120 }), (rules, steps) => {
      for (const problem of run(rules, steps, seen)) throw new Error(problem)
    }),
    { numRuns: 2_000 }
  )
  t.strictSame([...seen].sort(), [
    'closed → open',
    'half_open → closed',
    'half_open → open',
    'open → closed',
    'open → half_open'
  ])
})

/**
 * Plays the steps against the breaker, and keeps its own books of what the rules say: by the probes that are out, their
 * successes since the circuit opened, and the failures in a row, not by the breaker's own fields.
 */
function* run(rules: BreakerRules, steps: readonly Step[], seen: Set<string>): Generator<string> {
  let breaker: Breaker = closed
  let now = 0
  const out: { made: Probe | undefined; probe: boolean; round: number }[] = []
  // A new round begins whenever a circuit opens or is reset; what began in an earlier one proves nothing.
  let round = 0
  let shutUntil: number | undefined
  let proven = 0
  let inARow = 0
  for (const step of steps) {
    now += step.afterMs
    const before = breaker
    if (step.do === 'begin') {
      if (!permits(breaker, now)) {
        if (before.state === 'closed') yield 'a closed circuit kept an attempt away'
        if (shutUntil !== undefined && now >= shutUntil && !out.some(one => one.probe && one.round === round))
          yield 'a due probe was kept away'
        continue
      }
      if (shutUntil !== undefined && now < shutUntil) yield `an attempt at ${now}, before ${shutUntil}`
      const made = begun(breaker, now)
      breaker = made ?? breaker
      const probe = shutUntil !== undefined
      if (probe && out.some(one => one.probe && one.round === round)) yield 'two probes at once'
      out.push({ made, probe, round })
    } else if (step.do === 'begin without asking') {
      // As a publish does that ignores breakers: where it was let through anyway, it is a probe like any other.
      const probe = shutUntil !== undefined && permits(breaker, now)
      const made = begun(breaker, now)
      breaker = made ?? breaker
      out.push({ made, probe, round })
    } else if (step.do === 'change') {
      breaker = changed(breaker, now)
      if (before.state === 'open') shutUntil = now
    } else if (step.do === 'reset') {
      breaker = closed
      shutUntil = undefined
      inARow = 0
      round++
    } else if (out.length > 0) {
      const [one] = out.splice(step.which % out.length, 1)
      breaker = ended(breaker, one!.made, step.as, { now, rules })
      const counts = one!.probe && one!.round === round
      const what = meaningOf(step.as)
      if (shutUntil === undefined) inARow = what === 'good' ? 0 : inARow + (what === 'bad' ? 1 : 0)
      else if (counts && what === 'good') proven++
      const mustOpen =
        what === 'configuration' ||
        (what === 'bad' && (shutUntil === undefined ? inARow >= rules.failureThreshold : counts))
      if (mustOpen) {
        if (breaker.state !== 'open') yield `${step.as} did not open the circuit`
        round++
        shutUntil = now + rules.openMs
        proven = 0
        inARow = 0
      } else if (before.state !== 'open' && breaker.state === 'open') yield `${step.as} opened the circuit`
      else if (before.state !== 'closed' && breaker.state === 'closed') {
        if (proven < rules.successThreshold) yield `closed after ${proven} probes`
        shutUntil = undefined
        inARow = 0
      } else if (proven >= rules.successThreshold && shutUntil !== undefined) yield 'still open after its probes'
    }
    if (before.state !== breaker.state) seen.add(`${before.state} → ${breaker.state}`)
  }
}

function ended(
  breaker: Breaker,
  probe: Probe | undefined,
  as: ErrorReason | 'delivered' | 'not sent',
  options: { now: number; rules: BreakerRules }
): Breaker {
  if (as === 'delivered') return succeeded(breaker, probe, options.rules)
  return as === 'not sent' ? neutral(breaker, probe) : failed(breaker, probe, failure(as, 'it failed'), options)
}

function meaningOf(as: ErrorReason | 'delivered' | 'not sent'): 'good' | 'bad' | 'configuration' | 'nothing' {
  if (as === 'delivered') return 'good'
  if (as === 'not sent' || as === 'cancelled') return 'nothing'
  const meanings: Record<ErrorType, 'bad' | 'configuration' | 'nothing'> = {
    transient: 'bad',
    unknown: 'bad',
    configuration: 'configuration',
    permanent: 'nothing',
    rate_limited: 'nothing'
  }
  return meanings[failure(as, 'it failed').type]
}

function at(breaker: Breaker): string {
  return JSON.stringify(breaker)
}
