import fc from 'fast-check'
import t from 'tap'
import {
  afterClosing,
  afterDelivery,
  afterDoubt,
  afterNothing,
  afterOwing,
  afterTelling,
  hasFiredSince,
  isOwedResolve,
  isUnheard,
  merge,
  packState,
  type Reader,
  type Sequenced,
  type Step,
  stepOf,
  surelyHasNothing,
  type TargetState,
  unpackState
} from '../../src/pipeline/lifecycle.js'
import { alertOf } from '../support/messages.js'

const firing = (seq: number, fingerprint = 'a'): Sequenced => ({ seq, alert: alertOf({ fingerprint }) })
const resolved = (seq: number, fingerprint = 'a'): Sequenced => ({
  seq,
  alert: alertOf({ fingerprint, status: 'resolved' })
})

/** That health and filters let through only to who is owed it. */
const ifOwed = (seq: number): Sequenced => ({ ...resolved(seq), ifOwed: true })

const hasFiring: TargetState = { seq: 1, has: 'firing', sure: true, owed: false }
const mayHaveFiring: TargetState = { seq: 1, has: 'firing', sure: false, owed: false }
const mayHaveFiringAndIsOwed: TargetState = { ...mayHaveFiring, owed: true }
const owedFiring: TargetState = { seq: 1, sure: true, owed: true }
const hasResolved: TargetState = { seq: 1, has: 'resolved', sure: true, owed: false }
const hasResolvedOwedFiring: TargetState = { ...hasResolved, owed: true }
const mayHaveResolvedOwedFiring: TargetState = { ...hasResolvedOwedFiring, sure: false }
const closed: TargetState = { seq: 1, sure: true, owed: false }

const chat: Reader = { audience: 'chat', sendResolved: true }
const incident: Reader = { audience: 'incident', sendResolved: true }
const quiet: Reader = { audience: 'incident', sendResolved: false }

const steps: [what: string, item: Sequenced, state: TargetState | undefined, inChat: Step, inIncidents: Step][] = [
  ['a firing that nothing is known of', firing(2), undefined, 'send', 'send'],
  ['a firing that the target has', firing(2), hasFiring, 'send', 'send'],
  ['a firing after a resolve', firing(2), hasResolved, 'send', 'send'],
  ['a firing that waits', firing(1), owedFiring, 'send', 'send'],
  ['a firing that is older than what was accepted', firing(1), { ...owedFiring, seq: 2 }, 'outdated', 'outdated'],
  ['a resolve that is older than what was accepted', resolved(1), { ...hasFiring, seq: 2 }, 'outdated', 'outdated'],
  ['a resolve that nothing is known of', resolved(2), undefined, 'send', 'send'],
  ['a resolve of what the target has', resolved(2), hasFiring, 'send', 'send'],
  ['a resolve of what it may have', resolved(2), mayHaveFiring, 'send', 'send'],
  ['a resolve of what it may have and is owed', resolved(2), mayHaveFiringAndIsOwed, 'send', 'send'],
  ['a resolve of what only waits', resolved(2), owedFiring, 'fired_and_resolved', 'superseded'],
  [
    'a resolve of what fired again and only waits',
    resolved(2),
    hasResolvedOwedFiring,
    'fired_and_resolved',
    'superseded'
  ],
  ['a resolve, if it is owed, of what the target has', ifOwed(2), hasFiring, 'send', 'send'],
  ['a resolve, if it is owed, of what it may have', ifOwed(2), mayHaveFiring, 'send', 'send'],
  ['a resolve, if it is owed, of what only waits', ifOwed(2), owedFiring, 'fired_and_resolved', 'superseded'],
  ['a resolve, if it is owed, that nothing is known of', ifOwed(2), undefined, 'send', 'send'],
  ['a resolve, if it is owed, of what was given up', ifOwed(2), closed, 'superseded', 'superseded'],
  ['a resolve, if it is owed, of what was resolved already', ifOwed(2), hasResolved, 'superseded', 'superseded'],
  ['a resolve after a resolve that may not have arrived', resolved(2), mayHaveResolvedOwedFiring, 'send', 'send'],
  ['a resolve of what was resolved already', resolved(2), hasResolved, 'send', 'send'],
  ['a resolve of what was given up', resolved(2), closed, 'send', 'send']
]
for (const [what, item, state, inChat, inIncidents] of steps) {
  t.test(`${what}: ${inChat} in a chat, ${inIncidents} where incidents are kept`, async t => {
    t.strictSame([stepOf(item, state, chat), stepOf(item, state, incident)], [inChat, inIncidents])
  })
}

t.test('who wants no resolves gets none, but all firings', async t => {
  for (const state of [undefined, hasFiring, owedFiring, hasResolved]) {
    t.equal(stepOf(resolved(2), state, quiet), 'resolved_not_wanted')
    t.equal(stepOf(firing(2), state, quiet), 'send')
  }
})

