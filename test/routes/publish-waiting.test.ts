import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { until } from '../support/looks.js'
import { needs } from '../support/programs.js'
import { openPost } from '../support/raw.js'
import { startRedis } from '../support/redis.js'
import {
  alertmanagerBody,
  noRetry,
  oneAlert,
  publishPaths,
  startTestService,
  type TestService
} from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })

for (const queue of ['off', 'embedded']) {
  const owned = queue !== 'off'
  const env = { QUEUE: queue, ...noRetry }

  t.test(`QUEUE=${queue}: a target that hangs is told of as timed out once the publish's time is over`, async t => {
    const hanging = await startStandIn(t, 'hang')
    const quick = await startStandIn(t)
    const service = await startTestService(t, {
      env,
      targets: [webhook('hanging', hanging.url), webhook('quick', quick.url)]
    })
    const asked = { options: { timeout: '200ms' } }
    const alone = await service.post(publishPaths.named, { ...oneAlert('A'), ...asked, target_names: ['hanging'] })
    const failed = { success: false, skipped: false, error_type: 'transient', error_reason: 'timeout', attempts: 1 }
    t.match(alone.body.results, [
      { ...failed, error: 'Webhook did not answer in time', queued: owned ? true : undefined }
    ])
    t.equal(alone.status, owned ? 202 : 504)
    if (!owned) {
      t.match(alone.body, { statusCode: 504, code: 'PUBLISH_TIMEOUT', error: 'Gateway Timeout' })
      t.match(alone.headers.get('retry-after'), /^\d+$/)
    }
    const both = await service.post(`${publishPaths.all}?timeout=200ms`, oneAlert('B'))
    t.equal(both.status, owned ? 207 : 503)
    t.match(both.body.results, [failed, { target_name: 'quick', success: true }])
    t.equal(service.app.server.listening, true)
    await until('nothing hangs on', () => hanging.open() === 0)
  })

  t.test(`QUEUE=${queue}: PUBLISH_TIMEOUT is the bound where none was asked for`, async t => {
    const hanging = await startStandIn(t, 'hang')
    const service = await startTestService(t, {
      env: { ...env, PUBLISH_TIMEOUT: '150ms' },
      targets: [webhook('hanging', hanging.url)]
    })
    const { status, body } = await service.post(publishPaths.all, oneAlert())
    t.equal(status, owned ? 202 : 504)
    t.match(body.results, [{ error_reason: 'timeout', attempts: 1 }])
    t.match((await service.get('/status')).body.options, { timeout_ms: 150, adaptive_timeout: true })
  })

  t.test(`QUEUE=${queue}: a target's own timeout, or ATTEMPT_TIMEOUT, ends its attempt and no other`, async t => {
    const hanging = await startStandIn(t, 'hang')
    const slow = gate()
    const patient = await startStandIn(t, slow.answer)
    const service = await startTestService(t, {
      env: { ...env, ATTEMPT_TIMEOUT: '150ms' },
      targets: [webhook('hanging', hanging.url), webhook('patient', patient.url, { timeout: '20s' })]
    })
    const answer = service.post(publishPaths.all, oneAlert())
    await until('the hanging one is given up', () => hanging.requests.length === 1 && hanging.open() === 0)
    slow.open()
    t.match((await answer).body.results, [
      { target_name: 'hanging', success: false, error_reason: 'timeout' },
      { target_name: 'patient', success: true }
    ])
  })

  t.test(`QUEUE=${queue}: a target that hangs delays no other, on the first alert and on the next ones`, async t => {
    const hanging = await startStandIn(t, 'hang')
    const quick = await startStandIn(t)
    const service = await startTestService(t, {
      env: { ...env, ATTEMPT_TIMEOUT: '20s', CIRCUIT_FAILURE_THRESHOLD: '1000' },
      targets: [webhook('a-hanging', hanging.url), webhook('quick', quick.url)]
    })
    // Far more than the hanging target takes at once.
    const publishes = 30
    const posts = Array.from({ length: publishes }, () => openPost(service.url + publishPaths.all))
    posts.forEach(({ request }, index) => void request.end(JSON.stringify(oneAlert(`Alert${index}`))))
    await quick.got(publishes)
    const before = hanging.open()
    t.ok(before > 0, 'the hanging target still has its requests')
    t.equal(hanging.requests.length, before, 'and none of them has ended')
    t.same(new Set(quick.requests.map(each => each.json().alerts[0].alert_name)).size, publishes)
    for (const { request } of posts) request.destroy()
  })

  t.test(`QUEUE=${queue}: max_concurrent bounds what is under way at once`, async t => {
    const gates = gate()
    const hook = await startStandIn(t, gates.answer)
    const targets = Array.from({ length: 7 }, (_, index) => webhook(`t${index}`, `${hook.url}/${index}`))
    const service = await startTestService(t, { env: { ...env, MAX_CONCURRENT: '5' }, targets })
    const answer = service.post(publishPaths.all, { ...oneAlert('A'), options: { max_concurrent: 3 } })
    await hook.got(3)
    await settled()
    t.equal(hook.requests.length, 3, 'three go, four wait')
    gates.open()
    t.match((await answer).body, { success_count: 7, all_succeeded: true })
    t.equal(hook.mostOpen(), 3)

    for (const [options, most] of [
      [{}, 5],
      [{ max_concurrent: 0 }, 7]
    ] as const) {
      const wait = gate()
      hook.answer(wait.answer)
      const before = hook.requests.length
      const next = service.post(publishPaths.all, { ...oneAlert(`Most${most}`), options })
      await hook.got(before + most)
      await settled()
      t.equal(hook.requests.length, before + most)
      wait.open()
      t.match((await next).body, { success_count: 7 })
    }
  })

  t.test(`QUEUE=${queue}: what waits for its turn when the time is over is told of, and was not sent`, async t => {
    const hanging = await startStandIn(t, 'hang')
    const service = await startTestService(t, {
      env,
      targets: ['a', 'b', 'c'].map(name => webhook(name, `${hanging.url}/${name}`))
    })
    const { status, body } = await service.post(publishPaths.all, {
      ...oneAlert(),
      options: { max_concurrent: 1, timeout: '200ms' }
    })
    t.equal(status, owned ? 202 : 504)
    if (!owned)
      t.match(body.results[2], { error_type: 'transient', error_reason: 'timeout', error: /no time was left/ })
    t.same(
      body.results.map((each: { target_name: string; attempts: number; queued?: boolean }) => [
        each.target_name,
        each.attempts,
        each.queued
      ]),
      [
        ['a', 1, owned ? true : undefined],
        ['b', 0, owned ? true : undefined],
        ['c', 0, owned ? true : undefined]
      ]
    )
    t.equal(hanging.requests.filter(({ path }) => path !== '/a').length, 0)
  })

  t.test(
    `QUEUE=${queue}: a caller that hangs up while a target is slow disturbs nothing, and is told at its retry`,
    async t => {
      const slow = gate()
      const hook = await startStandIn(t, slow.answer)
      const service = await startTestService(t, { env, targets: [webhook('hook', hook.url)] })
      const body = JSON.stringify(alertmanagerBody())
      const { request } = openPost(service.url + publishPaths.all)
      request.end(body)
      await hook.got(1)
      request.destroy()
      const retry = service.post(publishPaths.all, body)
      slow.open()
      const { status, body: answer } = await retry
      t.equal(status, 200)
      t.match(answer.results, [{ success: true, deduplicated: true }])
      t.equal(hook.requests.length, 1, 'sent once')
    }
  )
}

