import t from 'tap'
import { openPost } from '../support/raw.js'
import {
  alertmanagerBody,
  noRetry,
  oneAlert,
  publishPaths,
  startTestService,
  type TestService
} from '../support/service.js'
import { startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })

/** Lines about publishes, without what differs from run to run. */
function lines(service: TestService) {
  return service.logs
    .filter(({ total_targets }) => total_targets !== undefined)
    .map(({ time, pid, hostname, publish_id, duration_ms, ...rest }) => ({
      ...rest,
      publish_id: typeof publish_id,
      duration_ms: typeof duration_ms
    }))
}

t.test('each publish is one line, at the level that it deserves, with the fixed fields', async t => {
  const hook = await startStandIn(t, ({ path }) => ({ status: path === '/down' ? 500 : path === '/picky' ? 422 : 200 }))
  const service = await startTestService(t, {
    env: { LOG_LEVEL: 'info', ...noRetry },
    targets: [
      webhook('down', `${hook.url}/down`),
      webhook('none', hook.url, { filter: { severities: ['info'] } }),
      webhook('picky', `${hook.url}/picky`),
      webhook('up', `${hook.url}/up`)
    ]
  })
  const named = async (names: string[], body: object) =>
    service.post(`${publishPaths.named}?${names.map(name => `target=${name}`).join('&')}`, body)
  const { alert } = oneAlert('One', { fingerprint: 'f00d' })
  await named(['up'], { alert })
  await named(['up', 'down', 'none'], alertmanagerBody(['A', 'B']))
  await named(['picky', 'nobody'], oneAlert('Two', { fingerprint: 'beef' }))
  await named(['none'], oneAlert('Three', { fingerprint: 'cafe' }))
  const common = { publish_id: 'string', duration_ms: 'number' }
  t.same(lines(service), [
    {
      level: 30,
      alert_fingerprint: 'f00d',
      status: 200,
      total_targets: 1,
      success_count: 1,
      failure_count: 0,
      skipped_count: 0,
      queued_count: 0,
      is_partial_success: false,
      msg: 'published',
      ...common
    },
    {
      level: 40,
      alert_count: 2,
      status: 207,
      total_targets: 3,
      success_count: 1,
      failure_count: 1,
      skipped_count: 1,
      queued_count: 1,
      is_partial_success: true,
      msg: 'not every target has it',
      ...common
    },
    {
      level: 50,
      alert_fingerprint: 'beef',
      status: 502,
      code: 'ALL_TARGETS_FAILED',
      total_targets: 2,
      success_count: 0,
      failure_count: 2,
      skipped_count: 0,
      queued_count: 0,
      is_partial_success: false,
      msg: 'publish failed and nothing is owed',
      ...common
    },
    {
      level: 40,
      alert_fingerprint: 'cafe',
      status: 200,
      total_targets: 1,
      success_count: 0,
      failure_count: 0,
      skipped_count: 1,
      queued_count: 0,
      is_partial_success: false,
      msg: 'not every target has it',
      ...common
    }
  ])
})

t.test('a publish that finds no enabled target is a line as well', async t => {
  const service = await startTestService(t, { env: { LOG_LEVEL: 'info' } })
  await service.post(publishPaths.all, oneAlert('One', { fingerprint: 'f00d' }))
  t.match(lines(service), [
    { level: 50, code: 'NO_ENABLED_TARGETS', status: 503, alert_fingerprint: 'f00d', total_targets: 0 }
  ])
  const { body } = await service.get('/api/v1/stats')
  t.match(body.publish, { total: 1, failure: 1 })
})

t.test('each target is a line at debug', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { LOG_LEVEL: 'debug' },
    targets: [webhook('a', hook.url), webhook('b', hook.url)]
  })
  const { body } = await service.post(publishPaths.all, oneAlert())
  const told = service.logs.filter(({ level }) => level === 20)
  t.match(told, [
    { msg: 'target', publish_id: body.publish_id, target_name: 'a', success: true, status_code: 200 },
    { msg: 'target', publish_id: body.publish_id, target_name: 'b', success: true }
  ])
})

t.test('a target that is tried although nothing is known of its health is told, until it takes an alert', async t => {
  const hook = await startStandIn(t, ({ path }) => (path === '/health' ? 'hang' : { status: 200 }))
  const service = await startTestService(t, {
    env: { LOG_LEVEL: 'warn' },
    targets: [webhook('hook', hook.url, { health: { path: '/health' } })]
  })
  const told = () => service.logs.filter(({ target_names }) => target_names !== undefined)
  for (const name of ['One', 'Two']) await service.post(publishPaths.healthy, oneAlert(name))
  t.match(told(), [{ level: 40, target_names: ['hook'] }])
  t.equal(told().length, 1)
})

