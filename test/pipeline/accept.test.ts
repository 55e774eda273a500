import fc from 'fast-check'
import t from 'tap'
import { type Accepted, accept, acceptInTurns, stampedAt } from '../../src/pipeline/accept.js'
import type { Problem } from '../../src/schema.js'
import { type FixtureName, notificationOf, testNow } from '../support/messages.js'

const fixtures: FixtureName[] = [
  'firing-1',
  'firing-3',
  'mixed-1-resolved-of-3',
  'resolved-2',
  'storm-120',
  'watchdog-empty-annotations'
]

function take(body: unknown): Accepted {
  const reading = accept(body, Buffer.alloc(0), testNow)
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}

function refusals(body: unknown): Problem[] {
  const reading = accept(body, Buffer.alloc(0), testNow)
  return reading.ok ? [] : reading.problems
}

const own = { alert_name: 'DiskFull', status: 'firing' }
const v4 = () => JSON.parse(notificationOf('firing-1').body!.toString())

for (const fixture of fixtures) {
  t.test(`what a real Alertmanager posted is taken whole: ${fixture}`, async t => {
    const notification = notificationOf(fixture)
    t.strictSame(accept(JSON.parse(notification.body!.toString()), notification.body!, testNow), {
      ok: true,
      value: { source: 'alertmanager', options: {}, oddAlerts: 0, reminder: false, notification }
    })
  })
}

t.test('the receiver’s name is read as it was configured, not as the regex that Alertmanager posts', async t => {
  for (const [posted, name] of [
    ['fan\\.out-team', 'fan.out-team'],
    ['a\\+b\\*c\\?\\(d\\)\\[e\\]\\{f\\}\\^g\\$h\\|i', 'a+b*c?(d)[e]{f}^g$h|i'],
    ['back\\\\slash', 'back\\slash'],
    ['\\\\\\.', '\\.'],
    ['plain \\d', 'plain \\d']
  ]) {
    t.equal(take({ ...v4(), receiver: posted }).notification.receiver, name)
  }
})

t.test('unknown fields of an Alertmanager body are ignored, those of our own options are not', async t => {
  t.equal(take({ ...v4(), future: { a: 1 }, alert: 'x', options: 5, target_names: 5 }).source, 'alertmanager')
})

t.test('Alertmanager’s word that the repeat interval elapsed is heard', async t => {
  t.equal(take({ ...v4(), notification_reason: 'repeat interval elapsed' }).reminder, true)
  t.equal(take({ ...v4(), notificationReason: 'Repeat interval elapsed' }).reminder, true)
  t.equal(take({ ...v4(), notification_reason: 'new alerts' }).reminder, false)
})

t.test('one alert with nothing but its name and status gets every default', async t => {
  t.strictSame(take({ alert: own }), {
    source: 'api',
    options: {},
    oddAlerts: 0,
    reminder: false,
    stamp: '2026-11-20T18:20:00.000Z',
    notification: {
      receiver: '',
      group_key: '',
      group_labels: {},
      common_labels: { alertname: 'DiskFull' },
      common_annotations: {},
      external_url: '',
      truncated_alerts: 0,
      alerts: [
        {
          alert_name: 'DiskFull',
          fingerprint: take({ alert: { status: 'firing', labels: { alertname: 'DiskFull' } } }).notification.alerts[0]!
            .fingerprint,
          status: 'firing',
          labels: { alertname: 'DiskFull' },
          annotations: {},
          starts_at: '2026-11-20T18:20:00.000Z'
        }
      ]
    }
  })
})

t.test('one alert with everything keeps everything', async t => {
  const alert = {
    alert_name: 'DiskFull',
    fingerprint: 'my-own',
    status: 'resolved',
    labels: { team: 'ops', 'app.kubernetes.io/name': 'x' },
    annotations: { summary: 'full' },
    starts_at: '2026-11-20T18:00:00+01:00',
    ends_at: '2026-11-20T18:10:00Z',
    generator_url: 'https://prometheus.example.com/graph?g0.expr=up',
    classification: { severity: 'critical', confidence: 0.9, reasoning: 'because', recommendations: ['grow it'] },
    enrichment: { runbook: { steps: [1, { deep: true }] } }
  }
  const accepted = take({ alert, target_names: ['a', 'b'], options: { timeout: '10s' } })
  t.strictSame(accepted.notification.alerts, [{ ...alert, labels: { ...alert.labels, alertname: 'DiskFull' } }])
  t.strictSame(accepted.targetNames, ['a', 'b'])
  t.strictSame(accepted.options, { timeout: 10_000 })
})