for (const [what, state, owes, nothing] of [
  ['nothing is known', undefined, false, false],
  ['it has the firing', hasFiring, true, false],
  ['it may have the firing', mayHaveFiring, true, false],
  ['it may have the firing, which also waits', mayHaveFiringAndIsOwed, true, false],
  ['the firing waits', owedFiring, true, true],
  ['it has the resolve', hasResolved, false, false],
  ['it has the resolve, and a new firing waits', hasResolvedOwedFiring, true, true],
  ['it may have the resolve, and a new firing waits', mayHaveResolvedOwedFiring, true, false],
  ['the firing was given up', closed, false, false]
] as const) {
  t.test(
    `if ${what}, a resolve is ${owes ? '' : 'not '}owed, and it ${nothing ? 'surely has nothing' : 'may have it'}`,
    async t => {
      t.strictSame([isOwedResolve(state), surelyHasNothing(state)], [owes, nothing])
    }
  )
}

for (const [what, item, state, unheard] of [
  ['waits', firing(1), owedFiring, true],
  ['waits after a resolve that the target has', firing(1), hasResolvedOwedFiring, true],
  ['waits after a resolve that it may have', firing(1), mayHaveResolvedOwedFiring, false],
  ['waits after it may have arrived', firing(1), mayHaveFiringAndIsOwed, false],
  ['was told', firing(1), hasFiring, false],
  ['was followed by something newer', firing(1), { ...owedFiring, seq: 2 }, false],
  ['nothing is known of', firing(1), undefined, false],
  ['is a resolve', resolved(1), owedFiring, false]
] as const) {
  t.test(`what ${what} ${unheard ? 'is' : 'is not'} a firing that nobody has heard of`, async t => {
    t.strictSame(
      [chat, incident, quiet, { ...chat, mayHave: true }].map(reader => isUnheard(item, state, reader)),
      [unheard, unheard, false, false]
    )
  })
}

t.test('after a delivery it surely has just that, and nothing waits', async t => {
  t.strictSame(afterDelivery(undefined, firing(1)), hasFiring)
  t.strictSame(afterDelivery(owedFiring, firing(1)), hasFiring)
  t.strictSame(afterDelivery(mayHaveFiringAndIsOwed, resolved(2)), { ...hasResolved, seq: 2 })
})

t.test('a delivery that ends after something newer was accepted leaves the newer owed', async t => {
  t.strictSame(afterDelivery({ ...owedFiring, seq: 5 }, resolved(3)), { ...hasResolved, seq: 5, owed: true })
})

t.test('after a doubtful attempt it may have that, and what waited still waits', async t => {
  t.strictSame(afterDoubt(undefined, firing(1)), mayHaveFiring)
  t.strictSame(afterDoubt(owedFiring, firing(1)), mayHaveFiringAndIsOwed)
  t.strictSame(afterDoubt(hasFiring, resolved(2)), { seq: 2, has: 'resolved', sure: false, owed: false })
})

t.test('once a firing waits it is owed; a resolve that waits changes nothing of that', async t => {
  t.strictSame(afterOwing(undefined, firing(1)), owedFiring)
  t.strictSame(afterOwing(undefined, resolved(1)), closed)
  t.strictSame(afterOwing(owedFiring, resolved(2)), { ...owedFiring, seq: 2 })
  t.strictSame(afterOwing(mayHaveFiring, firing(2)), { ...mayHaveFiringAndIsOwed, seq: 2 })
  t.strictSame(afterOwing(hasFiring, resolved(2)), { ...hasFiring, seq: 2 })
})

t.test('a resolve that waits in case it is owed says nothing of a target of which nothing is known', async t => {
  t.equal(afterOwing(undefined, ifOwed(2)), undefined)
  for (const state of [hasFiring, mayHaveFiring, owedFiring, closed])
    t.strictSame(afterOwing(state, ifOwed(2)), { ...state, seq: 2 })
})

t.test('once nothing waits any more, what it has stays', async t => {
  t.strictSame(afterClosing(undefined, firing(1)), closed)
  t.strictSame(afterClosing(owedFiring, firing(1)), closed)
  t.strictSame(afterClosing(mayHaveFiringAndIsOwed, resolved(2)), { ...mayHaveFiring, seq: 2 })
})

t.test('the newest that was accepted stays the newest, whichever attempt ends last', async t => {
  for (const after of [afterDelivery, afterDoubt, afterOwing, afterClosing]) {
    t.equal(after({ ...hasFiring, seq: 9 }, firing(3))?.seq, 9)
    t.equal(after({ ...hasFiring, seq: 3 }, firing(9))?.seq, 9)
  }
})

