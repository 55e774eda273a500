import { createHash } from 'node:crypto'
import t from 'tap'
import type { Alert } from '../../src/alert.js'
import type { Message, WireRequest } from '../../src/targets/contract.js'
import { judgeByStatus } from '../../src/targets/failures.js'
import { readTarget, type Target } from '../../src/targets/target.js'
import { answerOf, drive } from '../support/drive.js'
import { alertOf, messageOf, notificationOf, notificationWith, testNow } from '../support/messages.js'

const routing_key = 'e93facc04764012d7bfb002500d5d1a6'

function targetOf(settings: object = {}): Target {
  const reading = readTarget({ name: 'pd', type: 'pagerduty', routing_key, ...settings })
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}

const requestsOf = (message: Message, settings: object = {}) => targetOf(settings).wire.requests(message)
// biome-ignore lint/suspicious/noExplicitAny: the event is what the test looks into
const eventOf = (request: WireRequest | undefined): any => JSON.parse(String(request?.body))
const bytesOf = (request: WireRequest | undefined) => Buffer.byteLength(String(request?.body))

t.test('a firing alert triggers, with all that is known of it', async t => {
  const requests = requestsOf(messageOf({ notification: notificationOf('firing-1') }))
  t.equal(requests.length, 1)
  const { body: _, ...request } = requests[0]!
  t.strictSame(request, {
    method: 'POST',
    origin: 'https://events.pagerduty.com',
    path: '/v2/enqueue',
    headers: { 'content-type': 'application/json' }
  })
  const source =
    'http://prometheus.monitoring.svc:9090/graph?g0.expr=rate%28node_cpu_seconds_total%7Bmode%21%3D%22idle%22%7D%5B5m%5D%29+%3E+0.9&g0.tab=1'
  const [alert] = notificationOf('firing-1').alerts
  t.strictSame(eventOf(requests[0]), {
    routing_key,
    event_action: 'trigger',
    dedup_key: '40740cd330866521',
    payload: {
      summary: 'NodeCPUHigh: CPU above 90% on node-1',
      source: 'node-1:9100',
      severity: 'critical',
      timestamp: '2026-11-20T18:17:30.86Z',
      component: 'checkout',
      group: 'prod',
      class: 'NodeCPUHigh',
      custom_details: {
        status: 'firing',
        fingerprint: '40740cd330866521',
        starts_at: '2026-11-20T18:17:30.86Z',
        labels: alert?.labels,
        annotations: alert?.annotations
      }
    },
    client: 'alert-fanout',
    client_url: 'http://vm:9093',
    links: [
      { href: 'https://runbooks.example.com/node-cpu-high', text: 'Runbook' },
      { href: 'https://grafana.example.com/d/node?var-instance=node-1', text: 'Dashboard' },
      { href: source, text: 'Source' }
    ],
    images: []
  })
})

t.test('a resolved alert resolves by the same key, at the time it ended', async t => {
  const alert = alertOf({ status: 'resolved', ends_at: '2026-11-20T18:19:00Z' })
  const event = eventOf(requestsOf(messageOf({ alerts: [alert] }))[0])
  t.match(event, {
    event_action: 'resolve',
    dedup_key: '40740cd330866521',
    payload: { timestamp: '2026-11-20T18:19:00Z' }
  })
})

t.test('each alert is a part of its own, known by its fingerprint', async t => {
  const { alerts } = notificationOf('firing-3')
  const parts = targetOf().wire.parts?.(alerts, notificationOf('firing-3'))
  t.strictSame(
    parts,
    alerts.map(alert => ({ key: alert.fingerprint, alerts: [alert] }))
  )
  t.equal(targetOf().kind.lane(targetOf().settings), 'alert')
})

t.test('states of one alert in one notification share a part and keep their order', async t => {
  const alerts = [alertOf(), alertOf({ status: 'resolved', ends_at: '2026-11-20T18:19:00Z' })]
  const target = targetOf()
  t.strictSame(target.wire.parts?.(alerts, notificationWith(alerts)), [{ key: '40740cd330866521', alerts }])
  const actions = target.wire.requests(messageOf({ alerts })).map(request => eventOf(request).event_action)
  t.strictSame(actions, ['trigger', 'resolve'])
})