t.test('several alerts are one notification, with what they have in common', async t => {
  const labels = (instance: string) => ({ alertname: 'DiskFull', instance })
  const { notification } = take({
    alerts: [
      { status: 'firing', labels: labels('a'), annotations: { summary: 's' } },
      { status: 'firing', labels: labels('b'), annotations: { summary: 's' } }
    ],
    receiver: 'ops',
    group_key: 'g',
    group_labels: { alertname: 'DiskFull' },
    external_url: 'https://am.example.com'
  })
  t.strictSame(
    notification.alerts.map(({ alert_name, labels }) => [alert_name, labels.instance]),
    [
      ['DiskFull', 'a'],
      ['DiskFull', 'b']
    ]
  )
  t.match(notification, {
    receiver: 'ops',
    group_key: 'g',
    group_labels: { alertname: 'DiskFull' },
    common_labels: { alertname: 'DiskFull' },
    common_annotations: { summary: 's' },
    external_url: 'https://am.example.com'
  })
  t.strictSame(Object.keys(notification.common_labels), ['alertname'])
})

t.test('a resolved alert without an end ended now; a firing one has none', async t => {
  t.equal(take({ alert: { ...own, status: 'resolved' } }).notification.alerts[0]!.ends_at, '2026-11-20T18:20:00.000Z')
  t.equal(take({ alert: own }).notification.alerts[0]!.ends_at, undefined)
})

t.test('what came without a time can be given the time at which it first came', async t => {
  const starts_at = '2026-11-20T18:00:00Z'
  const taken = take({
    alerts: [own, { ...own, status: 'resolved' }, { ...own, starts_at }, { ...own, status: 'resolved', starts_at }]
  })
  const first = '2026-11-20T18:19:00.000Z'
  t.strictSame(
    stampedAt(taken, Date.parse(first)).alerts.map(alert => [alert.starts_at, alert.ends_at]),
    [
      [first, undefined],
      [first, first],
      [starts_at, undefined],
      [starts_at, first]
    ]
  )
  t.equal(stampedAt(taken, undefined), taken.notification)
  const dated = take({ alert: { ...own, starts_at } })
  t.equal(stampedAt(dated, 0), dated.notification)
})

t.test('an alert’s name wins over its alertname label, and either will do', async t => {
  t.equal(take({ alert: { ...own, labels: { alertname: 'Other' } } }).notification.alerts[0]!.alert_name, 'DiskFull')
  t.equal(take({ alert: { status: 'firing', labels: { alertname: 'A' } } }).notification.alerts[0]!.alert_name, 'A')
})

t.test('a start up to an hour ahead is taken for a clock that is off', async t => {
  t.ok(take({ alert: { ...own, starts_at: '2026-11-20T19:20:00Z' } }))
  t.ok(take({ alert: { ...own, starts_at: '2026-11-20T18:20:00.123456789+00:00' } }))
})

t.test('a time goes on as every receiver reads it', async t => {
  for (const [written, read] of [
    ['2026-11-20 18:00:00z', '2026-11-20T18:00:00.000Z'],
    ['2026-11-20t18:00:00z', '2026-11-20T18:00:00Z'],
    ['2026-11-20T18:00:00.1234567891Z', '2026-11-20T18:00:00.123Z'],
    ['2026-11-20T18:00:00.123456789+01:00', '2026-11-20T18:00:00.123456789+01:00']
  ]) {
    const alert = { ...own, status: 'resolved', starts_at: written, ends_at: written }
    t.match(take({ alert }).notification.alerts, [{ starts_at: read, ends_at: read }])
  }
})

