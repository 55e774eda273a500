import t from 'tap'
import { alertmanagerBody, noRetry, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { type Json, nobodyThere, startStandIn, type Taken } from '../support/stand-in.js'

const secrets = {
  slack: '/services/T00SECRET/B00SECRET/XSECRETX',
  routing: 'routing-key-SECRET-1234567890',
  token: 'rootly-SECRET-token',
  bearer: 'bearer-SECRET-token',
  apiKey: 'api-SECRET-key',
  path: 'path-SECRET',
  header: 'header-SECRET-value',
  hmac: 'whsec_c2VjcmV0LVNFQ1JFVC1zZWNyZXQ='
}

/** One target of each kind and way, all at one stand-in, told apart by their path. */
const targetsAt = (url: string) => [
  { name: 'am', type: 'alertmanager', url: `${url}/am`, hold: '1h' },
  {
    name: 'hook',
    type: 'webhook',
    url: `${url}/hook/${secrets.path}`,
    auth: { type: 'bearer', token: secrets.bearer }
  },
  {
    name: 'hook-key',
    type: 'webhook',
    url: `${url}/key`,
    auth: { type: 'api_key', header: 'X-Api-Key', value: secrets.apiKey }
  },
  {
    name: 'hook-signed',
    type: 'webhook',
    url: `${url}/signed`,
    batch: 'alert',
    auth: { type: 'hmac', secret: secrets.hmac }
  },
  { name: 'hook-v4', type: 'webhook', url: `${url}/v4`, format: 'alertmanager', headers: { 'X-Team': secrets.header } },
  { name: 'pd', type: 'pagerduty', url: `${url}/pd`, routing_key: secrets.routing },
  {
    name: 'rootly',
    type: 'rootly',
    url: `${url}/rootly`,
    api: 'alerts',
    auth: { type: 'bearer', token: secrets.token }
  },
  { name: 'slack', type: 'slack', url: `${url}${secrets.slack}` },
  { name: 'slack-bot', type: 'slack', url, token: secrets.token, channel: 'C1' }
]

/** What the connection adds, and what is made for each publish or attempt and so cannot be known before. */
const ofConnection = ['host', 'connection', 'content-length']
const perAttempt = ['idempotency-key', 'webhook-id', 'webhook-timestamp', 'webhook-signature']
const ofSettings = ['authorization', 'x-api-key', 'x-team']

t.test('explain shows the very requests that publish then sends, secrets aside, and sends none of them', async t => {
  const taker = await startStandIn(t, ({ path }) => ({
    status: path.startsWith('/rootly') ? 201 : 200,
    body: path.startsWith('/api/') ? '{"ok":true,"ts":"1.2","channel":"C1"}' : 'ok'
  }))
  const targets = targetsAt(taker.url)
  const service = await startTestService(t, { targets })
  for (const [what, body] of [
    [
      'one alert',
      oneAlert('One', { starts_at: '2026-11-20T18:17:30Z', annotations: { summary: 'äöü 😀 <!channel>' } })
    ],
    ['Alertmanager', alertmanagerBody(['Two', 'Three'])],
    ['its resolve', alertmanagerBody(['Two', 'Three'], { status: 'resolved' })]
  ] as const) {
    const before = taker.requests.length
    const { status, body: explained, text } = await service.post(publishPaths.explain, body)
    t.equal(status, 200)
    t.equal(taker.requests.length, before, 'nothing is sent')
    t.notMatch(text, /SECRET/, `${what}: no secret`)
    t.same(
      explained.results.map((each: Json) => each.target_name),
      targets.map(({ name }) => name)
    )

    t.equal((await service.post(publishPaths.all, body)).status, 200)
    const real = taker.requests.slice(before)
    for (const result of explained.results) {
      t.match(result, { decision: 'send', reason: /./, alerts: what === 'one alert' ? 1 : 2, truncated: [] })
      for (const request of result.requests) {
        const index = real.findIndex(each => isSame(request, each, taker.url))
        t.ok(index >= 0, `${what}: ${result.target_name} got just that: ${request.url} ${request.body}`)
        if (index < 0) continue
        const [sent] = real.splice(index, 1)
        t.equal(
          request.body_bytes,
          sent!.bytes.length,
          `${what}: ${result.target_name} has ${request.body_bytes} bytes`
        )
        const headers = Object.entries(sent!.headers).filter(([name]) => !ofConnection.includes(name))
        const expected = headers.map(([name, value]) => [
          name,
          perAttempt.includes(name)
            ? '[made when it is sent]'
            : ofSettings.includes(name)
              ? hidden(result.target_name)
              : value
        ])
        t.same(request.headers, Object.fromEntries(expected), `${what}: ${result.target_name} has these headers`)
      }
    }
    t.same(real, [], `${what}: and nothing else was sent`)
  }
})

t.test('explain changes nothing: what comes after it is as if it had not been', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    targets: [{ name: 'hook', type: 'webhook', url: hook.url, send_resolved: true }]
  })
  await service.post(publishPaths.explain, alertmanagerBody())
  const { body } = await service.post(publishPaths.all, alertmanagerBody())
  t.match(body.results, [{ success: true, deduplicated: undefined }])
  t.match((await service.get('/api/v1/deliveries')).body.items.length, 1)
  t.match((await service.get('/status')).body.publish, { total: 1 })
})

