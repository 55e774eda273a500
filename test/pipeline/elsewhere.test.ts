import t from 'tap'
import { checkFailed, unknownHealth } from '../../src/health/state.js'
import { chooseAmongAll, leavingOut } from '../../src/pipeline/elsewhere.js'
import { alertId, laneId, stateField } from '../../src/pipeline/entry.js'
import { packState } from '../../src/pipeline/lifecycle.js'
import { createRoster } from '../../src/pipeline/roster.js'
import { type Choice, choose, type Selection } from '../../src/pipeline/select.js'
import { type Store, StoreUnavailable } from '../../src/queues/contract.js'
import { memoryStore } from '../../src/queues/memory.js'
import { targetOf } from '../support/drive.js'
import { alertOf, notificationWith, testNow } from '../support/messages.js'

const firing = alertOf({ fingerprint: 'f' })
const resolved = alertOf({ fingerprint: 'r', status: 'resolved', labels: { severity: 'info' } })
const urgent = alertOf({ fingerprint: 'u', status: 'resolved' })
const unhealthy = checkFailed(unknownHealth, 'dns', {
  latencyMs: 1,
  now: testNow,
  rules: { failureThreshold: 1, degradedMs: 2_000 }
})

/** Targets that take all, only what is critical, nothing while they are unhealthy, and nothing at all. */
function rosterOf() {
  const roster = createRoster({ appeared() {}, gone() {}, applied() {} })
  const url = 'http://hook.test/'
  const targets = [
    targetOf({ name: 'any', type: 'webhook', url }),
    targetOf({ name: 'off', type: 'webhook', url, enabled: false }),
    targetOf({ name: 'picky', type: 'webhook', url, filter: { severities: ['critical'] } }),
    targetOf({ name: 'sick', type: 'webhook', url })
  ]
  roster.apply({ targets, invalid: [] }, testNow)
  roster.get('sick')!.health = unhealthy
  return roster
}

const selectionOf = (more: Partial<Selection> = {}): Selection => ({
  scope: 'healthy',
  options: {
    timeoutMs: 30_000,
    adaptive: true,
    maxConcurrent: 50,
    checkHealth: true,
    healthStrategy: 'skip_unhealthy',
    respectCircuitBreakers: true
  },
  now: testNow,
  healthIntervalMs: 120_000,
  records: [],
  ...more
})

for (const [what, alerts, more, expected] of [
  ['a firing', [firing], {}, []],
  ['a resolve', [resolved], {}, ['off', 'picky', 'sick']],
  ['a resolve that the filter lets through', [urgent], {}, ['off', 'sick']],
  ['one of two resolves', [urgent, resolved], {}, ['off', 'picky', 'sick']],
  ['a resolve beside a firing', [firing, resolved], {}, ['off', 'picky', 'sick']],
  ['a resolve on /all, where health is not asked', [resolved], { scope: 'all' }, ['off', 'picky']],
  ['a resolve for named ones', [resolved], { scope: 'named', names: ['picky', 'any', 'none'] }, ['picky']],
  ['a resolve that a held-back target is owed', [urgent], { scope: 'named', names: ['sick'] }, []],
  ['a resolve by hand', [resolved], { scope: 'all', unfiltered: true }, ['off']],
  ['a resolve whose firing somebody else has under way', [resolved], { taken: new Set(['picky/r']) }, ['off', 'sick']],
  ['another alert’s firing', [resolved], { taken: new Set(['picky/f', 'any/r']) }, ['off', 'picky', 'sick']]
] as const) {
  t.test(`${what} is left out by: ${expected.join(', ') || 'nobody'}`, async t => {
    const notification = notificationWith([...alerts])
    const choices = choose(notification, rosterOf(), selectionOf({ ...more, tellDisabled: true }))
    t.strictSame(
      leavingOut(choices, notification).map(({ name }) => name),
      expected
    )
  })
}

