import t from 'tap'
import { until } from '../support/looks.js'
import { noRetry, oneAlert, publishPaths, startTestService, steadyTarget } from '../support/service.js'
import { type Json, nobodyThere, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })
const names = (body: Json): string[] => body.items.map((item: Json) => item.name ?? item.target_name)

t.test('a target is shown without its path, credentials and headers', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    targets: [
      webhook('hook', `${hook.url}/SECRET?key=SECRET`, {
        auth: { type: 'bearer', token: 'SECRET' },
        headers: { 'X-Key': 'SECRET' },
        filter: { severities: ['critical'] }
      })
    ]
  })
  await until(
    'it was checked',
    async () => (await service.get('/api/v1/targets/hook')).body.health.status === 'healthy'
  )
  await service.post(publishPaths.all, oneAlert())
  const { status, body, text } = await service.get('/api/v1/targets/hook')
  t.equal(status, 200)
  t.notMatch(text, /SECRET/)
  const { health, last_result, ...rest } = body
  t.same(rest, {
    name: 'hook',
    type: 'webhook',
    enabled: true,
    send_resolved: true,
    url: hook.url,
    filtered: true,
    circuit: { state: 'closed', failures: 0, reason: null, since: null, next_probe: null },
    paused_until: null,
    in_flight: 0
  })
  t.match(health, { target_name: 'hook', status: 'healthy', consecutive_failures: 0, error_reason: null })
  t.match(last_result, { success: true, status_code: 200, error_reason: null, at: /^2/, duration_ms: Number })
  t.same(
    (await service.get('/api/v1/targets')).body.items.map((item: Json) => item.name),
    ['hook']
  )
})

t.test('targets are listed by name, filtered, page by page', async t => {
  const targets = [
    webhook('c', 'http://127.0.0.1:9'),
    webhook('a', 'http://127.0.0.1:9', { enabled: false }),
    { name: 'b', type: 'slack', url: 'http://127.0.0.1:9/services/x' }
  ]
  const service = await startTestService(t, { targets })
  const list = async (query: string) => (await service.get(`/api/v1/targets?${query}`)).body
  t.same(names(await list('')), ['a', 'b', 'c'])
  t.same(names(await list('type=webhook')), ['a', 'c'])
  t.same(names(await list('enabled=false')), ['a'])
  t.same(names(await list('type=webhook&enabled=true')), ['c'])
  t.same(names(await list('type=nothing')), [])
  t.same(names(await list('health=healthy')), [])
  const first = await list('limit=2')
  t.same([names(first), typeof first.next_cursor], [['a', 'b'], 'string'])
  t.match(await list(`limit=2&cursor=${first.next_cursor}`), { items: [{ name: 'c' }], next_cursor: null })
  for (const bad of ['limit=0', 'limit=1001', 'limit=x', 'enabled=perhaps', 'health=fine']) {
    const { status, body } = await service.get(`/api/v1/targets?${bad}`)
    t.equal(status, 400, bad)
    t.match(body, { code: 'INVALID_INPUT', details: [{ field: bad.split('=')[0] }] })
  }
})

t.test('a target that is not there is 404 on every route, whatever its name', async t => {
  const service = await startTestService(t, {})
  for (const name of ['nobody', '__proto__', 'constructor', '%2e%2e', 'x'.repeat(90)]) {
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/health'],
      ['POST', '/check'],
      ['POST', '/test'],
      ['POST', '/circuit/reset']
    ] as const) {
      const { status, body } = await service.send(method, `/api/v1/targets/${name}${path}`)
      t.equal(status, 404, `${method} ${name}${path}`)
      t.match(body, { code: /NOT_FOUND/ })
    }
  }
})

t.test('a check looks now, and tells what it saw', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { HEALTH_FAILURE_THRESHOLD: '2' },
    targets: [webhook('gone', await nobodyThere()), webhook('here', hook.url)]
  })
  const here = await service.post('/api/v1/targets/here/check')
  t.equal(here.status, 200)
  t.match(here.body, {
    target_name: 'here',
    status: 'healthy',
    consecutive_failures: 0,
    error_reason: null,
    latency_ms: Number,
    last_check: /^2/,
    last_success: /^2/
  })
  await service.post('/api/v1/targets/gone/check')
  const gone = await service.post('/api/v1/targets/gone/check', {})
  t.match(gone.body, { target_name: 'gone', status: 'unhealthy', error_reason: 'connection', last_success: null })
  t.ok(gone.body.consecutive_failures >= 2)
  const { body } = await service.get('/api/v1/targets/health')
  t.match(body, {
    items: [
      { target_name: 'gone', status: 'unhealthy' },
      { target_name: 'here', status: 'healthy' }
    ],
    next_cursor: null
  })
  t.match((await service.get('/api/v1/targets/gone/health')).body, { status: 'unhealthy' })
  t.same(names((await service.get('/api/v1/targets?health=unhealthy')).body), ['gone'])
  t.same(hook.requests, [], 'by default a check only connects')
})

t.test('a test alert goes the real way, marked, and is resolved', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  const { status, body } = await service.post('/api/v1/targets/hook/test')
  t.equal(status, 200)
  t.same(steadyTarget(body), {
    target_name: 'hook',
    target_type: 'webhook',
    success: true,
    skipped: false,
    status_code: 200,
    attempts: 1,
    duration_ms: 'number'
  })
  t.match(
    hook.requests.map(each => each.json()),
    [
      {
        status: 'firing',
        alerts: [{ alert_name: 'AlertFanoutTest', status: 'firing', labels: { test: 'true', target: 'hook' } }]
      },
      { status: 'resolved', alerts: [{ alert_name: 'AlertFanoutTest', status: 'resolved' }] }
    ]
  )
  const { body: deliveries } = await service.get('/api/v1/deliveries?target=hook')
  t.match(deliveries.items, [{ state: 'delivered' }, { state: 'delivered' }])

  hook.answer({ status: 401 })
  t.match((await service.post('/api/v1/targets/hook/test')).body, {
    success: false,
    queued: true,
    error_reason: 'auth',
    status_code: 401
  })
})