t.test('the end of an older delivery leaves what is owed since owed', async t => {
  t.strictSame(afterClosing({ ...owedFiring, seq: 5 }, firing(3)), { ...owedFiring, seq: 5 })
  t.strictSame(afterClosing({ ...hasResolvedOwedFiring, seq: 5 }, resolved(3)), { ...hasResolvedOwedFiring, seq: 5 })
})

t.test('a resolve that goes if it is owed is tried again after an attempt that may have arrived', async t => {
  t.equal(stepOf(ifOwed(2), afterDoubt(hasFiring, ifOwed(2)), { ...chat, mayHave: true }), 'send')
})

t.test('nothing is sure of what waited while an attempt of it was cut short', async t => {
  for (const reader of [chat, incident]) t.equal(stepOf(resolved(2), owedFiring, { ...reader, mayHave: true }), 'send')
  t.equal(stepOf(resolved(2), owedFiring, { ...quiet, mayHave: true }), 'resolved_not_wanted')
})

t.test('a firing that timed out and was owed, then resolves, is resolved for certain', async t => {
  const state = afterOwing(afterDoubt(undefined, firing(1)), firing(1))
  t.equal(stepOf(resolved(2), state, incident), 'send')
  t.equal(isOwedResolve(state), true)
})

t.test('an attempt that surely did not arrive after all leaves what there was before it', async t => {
  for (const had of [undefined, hasFiring, mayHaveFiring, owedFiring, hasResolvedOwedFiring]) {
    const now = afterNothing(afterDoubt({ ...(had ?? closed), seq: 7, owed: true }, firing(3)), had)
    t.strictSame(now, { sure: true, ...had, seq: 7, owed: true }, 'but for what was accepted meanwhile')
  }
  t.equal(afterNothing(undefined, hasFiring), undefined)
})

t.test('of a group counts what it was told of what was accepted last', async t => {
  const fires = afterTelling(undefined, 'firing', 5)
  const isOver = afterTelling(fires, 'resolved', 7)
  t.strictSame(
    [4, 5, 6].map(seq => hasFiredSince(fires, seq)),
    [true, false, false]
  )
  t.equal(hasFiredSince(isOver, 6), false)
  t.equal(hasFiredSince(afterTelling(isOver, 'firing', 6), 6), true, 'what is told late opens it again')
})

const merged = (older: Sequenced[], newer: Sequenced[]) =>
  merge(older, newer).map(({ seq, alert }) => `${alert.fingerprint} ${alert.status} ${seq}`)

t.test('{A resolved, B firing} and a newer {B, C firing} are {B, C, A}, each in its last state', async t => {
  t.strictSame(merged([resolved(1, 'a'), firing(1, 'b')], [firing(2, 'b'), firing(2, 'c')]), [
    'b firing 2',
    'c firing 2',
    'a resolved 1'
  ])
})

t.test('what was accepted later wins, even if it comes as the older one', async t => {
  t.strictSame(merged([resolved(3)], [firing(2)]), ['a resolved 3'])
  t.strictSame(merged([resolved(2)], [firing(2)]), ['a firing 2'])
})

t.test('merging with nothing changes nothing', async t => {
  t.strictSame(merged([], [firing(1)]), ['a firing 1'])
  t.strictSame(merged([firing(1)], []), ['a firing 1'])
})

const item = fc.record({ seq: fc.integer({ min: 1, max: 5 }), name: fc.constantFrom('a', 'b', 'c') })
const list = fc.uniqueArray(item, { selector: each => each.name })

t.test('merging keeps each alert once, in its newest state, whatever is merged', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(list, list, (older, newer) => {
        const sequenced = (list: { seq: number; name: string }[]) => list.map(({ seq, name }) => firing(seq, name))
        const result = merge(sequenced(older), sequenced(newer))
        const newest = new Map<string, number>()
        for (const { name, seq } of [...older, ...newer]) newest.set(name, Math.max(newest.get(name) ?? 0, seq))
        return result.length === newest.size && result.every(({ alert, seq }) => newest.get(alert.fingerprint) === seq)
      })
    )
  )
})

t.test('every state survives being stored', async t => {
  const state = fc.record(
    {
      seq: fc.maxSafeNat(),
      has: fc.constantFrom('firing' as const, 'resolved' as const),
      sure: fc.boolean(),
      owed: fc.boolean()
    },
    { requiredKeys: ['seq', 'sure', 'owed'] }
  )
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(state, state => {
        const unpacked = unpackState(JSON.parse(JSON.stringify(packState(state))))
        return JSON.stringify(Object.entries(unpacked!).sort()) === JSON.stringify(Object.entries(state).sort())
      })
    )
  )
  t.equal(packState(mayHaveFiringAndIsOwed), '1 f?o')
})

t.test('what is no state is none', async t => {
  for (const none of [undefined, null, 5, {}]) t.equal(unpackState(none), undefined)
})