/** A store that tells who has lanes, as one does that others use too; each question is kept. */
function sharedStore(taken: (store: Store) => readonly string[]) {
  const store = memoryStore()
  const asked: (readonly string[])[] = []
  return {
    ...store,
    asked,
    async taken(lanes: readonly string[]) {
      asked.push(lanes)
      return taken(store).filter(lane => lanes.includes(lane))
    }
  }
}

const shortly = (choices: readonly Choice[]): string[] =>
  choices.flatMap(choice => {
    if (choice.kind === 'unknown') return []
    if (choice.kind === 'skip') return `${choice.live.name}: skip ${choice.reason}`
    const { live, heldBack, ifOwed } = choice
    return `${live.name}: ${heldBack ? 'queue' : 'send'}${ifOwed ? ' if owed' : ''}`
  })

const among = async (store: Store, roster = rosterOf(), alerts = [resolved]) =>
  shortly(await chooseAmongAll(store, notificationWith(alerts), { roster, selection: selectionOf() }))

t.test('whoever would be left without a resolve is asked for, and nobody else', async t => {
  const store = sharedStore(() => [])
  t.strictSame(await among(store), ['any: send', 'picky: skip filtered', 'sick: skip unhealthy'])
  t.strictSame(store.asked, [['off/r', 'picky/r', 'sick/r']])
})

t.test('of what fires nothing is asked', async t => {
  const store = sharedStore(() => ['sick/f'])
  t.strictSame(await among(store, rosterOf(), [firing]), ['any: send', 'picky: send', 'sick: skip unhealthy'])
  t.strictSame(store.asked, [])
})

t.test('a target to which another process has the firing under way gets the resolve, if that is owed then', async t => {
  const store = sharedStore(() => ['off/r', 'picky/r', 'sick/r'])
  t.strictSame(await among(store), ['any: send', 'off: queue if owed', 'picky: send if owed', 'sick: queue if owed'])
  t.equal(store.asked.length, 1)
})

t.test('so does one that was told of the firing while that was asked', async t => {
  const store = sharedStore(store => {
    const state = packState({ seq: 1, has: 'firing', sure: true, owed: false })
    store.note([{ id: alertId('r'), set: { [stateField({ target: 'picky', slot: '' })]: state } }])
    return []
  })
  t.strictSame(await among(store), ['any: send', 'picky: send if owed', 'sick: skip unhealthy'])
})

t.test('and one whose health turned while that was asked', async t => {
  const roster = rosterOf()
  const store = sharedStore(() => {
    roster.get('any')!.health = unhealthy
    return ['any/r']
  })
  t.strictSame(await among(store, roster), ['any: queue if owed', 'picky: skip filtered', 'sick: skip unhealthy'])
  t.strictSame(store.asked, [['off/r', 'picky/r', 'sick/r'], ['any/r']])
})

t.test('thousands of lanes are asked for in several questions', async t => {
  const alerts = Array.from({ length: 1_500 }, (_, index) => ({ ...resolved, fingerprint: `r${index}` }))
  const store = sharedStore(() => ['sick/r1499'])
  t.strictSame(await among(store, rosterOf(), alerts), ['any: send', 'picky: skip filtered', 'sick: queue if owed'])
  t.strictSame(
    store.asked.map(lanes => lanes.length),
    [2_000, 2_000, 500]
  )
  const all = ['off', 'picky', 'sick'].flatMap(name => alerts.map(({ fingerprint }) => laneId(name, fingerprint)))
  t.strictSame(store.asked.flat(), all)
})

t.test('while the store is away they are left out as ever', async t => {
  const store = sharedStore(() => {
    throw new StoreUnavailable('Redis is not reachable')
  })
  t.strictSame(await among(store), ['any: send', 'picky: skip filtered', 'sick: skip unhealthy'])
  t.equal(store.asked.length, 1)
})

t.test('a store of this process alone has nobody to ask', async t => {
  t.strictSame(await among(memoryStore()), ['any: send', 'picky: skip filtered', 'sick: skip unhealthy'])
})