t.test('explain says of each target what would happen and why', async t => {
  const hook = await startStandIn(t, { status: 500 })
  const webhook = (name: string, more: object = {}) => ({ name, type: 'webhook', url: hook.url, ...more })
  const service = await startTestService(t, {
    env: { CIRCUIT_FAILURE_THRESHOLD: '1', HEALTH_FAILURE_THRESHOLD: '1', ...noRetry },
    targets: [
      webhook('disabled', { enabled: false }),
      webhook('filtered', { filter: { severities: ['info'] } }),
      webhook('firing-only', { send_resolved: false }),
      webhook('open'),
      { name: 'sick', type: 'webhook', url: await nobodyThere() },
      webhook('well')
    ]
  })
  await service.post(publishPaths.named, { ...oneAlert('Before'), target_names: ['open'] })
  await service.post('/api/v1/targets/sick/check')
  const names = ['well', 'nobody', 'disabled', 'filtered', 'open', 'sick']
  const brief = async (query: string, body: object) =>
    (await service.post(`${publishPaths.explain}?${query}`, body)).body.results.map((each: Json) => [
      each.target_name,
      each.decision,
      each.reason,
      each.requests.length
    ])
  const open = 'its circuit is open after failed attempts'
  const sick = 'its health checks fail'
  const sends = 'enabled, let through by its filter, health and circuit'
  t.same(await brief('scope=named', { ...oneAlert(), target_names: names }), [
    ['well', 'send', sends, 1],
    ['nobody', 'unknown', 'no target has this name', 0],
    ['disabled', 'skip', 'it is disabled', 0],
    ['filtered', 'skip', 'its filter lets none of the alerts through', 0],
    ['open', 'queue', `it is owed and waits in the queue: ${open}`, 1],
    ['sick', 'queue', `it is owed and waits in the queue: ${sick}`, 1]
  ])
  t.same(await brief('scope=healthy', oneAlert()), [
    ['disabled', 'skip', 'it is disabled', 0],
    ['filtered', 'skip', 'its filter lets none of the alerts through', 0],
    ['firing-only', 'send', sends, 1],
    ['open', 'skip', open, 0],
    ['sick', 'skip', sick, 0],
    ['well', 'send', sends, 1]
  ])
  t.same(await brief('scope=all&target=disabled&target=well', oneAlert()), [
    ['disabled', 'skip', 'it is disabled', 0],
    ['well', 'send', sends, 1]
  ])
  t.same(
    await brief(
      'scope=named&target=firing-only&target=sick&check_health=false',
      alertmanagerBody(['A'], { status: 'resolved' })
    ),
    [
      ['firing-only', 'skip', 'there is nothing to tell: it does not want resolves, or never had the alert', 0],
      ['sick', 'send', sends, 1]
    ]
  )
  const { status, body } = await service.post(`${publishPaths.explain}?scope=some`, oneAlert())
  t.equal(status, 400)
  t.match(body.details, [{ field: 'scope' }])
  t.equal((await service.post(`${publishPaths.explain}?scope=named`, oneAlert())).status, 400)
})

