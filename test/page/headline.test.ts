import t from 'tap'
import { headlineOf, recentlyOf } from '../../src/page/headline.js'
import type { LetterGroup } from '../../src/page/letters.js'
import type { PageState } from '../../src/page/state.js'
import type { Waiting } from '../../src/page/waiting.js'
import type { TargetView } from '../../src/routes/targets.js'
import { createStatistics } from '../../src/statistics.js'

const now = Date.UTC(2026, 10, 21, 3, 0, 0)
const published = (() => {
  const statistics = createStatistics({ now: () => now }).snapshot()
  return { ...statistics, publish: { ...statistics.publish, total: 7 } }
})()

function stateOf(more: Partial<PageState> = {}): PageState {
  return {
    now,
    version: '1.0.0',
    startedAt: now - 3_600_000,
    readiness: 'ready',
    mode: {
      mode: 'normal',
      enabled_targets: 1,
      since: '',
      duration_seconds: 1,
      transitions: 0,
      reason: '1 target is enabled'
    },
    discovery: { source: 'file', lastSuccess: now, lastError: undefined },
    invalid: [],
    targets: [],
    store: { backend: 'embedded', available: true, warnings: [], unwritten: 0, durable: true },
    waiting: [],
    letters: { groups: [], countedAt: now },
    unowned: [],
    publishes: [],
    underWay: 0,
    statistics: published,
    unreached: undefined,
    undelivered: { count: 0, oldestAgeMs: 0 },
    ...more
  }
}

const waiting = (more: Partial<Waiting> = {}): Waiting => ({
  target: 'pagerduty-oncall',
  count: 2,
  alerts: 2,
  oldestAt: now - 20_000,
  oldestCriticalAt: undefined,
  why: 'PagerDuty answered 503',
  reason: 'server_error',
  held: 'it waits for its turn',
  next: { kind: 'at', at: now + 12_000 },
  entries: [],
  ...more
})

const group = (more: Partial<LetterGroup> = {}): LetterGroup => ({
  target: 'rootly',
  reason: 'client_error',
  message: 'Rootly answered 422',
  count: 1,
  alerts: 3,
  newestAt: now - 60_000,
  letters: [],
  ...more
})

const target = (more: Partial<TargetView> = {}): TargetView => ({
  name: 'hook',
  type: 'webhook',
  enabled: true,
  send_resolved: true,
  url: 'https://example.com',
  filtered: false,
  health: {
    target_name: 'hook',
    status: 'unhealthy',
    latency_ms: 3,
    last_check: null,
    last_success: null,
    consecutive_failures: 3,
    error_reason: 'dns'
  },
  circuit: { state: 'closed', failures: 0, reason: null, since: null, next_probe: null },
  paused_until: null,
  in_flight: 0,
  last_result: null,
  ...more
})

/** The words of the headline and of all else, with ordinary spaces. */
function said(state: PageState) {
  const { tone, first, others } = headlineOf(state)
  const words = ({ what, when }: { what: string; when?: string | undefined }) =>
    `${what}${when ? `, ${when}` : ''}`.replaceAll('\u00a0', ' ')
  return { tone, first: words(first), others: others.map(words) }
}

t.test('when nothing is missing, it says so', async t => {
  t.same(said(stateOf()), { tone: 'fine', first: 'Everything is delivered', others: [] })
})

t.test('a service that has seen no alert does not claim to have delivered any', async t => {
  const idle = stateOf({ statistics: createStatistics({ now: () => now }).snapshot() })
  t.same(said(idle), { tone: 'fine', first: 'Nothing is waiting to be delivered', others: [] })
  t.match(recentlyOf(idle), /^No notification has come in since the start/)
})

t.test('it does not say that all is delivered when the newest notification reached nobody', async t => {
  t.same(said(stateOf({ unreached: { at: now - 5_000, refused: true } })), {
    tone: 'lost',
    first: 'The newest notification reached nobody, 5 s ago',
    others: []
  })
  t.same(said(stateOf({ unreached: { at: now - 5_000, refused: false } })), {
    tone: 'fine',
    first: 'Nothing is waiting to be delivered',
    others: ['The newest notification reached nobody, 5 s ago']
  })
})

t.test('a critical alert that no person can know of is lost, and told once if it is owed', async t => {
  const undelivered = { count: 2, oldestAgeMs: 61_000 }
  t.same(said(stateOf({ undelivered })), {
    tone: 'lost',
    first: '2 critical alerts have reached no target that people read, the oldest for 61 s',
    others: []
  })
  t.equal(said(stateOf({ undelivered: { count: 1, oldestAgeMs: 59_000 } })).tone, 'fine')
  t.same(said(stateOf({ undelivered, waiting: [waiting({ oldestCriticalAt: now - 61_000 })] })).others, [])
})

t.test('what is owed is told with to whom, why and when it is tried again', async t => {
  t.same(said(stateOf({ waiting: [waiting()] })), {
    tone: 'late',
    first: '2 alerts are owed to pagerduty-oncall: PagerDuty answered 503, next try in 12 s',
    others: []
  })
})