t.test('the severity is the classification’s, else the label’s, in PagerDuty’s words', async t => {
  const cases = [
    [{ labels: { severity: 'critical' } }, 'critical', []],
    [{ labels: { severity: 'Warning' } }, 'warning', []],
    [{ labels: { severity: 'error' } }, 'error', []],
    [{ labels: { severity: 'info' } }, 'info', []],
    [{ labels: {} }, 'error', []],
    [{ labels: { severity: 'page' } }, 'error', ['severity']],
    [{ labels: { severity: 'constructor' } }, 'error', ['severity']],
    [{ labels: { severity: 'critical' }, classification: { severity: 'noise' } }, 'info', []]
  ] as const
  for (const [overrides, severity, counted] of cases) {
    const truncated: string[] = []
    const message = messageOf({ alerts: [alertOf(overrides)], truncated: field => truncated.push(field) })
    t.equal(eventOf(requestsOf(message)[0]).payload.severity, severity, JSON.stringify(overrides))
    t.strictSame(truncated, counted)
  }
})

t.test('a link that is too long for it is left out and counted', async t => {
  const truncated: string[] = []
  const alert = alertOf({ generator_url: `https://prometheus.example.com/graph?g0.expr=${'x'.repeat(2048)}` })
  const message = messageOf({ alerts: [alert], truncated: field => truncated.push(field) })
  t.notMatch(JSON.stringify(eventOf(requestsOf(message)[0]).links), 'xxxx')
  t.strictSame(truncated, ['links'])
})

t.test('per group, an unknown severity is an error, not to be hidden by a known one', async t => {
  const cases = [
    [['emergency', 'info', 'info'], 'error', ['severity']],
    [['emergency', 'warning'], 'error', ['severity']],
    [['emergency', 'Critical'], 'critical', []],
    [['warning', undefined], 'error', []],
    [['info', 'noise'], 'info', []]
  ] as const
  for (const [severities, expected, counted] of cases) {
    const truncated: string[] = []
    const alerts = severities.map((severity, n) =>
      alertOf({ fingerprint: `${n}`, labels: severity === undefined ? {} : { severity } })
    )
    const message = messageOf({ alerts, truncated: field => truncated.push(field) })
    t.equal(eventOf(requestsOf(message, { per: 'group' })[0]).payload.severity, expected, severities.join())
    t.strictSame(truncated, counted)
  }
})

t.test('classification and enrichment come along', async t => {
  const classification = {
    severity: 'warning',
    confidence: 0.8,
    reasoning: 'known deploy',
    recommendations: ['wait']
  } as const
  const alert = alertOf({
    classification: { ...classification, recommendations: ['wait'] },
    enrichment: { owner: 'team-a' }
  })
  const { custom_details } = eventOf(requestsOf(messageOf({ alerts: [alert] }))[0]).payload
  t.match(custom_details, { classification, enrichment: { owner: 'team-a' } })
})

t.test('a late trigger says how late it is', async t => {
  const details = (lateByMs: number) => eventOf(requestsOf(messageOf({ lateByMs }))[0]).payload.custom_details
  t.equal(details(12 * 60_000).late_by, '12 min')
  t.notOk('late_by' in details(60_000))
})

t.test('only what a vendor can take as a link or an image becomes one', async t => {
  const annotations = {
    runbook_url: 'javascript:alert(1)',
    dashboard_url: `https://grafana.example.com/${'a'.repeat(3000)}`,
    grafana_snapshot: 'https://grafana.example.com/render/1.png'
  }
  const event = eventOf(requestsOf(messageOf({ alerts: [alertOf({ annotations, generator_url: 'not a url' })] }))[0])
  t.strictSame(event.links, [])
  t.strictSame(event.images, [
    { src: annotations.grafana_snapshot, href: annotations.grafana_snapshot, alt: 'Grafana snapshot' }
  ])
  const plain = { grafana_snapshot: 'http://grafana.example.com/render/1.png' }
  t.strictSame(eventOf(requestsOf(messageOf({ alerts: [alertOf({ annotations: plain })] }))[0]).images, [])
})