t.test('a caller that hangs up before its body is whole starts nothing', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  const { request } = openPost(service.url + publishPaths.all)
  request.write(JSON.stringify(alertmanagerBody()).slice(0, 100))
  await until('the request has arrived', () => connections(service) > 0)
  request.destroy()
  await until('the connection is gone', () => connections(service) === 0)
  t.equal((await service.post(publishPaths.all, oneAlert('Next'))).status, 200)
  t.same(
    hook.requests.map(each => each.json().alerts[0].alert_name),
    ['Next']
  )
})

t.test(
  'the queue takes over a slow target of an Alertmanager body within ACK_TIMEOUT, and it is delivered once',
  async t => {
    const slow = gate()
    const hook = await startStandIn(t, slow.answer)
    const quick = await startStandIn(t)
    const service = await startTestService(t, {
      env: { ACK_TIMEOUT: '150ms' },
      targets: [webhook('quick', quick.url), webhook('slow', hook.url)]
    })
    const { status, body } = await service.post(publishPaths.all, alertmanagerBody())
    t.equal(status, 207)
    t.match(body.results, [
      { target_name: 'quick', success: true },
      { target_name: 'slow', success: false, skipped: false, queued: true, delivery_id: /./, error: undefined }
    ])
    const id = body.results[1].delivery_id
    t.match((await service.get(`/api/v1/deliveries/${id}`)).body, { state: 'queued' })
    t.match((await service.get('/api/v1/queue')).body, { depth: 1, targets: [{ target: 'slow', depth: 1 }] })

    const again = await service.post(publishPaths.all, alertmanagerBody())
    t.match(again.body.results, [
      { success: true, deduplicated: true },
      { queued: true, delivery_id: id }
    ])
    slow.open()
    await until('the outcome settled the entry', () => hook.open() === 0)
    t.same(await settledQueue(service), 0)
    t.match((await service.get(`/api/v1/deliveries/${id}`)).body, {
      state: 'delivered',
      attempts: [{ status_code: 200 }]
    })
    const twin = await service.post(publishPaths.all, alertmanagerBody())
    t.equal(twin.status, 200)
    t.match(twin.body.results, [
      { success: true, deduplicated: true },
      { success: true, deduplicated: true }
    ])
    t.equal(hook.requests.length, 1)
    t.equal(quick.requests.length, 1)
  }
)

