import t from 'tap'
import { until } from '../support/looks.js'
import { alertmanagerBody, noRetry, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { type Json, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })

t.test('the queue tells what is owed, to whom, since when, how urgent it is, and who works it off', async t => {
  const hook = await startStandIn(t, { status: 500 })
  const service = await startTestService(t, {
    env: { ...noRetry, QUEUE_WORKERS: '3', CIRCUIT_FAILURE_THRESHOLD: '100' },
    targets: [webhook('a', hook.url), webhook('b', hook.url)]
  })
  t.same((await service.get('/api/v1/queue')).body, {
    backend: 'embedded',
    available: true,
    warnings: [],
    unwritten: 0,
    depth: 0,
    by_priority: { high: 0, medium: 0, low: 0 },
    oldest_age_ms: null,
    workers: { total: 3, active: 0, idle: 3 },
    targets: []
  })
  const { alert } = oneAlert('Mild', { labels: { alertname: 'Mild', severity: 'info' } })
  const { body } = await service.post(publishPaths.all, oneAlert('Urgent'))
  await service.post(publishPaths.named, { alert, target_names: ['b'] })
  const queue = (await service.get('/api/v1/queue')).body
  t.match(queue, { depth: 3, by_priority: { high: 2, medium: 0, low: 1 }, oldest_age_ms: Number })
  t.match(
    queue.targets.sort((x: Json, y: Json) => (x.target < y.target ? -1 : 1)),
    [
      { target: 'a', depth: 1, by_priority: { high: 1, low: 0 } },
      { target: 'b', depth: 2, by_priority: { high: 1, low: 1 } }
    ]
  )
  t.match((await service.get('/status')).body.queue, { depth: 3, backend: 'embedded' })

  const id = body.results[0].delivery_id
  const entry = await service.get(`/api/v1/queue/${id}`)
  t.equal(entry.status, 200)
  t.match(entry.body, {
    id,
    target: 'a',
    target_type: 'webhook',
    priority: 'high',
    publish_id: body.publish_id,
    alerts: [{ alert_name: 'Urgent', status: 'firing' }],
    accepted_at: /^2/,
    due_at: /^2/,
    tries: 1,
    attempts: [{ status_code: 500, error_reason: 'server_error', at: /^2/ }],
    error: 'Webhook answered 500',
    error_type: 'transient',
    error_reason: 'server_error'
  })
  t.equal((await service.get('/api/v1/queue/nothing')).status, 404)
})

t.test('a delivery is found with every attempt, while it waits and once it is done', async t => {
  const hook = await startStandIn(t, [{ status: 500 }, { status: 502 }, {}])
  const service = await startTestService(t, { env: { RETRY_BASE: '5ms' }, targets: [webhook('hook', hook.url)] })
  const { body } = await service.post(publishPaths.all, oneAlert('Late', { fingerprint: 'f1' }))
  const id = body.results[0].delivery_id
  await until('it is delivered', async () => (await service.get(`/api/v1/deliveries/${id}`)).body.state === 'delivered')
  const delivery = (await service.get(`/api/v1/deliveries/${id}`)).body
  t.match(delivery, {
    id,
    publish_id: body.publish_id,
    target: 'hook',
    target_type: 'webhook',
    alert_name: 'Late',
    alert_count: 1,
    fingerprints: ['f1'],
    attempts: [
      { status_code: 500, error_reason: 'server_error', error: 'Webhook answered 500' },
      { status_code: 502, error_reason: 'server_error' },
      { status_code: 200 }
    ]
  })
  await service.post(publishPaths.all, oneAlert('Other', { fingerprint: 'f2' }))
  const found = async (query: string) =>
    (await service.get(`/api/v1/deliveries?${query}`)).body.items.map((item: Json) => item.alert_name)
  t.same(await found(''), ['Other', 'Late'])
  t.same(await found('fingerprint=f1'), ['Late'])
  t.same(await found('state=queued'), [])
  t.same(await found('target=nobody'), [])
  t.same(await found('limit=1'), ['Other'])
  t.equal((await service.get('/api/v1/deliveries?state=odd')).status, 400)
  t.equal((await service.get('/api/v1/deliveries/nothing')).status, 404)
})