t.test('times that are none are left out rather than refused by PagerDuty', async t => {
  const { payload } = eventOf(requestsOf(messageOf({ alerts: [alertOf({ starts_at: 'yesterday' })] }))[0])
  t.notOk('timestamp' in payload)
  t.notOk('starts_at' in payload.custom_details)
})

t.test('a key that PagerDuty could not hold is hashed', async t => {
  const fingerprint = 'f'.repeat(256)
  const { dedup_key } = eventOf(requestsOf(messageOf({ alerts: [alertOf({ fingerprint })] }))[0])
  t.equal(dedup_key, createHash('sha256').update(fingerprint).digest('hex'))
})

t.test('the event is trimmed to the limit: annotations and enrichment first, then labels', async t => {
  const big = 'é'.repeat(300_000)
  const cases = [
    { annotations: { summary: 'short', description: big }, kept: { labels: true, annotations: true } },
    {
      annotations: Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`a${n}`, 'x'.repeat(300)])),
      kept: { labels: true, annotations: false }
    },
    { enrichment: { log: big }, kept: { labels: true, annotations: true } },
    { labels: { alertname: 'A', long: big }, kept: { labels: true, annotations: true } },
    {
      labels: Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`label_${n}`, 'x'])),
      kept: { labels: false, annotations: false }
    }
  ]
  for (const { kept, ...overrides } of cases) {
    const truncated: string[] = []
    const alert = alertOf(overrides as object)
    const [request] = requestsOf(messageOf({ alerts: [alert], truncated: field => truncated.push(field) }))
    const { payload } = eventOf(request)
    t.ok(bytesOf(request) <= 512_000, `${bytesOf(request)} bytes`)
    t.strictSame(
      { labels: 'labels' in payload.custom_details, annotations: 'annotations' in payload.custom_details },
      kept
    )
    t.strictSame(truncated, [...new Set(truncated)], 'each field is counted once')
    t.ok(truncated.length > 0)
  }
})

t.test('the summary is cut at 1,024 characters and says so', async t => {
  const truncated: string[] = []
  const alert = alertOf({ annotations: { summary: '😀'.repeat(2000) } })
  const message = messageOf({ alerts: [alert], truncated: field => truncated.push(field) })
  const { summary } = eventOf(requestsOf(message)[0]).payload
  t.equal([...summary].length, 1024)
  t.ok(summary.endsWith('😀…'))
  t.strictSame(truncated, ['summary'])
})

t.test('each short field that is cut counts', async t => {
  const long = 'x'.repeat(300)
  const cutOf = (overrides: Partial<Alert>, per: string) => {
    const truncated: string[] = []
    const alerts = [alertOf({ annotations: {}, ...overrides })]
    const common_labels = alerts[0]!.labels
    const notification = { ...notificationWith(alerts), common_labels }
    requestsOf(messageOf({ notification, truncated: field => truncated.push(field) }), { per })
    return truncated.sort()
  }
  const labels = { alertname: long, instance: long, service: long, cluster: long, severity: 'info' }
  const short = ['class', 'component', 'group', 'source']
  t.strictSame(cutOf({ labels, alert_name: long }, 'alert'), short)
  t.strictSame(cutOf({ labels, alert_name: long }, 'group'), ['alert_name', ...short])
  t.strictSame(cutOf({ fingerprint: long }, 'alert'), ['fingerprint'])
})