const name = ['alert.alert_name', 'is required', 'send alert_name, or an alertname label']
const status = ['alert.status', 'is not an alert status', 'use firing or resolved']
const time = (field: string) => [`alert.${field}`, 'is not an RFC 3339 time', 'write it as 2026-11-20T18:17:30Z']
const texts = (field: string) => [`alert.${field}`, 'must be object', 'a map of names to texts']
const ended = ['alert.ends_at', 'is before starts_at', 'send the time at which the alert ended']
const endedEarly = ['alert.ends_at', 'is before starts_at', 'send starts_at as well: it is now by default']
const ahead = ['alert.starts_at', 'is more than 1 h ahead', 'check the clock, and that the time has its zone']

for (const [what, alert, expected] of [
  ['no name', { alert_name: undefined }, name],
  ['no name but an empty label', { alert_name: undefined, labels: { alertname: '' } }, name],
  ['an empty name', { alert_name: '' }, ['alert.alert_name', 'must not have fewer than 1 characters', /alertname/]],
  ['a name that is no text', { alert_name: 5 }, ['alert.alert_name', 'must be string', /alertname/]],
  ['no status', { status: undefined }, status],
  ['a status in capitals', { status: 'FIRING' }, status],
  ['a status of null', { status: null }, status],
  ['labels that are a list', { labels: ['a'] }, texts('labels')],
  ['labels of null', { labels: null }, texts('labels')],
  [
    'a label that is a number',
    { labels: { team: 5 } },
    ['alert.labels.team', 'must be string', 'a map of names to texts']
  ],
  ['annotations that are text', { annotations: 'x' }, texts('annotations')],
  [
    'an annotation that is an object',
    { annotations: { 'a/b': {} } },
    ['alert.annotations.a/b', 'must be string', 'a map of names to texts']
  ],
  ['a start that is no time', { starts_at: 'yesterday' }, time('starts_at')],
  ['a start without a zone', { starts_at: '2026-11-20T18:17:30' }, time('starts_at')],
  ['a start that is only a day', { starts_at: '2026-11-20' }, time('starts_at')],
  ['a start on a day that is none', { starts_at: '2026-02-30T00:00:00Z' }, time('starts_at')],
  ['a start in a month that is none', { starts_at: '2026-13-01T00:00:00Z' }, time('starts_at')],
  ['a start in an hour that is none', { starts_at: '2026-11-19T24:00:00Z' }, time('starts_at')],
  ['a start that is a number', { starts_at: 1_700_000_000 }, time('starts_at')],
  ['a start that is empty', { starts_at: '' }, time('starts_at')],
  ['an end that is no time', { ends_at: 'soon' }, time('ends_at')],
  ['an end before the start', { starts_at: '2026-11-20T18:17:30Z', ends_at: '2026-11-20T18:17:29Z' }, ended],
  ['an end before a start that is now', { ends_at: '2026-11-20T18:19:59Z' }, endedEarly],
  ['a start too far ahead', { starts_at: '2026-11-20T19:20:01Z' }, ahead],
  [
    'a generator URL that is none',
    { generator_url: 'not a url' },
    ['alert.generator_url', 'is not a URL', 'write it as https://host/path']
  ],
  ['a generator URL that is no text', { generator_url: {} }, ['alert.generator_url', 'must be string', 'A URL.']],
  [
    'a severity that is none',
    { classification: { severity: 'high' } },
    ['alert.classification.severity', 'is not one of the allowed values', 'use one of: critical, warning, info, noise']
  ],
  [
    'a classification without a severity',
    { classification: {} },
    ['alert.classification.severity', 'is required', 'add severity']
  ],
  [
    'a confidence above 1',
    { classification: { severity: 'info', confidence: 1.01 } },
    ['alert.classification.confidence', 'must be <= 1', 'a number from 0 to 1']
  ],
  [
    'a confidence below 0',
    { classification: { severity: 'info', confidence: -0.01 } },
    ['alert.classification.confidence', 'must be >= 0', 'a number from 0 to 1']
  ],
  [
    'a confidence that is text',
    { classification: { severity: 'info', confidence: '0.5' } },
    ['alert.classification.confidence', 'must be number', 'a number from 0 to 1']
  ],
  [
    'a reasoning that is no text',
    { classification: { severity: 'info', reasoning: ['x'] } },
    ['alert.classification.reasoning', 'must be string', 'a text']
  ],
  [
    'recommendations that are text',
    { classification: { severity: 'info', recommendations: 'x' } },
    ['alert.classification.recommendations', 'must be array', 'a list of texts']
  ],
  [
    'an enrichment that is a list',
    { enrichment: [] },
    ['alert.enrichment', 'must be object', 'an object of any content']
  ],
  ['a fingerprint that is empty', { fingerprint: '' }, ['alert.fingerprint', /fewer than 1/, /Alertmanager/]]
] as const) {
  t.test(`an alert with ${what} is refused`, async t => {
    const [field, message, suggestion] = expected
    const found = refusals({ alert: { ...own, ...alert } })
    t.match(found, [{ field, message, suggestion }])
    t.equal(found.length, 1)
  })
}