t.test('a circuit that changes and a dead letter are told', async t => {
  const hook = await startStandIn(t, ({ path }) => ({ status: path === '/down' ? 401 : 422 }))
  const service = await startTestService(t, {
    env: { LOG_LEVEL: 'info', ...noRetry },
    targets: [webhook('down', `${hook.url}/down`), webhook('picky', hook.url)]
  })
  const { body } = await service.post(publishPaths.all, oneAlert())
  t.match(
    service.logs.find(({ msg }) => msg === 'circuit changed'),
    { level: 40, target: 'down', from: 'closed', to: 'open', reason: 'auth' }
  )
  t.match(
    service.logs.find(({ reason }) => reason === 'client_error'),
    { level: 40, target: 'picky', delivery_id: body.results[1].delivery_id }
  )
})

t.test('no secret is in any line, answer or page of a run at trace level', async t => {
  const secret = (name: string) => `SECRET-${name}-0123456789`
  const hook = await startStandIn(t, ({ path }) => {
    // A target that repeats what it was sent, as some do in their error pages.
    if (path.includes('down')) return { status: 500, body: `bad request: ${secret('bearer')} ${secret('path')}` }
    if (path.includes('reset')) return 'reset'
    return { status: 202, body: 'ok', headers: { 'x-echo': secret('header') } }
  })
  const url = (path: string) => `${hook.url}/${path}/${secret('path')}?key=${secret('query')}`
  const targets = [
    webhook('basic', url('a'), { auth: { type: 'basic', username: 'user', password: secret('password') } }),
    webhook('bearer', url('down'), { auth: { type: 'bearer', token: secret('bearer') } }),
    webhook('gone', `http://user:${secret('userinfo')}@127.0.0.1:9/${secret('path')}`),
    webhook('header', url('b'), { headers: { 'X-Secret': secret('header') } }),
    webhook('key', url('reset'), { auth: { type: 'api_key', header: 'X-Key', value: secret('key') } }),
    webhook('nowhere', `http://nowhere.invalid/${secret('path')}`),
    webhook('signed', url('c'), { auth: { type: 'hmac', secret: secret('hmac') } }),
    { name: 'pd', type: 'pagerduty', url: hook.url, routing_key: secret('routing') },
    { name: 'rootly', type: 'rootly', url: hook.url, auth: { type: 'bearer', token: secret('rootly') } },
    { name: 'slack', type: 'slack', url: `${hook.url}/services/${secret('slack')}` },
    { name: 'slack-bot', type: 'slack', url: hook.url, token: secret('bot'), channel: 'C1' },
    webhook('invalid', url('x'), { auth: { type: 'bearer', tokn: secret('typo') } })
  ]
  const service = await startTestService(t, { env: { LOG_LEVEL: 'trace', RETRY_BASE: '10ms' }, targets })
  const answers = [
    await service.post(publishPaths.all, oneAlert('A')),
    await service.post(publishPaths.all, alertmanagerBody(['B'])),
    await service.post(publishPaths.explain, alertmanagerBody(['C'])),
    await service.post('/api/v1/targets/bearer/test'),
    await service.post('/api/v1/targets/nowhere/check'),
    await service.post(publishPaths.all, `{"alert": ${secret('input')}`),
    await service.post(publishPaths.all, oneAlert('D'), { authorization: `Bearer ${secret('caller')}` })
  ]
  const { request } = openPost(service.url + publishPaths.all, { authorization: `Bearer ${secret('caller')}` })
  request.end(JSON.stringify(oneAlert('E')))
  await hook.got(20)
  request.destroy()
  for (const path of [
    '/',
    '/status',
    '/metrics',
    '/api/v1/targets',
    '/api/v1/targets/health',
    '/api/v1/deliveries',
    '/api/v1/dead-letters',
    '/api/v1/queue',
    '/api/v1/stats',
    '/openapi.json'
  ])
    answers.push(await service.get(path))
  await service.stop()
  for (const { text } of answers) t.notMatch(text, /SECRET-/)
  t.ok(service.logs.length > 10, `${service.logs.length} lines`)
  t.notMatch(service.logText(), /SECRET-/i)
})