t.test('dead letters are listed, shown, replayed and purged', async t => {
  const hook = await startStandIn(t, { status: 422 })
  const service = await startTestService(t, { targets: [webhook('a', `${hook.url}/a`), webhook('b', `${hook.url}/b`)] })
  await service.post(publishPaths.all, oneAlert('One'))
  await service.post(publishPaths.named, { ...oneAlert('Two'), target_names: ['a'] })
  const letters = async (query = '') => (await service.get(`/api/v1/dead-letters?${query}`)).body.items as Json[]
  await until('they are written down', async () => (await letters()).length === 3)
  t.match(await letters('target=b'), [
    {
      target: 'b',
      alerts: [{ alert_name: 'One' }],
      attempts: [{ status_code: 422 }],
      error_type: 'permanent',
      error_reason: 'client_error',
      buried_at: /^2/
    }
  ])
  t.equal((await letters('error_reason=timeout')).length, 0)
  t.equal((await letters('target=a&error_reason=client_error')).length, 2)
  const page = (await service.get('/api/v1/dead-letters?limit=2')).body
  t.equal(page.items.length, 2)
  t.equal((await service.get(`/api/v1/dead-letters?limit=2&cursor=${page.next_cursor}`)).body.items.length, 1)
  t.equal((await service.get('/api/v1/dead-letters?error_reason=odd')).status, 400)

  const [first] = await letters('target=b')
  t.match((await service.get(`/api/v1/dead-letters/${first.id}`)).body, first)
  t.equal((await service.get('/api/v1/dead-letters/nothing')).status, 404)

  const dry = await service.post('/api/v1/dead-letters/replay', { target: 'a', dry_run: true })
  t.same(dry.body, { matched: 2, replayed: 2, skipped_resolved: 0, dry_run: true }, 'what it would do')
  t.equal((await letters()).length, 3, 'and has not done')
  hook.answer({})
  const before = hook.requests.length
  t.match((await service.post(`/api/v1/dead-letters/${first.id}/replay`)).body, {
    matched: 1,
    replayed: 1,
    dry_run: false
  })
  await hook.got(before + 1)
  t.match(hook.requests.at(-1), { path: '/b' })
  t.match(hook.requests.at(-1)!.json().alerts, [{ alert_name: 'One' }])
  t.match((await service.post('/api/v1/dead-letters/replay', { target: 'a' })).body, { matched: 2, replayed: 2 })
  await hook.got(before + 3)
  await until('none is left', async () => (await letters()).length === 0)
  await until('nor is anything owed', async () => (await service.get('/api/v1/queue')).body.depth === 0)
  for (const bad of [{ target: 1 }, { error_reason: 'odd' }, { dry_run: 'yes' }, { targets: ['a'] }, { dryrun: true }])
    t.equal((await service.post('/api/v1/dead-letters/replay', bad)).status, 400)
  t.match((await service.post('/api/v1/dead-letters/replay?dry_run=true')).body.details, [{ field: 'dry_run' }])

  hook.answer({ status: 422 })
  await service.post(publishPaths.all, oneAlert('Three'))
  await until('two more', async () => (await letters()).length === 2)
  const [letter] = await letters()
  t.same((await service.send('DELETE', `/api/v1/dead-letters/${letter.id}`)).body, { purged: 1 })
  t.equal((await service.send('DELETE', `/api/v1/dead-letters/${letter.id}`)).status, 404)
  t.same((await service.send('DELETE', '/api/v1/dead-letters?older_than=1h')).body, { purged: 0 })
  t.equal((await service.send('DELETE', '/api/v1/dead-letters')).status, 400)
  t.equal((await service.send('DELETE', '/api/v1/dead-letters?older_than=soon')).status, 400)
  t.match((await service.send('DELETE', '/api/v1/dead-letters?older_than=0s&target=b')).body, {
    code: 'INVALID_INPUT',
    details: [{ field: 'target', message: 'is not a known field' }]
  })
  t.same((await service.send('DELETE', '/api/v1/dead-letters?older_than=0s')).body, { purged: 1 })
  t.same(await letters(), [])
})

t.test('by filter a dead firing whose alert has been resolved since is not replayed, unless asked for', async t => {
  const hook = await startStandIn(t, { status: 422 })
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  await service.post(publishPaths.all, alertmanagerBody(['A']))
  hook.answer({})
  await service.post(publishPaths.all, alertmanagerBody(['A'], { status: 'resolved' }))
  const replay = (body: object) => service.post('/api/v1/dead-letters/replay', { ...body, dry_run: true })
  await until('it is written down', async () => (await replay({})).body.matched > 0)
  t.match((await replay({})).body, { matched: 1, skipped_resolved: 1, replayed: 0 })
})

t.test('QUEUE=off: there is nothing to wait in, and dead letters are kept in memory', async t => {
  const hook = await startStandIn(t, { status: 422 })
  const service = await startTestService(t, { env: { QUEUE: 'off' }, targets: [webhook('hook', hook.url)] })
  t.match((await service.get('/api/v1/queue')).body, { backend: 'memory', available: true, depth: 0 })
  await service.post(publishPaths.all, oneAlert())
  t.match((await service.get('/api/v1/dead-letters')).body, { items: [{ target: 'hook' }], next_cursor: null })
})