t.test('a test alert reaches a target whose filter would leave it out', async t => {
  const hook = await startStandIn(t)
  const filter = { severities: ['critical'], match_labels: { team: 'ops' } }
  const service = await startTestService(t, { targets: [{ ...webhook('hook', hook.url), filter }] })
  t.match((await service.post('/api/v1/targets/hook/test')).body, { success: true, skipped: false, status_code: 200 })
  t.match(
    hook.requests.map(each => each.json()),
    [{ status: 'firing' }, { status: 'resolved', alerts: [{ alert_name: 'AlertFanoutTest' }] }]
  )
})

t.test('a circuit that is reset lets through what waited', async t => {
  const hook = await startStandIn(t, [{ status: 403 }, {}])
  const service = await startTestService(t, { env: noRetry, targets: [webhook('hook', hook.url)] })
  await service.post(publishPaths.all, oneAlert())
  t.match((await service.get('/api/v1/targets/hook')).body.circuit, {
    state: 'open',
    reason: 'auth',
    since: /^2/,
    next_probe: /^2/
  })
  t.match((await service.get('/status')).body.targets.by_circuit, { open: 1, closed: 0 })
  const { status, body } = await service.post('/api/v1/targets/hook/circuit/reset')
  t.equal(status, 200)
  t.match(body.circuit, { state: 'closed', reason: null })
  await hook.got(2)
  await until('nothing is owed', async () => (await service.get('/api/v1/queue')).body.depth === 0)
})

t.test('a circuit that is closed by hand is logged and counted like any other', async t => {
  const hook = await startStandIn(t, { status: 403 })
  const service = await startTestService(t, {
    env: { ...noRetry, QUEUE: 'off', LOG_LEVEL: 'warn' },
    targets: [webhook('hook', hook.url)]
  })
  await service.post(publishPaths.all, oneAlert())
  await service.post('/api/v1/targets/hook/circuit/reset')
  await service.post('/api/v1/targets/hook/circuit/reset')
  t.match(
    service.logs.filter(({ msg }) => msg === 'circuit changed'),
    [
      { target: 'hook', from: 'closed', to: 'open', reason: 'auth' },
      { target: 'hook', from: 'open', to: 'closed' }
    ]
  )
  t.match((await service.get('/metrics')).text, /circuit_breaker_recoveries_total\{target_name="hook"\} 1$/m)
})

t.test('targets are looked for once a minute, and the true time to wait is told', async t => {
  const service = await startTestService(t, {})
  const first = await service.post('/api/v1/targets/refresh')
  t.equal(first.status, 202)
  t.same(first.body, { status: 'started' })
  await until('it is over', async () => (await service.get('/metrics')).text.includes('refresh_in_progress 0'))
  const second = await service.post('/api/v1/targets/refresh', {})
  t.equal(second.status, 429)
  t.match(second.body, { code: 'TOO_MANY_REQUESTS' })
  const seconds = Number(second.headers.get('retry-after'))
  t.ok(seconds > 50 && seconds <= 60, `${seconds} s`)
})

t.test('an edit of the targets is in use without a restart; one with an error keeps the last valid ones', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    targets: [webhook('old', `${hook.url}/old`), webhook('same', `${hook.url}/same`)]
  })
  await service.retarget([webhook('same', `${hook.url}/changed`), webhook('new', `${hook.url}/new`)])
  t.same(names((await service.get('/api/v1/targets')).body), ['new', 'same'])
  t.equal((await service.post(publishPaths.all, oneAlert('A'))).status, 200)
  t.same(hook.requests.map(({ path }) => path).sort(), ['/changed', '/new'])
  await service.retarget([{ ...webhook('same', hook.url), typo: 1 }, webhook('new', `${hook.url}/newer`)])
  t.match((await service.get('/status')).body.discovery, {
    targets: 2,
    invalid: [{ name: 'same', stale: true, problems: [{ field: /typo/, message: /./, suggestion: /./ }] }]
  })
  await service.post(publishPaths.all, oneAlert('B'))
  t.same(
    hook.requests
      .slice(2)
      .map(({ path }) => path)
      .sort(),
    ['/changed', '/newer']
  )
})

t.test(
  'a target whose TLS settings cannot be used is refused, at the start and on an edit; the others go on',
  async t => {
    const hook = await startStandIn(t)
    const good = webhook('good', hook.url)
    const bad = webhook('bad', 'https://127.0.0.1:1/', { tls: { cert: 'no certificate', key: 'no key' } })
    const service = await startTestService(t, { targets: [good, bad] })
    const invalid = async () => (await service.get('/status')).body.discovery.invalid
    const expected = [{ name: 'bad', problems: [{ field: /tls\.cert$/ }, { field: /tls\.key$/ }] }]
    t.match(await invalid(), expected)
    await service.retarget([good])
    t.strictSame(await invalid(), [])
    await service.retarget([good, bad])
    t.match(await invalid(), expected)
    t.match(await service.post(publishPaths.all, oneAlert()), { status: 200, body: { success_count: 1 } })
    t.equal(hook.requests.length, 1)
  }
)