for (const queue of ['embedded', 'redis']) {
  t.test(`QUEUE=${queue}: twins whose slow target is taken over at the same time are delivered once`, async t => {
    if (queue === 'redis' && !needs(t, 'redis-server')) return
    const redisUrl = queue === 'redis' ? (await startRedis(t)).url.reveal() : ''
    const slow = gate()
    const hook = await startStandIn(t, slow.answer)
    const service = await startTestService(t, {
      env: { QUEUE: queue, REDIS_URL: redisUrl, ACK_TIMEOUT: '100ms' },
      targets: [webhook('slow', hook.url)]
    })
    const twins = await Promise.all([1, 2, 3].map(() => service.post(publishPaths.all, alertmanagerBody())))
    for (const { status, body } of twins) {
      t.equal(status, 202)
      t.match(body.results, [{ queued: true, delivery_id: /./ }])
    }
    slow.open()
    t.same(await settledQueue(service), 0)
    t.equal(hook.requests.length, 1)
    for (const { body } of twins) {
      const { delivery_id } = body.results[0]
      const state = async () => (await service.get(`/api/v1/deliveries/${delivery_id}`)).body.state
      await until('its caller can see that it is over', async () => (await state()) !== 'queued')
    }
  })
}

t.test('QUEUE=redis: twins that reach two replicas at the same time are delivered once, and both are told', async t => {
  if (!needs(t, 'redis-server')) return
  const redis = await startRedis(t)
  const hook = await startStandIn(t, { delayMs: 20 })
  const options = { env: { QUEUE: 'redis', REDIS_URL: redis.url.reveal() }, targets: [webhook('hook', hook.url)] }
  const replicas = [await startTestService(t, options), await startTestService(t, options)]
  for (let run = 1; run <= 10; run++) {
    const body = alertmanagerBody([`Alert${run}`])
    for (const answer of await Promise.all(replicas.map(replica => replica.post(publishPaths.all, body)))) {
      t.equal(answer.status, 200)
      t.match(answer.body.results, [{ success: true }])
    }
    t.equal(hook.requests.length, run)
  }
})

t.test('a slow target that fails after ACK_TIMEOUT stays owed and is tried again', async t => {
  const slow = gate()
  const hook = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
  const service = await startTestService(t, {
    env: { ACK_TIMEOUT: '100ms', RETRY_BASE: '10ms' },
    targets: [webhook('slow', hook.url)]
  })
  const { status } = await service.post(publishPaths.all, alertmanagerBody())
  t.equal(status, 202)
  t.equal(hook.requests.length, 1)
  slow.open({ status: 500 })
  await hook.got(2)
  t.same(await settledQueue(service), 0)
  t.equal(hook.requests[0]!.headers['idempotency-key'], hook.requests[1]!.headers['idempotency-key'])
  t.same(hook.requests[0]!.bytes, hook.requests[1]!.bytes)
})

t.test('our own bodies are not cut short by ACK_TIMEOUT', async t => {
  const hook = await startStandIn(t, { delayMs: 200 })
  const service = await startTestService(t, { env: { ACK_TIMEOUT: '20ms' }, targets: [webhook('slow', hook.url)] })
  const { status, body } = await service.post(publishPaths.all, oneAlert())
  t.equal(status, 200)
  t.match(body.results, [{ success: true }])
})

t.test('QUEUE=off: an Alertmanager body waits beyond ACK_TIMEOUT for a slow target', async t => {
  const hook = await startStandIn(t, { delayMs: 200 })
  const service = await startTestService(t, {
    env: { QUEUE: 'off', ACK_TIMEOUT: '20ms' },
    targets: [webhook('slow', hook.url)]
  })
  const { status, body } = await service.post(publishPaths.all, alertmanagerBody())
  t.equal(status, 200)
  t.match(body.results, [{ success: true }])
})

