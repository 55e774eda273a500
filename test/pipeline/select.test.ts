import t from 'tap'
import type { Alert } from '../../src/alert.js'
import { checkFailed, checkSucceeded, type Health, unknownHealth } from '../../src/health/state.js'
import { type Breaker, begun } from '../../src/pipeline/breaker.js'
import { stateField } from '../../src/pipeline/entry.js'
import { packState, type TargetState } from '../../src/pipeline/lifecycle.js'
import type { EffectiveOptions } from '../../src/pipeline/options.js'
import { createRoster, type Roster } from '../../src/pipeline/roster.js'
import { type Choice, choose, leftOut, passedUnknown, type Selection } from '../../src/pipeline/select.js'
import { targetOf } from '../support/drive.js'
import { alertOf, notificationWith, testNow } from '../support/messages.js'

const options: EffectiveOptions = {
  timeoutMs: 30_000,
  adaptive: true,
  maxConcurrent: 50,
  checkHealth: true,
  healthStrategy: 'skip_unhealthy',
  respectCircuitBreakers: true
}
const rules = { failureThreshold: 2, degradedMs: 2_000, intervalMs: 120_000 }
const checked = (latencyMs: number) => ({ latencyMs, now: testNow, rules })
const healthy = checkSucceeded(unknownHealth, checked(5))
const degraded = checkSucceeded(unknownHealth, checked(2_000))
const unhealthy = checkFailed(checkFailed(unknownHealth, 'dns', checked(1)), 'dns', checked(1))
const open: Breaker = { state: 'open', since: testNow, until: testNow + 30_000, reason: 'timeout' }

/** Targets of these names, some with settings, health or a breaker of their own. */
function rosterOf(targets: Record<string, { settings?: object; health?: Health; breaker?: Breaker }>): Roster {
  const roster = createRoster({ appeared() {}, gone() {}, applied() {} })
  const all = Object.entries(targets).map(([name, { settings }]) =>
    targetOf({ name, type: 'webhook', url: 'http://hook.test/', ...settings })
  )
  roster.apply({ targets: all, invalid: [] }, testNow)
  for (const [name, { health, breaker }] of Object.entries(targets)) {
    const live = roster.get(name)!
    if (health) live.health = health
    if (breaker) live.breaker = breaker
  }
  return roster
}

/** What was chosen, in short: `name: send 2`, `name: queue 1 unhealthy`, `name: skip filtered`. */
function chosen(roster: Roster, more: Partial<Selection> = {}, alerts: Alert[] = [alertOf()]): string[] {
  return choose(notificationWith(alerts), roster, selectionOf(more)).map(shortly)
}

const selectionOf = (more: Partial<Selection>): Selection => ({
  scope: 'all',
  options,
  now: testNow,
  healthIntervalMs: 120_000,
  records: [],
  ...more
})

function shortly(choice: Choice): string {
  if (choice.kind === 'unknown') return `${choice.name}: unknown`
  if (choice.kind === 'skip') return `${choice.live.name}: skip ${choice.reason}`
  const { live, alerts, heldBack, reason } = choice
  return `${live.name}: ${heldBack ? 'queue' : 'send'} ${alerts.length}${reason ? ` ${reason}` : ''}`
}

t.test('named targets come in the order of their names in the request, each once, unknown ones too', async t => {
  const roster = rosterOf({ a: {}, b: {}, c: {} })
  t.strictSame(chosen(roster, { scope: 'named', names: ['c', 'x', 'a', 'c', 'x'] }), [
    'c: send 1',
    'x: unknown',
    'a: send 1'
  ])
})

t.test('/all and /healthy take every enabled target, by name', async t => {
  const roster = rosterOf({ b: {}, a: {}, off: { settings: { enabled: false } } })
  for (const scope of ['all', 'healthy'] as const) t.strictSame(chosen(roster, { scope }), ['a: send 1', 'b: send 1'])
})

t.test('names narrow /all and /healthy', async t => {
  const roster = rosterOf({ a: {}, b: {}, c: {} })
  for (const scope of ['all', 'healthy'] as const) {
    t.strictSame(chosen(roster, { scope, names: ['c', 'a', 'x'] }), ['c: send 1', 'a: send 1', 'x: unknown'])
    t.strictSame(chosen(roster, { scope, names: [] }), [])
  }
})

t.test('a disabled target that is named is skipped, and told so', async t => {
  const roster = rosterOf({ off: { settings: { enabled: false } } })
  t.strictSame(chosen(roster, { scope: 'named', names: ['off'] }), ['off: skip disabled'])
})

t.test('nobody is left if there is nobody', async t => {
  t.strictSame(chosen(rosterOf({})), [])
  t.strictSame(chosen(rosterOf({ off: { settings: { enabled: false } } })), [])
})

t.test('a target gets the alerts that its filter lets through', async t => {
  const roster = rosterOf({
    all: {},
    some: { settings: { filter: { severities: ['critical'] } } },
    none: { settings: { filter: { match_labels: { team: 'x' } } } }
  })
  const alerts = [alertOf(), alertOf({ fingerprint: 'b', labels: { severity: 'info' } })]
  t.strictSame(chosen(roster, {}, alerts), ['all: send 2', 'none: skip filtered', 'some: send 1'])
})