t.test('where not every entry was looked at, notifications are counted instead of alerts', async t => {
  const many = waiting({ count: 4_000, alerts: undefined, next: { kind: 'now' } })
  t.equal(
    said(stateOf({ waiting: [many] })).first,
    '4,000 notifications are owed to pagerduty-oncall: PagerDuty answered 503, being tried now'
  )
})

t.test('a critical alert that is owed for more than a minute is more than late', async t => {
  const tone = (seconds: number) =>
    said(stateOf({ waiting: [waiting({ oldestCriticalAt: now - seconds * 1000 })] })).tone
  t.same([tone(59), tone(61)], ['late', 'lost'])
})

t.test('what waits for a person to enable or bring back its target is more than late', async t => {
  t.same(
    said(stateOf({ waiting: [waiting({ alerts: 1, why: 'the target is disabled', next: { kind: 'disabled' } })] })),
    {
      tone: 'lost',
      first: '1 alert is owed to pagerduty-oncall: the target is disabled, it waits until the target is enabled',
      others: []
    }
  )
})

t.test('several targets are summed up first, then told one by one', async t => {
  const other = waiting({ target: 'hook', oldestAt: now - 600_000, why: 'Webhook did not answer in time' })
  t.same(said(stateOf({ waiting: [waiting(), other] })), {
    tone: 'late',
    first: '4 notifications are owed to 2 targets, the oldest for 10 min',
    others: [
      '2 alerts are owed to pagerduty-oncall: PagerDuty answered 503, next try in 12 s',
      '2 alerts are owed to hook: Webhook did not answer in time, next try in 12 s'
    ]
  })
})

t.test('what was given up comes before what is merely late, and says what to do', async t => {
  const state = stateOf({ waiting: [waiting()], letters: { groups: [group()], countedAt: now } })
  t.same(said(state), {
    tone: 'lost',
    first: '3 alerts were given up for rootly: Rootly answered 422, last 60 s ago',
    others: ['2 alerts are owed to pagerduty-oncall: PagerDuty answered 503, next try in 12 s']
  })
  t.equal(
    headlineOf(state).first.advice,
    'Trying again does not help by itself: look at the target’s settings, then replay or discard.'
  )
})

t.test('of many dead letters the notifications are counted', async t => {
  const many = group({ count: 1_201, alerts: undefined })
  t.equal(
    said(stateOf({ letters: { groups: [many], countedAt: now } })).first,
    '1,201 notifications were given up for rootly: Rootly answered 422, last 60 s ago'
  )
})

t.test('an alert that nobody keeps is told with its target', async t => {
  const unowned = [{ target: 'hook', error: 'Webhook answered 503' }]
  const store = { backend: 'memory', available: true, warnings: [], unwritten: 0, durable: false }
  const state = stateOf({ unowned, store })
  t.same(said(state), {
    tone: 'lost',
    first: 'hook did not take the last alert, and nobody keeps it: Webhook answered 503',
    others: []
  })
  t.equal(headlineOf(state).first.advice, 'Its sender was told to try again. With QUEUE=off nothing is kept here.')
})

t.test('a queue that is away, no enabled target, a start and a shutdown are each told', async t => {
  const store = { backend: 'redis', available: false, warnings: [], unwritten: 2, durable: true }
  const mode = { ...stateOf().mode, mode: 'metrics-only' as const, enabled_targets: 0 }
  t.same(
    [
      said(stateOf({ store })),
      said(stateOf({ mode })),
      said(stateOf({ mode, readiness: 'starting' })),
      said(stateOf({ readiness: 'draining' }))
    ],
    [
      {
        tone: 'lost',
        first: 'The redis queue cannot be reached or written',
        others: ['2 outcomes are not written to the queue yet']
      },
      { tone: 'lost', first: 'Nothing is delivered: no target is enabled', others: [] },
      { tone: 'lost', first: 'The targets are not known yet', others: [] },
      { tone: 'late', first: 'This process is shutting down', others: [] }
    ]
  )
})

t.test('what is wrong without anything missing is told below the good news', async t => {
  const invalid = [
    {
      source: 'targets.yaml targets[2]',
      stale: true,
      problems: [{ field: 'url', message: 'is missing', suggestion: 'add it' }]
    }
  ]
  const open = target({
    name: 'pd',
    health: { ...target().health, status: 'healthy' },
    circuit: { state: 'open', failures: 0, reason: 'auth', since: null, next_probe: null }
  })
  const store = { ...stateOf().store, warnings: ['Redis has its append-only file off'] }
  const discovery = { source: 'file', lastSuccess: now - 60_000, lastError: 'the file cannot be read' }
  t.same(said(stateOf({ targets: [target(), open, target({ enabled: false })], invalid, store, discovery })), {
    tone: 'fine',
    first: 'Everything is delivered',
    others: [
      'hook is unhealthy (host name not found)',
      'pd has an open circuit (credential refused)',
      'targets.yaml targets[2] is not valid: url is missing',
      'the file cannot be read',
      'Redis has its append-only file off'
    ]
  })
})

t.test('what is said aloud at every change holds nothing that changes by the second', async t => {
  const later = { now: now + 5_000, waiting: [waiting({ next: { kind: 'at', at: now + 12_000 } })] }
  t.equal(headlineOf(stateOf({ waiting: [waiting()] })).first.what, headlineOf(stateOf(later)).first.what)
})