t.test('publishes beyond MAX_IN_FLIGHT are told to come again, and nothing of them is started', async t => {
  const slow = gate()
  const hook = await startStandIn(t, slow.answer)
  const service = await startTestService(t, { env: { MAX_IN_FLIGHT: '2' }, targets: [webhook('hook', hook.url)] })
  const first = [service.post(publishPaths.all, oneAlert('A')), service.post(publishPaths.all, oneAlert('B'))]
  await hook.got(2)
  t.match((await service.get('/status')).body.in_flight, { publishes: 2, deliveries: 2 })
  for (const path of [publishPaths.named, publishPaths.all, publishPaths.healthy]) {
    const { status, body, headers } = await service.post(path, oneAlert('C'))
    t.equal(status, 503)
    t.match(body, { statusCode: 503, code: 'OVERLOADED', error: 'Service Unavailable' })
    t.match(headers.get('retry-after'), /^\d+$/)
  }
  slow.open()
  for (const each of await Promise.all(first)) t.equal(each.status, 200)
  t.equal((await service.post(publishPaths.all, oneAlert('C'))).status, 200)
  t.equal(hook.requests.length, 3)
  t.match((await service.get('/status')).body.in_flight, { publishes: 0, deliveries: 0 })
})

t.test('a publish counts from its head on: one whose body is still coming takes memory, too', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { env: { MAX_IN_FLIGHT: '2' }, targets: [webhook('hook', hook.url)] })
  const coming = [publishPaths.all, publishPaths.explain].map(path => openPost(service.url + path).request)
  for (const each of coming) each.write('{')
  await until('both count', async () => (await service.post(publishPaths.all, oneAlert())).status === 503)
  t.equal(hook.requests.length, 0)
  for (const each of coming) each.destroy()
  await until('neither does any more', async () => (await service.post(publishPaths.all, oneAlert())).status === 200)
})

t.test('while it drains, running publishes are answered and new ones are told to go elsewhere', async t => {
  const slow = gate()
  const hook = await startStandIn(t, slow.answer)
  const service = await startTestService(t, { env: { DRAIN_TIMEOUT: '20s' }, targets: [webhook('hook', hook.url)] })
  const running = service.post(publishPaths.all, oneAlert('A'))
  await hook.got(1)
  const stopped = service.stop()
  const { status, body, headers } = await service.post(publishPaths.all, oneAlert('B'))
  t.equal(status, 503)
  t.match(body, { statusCode: 503, code: 'DRAINING' })
  t.match(headers.get('retry-after'), /^\d+$/)
  t.equal((await service.get('/readyz')).status, 503)
  t.equal((await service.get('/healthz')).status, 200)
  slow.open()
  t.equal((await running).status, 200)
  await stopped
  await t.rejects(service.get('/healthz'))
  t.equal(hook.requests.length, 1)
})

t.test(
  'when the drain is over, what still hangs is queued, its caller told, and another start delivers it',
  async t => {
    const hook = await startStandIn(t, ['hang', {}])
    const service = await startTestService(t, { env: { DRAIN_TIMEOUT: '100ms' }, targets: [webhook('hook', hook.url)] })
    const running = service.post(publishPaths.all, alertmanagerBody())
    await hook.got(1)
    await service.stop()
    const { status, body } = await running
    t.equal(status, 202)
    t.match(body.results, [{ queued: true, delivery_id: /./ }])

    const { readConfig } = await import('../../src/config.js')
    const { startService } = await import('../../src/service.js')
    const { pino } = await import('pino')
    const config = readConfig({
      HOST: '127.0.0.1',
      PORT: '0',
      TARGETS_FILE: `${service.directory}/targets.json`,
      QUEUE_DIR: `${service.directory}/queue`,
      DRAIN_TIMEOUT: '100ms'
    })
    if (!config.ok) throw new Error('bad configuration')
    const next = await startService(config.value, { log: pino({ level: 'silent' }), targetsFileNamed: true })
    t.teardown(() => next.stop())
    await hook.got(2)
    t.equal(hook.requests[1]!.headers['idempotency-key'], hook.requests[0]!.headers['idempotency-key'])
  }
)

/** Lets everything run that is ready to, so that what does not happen now does not happen at all. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 50; turns++) await turn()
}

/** Connections that the service has open. */
function connections({ app }: TestService): number {
  return (app.server as unknown as { _connections: number })._connections
}