const strategies = ['skip_unhealthy', 'publish_to_all', 'skip_unhealthy_and_degraded'] as const
const mixed = () => rosterOf({ d: { health: degraded }, h: { health: healthy }, u: { health: unhealthy }, x: {} })

for (const [strategy, onHealthy, onNamed] of [
  [
    'skip_unhealthy',
    ['d: send 1', 'h: send 1', 'u: skip unhealthy', 'x: send 1'],
    ['d: send 1', 'h: send 1', 'u: queue 1 unhealthy', 'x: send 1']
  ],
  [
    'publish_to_all',
    ['d: send 1', 'h: send 1', 'u: send 1', 'x: send 1'],
    ['d: send 1', 'h: send 1', 'u: send 1', 'x: send 1']
  ],
  [
    'skip_unhealthy_and_degraded',
    ['d: skip degraded', 'h: send 1', 'u: skip unhealthy', 'x: send 1'],
    ['d: queue 1 degraded', 'h: send 1', 'u: queue 1 unhealthy', 'x: send 1']
  ]
] as const) {
  t.test(`by ${strategy}, /healthy leaves out what a named publish queues`, async t => {
    const asked = { ...options, healthStrategy: strategy }
    t.strictSame(chosen(mixed(), { scope: 'healthy', options: asked }), onHealthy)
    t.strictSame(chosen(mixed(), { scope: 'named', names: ['d', 'h', 'u', 'x'], options: asked }), onNamed)
  })
}

t.test('who passes although health was to decide and nothing is known of it is told', async t => {
  const roster = rosterOf({ h: { health: healthy }, o: { breaker: open }, u: { health: unhealthy }, x: {}, y: {} })
  const passed = (more: Partial<Selection>): string[] => {
    const selection = selectionOf({ names: ['h', 'o', 'u', 'x', 'y', 'z'], ...more })
    return passedUnknown(choose(notificationWith([alertOf()]), roster, selection), selection)
  }
  t.strictSame(passed({ scope: 'named' }), ['x', 'y'])
  t.strictSame(passed({ scope: 'healthy' }), ['x', 'y'])
  t.strictSame(passed({ scope: 'all' }), [])
  t.strictSame(passed({ scope: 'named', options: { ...options, checkHealth: false } }), [])
  t.strictSame(passed({ scope: 'healthy', options: { ...options, healthStrategy: 'publish_to_all' } }), [])
})

t.test('/all asks nobody’s health, and a named publish need not', async t => {
  const everybody = ['d: send 1', 'h: send 1', 'u: send 1', 'x: send 1']
  t.strictSame(chosen(mixed(), { scope: 'all' }), everybody)
  const unasked = { ...options, checkHealth: false }
  t.strictSame(chosen(mixed(), { scope: 'named', names: ['d', 'h', 'u', 'x'], options: unasked }), everybody)
})

t.test('/healthy asks for health whatever check_health says', async t => {
  t.strictSame(chosen(mixed(), { scope: 'healthy', options: { ...options, checkHealth: false } }), [
    'd: send 1',
    'h: send 1',
    'u: skip unhealthy',
    'x: send 1'
  ])
})

t.test('health that is old is unknown, and passes', async t => {
  const roster = rosterOf({ u: { health: unhealthy } })
  t.strictSame(chosen(roster, { scope: 'healthy', now: testNow + 600_001 }), ['u: send 1'])
  t.strictSame(chosen(roster, { scope: 'healthy', now: testNow + 600_000 }), ['u: skip unhealthy'])
})

t.test('an open circuit queues what was asked for, and leaves the target out of /healthy', async t => {
  const roster = rosterOf({ a: { breaker: open } })
  t.strictSame(chosen(roster, { scope: 'named', names: ['a'] }), ['a: queue 1 circuit_open'])
  t.strictSame(chosen(roster, { scope: 'all' }), ['a: queue 1 circuit_open'])
  t.strictSame(chosen(roster, { scope: 'healthy' }), ['a: skip circuit_open'])
})

t.test('an open circuit does not count where it need not be respected, or after its time', async t => {
  const roster = rosterOf({ a: { breaker: open } })
  t.strictSame(chosen(roster, { options: { ...options, respectCircuitBreakers: false } }), ['a: send 1'])
  t.strictSame(chosen(roster, { now: testNow + 30_000 }), ['a: send 1'])
})

t.test('while a probe runs, the circuit counts as open', async t => {
  t.strictSame(chosen(rosterOf({ a: { breaker: begun(open, testNow + 30_000) } })), ['a: queue 1 circuit_open'])
})

t.test('health is asked before the circuit, and the filter before both', async t => {
  const sick = { health: unhealthy, breaker: open }
  t.strictSame(chosen(rosterOf({ a: sick }), { scope: 'named', names: ['a'] }), ['a: queue 1 unhealthy'])
  const roster = rosterOf({ a: { ...sick, settings: { filter: { match_labels: { team: 'x' } } } } })
  t.strictSame(chosen(roster, { scope: 'named', names: ['a'] }), ['a: skip filtered'])
})