for (const [what, body, field, message] of [
  ['null', null, 'body', 'is not a JSON object'],
  ['a list', [own], 'body', 'is not a JSON object'],
  ['text', 'alert', 'body', 'is not a JSON object'],
  ['an object without alerts', {}, 'alerts', 'is not a list'],
  ['alerts that are an object', { alerts: own }, 'alerts', 'is not a list'],
  ['no alerts', { alerts: [] }, 'alerts', 'is empty'],
  ['an alert that is none', { alert: 'x' }, 'alert', 'must be object'],
  ['an alert that is null', { alert: null }, 'alert', 'must be object'],
  ['one alert beside several', { alert: own, alerts: [own] }, 'alert', 'stands beside alerts'],
  ['an alert that is none among others', { alerts: [own, null] }, 'alerts[1]', 'must be object'],
  ['a v4 body without alerts', { version: '4' }, 'alerts', 'is not a list'],
  ['a v4 body of no alerts', { version: '4', alerts: [] }, 'alerts', 'is empty'],
  ['a v4 alert that is none', { version: '4', alerts: ['x'] }, 'alerts[0]', 'is not an object'],
  ['a v4 alert of no status', { version: '4', alerts: [{}] }, 'alerts[0].status', 'is not an alert status'],
  ['target names that are text', { alert: own, target_names: 'a' }, 'target_names', 'must be array'],
  ['target names that are numbers', { alert: own, target_names: [1] }, 'target_names[0]', 'must be string'],
  ['options that are none', { alert: own, options: 'fast' }, 'options', 'must be object'],
  ['an option that is unknown', { alert: own, options: { retries: 3 } }, 'options.retries', 'is not a known field'],
  ['a timeout of nothing', { alert: own, options: { timeout: '0s' } }, 'options.timeout', /more than 0/]
] as const) {
  t.test(`a body of ${what} is refused`, async t => {
    const found = refusals(body)
    t.match(found, [{ field, message, suggestion: /./ }])
    t.equal(found.length, 1)
  })
}

t.test('everything that is wrong is told at once', async t => {
  const body = {
    alerts: [{ status: 'on', starts_at: 'x' }, { ...own, labels: { a: 1 }, generator_url: 'x' }, own],
    options: { timeout: 'long', check_health: 'yes' },
    target_names: [null]
  }
  t.strictSame(
    refusals(body).map(({ field }) => field),
    [
      'alerts[0].status',
      'alerts[0].alert_name',
      'alerts[0].starts_at',
      'alerts[1].labels.a',
      'alerts[1].generator_url',
      'options.timeout',
      'options.check_health',
      'target_names[0]'
    ]
  )
})

t.test('thousands of bad alerts give an answer that can be read', async t => {
  const alerts = Array.from({ length: 20_000 }, () => ({ status: 'x', labels: { a: 1, b: 2 } }))
  t.equal(refusals({ alerts }).length, 20)
  t.equal(refusals({ alerts, version: '4' }).length, 20)
})

