import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { until } from '../support/looks.js'
import { noRetry, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { nobodyThere, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })

t.test('status tells the real state, on both of its routes', async t => {
  const hook = await startStandIn(t, ({ path }) => ({ status: path === '/down' ? 500 : 200 }))
  const service = await startTestService(t, {
    env: { ...noRetry, CIRCUIT_FAILURE_THRESHOLD: '1', MAX_CONCURRENT: '7', HEALTH_STRATEGY: 'publish_to_all' },
    targets: [
      webhook('down', `${hook.url}/down`),
      webhook('off', hook.url, { enabled: false }),
      { name: 'slack', type: 'slack', url: `${hook.url}/services/T/B/X` },
      webhook('wrong', 'not a url')
    ]
  })
  await service.post(publishPaths.all, oneAlert())
  await until('all were checked', async () => (await service.get('/status')).body.targets.by_health.unknown <= 1)
  const { status, body } = await service.get('/status')
  t.equal(status, 200)
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  const { discovery, publish, queue, mode, uptime_seconds, ...rest } = body
  t.match(rest, {
    version,
    status: 'ready',
    options: {
      timeout_ms: 30_000,
      adaptive_timeout: true,
      max_concurrent: 7,
      check_health: true,
      health_strategy: 'publish_to_all',
      respect_circuit_breakers: true
    },
    targets: {
      total: 3,
      enabled: 2,
      by_type: { slack: 1, webhook: 2 },
      by_circuit: { closed: 2, open: 1, half_open: 0 }
    },
    in_flight: { publishes: 0, deliveries: 0 }
  })
  t.equal(typeof uptime_seconds, 'number')
  t.match(mode, { mode: 'normal' })
  t.match(discovery, {
    last_error: null,
    age_seconds: Number,
    last_success: /^2/,
    targets: 3,
    invalid: [{ name: 'wrong', stale: false, problems: [{ field: /url/, message: /./, suggestion: /./ }] }]
  })
  t.match(queue, { backend: 'embedded', depth: 1, available: true })
  t.match(publish, { total: 1, partial_success: 1, targets: { total: 2, success: 1, failure: 1, queued: 1 } })
  const other = (await service.get('/api/v1/publish/parallel/status')).body
  t.same(Object.keys(other), Object.keys(body))
  t.same(other.targets, body.targets)
})

t.test('liveness, readiness and the mode', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {})
  t.same((await service.get('/healthz')).body, { status: 'alive' })
  t.same((await service.get('/readyz')).body, { status: 'ready' })
  t.match((await service.get('/api/v1/publishing/mode')).body, { mode: 'metrics-only' })
  t.match((await service.get('/status')).body.mode, { mode: 'metrics-only' })
  await service.retarget([webhook('hook', hook.url)])
  t.match((await service.get('/api/v1/publishing/mode')).body, { mode: 'normal' })
  t.match((await service.get('/metrics')).text, /^alert_history_publishing_mode_current 0$/m)
})

t.test('before the targets are known it lives, is not ready, and takes no publish', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'kubeconfig-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const server = await nobodyThere()
  const file = join(directory, 'config')
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [{ name: 'test', cluster: { server } }],
      users: [{ name: 'test', user: { token: 'token' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'default' } }]
    })
  )
  const before = process.env.KUBECONFIG
  process.env.KUBECONFIG = file
  t.teardown(() => {
    if (before === undefined) delete process.env.KUBECONFIG
    else process.env.KUBECONFIG = before
  })
  const service = await startTestService(t, { env: { DISCOVERY: 'kubernetes' } })
  t.equal((await service.get('/healthz')).status, 200)
  for (const [method, path] of [
    ['GET', '/readyz'],
    ['POST', publishPaths.named],
    ['POST', publishPaths.all],
    ['POST', publishPaths.healthy]
  ] as const) {
    const { status, body, headers } = await service.send(method, path)
    t.equal(status, 503, path)
    t.match(body, { statusCode: 503, code: 'NOT_READY', error: 'Service Unavailable' })
    t.match(headers.get('retry-after'), /^\d+$/)
  }
  t.match((await service.get('/status')).body, {
    status: 'starting',
    discovery: { last_success: null, age_seconds: null, targets: 0 }
  })
})