t.test('explain tells what fired and resolved unheard as it would be sent, and counts each alert once', async t => {
  const down = await startStandIn(t, { status: 503 })
  const targets = [
    { name: 'hook', type: 'webhook', url: down.url },
    { name: 'pair', type: 'alertmanager', urls: [`${down.url}/a`, `${down.url}/b`] }
  ]
  const service = await startTestService(t, { env: noRetry, targets })
  const pair = (await service.post(publishPaths.explain, alertmanagerBody(['A']))).body.results[1]
  t.match(pair, { target_name: 'pair', alerts: 1, requests: [{}, {}] })
  await service.post(publishPaths.all, alertmanagerBody(['A']))
  const [hook] = (await service.post(publishPaths.explain, alertmanagerBody(['A'], { status: 'resolved' }))).body
    .results
  t.match(hook, { target_name: 'hook', alerts: 1, requests: [{ body: /"fired_and_resolved":true/ }] })
})

t.test('explain shows what an alert says, though a header of the target says the same', async t => {
  const targets = [{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:1/', headers: { 'X-Team': 'ops' } }]
  const service = await startTestService(t, { targets })
  const { results } = (await service.post(publishPaths.explain, oneAlert('DevopsDown'))).body
  t.match(results[0].requests, [{ headers: { 'x-team': '[secret]' }, body: /DevopsDown/ }])
})

t.test('explain tells of a target that asked to be left alone', async t => {
  const busy = await startStandIn(t, { status: 429, headers: { 'retry-after': '60' } })
  const service = await startTestService(t, { targets: [{ name: 'busy', type: 'webhook', url: busy.url }] })
  await service.post(publishPaths.all, oneAlert('Before'))
  t.match((await service.post(publishPaths.explain, oneAlert())).body.results, [
    {
      decision: 'queue',
      reason: 'it is owed and waits in the queue: it asked to be left alone for a while, with Retry-After',
      requests: { length: 1 }
    }
  ])
})

t.test('explain names what is cut to the vendors’ limits', async t => {
  const taker = await startStandIn(t, { status: 202 })
  const targets = targetsAt(taker.url).filter(({ name }) => name === 'pd' || name === 'slack')
  const service = await startTestService(t, { targets })
  const long = oneAlert('Long', { annotations: { summary: 's'.repeat(2_000), description: 'd'.repeat(600_000) } })
  const { body } = await service.post(publishPaths.explain, long)
  for (const { target_name, truncated, requests } of body.results) {
    t.ok(truncated.length > 0, `${target_name} cuts ${truncated}`)
    t.ok(requests[0].body_bytes < 512_000)
  }
})

t.test('what is explained was not received: no alert counts, waits for a person, or stops waiting', async t => {
  const slack = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, {
    env: noRetry,
    targets: [{ name: 'slack', type: 'slack', url: slack.url }]
  })
  const value = async (name: string) => {
    const { text } = await service.get('/metrics')
    return Number(new RegExp(`^alert_history_publishing_${name} (\\S+)$`, 'm').exec(text)?.[1])
  }
  await service.post(publishPaths.explain, oneAlert('Explained'))
  t.equal(await value('undelivered_criticals'), 0)
  t.equal(await value('alerts_received_total{status="firing"}'), 0)
  await service.post(publishPaths.all, oneAlert('Real'))
  t.equal(await value('undelivered_criticals'), 1)
  await service.post(publishPaths.explain, oneAlert('Real', { status: 'resolved' }))
  t.equal(await value('undelivered_criticals'), 1)
  await service.post(publishPaths.explain, '{bad')
  t.equal(await value('alerts_invalid_total'), 0)
  for (const bad of ['{bad', '', { alert: {} }]) await service.post(publishPaths.all, bad)
  t.equal(await value('alerts_invalid_total'), 3)
})

/** Slack's kind writes its token into a header itself; the others' headers are hidden whole. */
function hidden(target: string): string {
  return target === 'slack-bot' ? 'Bearer [secret]' : '[secret]'
}

/** Whether a request that was explained is the one that came: its secrets count as equal, ids and clocks as well. */
function isSame(explained: Json, came: Taken, url: string): boolean {
  if (explained.method !== came.method) return false
  const shown = explained.url.slice(url.length)
  if (!shown.includes('[secret]') && shown !== came.path) return false
  return steadyBody(explained.body) === steadyBody(redacted(came.bytes.toString()))
}

function redacted(text: string): string {
  return Object.values(secrets).reduce((clean, secret) => clean.replaceAll(secret, '[secret]'), text)
}

function steadyBody(text: string): string {
  return text
    .replace(/"publish_id":"[^"]+"/, '"publish_id":""')
    .replace(/"endsAt":"2\d{3}-\d\d-\d\dT[^"]+"/g, '"endsAt":""')
}