t.test('odd values of an Alertmanager body are kept, counted and delivered', async t => {
  for (const [odd, kept] of [
    [{ labels: { alertname: 'A', n: 5, o: { a: [1] } } }, { labels: { alertname: 'A', n: '5', o: '{"a":[1]}' } }],
    [{ labels: null }, { labels: {}, alert_name: '' }],
    [{ labels: { alertname: '' } }, { alert_name: '' }],
    [{ labels: { team: 'ops' } }, { labels: { team: 'ops' }, alert_name: '' }],
    [{ annotations: ['x'] }, { annotations: {} }],
    [{ annotations: { a: null } }, { annotations: { a: 'null' } }],
    [{ startsAt: 'yesterday' }, { starts_at: 'yesterday' }],
    [{ startsAt: 5 }, { starts_at: '2026-11-20T18:20:00.000Z' }],
    [{ endsAt: 'tomorrow' }, { ends_at: 'tomorrow' }],
    [{ endsAt: 5 }, { ends_at: undefined }],
    [{ generatorURL: 5 }, { generator_url: undefined }],
    [{ fingerprint: 5 }, { fingerprint: '40740cd330866521' }]
  ] as const) {
    const body = v4()
    Object.assign(body.alerts[0], odd)
    const { oddAlerts, notification } = take(body)
    t.equal(oddAlerts, 1, JSON.stringify(odd))
    t.match(notification.alerts, [kept], JSON.stringify(odd))
  }
})

t.test('an Alertmanager alert without a fingerprint gets the one that Alertmanager would compute', async t => {
  const body = v4()
  const { fingerprint } = body.alerts[0]
  delete body.alerts[0].fingerprint
  t.strictSame([take(body).notification.alerts[0]!.fingerprint, take(body).oddAlerts], [fingerprint, 0])
})

t.test('odd fields around the alerts cost nothing', async t => {
  const { notification, oddAlerts } = take({
    version: 4,
    alerts: v4().alerts,
    receiver: 5,
    groupKey: null,
    groupLabels: [],
    commonLabels: 'x',
    truncatedAlerts: '3'
  })
  t.match(notification, {
    receiver: '',
    group_key: '',
    group_labels: {},
    common_labels: {},
    common_annotations: {},
    external_url: '',
    truncated_alerts: 0
  })
  t.equal(oddAlerts, 0)
})

t.test('labels named like what every object inherits are ordinary labels', async t => {
  const labels = JSON.parse('{"alertname": "A", "__proto__": "a", "constructor": "b", "toString": "c"}')
  for (const body of [
    { alert: { status: 'firing', labels } },
    { version: '4', alerts: [{ status: 'firing', labels }] }
  ]) {
    const { alerts, common_labels } = take(body).notification
    t.strictSame(Object.entries(alerts[0]!.labels), Object.entries(labels))
    if (!('version' in body)) t.strictSame(Object.entries(common_labels), Object.entries(labels))
  }
  t.equal(({} as Record<string, unknown>).a, undefined)
})

t.test('texts with lone surrogates are taken, and hashed as what UTF-8 makes of them', async t => {
  const at = (instance: string) => ({ status: 'firing', labels: { alertname: '\ud800', instance } })
  const [alert, same] = take({ alerts: [at('\udfff'), at('\ufffd')] }).notification.alerts
  t.equal(alert!.labels.instance, '\udfff')
  t.equal(alert!.fingerprint, same!.fingerprint)
})

t.test('20,000 alerts are taken, in either shape', async t => {
  const labels = (index: number) => ({ alertname: 'Down', instance: `node-${index}` })
  const list = Array.from({ length: 20_000 }, (_, index) => ({ status: 'firing', labels: labels(index) }))
  for (const body of [{ alerts: list }, { version: '4', alerts: list }]) {
    const { alerts } = take(body).notification
    t.equal(new Set(alerts.map(alert => alert.fingerprint)).size, 20_000)
  }
})

t.test('a body that is read in turns is understood, or refused, like any other', async t => {
  const list = Array.from({ length: 2_500 }, (_, index) => ({ ...own, labels: { instance: `node-${index}` } }))
  const bad = (index: number, alert: unknown) => list.with(index, alert as (typeof list)[number])
  const bodies = [
    { alerts: list },
    { version: '4', alerts: list },
    { alerts: bad(1_200, { ...own, status: 'x' }) },
    { version: '4', alerts: bad(2_499, { status: 'x' }).with(999, 1 as never) },
    { version: '4', alerts: list.map(() => 'none') },
    { alert: own },
    { alerts: [] }
  ]
  for (const body of bodies)
    t.strictSame(await acceptInTurns(body, Buffer.alloc(0), testNow), accept(body, Buffer.alloc(0), testNow))
})