const resolved = alertOf({ status: 'resolved', fingerprint: 'b', labels: { severity: 'info' } })
const other = alertOf({ status: 'resolved', fingerprint: 'c', labels: { severity: 'info' } })
const recordOf = (target: string, state: TargetState) => [
  undefined,
  { [stateField({ target, slot: '' })]: packState(state) }
]
const has: TargetState = { seq: 1, has: 'firing', sure: true, owed: false }

for (const [what, state] of [
  ['has', has],
  ['may have', { ...has, sure: false }],
  ['is owed', { seq: 1, sure: true, owed: true }]
] as const) {
  t.test(`a resolve finds the target that ${what} the firing, whatever keeps others away`, async t => {
    const records = recordOf('a', state)
    const alerts = [alertOf(), resolved]
    const critical = { filter: { severities: ['critical'] } }
    t.strictSame(chosen(rosterOf({ a: { settings: critical } }), { records }, alerts), ['a: send 2'])
    for (const [target, expected] of [
      [{ health: unhealthy }, 'a: queue 1 unhealthy'],
      [{ breaker: open }, 'a: queue 1 circuit_open'],
      [{ settings: { enabled: false } }, 'a: queue 1 disabled'],
      [{ health: unhealthy, settings: critical }, 'a: queue 1 unhealthy']
    ] as const) {
      t.strictSame(chosen(rosterOf({ a: target }), { scope: 'healthy', records }, alerts), [expected])
    }
    const asked = { ...options, healthStrategy: 'skip_unhealthy_and_degraded' as const }
    t.strictSame(chosen(rosterOf({ a: { health: degraded } }), { scope: 'healthy', records, options: asked }, alerts), [
      'a: queue 1 degraded'
    ])
  })
}

t.test('a resolve that the target is not owed is filtered and left out as any alert', async t => {
  for (const state of [
    { seq: 1, has: 'resolved', sure: true, owed: false },
    { seq: 1, sure: true, owed: false }
  ] as const) {
    const records = recordOf('a', state)
    const roster = rosterOf({ a: { settings: { filter: { severities: ['critical'] } }, health: unhealthy } })
    t.strictSame(chosen(roster, { records, scope: 'healthy' }, [alertOf(), resolved]), ['a: skip unhealthy'])
    t.strictSame(chosen(roster, { records }, [alertOf(), resolved]), ['a: send 1'])
  }
})

t.test('a resolve finds the target that a firing is under way to, and goes if that is owed then', async t => {
  const critical = { filter: { severities: ['critical'] } }
  for (const [target, expected] of [
    [{ health: unhealthy }, 'a: queue 2 unhealthy'],
    [{ settings: critical }, 'a: send 2']
  ] as const) {
    const roster = rosterOf({ a: target })
    roster.get('a')!.lanes.take([resolved.fingerprint, other.fingerprint])
    const [choice] = choose(notificationWith([resolved, other]), roster, selectionOf({ scope: 'healthy' }))
    t.equal(shortly(choice!), expected)
    t.strictSame(choice?.kind === 'send' && choice.ifOwed, new Set([resolved, other]))
  }
  const roster = rosterOf({ a: { settings: critical } })
  roster.get('a')!.lanes.take(['c'])
  t.strictSame(chosen(roster, {}, [resolved, alertOf({ fingerprint: 'c', labels: { severity: 'info' } })]), [
    'a: skip filtered'
  ])
})

t.test('what one target has is nothing to another', async t => {
  const roster = rosterOf({ a: { settings: { enabled: false } }, b: { settings: { enabled: false } } })
  t.strictSame(chosen(roster, { records: recordOf('b', has) }, [alertOf(), resolved]), ['b: queue 1 disabled'])
})

t.test('a firing that a target has is no reason to send it to a disabled one', async t => {
  const roster = rosterOf({ a: { settings: { enabled: false } } })
  const records = [{ [stateField({ target: 'a', slot: '' })]: packState(has) }]
  t.strictSame(chosen(roster, { scope: 'named', names: ['a'], records }), ['a: skip disabled'])
})

t.test('whom health leaves out, over every scope, strategy and status', async t => {
  const out: string[] = []
  for (const scope of ['named', 'all', 'healthy'] as const)
    for (const healthStrategy of strategies)
      for (const status of ['unknown', 'healthy', 'degraded', 'unhealthy'] as const) {
        const left = leftOut(status, { checkHealth: true, healthStrategy }, scope)
        if (left) out.push(`${scope} ${healthStrategy} ${left}`)
      }
  t.strictSame(out, [
    'named skip_unhealthy unhealthy',
    'named skip_unhealthy_and_degraded degraded',
    'named skip_unhealthy_and_degraded unhealthy',
    'healthy skip_unhealthy unhealthy',
    'healthy skip_unhealthy_and_degraded degraded',
    'healthy skip_unhealthy_and_degraded unhealthy'
  ])
})