t.test('per group, a storm is one event that resolves when all of it has', async t => {
  const storm = notificationOf('storm-120')
  const target = targetOf({ per: 'group' })
  t.equal(target.kind.lane(target.settings), 'group')
  t.strictSame(target.wire.parts?.(storm.alerts, storm), [{ key: '', alerts: storm.alerts }])
  const requests = target.wire.requests(messageOf({ notification: storm }))
  t.equal(requests.length, 1)
  const event = eventOf(requests[0])
  t.match(event, {
    event_action: 'trigger',
    dedup_key: createHash('sha256').update(storm.group_key).digest('hex'),
    payload: { custom_details: { alerts: '120 firing', not_shown: 20 } }
  })
  t.equal(event.payload.custom_details.details.length, 100)
  t.ok(bytesOf(requests[0]) <= 512_000)

  const mixed = eventOf(target.wire.requests(messageOf({ notification: notificationOf('mixed-1-resolved-of-3') }))[0])
  t.match(mixed, { event_action: 'trigger', payload: { custom_details: { alerts: '2 firing, 1 resolved' } } })
  const over = notificationOf('resolved-2')
  const resolved = eventOf(target.wire.requests(messageOf({ notification: over }))[0])
  t.match(resolved, {
    event_action: 'resolve',
    dedup_key: createHash('sha256').update(over.group_key).digest('hex')
  })
})

t.test('per group, what Alertmanager left out keeps the incident open', async t => {
  const notification = { ...notificationOf('resolved-2'), truncated_alerts: 5 }
  const event = eventOf(requestsOf(messageOf({ notification }), { per: 'group' })[0])
  t.match(event, {
    event_action: 'trigger',
    payload: {
      summary: /\(2 resolved, 5 not listed\)$/,
      timestamp: notification.alerts.map(alert => alert.starts_at).sort()[0],
      custom_details: { alerts: '2 resolved, 5 not listed', not_shown: 5 }
    }
  })
  const each = requestsOf(messageOf({ notification })).map(request => eventOf(request).event_action)
  t.strictSame(each, ['resolve', 'resolve'], 'each alert is judged by itself')
})

t.test('per group, alerts that came without a group do not share one incident', async t => {
  const keyOf = (fingerprint: string) =>
    eventOf(requestsOf(messageOf({ alerts: [alertOf({ fingerprint })] }), { per: 'group' })[0]).dedup_key
  t.not(keyOf('a'), keyOf('b'))
})

t.test('with change_events, labelled alerts go to the change timeline and page nobody', async t => {
  const change = alertOf({ fingerprint: 'c', labels: { alertname: 'Deploy', change_event: 'true', service: 'shop' } })
  const settings = { change_events: true }
  const [request] = requestsOf(messageOf({ alerts: [change] }), settings)
  t.equal(request?.path, '/v2/change/enqueue')
  t.strictSame(eventOf(request), {
    routing_key,
    payload: {
      summary: 'NodeCPUHigh: CPU above 90% on node-1',
      source: 'alert-fanout',
      timestamp: '2026-11-20T18:17:30.86Z',
      custom_details: {
        status: 'firing',
        fingerprint: 'c',
        starts_at: '2026-11-20T18:17:30.86Z',
        labels: { alertname: 'Deploy', change_event: 'true', service: 'shop' },
        annotations: { summary: 'CPU above 90% on node-1' }
      }
    },
    links: []
  })
  const ended = { ...change, status: 'resolved' as const, ends_at: '2026-11-20T18:19:00Z' }
  t.match(eventOf(requestsOf(messageOf({ alerts: [ended] }), settings)[0]), {
    payload: { summary: 'Ended: NodeCPUHigh: CPU above 90% on node-1', timestamp: '2026-11-20T18:19:00Z' }
  })
  t.equal(requestsOf(messageOf({ alerts: [change] }))[0]?.path, '/v2/enqueue', 'not without change_events')

  const alerts = [alertOf(), change]
  const group = targetOf({ ...settings, per: 'group' }).wire
  t.strictSame(group.parts?.(alerts, notificationWith(alerts)), [
    { key: '', alerts: [alerts[0]] },
    { key: 'c', alerts: [change] }
  ])
  t.strictSame(
    group.requests(messageOf({ alerts: [change] })).map(({ path }) => path),
    ['/v2/change/enqueue']
  )
})

t.test('url may name the host, a path before the API, or the whole endpoint', async t => {
  const cases = [
    ['https://events.eu.pagerduty.com', 'https://events.eu.pagerduty.com', '/v2/enqueue'],
    ['https://events.eu.pagerduty.com/', 'https://events.eu.pagerduty.com', '/v2/enqueue'],
    ['https://events.pagerduty.com/v2/enqueue', 'https://events.pagerduty.com', '/v2/enqueue'],
    ['http://proxy.example.com:8080/pd/', 'http://proxy.example.com:8080', '/pd/v2/enqueue']
  ] as const
  for (const [url, origin, path] of cases) {
    t.match(requestsOf(messageOf(), { url })[0], { origin, path }, url)
  }
})