for (const [what, field, build] of [
  ['an enrichment', 'alert', (deep: unknown) => ({ alert: { ...own, enrichment: { deep } } })],
  ['a label', 'alerts[1]', (deep: unknown) => ({ alerts: [own, { ...own, labels: { deep } }] })],
  ['an alert', 'alerts[0]', (deep: unknown) => ({ alerts: [deep] })],
  ['an option', 'body', (deep: unknown) => ({ alert: own, options: { deep } })],
  ['a list of names', 'body', (deep: unknown) => ({ alert: own, target_names: deep })],
  ['an unknown field', 'body', (deep: unknown) => ({ alert: own, deep })]
] as const) {
  t.test(`${what} of a hundred thousand levels is refused`, async t => {
    t.strictSame(refusals(build(deep(100_000))), [
      { field, message: 'is nested too deeply', suggestion: 'use at most 64 levels' }
    ])
  })
}

t.test('an Alertmanager body of a hundred thousand levels loses no alert', async t => {
  const body = { ...v4(), deep: deep(100_000) }
  body.alerts[0].labels.deep = deep(100_000)
  t.match(take(body), { oddAlerts: 1, notification: { alerts: [{ labels: { alertname: 'NodeCPUHigh', deep: '…' } }] } })
})

const mark = 'TOPSECRET'
const whole = {
  'an Alertmanager body': () => JSON.parse(notificationOf('mixed-1-resolved-of-3').body!.toString()),
  'one alert': () => ({
    alert: {
      ...own,
      fingerprint: 'f',
      labels: { team: 'ops' },
      annotations: { summary: 's' },
      starts_at: '2026-11-20T18:00:00Z',
      ends_at: '2026-11-20T18:10:00Z',
      generator_url: 'https://example.com',
      classification: { severity: 'info', confidence: 0.5, reasoning: 'r', recommendations: ['a'] },
      enrichment: { a: [{ b: 1 }] }
    },
    target_names: ['a'],
    options: { timeout: '10s', max_concurrent: 5, check_health: true, health_strategy: 'publish_to_all' }
  }),
  'several alerts': () => ({ alerts: [own, { ...own, labels: { a: 'b' } }], receiver: 'r', group_labels: { a: 'b' } })
}

for (const [shape, build] of Object.entries(whole)) {
  t.test(`${shape}, mutated anywhere, is taken or refused in words that repeat none of it`, async t => {
    const odd = fc.oneof(
      fc.constantFrom<unknown>(null, undefined, '', mark, `https://${mark}`, 0, -1, 1e308, true, [], {}, [mark]),
      fc.anything({ values: [fc.constant(mark), fc.double(), fc.constant(null)], maxDepth: 3 }),
      fc.string({ unit: 'binary', maxLength: 20 }).map(text => mark + text)
    )
    const mutation = fc.record({ steps: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), odd, drop: fc.boolean() })
    t.doesNotThrow(() =>
      fc.assert(
        fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), mutations => {
          // Copies, or what one mutation put in would be changed by the next one, up to a body that holds itself.
          const body = structuredClone(build()) as Record<string, unknown>
          for (const { steps, odd, drop } of mutations) mutate(body, steps, structuredClone(odd), drop)
          const reading = accept(JSON.parse(JSON.stringify(body)), Buffer.alloc(0), testNow)
          if (reading.ok) {
            const { alerts } = reading.value.notification
            return alerts.length > 0 && alerts.every(alert => /^(firing|resolved)$/.test(alert.status))
          }
          const told = reading.problems.flatMap(({ field, message, suggestion }) => [field, message, suggestion])
          return told.length > 0 && told.every(text => text !== '' && !text.includes(mark))
        }),
        { numRuns: 500 }
      )
    )
  })
}

/** Puts something odd at the place that the steps lead to, or takes away what is there. */
function mutate(body: Record<string, unknown>, steps: number[], odd: unknown, drop: boolean): void {
  let node = body
  for (const [index, step] of steps.entries()) {
    const names = Object.keys(node)
    const name = names[step % names.length]
    if (name === undefined) return
    const child = node[name]
    if (index < steps.length - 1 && child !== null && typeof child === 'object') node = child as Record<string, unknown>
    else {
      if (drop) delete node[name]
      else node[name] = odd
      return
    }
  }
}

function deep(levels: number): unknown {
  let value: unknown = 'bottom'
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { value }
  return value
}