/** How much is owed once nothing changes any more. */
async function settledQueue(service: TestService): Promise<number> {
  for (const end = Date.now() + 10_000; ; await new Promise(resolve => setTimeout(resolve, 20))) {
    const { depth } = (await service.get('/api/v1/queue')).body
    const { in_flight } = (await service.get('/status')).body
    if ((depth === 0 && in_flight.deliveries === 0) || Date.now() > end) return depth
  }
}

for (const queue of ['off', 'embedded']) {
  t.test(`QUEUE=${queue}: a delivery waits for its token, but not for longer than 2 s`, async t => {
    const hook = await startStandIn(t)
    const limit = (per: string) => ({ rate_limit: { requests: 1, per, burst: 1 } })
    const service = await startTestService(t, {
      env: { QUEUE: queue, ...noRetry },
      targets: [webhook('brisk', hook.url, limit('500ms')), webhook('strict', hook.url, limit('1h'))]
    })
    t.equal((await service.post(publishPaths.all, oneAlert('A'))).status, 200)
    const { body } = await service.post(publishPaths.all, oneAlert('B'))
    t.match(body.results, [
      { target_name: 'brisk', success: true, attempts: 1 },
      { target_name: 'strict', success: false, error_reason: 'rate_limited', attempts: 0 }
    ])
    t.equal(body.results[1].queued, queue === 'off' ? undefined : true)
    t.equal(hook.requests.length, 3)
  })

  t.test(`QUEUE=${queue}: where not all can go at once, those go first that took the last one`, async t => {
    const hook = await startStandIn(t, ({ path }) => ({ status: path === '/a' ? 400 : 200 }))
    const targets = ['a', 'b', 'c'].map(name => webhook(name, `${hook.url}/${name}`))
    const service = await startTestService(t, {
      env: { QUEUE: queue, ...noRetry },
      targets
    })
    await service.post(publishPaths.all, oneAlert('A'))
    const before = hook.requests.length
    await service.post(publishPaths.all, { ...oneAlert('B'), options: { max_concurrent: 1 } })
    t.same(
      hook.requests.slice(before).map(({ path }) => path),
      ['/b', '/c', '/a']
    )
  })
}

t.test('QUEUE=off: an Alertmanager body is answered after 9 s, whatever still hangs', async t => {
  const hanging = await startStandIn(t, 'hang')
  const quick = await startStandIn(t)
  const service = await startTestService(t, {
    env: { QUEUE: 'off', ATTEMPT_TIMEOUT: '1m', PUBLISH_TIMEOUT: '1m', ADAPTIVE_TIMEOUT: 'false' },
    targets: [webhook('hanging', hanging.url), webhook('quick', quick.url)]
  })
  const { status, body } = await service.post(publishPaths.all, alertmanagerBody())
  t.equal(status, 503)
  t.match(body.results, [{ error_reason: 'timeout' }, { success: true }])
  // Timers and the clock of a machine drift apart by some milliseconds.
  t.ok(body.duration_ms > 8_900)
  t.equal(hanging.open(), 1, 'its attempt is not ended for that')
})

t.test('QUEUE=redis: for a caller that hangs up before the first attempt nothing is started', async t => {
  if (!needs(t, 'redis-server')) return
  const redis = await startRedis(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { QUEUE: 'redis', REDIS_URL: redis.url.reveal(), LOG_LEVEL: 'info' },
    targets: [webhook('hook', hook.url)]
  })
  const body = JSON.stringify(alertmanagerBody())
  const inFlight = async () => (await service.get('/status')).body.in_flight.publishes
  redis.pause()
  const gone = new Promise(resolve => {
    service.app.server.once('request', (_, response) => response.once('close', resolve))
  })
  const { request } = openPost(service.url + publishPaths.all)
  request.end(body)
  request.once('finish', () => setTimeout(() => request.destroy(), 50))
  await gone
  redis.resume()
  await until('it is over', async () => (await inFlight()) === 0)
  t.equal(hook.requests.length, 0)
  t.match((await service.get('/api/v1/queue')).body, { depth: 0 })
  t.equal(service.logs.filter(({ code }) => code === 'PUBLISH_CANCELLED').length, 1)
  t.match((await service.get('/metrics')).text, /^alert_history_publishing_parallel_cancelled_total 1$/m)
  t.match((await service.post(publishPaths.all, body)).body.results, [{ success: true, deduplicated: undefined }])
})