t.test('settings that cannot work are refused by field', async t => {
  const fieldsOf = (settings: object) => {
    const reading = readTarget({ name: 'pd', type: 'pagerduty', ...settings })
    return reading.ok ? [] : reading.problems.map(problem => problem.field)
  }
  t.strictSame(fieldsOf({}), ['routing_key'])
  t.strictSame(fieldsOf({ routing_key, url: 'ftp://example.com' }), ['url'])
  t.strictSame(fieldsOf({ routing_key, per: 'day' }), ['per'])
})

t.test('a routing key with white space in it is refused, without being shown', async t => {
  for (const key of [`${routing_key}\n`, ` ${routing_key}`, 'e93facc0 4764012d', `${routing_key}\r\n`, '\u00a0']) {
    const reading = readTarget({ name: 'pd', type: 'pagerduty', routing_key: key })
    t.match(reading, { ok: false, problems: [{ field: 'routing_key', message: 'has white space in it' }] })
    t.notMatch(JSON.stringify(reading), /e93facc0/)
  }
})

t.test('answers are judged as PagerDuty documents them', async t => {
  const typeOf = (statusCode: number) => {
    const answer = { statusCode, headers: {}, body: '{"status":"invalid event","message":"Event object is invalid"}' }
    const verdict =
      targetOf().wire.answer?.(answer, messageOf(), requestsOf(messageOf())[0]!) ??
      judgeByStatus(answer, 'PagerDuty', testNow)
    return verdict.kind === 'failed' ? `${verdict.type} ${verdict.reason}` : verdict.kind
  }
  t.equal(typeOf(202), 'delivered')
  t.equal(typeOf(400), 'permanent client_error')
  t.equal(typeOf(429), 'rate_limited rate_limited')
  t.equal(typeOf(500), 'transient server_error')
})

t.test('a 400 that blames the routing key accuses the target, not the event', async t => {
  const outcomeOf = async (statusCode: number, body: unknown) =>
    (await drive(targetOf(), messageOf(), () => answerOf(statusCode, body))).outcome
  const invalid = { status: 'invalid event', message: 'Event object is invalid' }
  const wrong = "Length of 'routing_key' is incorrect (should be 32 characters)"
  const blaming = [
    { ...invalid, errors: [wrong] },
    { ...invalid, errors: ["'payload.source' is missing or blank", wrong] },
    { ...invalid, errors: "'routing_key' cannot contain non-alphanumeric characters." },
    { status: 'invalid event', message: 'Invalid routing key' },
    'Invalid routing key'
  ]
  for (const body of blaming) {
    t.strictSame(
      await outcomeOf(400, body),
      {
        kind: 'failed',
        type: 'configuration',
        reason: 'auth',
        message: 'PagerDuty refused the routing key',
        mayHave: false,
        statusCode: 400
      },
      JSON.stringify(body)
    )
  }
  const others = [
    { ...invalid, errors: ["'payload.source' is missing or blank"] },
    { ...invalid, errors: [{ routing_key: 'x' }, null] },
    `{"routing_key":"x"${' '.repeat(200)}`,
    '<html>routing key</html>',
    'null',
    ''
  ]
  for (const body of others) {
    t.match(await outcomeOf(400, body), { type: 'permanent', reason: 'client_error' }, JSON.stringify(body))
  }
  t.match(await outcomeOf(500, blaming[0]), { type: 'transient' })
  t.equal(await outcomeOf(202, blaming[0]), 'delivered')
})

t.test('the same message gives the same bytes', async t => {
  const notification = notificationOf('mixed-1-resolved-of-3')
  for (const per of ['alert', 'group']) {
    t.strictSame(requestsOf(messageOf({ notification }), { per }), requestsOf(messageOf({ notification }), { per }))
  }
})