t.test('a kubeconfig that is not there is told wherever somebody may look, and a refresh fails', async t => {
  const before = process.env.KUBECONFIG
  process.env.KUBECONFIG = join(t.testdir(), 'none')
  t.teardown(() => {
    if (before === undefined) delete process.env.KUBECONFIG
    else process.env.KUBECONFIG = before
  })
  const service = await startTestService(t, { env: { DISCOVERY: 'kubernetes', LOG_LEVEL: 'warn' } })
  const why = 'the kubeconfig cannot be loaded (ENOENT)'
  const lastError = async () => (await service.get('/status')).body.discovery.last_error
  await until('it is told', async () => (await lastError()) !== null)
  t.match(await lastError(), why)
  t.match((await service.get('/')).text, `The targets are not known yet: ${why}`)
  t.match(
    (await service.get('/metrics')).text,
    /^alert_history_publishing_discovery_errors_total\{error_type="invalid"\} [1-9]/m
  )
  t.equal((await service.post('/api/v1/targets/refresh')).status, 202)
  const failed = () => service.logs.find(({ msg }) => msg === 'the refresh failed')
  await until('the refresh failed', () => failed() !== undefined)
  t.match(failed(), { error: why })
  t.ok(service.logs.every(({ level }) => Number(level) < 60))
})

t.test('statistics, their history, and a new beginning', async t => {
  const hook = await startStandIn(t, [{}, { status: 500 }])
  const service = await startTestService(t, { env: { QUEUE: 'off' }, targets: [webhook('hook', hook.url)] })
  await service.post(publishPaths.all, oneAlert('A'))
  await service.post(publishPaths.all, oneAlert('B'))
  t.match((await service.get('/api/v1/stats')).body, {
    publish: { total: 2, success: 1, failure: 1, success_rate: 50, duration_ms: { p99: Number } },
    delivery: { attempts: 2, failed_attempts: 1, errors: { server_error: 1 } }
  })
  t.equal((await service.get('/api/v1/stats/history?window=15m')).status, 200)
  for (const window of ['0s', '2h', 'x'])
    t.equal((await service.get(`/api/v1/stats/history?window=${window}`)).status, 400)
  t.match((await service.post('/api/v1/stats/reset')).body, { publish: { total: 0 } })
})

t.test('statistics count what is owed once', async t => {
  const hook = await startStandIn(t, { status: 500 })
  const service = await startTestService(t, { env: noRetry, targets: [webhook('hook', hook.url)] })
  await service.post(publishPaths.all, oneAlert())
  t.match((await service.get('/api/v1/stats')).body.queue, { submitted: 1, dead_letters: 0 })
})

t.test(
  'the API describes itself, in JSON, in YAML and for people, and the committed description is that one',
  async t => {
    const service = await startTestService(t, {})
    const json = await service.get('/openapi.json')
    t.equal(json.status, 200)
    t.equal(json.body.openapi, '3.1.0')
    const yaml = await service.get('/openapi.yaml')
    t.match(yaml.headers.get('content-type'), 'application/yaml')
    t.same(parse(yaml.text), json.body)
    for (const path of Object.values(publishPaths)) t.ok(json.body.paths[path]?.post, path)
    const docs = await service.get('/docs')
    t.match(docs.headers.get('content-type'), 'text/html')
    t.match(docs.headers.get('content-security-policy'), "script-src 'self'")
    t.notMatch(docs.headers.get('content-security-policy'), 'upgrade-insecure-requests', 'it is read over HTTP, too')
    t.match((await service.get('/metrics')).headers.get('content-type'), 'text/plain')
  }
)

t.test('a body that the API calls required may not be left out, any other may', async t => {
  const service = await startTestService(t, {})
  const { paths } = (await service.get('/openapi.json')).body
  const required: Record<string, boolean> = {}
  for (const [path, { post }] of Object.entries<{ post?: { requestBody?: { required: boolean } } }>(paths)) {
    if (!post?.requestBody) continue
    required[path] = post.requestBody.required
    t.equal((await service.send('POST', path)).status === 400, required[path], path)
  }
  t.same(required, {
    ...Object.fromEntries(Object.values(publishPaths).map(path => [path, true])),
    '/api/v1/dead-letters/{id}/replay': false,
    '/api/v1/dead-letters/replay': false
  })
})

t.test('a target that is not valid is logged once, and when all are valid again', async t => {
  const service = await startTestService(t, {
    env: { LOG_LEVEL: 'info' },
    targets: [{ name: 'wrong', type: 'webhook', url: 'nonsense' }]
  })
  const told = () =>
    service.logs.flatMap(({ msg, target, problem }) => (/valid/.test(String(msg)) ? [[msg, target, problem]] : []))
  t.match(told(), [['a target is not valid', 'wrong', /^targets\[0\]\.url .+: .+/]])
  const good = { name: 'good', type: 'webhook', url: 'http://127.0.0.1:9' }
  await service.retarget([{ name: 'wrong', type: 'webhook', url: 'nonsense' }, good])
  t.equal(told().length, 1)
  await service.retarget([good])
  t.match(told().slice(1), [['all targets are valid again']])
})
