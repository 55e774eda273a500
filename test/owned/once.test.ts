import { join } from 'node:path'
import t from 'tap'
import { movableClock } from '../support/clock.js'
import { copyQueue } from '../support/directory.js'
import { group, pagerduty, told, webhook } from '../support/posts.js'
import { eventually, onEachQueue, onRedis, workedOff } from '../support/queues.js'
import { openPost } from '../support/raw.js'
import {
  alertmanagerBody,
  noRetry,
  oneAlert,
  publishPaths,
  startTestService,
  type TestService
} from '../support/service.js'
import { gate, type StandIn, startStandIn } from '../support/stand-in.js'

const minuteMs = 60_000
const named = (name: string) => `${publishPaths.named}?target=${name}`
const keysAt = (hook: StandIn) => hook.requests.map(({ headers }) => headers['idempotency-key'])
const alertsAt = (hook: StandIn) =>
  hook.requests.map(request =>
    request
      .json()
      .alerts.map((alert: { alert_name: string; status: string }) => `${alert.alert_name} ${alert.status}`)
      .join()
  )

onEachQueue(
  t,
  'two receivers that post the same bytes at once to different targets reach each target',
  async (t, queue) => {
    const hook = await startStandIn(t)
    const targets = ['a', 'b'].map(name => webhook(name, `${hook.url}/${name}`))
    const service = await startTestService(t, { env: queue.env, targets })
    const answers = await Promise.all(['a', 'b'].map(name => service.post(named(name), alertmanagerBody())))
    for (const { status, body } of answers) {
      t.equal(status, 200)
      t.match(body.results, [{ success: true, deduplicated: undefined }])
    }
    t.same(hook.requests.map(({ path }) => path).sort(), ['/a', '/b'])
    for (const name of ['a', 'b'])
      t.match((await service.post(named(name), alertmanagerBody())).body.results, [{ deduplicated: true }])
    t.equal(hook.requests.length, 2)
  }
)

onEachQueue(t, 'a pair of Alertmanagers that post 31 s apart after an outage reach a target once', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, [{ status: 503 }, {}])
  const service = await startTestService(t, {
    env: { ...queue.env, RETRY_BASE: '100ms' },
    targets: [webhook('hook', hook.url)]
  })
  const first = await service.post(publishPaths.all, alertmanagerBody(['A', 'B']))
  t.equal(first.status, 202)
  await workedOff(service)
  clock.forward(31_000)
  const twin = { ...alertmanagerBody(['A', 'B']), externalURL: 'http://alertmanager-2:9093' }
  twin.alerts.reverse()
  const second = await service.post(publishPaths.all, twin)
  t.equal(second.status, 200)
  t.match(second.body.results, [{ success: true, deduplicated: true, status_code: 200 }])
  t.equal(hook.requests.length, 2, 'the attempt that failed, and its retry')
  t.equal(new Set(keysAt(hook)).size, 1)
})

onEachQueue(t, 'a reminder is a new round: it is sent, under another key, once for the pair', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, { env: queue.env, targets: [webhook('hook', hook.url)] })
  const twin = { ...alertmanagerBody(), externalURL: 'http://alertmanager-2:9093' }
  for (let round = 1; round <= 3; round++) {
    t.match((await service.post(publishPaths.all, alertmanagerBody())).body.results, [
      { success: true, deduplicated: undefined }
    ])
    clock.forward(31_000)
    t.match((await service.post(publishPaths.all, twin)).body.results, [{ success: true, deduplicated: true }])
    t.equal(hook.requests.length, round)
    clock.forward(240 * minuteMs)
  }
  t.equal(new Set(keysAt(hook)).size, 3)
})

onEachQueue(t, 'annotations that change at every flush make no new notification', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...noRetry },
    targets: [webhook('hook', hook.url)]
  })
  const flush = (value: number) => {
    const body = alertmanagerBody()
    body.alerts[0]!.annotations.summary = `at ${value} %`
    return service.post(publishPaths.all, body)
  }
  const first = await flush(91)
  t.equal(first.status, 202)
  const id = first.body.results[0].delivery_id
  const second = await flush(92)
  t.match(second.body.results, [{ queued: true, delivery_id: id, deduplicated: true }])
  t.equal(hook.requests.length, 1)
  hook.answer({})
  await service.retarget([webhook('hook', `${hook.url}/in`)])
  await workedOff(service)
  t.match((await flush(93)).body.results, [{ success: true, deduplicated: true }])
  t.equal(hook.requests.length, 2)
})

onEachQueue(t, 'a re-fire with the old startsAt is sent, as often as it fires', async (t, queue) => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { env: queue.env, targets: [webhook('hook', hook.url)] })
  for (let times = 0; times < 2; times++) {
    for (const status of ['firing', 'resolved']) {
      const { body } = await service.post(publishPaths.all, alertmanagerBody(['A'], { status }))
      t.match(body.results, [{ success: true, deduplicated: undefined }])
    }
  }
  t.same(alertsAt(hook), ['A firing', 'A resolved', 'A firing', 'A resolved'])
  t.equal(new Set(keysAt(hook)).size, 4)
})

onEachQueue(t, 'so it is to each of two receivers with targets of their own', async (t, queue) => {
  const hooks = await Promise.all([startStandIn(t), startStandIn(t)])
  const service = await startTestService(t, {
    env: queue.env,
    targets: hooks.map((hook, index) => webhook(`hook-${index}`, hook.url))
  })
  const receivers = hooks.map((_, index) => (name: string, externalURL = 'http://alertmanager:9093') => {
    const body = { ...group(`receiver-${index}`, name), externalURL }
    return service.post(`${publishPaths.named}?target=hook-${index}`, body)
  })
  for (const name of ['A', '-A', 'A', '-A', 'A'])
    for (const post of receivers) t.match((await post(name)).body.results, [{ success: true, deduplicated: undefined }])
  for (const post of receivers)
    t.match((await post('A', 'http://alertmanager-2:9093')).body.results, [{ deduplicated: true }], 'a twin is none')
  for (const hook of hooks) t.same(told(hook), ['A', '-A', 'A', '-A', 'A'])
})

t.test(
  'a re-fire is sent although a crash has forgotten the resolve before it, and is no business of the pair’s other half',
  async t => {
    const directory = t.testdir({ before: {} })
    const hook = await startStandIn(t)
    const down = await startStandIn(t, { status: 503 })
    const options = (queue: string) => ({
      env: { QUEUE_DIR: join(directory, queue), ...noRetry },
      targets: [webhook('down', down.url), webhook('hook', hook.url)]
    })
    const post = (service: TestService, status: string) =>
      service.post(named('hook'), alertmanagerBody(['A'], { status }))
    const service = await startTestService(t, options('before'))
    t.equal((await post(service, 'firing')).status, 200)
    // Once another one is owned, all before it is on the disk: a copy of that is what a crash would have left.
    t.equal((await service.post(named('down'), alertmanagerBody(['B']))).status, 202)
    await copyQueue(join(directory, 'before'), join(directory, 'after'))
    t.equal((await post(service, 'resolved')).status, 200)

    const next = await startTestService(t, options('after'))
    const twin = { ...alertmanagerBody(['A']), externalURL: 'http://alertmanager-2:9093' }
    t.match((await next.post(named('hook'), twin)).body.results, [{ success: true, deduplicated: true }])
    t.match((await post(next, 'firing')).body.results, [{ success: true, deduplicated: undefined }])
    t.match((await post(next, 'firing')).body.results, [{ success: true, deduplicated: true }])
    t.same(alertsAt(hook), ['A firing', 'A resolved', 'A firing'])
    t.equal(new Set(keysAt(hook)).size, 3)
  }
)

onEachQueue(t, 'a caller that hangs up while a target is slow, and retries, gets the one outcome', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, slow.answer)
  const quick = await startStandIn(t)
  const service = await startTestService(t, {
    env: queue.env,
    targets: [webhook('quick', quick.url), webhook('slow', hook.url)]
  })
  const body = JSON.stringify(alertmanagerBody())
  const { request } = openPost(service.url + publishPaths.all)
  request.end(body)
  await hook.got(1)
  request.destroy()
  await eventually('the queue owns what runs', async () => (await service.get('/api/v1/queue')).body.depth === 1)
  const during = await service.post(`${publishPaths.named}?target=quick`, body)
  t.match(during.body.results, [{ success: true, deduplicated: true }])
  slow.open()
  const retry = await service.post(publishPaths.all, body)
  t.equal(retry.status, 200)
  t.match(retry.body.results, [
    { success: true, deduplicated: true },
    { success: true, deduplicated: true }
  ])
  t.same([hook.requests.length, quick.requests.length], [1, 1])
})

onEachQueue(
  t,
  'a target slower than ACK_TIMEOUT never has a second send beside a running attempt',
  async (t, queue) => {
    const slow = gate()
    const hook = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
    const service = await startTestService(t, {
      env: { ...queue.env, ACK_TIMEOUT: '100ms', RETRY_BASE: '20ms' },
      targets: [webhook('slow', hook.url)]
    })
    const first = await service.post(publishPaths.all, alertmanagerBody())
    t.equal(first.status, 202)
    const id = first.body.results[0].delivery_id
    // Another target's change makes what is due be looked for, and a twin asks for it: neither touches it.
    await service.retarget([webhook('other', hook.url), webhook('slow', hook.url)])
    for (let times = 0; times < 3; times++)
      t.match((await service.post(named('slow'), alertmanagerBody())).body.results, [{ queued: true, delivery_id: id }])
    t.equal(hook.requests.length, 1)
    slow.open({ status: 500 })
    await workedOff(service)
    t.same([hook.requests.length, hook.mostOpen()], [2, 1], 'what failed in the end is tried again, and only then')
    t.equal(new Set(keysAt(hook)).size, 1)
    t.match((await service.get(`/api/v1/deliveries/${id}`)).body, {
      state: 'delivered',
      attempts: [{ status_code: 500 }, { status_code: 200 }]
    })
  }
)

onEachQueue(
  t,
  'what the queue took over has all the time of its target, not the rest of its publish',
  async (t, queue) => {
    const slow = gate()
    const hook = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
    const service = await startTestService(t, {
      env: { ...queue.env, ACK_TIMEOUT: '100ms', PUBLISH_TIMEOUT: '200ms', RETRY_BASE: '20ms' },
      targets: [webhook('slow', hook.url, { timeout: '1m' })]
    })
    const first = await service.post(publishPaths.all, alertmanagerBody())
    t.equal(first.status, 202)
    await new Promise(resolve => setTimeout(resolve, 500))
    slow.open({})
    await workedOff(service)
    const { body } = await service.get(`/api/v1/deliveries/${first.body.results[0].delivery_id}`)
    t.match(body, { state: 'delivered', attempts: [{ status_code: 200 }] })
    t.equal(body.attempts.length, 1)
    t.equal(hook.requests.length, 1)
  }
)

onEachQueue(t, 'an Idempotency-Key stands for its result for 24 h, and for its body only', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { ...queue.env, LOG_LEVEL: 'warn' },
    targets: [webhook('hook', hook.url)]
  })
  const post = (name: string) => service.post(publishPaths.all, oneAlert(name), { 'idempotency-key': 'mine' })
  t.match((await post('A')).body.results, [{ success: true, deduplicated: undefined }])
  clock.forward(23 * 60 * minuteMs)
  t.match((await post('A')).body.results, [{ success: true, status_code: 200, deduplicated: true }])
  clock.forward(25 * 60 * minuteMs)
  t.match((await post('A')).body.results, [{ success: true, deduplicated: undefined }])
  t.match((await post('B')).body.results, [{ success: true, deduplicated: undefined }])
  t.equal(hook.requests.length, 3)
  const warning = 'an Idempotency-Key came again with another body: it is published as a new one'
  t.equal(service.logs.filter(({ msg }) => msg === warning).length, 1)
})

onEachQueue(
  t,
  'under one Idempotency-Key an alert without a start has one start, whenever it is told',
  async (t, queue) => {
    const clock = movableClock(t)
    const hook = await startStandIn(t)
    const targets = ['a', 'b'].map(name => webhook(name, `${hook.url}/${name}`, { batch: 'alert' }))
    const service = await startTestService(t, { env: queue.env, targets })
    const alerts = [oneAlert('A').alert, oneAlert('B', { status: 'resolved' }).alert]
    for (const name of ['a', 'b']) {
      const { body } = await service.post(named(name), { alerts }, { 'idempotency-key': 'mine' })
      t.match(body.results, [{ success: true, parts: { delivered: 2 } }])
      clock.forward(minuteMs)
    }
    const [first, second] = ['/a', '/b'].map(at => {
      const requests = hook.requests.filter(({ path }) => path === at)
      return requests.map(({ headers, json }) => ({
        alerts: json().alerts,
        key: String(headers['idempotency-key']).split('-')[0]
      }))
    })
    t.same(second, first)
  }
)

onEachQueue(
  t,
  'the same key at the same time is one fan-out, and each caller gets the results it asked for',
  async (t, queue) => {
    const slow = gate()
    const hook = await startStandIn(t, slow.answer)
    const targets = ['a', 'b', 'c'].map(name => webhook(name, `${hook.url}/${name}`))
    const service = await startTestService(t, { env: queue.env, targets })
    const ask = (...names: string[]) =>
      service.post(`${publishPaths.named}?${names.map(name => `target=${name}`).join('&')}`, oneAlert(), {
        'idempotency-key': 'one'
      })
    const answers = [ask('a', 'b'), ask('b', 'a'), ask('c', 'b')]
    await hook.got(3)
    slow.open()
    const namesIn = (body: { results: { target_name: string; success: boolean }[] }) =>
      body.results.map(({ target_name, success }) => `${target_name} ${success}`)
    t.same(
      (await Promise.all(answers)).map(({ status, body }) => [status, namesIn(body)]),
      [
        [200, ['a true', 'b true']],
        [200, ['b true', 'a true']],
        [200, ['c true', 'b true']]
      ]
    )
    t.same(hook.requests.map(({ path }) => path).sort(), ['/a', '/b', '/c'])
  }
)

onEachQueue(t, 'of 500 PagerDuty events of which 300 were taken, just the others are sent again', async (t, queue) => {
  const taken = new Map<string, number>()
  let open = 300
  const incidents = await startStandIn(t, ({ json }) => {
    if (open-- <= 0) return { status: 503 }
    const key = json().dedup_key
    taken.set(key, (taken.get(key) ?? 0) + 1)
    return { status: 202 }
  })
  const service = await startTestService(t, {
    env: { ...queue.env, RETRY_BASE: '10ms', RETRY_MAX_DELAY: '20ms', CIRCUIT_FAILURE_THRESHOLD: '10000' },
    targets: [pagerduty('pd', incidents.url)]
  })
  const names = Array.from({ length: 500 }, (_, index) => `A${index}`)
  const body = JSON.stringify(alertmanagerBody(names))
  const first = await service.post(publishPaths.all, body)
  t.equal(first.status, 207)
  t.match(first.body.results, [{ success: false, queued: true, parts: { total: 500, delivered: 300, queued: 200 } }])
  open = Number.POSITIVE_INFINITY
  await workedOff(service)
  const again = await service.post(publishPaths.all, body)
  t.equal(again.status, 200)
  t.match(again.body.results, [{ success: true, deduplicated: true, parts: { total: 500, delivered: 500, queued: 0 } }])
  t.equal(taken.size, 500)
  t.same(
    [...taken.values()].filter(times => times !== 1),
    [],
    'each once'
  )
})

t.test('QUEUE=off: of 500 PagerDuty events of which 300 were taken, the caller’s retry sends the others', async t => {
  let open = 300
  const incidents = await startStandIn(t, () => ({ status: open-- > 0 ? 202 : 503 }))
  const service = await startTestService(t, {
    env: { QUEUE: 'off', CIRCUIT_FAILURE_THRESHOLD: '10000' },
    targets: [pagerduty('pd', incidents.url)]
  })
  const body = JSON.stringify(alertmanagerBody(Array.from({ length: 500 }, (_, index) => `A${index}`)))
  t.equal((await service.post(publishPaths.all, body)).status, 503)
  open = Number.POSITIVE_INFINITY
  const sent = incidents.requests.length
  t.equal((await service.post(publishPaths.all, body)).status, 200)
  t.equal(incidents.requests.length - sent, 200)
})

onRedis(t, 'a notification {A, B} at one replica and {B, A} at the other reach a target once', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, slow.answer)
  const options = { env: queue.env, targets: [webhook('hook', hook.url)] }
  const [one, other] = [await startTestService(t, options), await startTestService(t, options)]
  const body = alertmanagerBody(['A', 'B'])
  const answers = [
    one.post(publishPaths.all, body),
    other.post(publishPaths.all, { ...body, alerts: [...body.alerts].reverse() })
  ]
  await hook.got(1)
  slow.open()
  const results = (await Promise.all(answers)).map(({ status, body }) => [status, body.results[0].success])
  t.same(results, [
    [200, true],
    [200, true]
  ])
  t.equal(hook.requests.length, 1)
})

onRedis(t, 'overlapping notifications at two replicas all arrive, whatever lanes they share', async (t, queue) => {
  const hook = await startStandIn(t)
  const options = { env: queue.env, targets: [webhook('hook', hook.url)] }
  const replicas = [await startTestService(t, options), await startTestService(t, options)]
  const sets = [['A', 'B'], ['B', 'A', 'C'], ['C', 'A'], ['B', 'C'], ['A'], ['C', 'B', 'A', 'D']]
  const answers = await Promise.all(
    sets.map((names, index) => replicas[index % 2]!.post(publishPaths.all, alertmanagerBody(names)))
  )
  for (const { status } of answers) t.ok(status === 200 || status === 202)
  for (const replica of replicas) await workedOff(replica)
  const told = new Set(
    hook.requests.flatMap(request => request.json().alerts.map((alert: { alert_name: string }) => alert.alert_name))
  )
  t.same([...told].sort(), ['A', 'B', 'C', 'D'])
})

onRedis(
  t,
  'what one replica delivered the other knows: twin, resume, and the firing that a resolve is owed to',
  async (t, queue) => {
    const up = await startStandIn(t)
    const down = await startStandIn(t, { status: 503 })
    const options = {
      env: { ...queue.env, ...noRetry },
      targets: [webhook('down', down.url), webhook('up', up.url)]
    }
    const [one, other] = [await startTestService(t, options), await startTestService(t, options)]
    const first = await one.post(publishPaths.all, alertmanagerBody())
    t.equal(first.status, 207)
    const second = await other.post(publishPaths.all, alertmanagerBody())
    t.match(second.body.results, [
      { queued: true, deduplicated: true, delivery_id: first.body.results[0].delivery_id },
      { success: true, deduplicated: true }
    ])
    const resolved = await other.post(publishPaths.all, alertmanagerBody(['NodeDown'], { status: 'resolved' }))
    t.match(resolved.body.results, [{ queued: true }, { success: true }])
    t.same(alertsAt(up), ['NodeDown firing', 'NodeDown resolved'])
    t.match((await one.get('/api/v1/queue')).body, { depth: 1 })
  }
)

onRedis(t, 'two replicas work off one queue, each entry once', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const options = (path: string) => ({
    env: { ...queue.env, ...noRetry, CIRCUIT_FAILURE_THRESHOLD: '1000' },
    targets: [webhook('hook', hook.url + path)]
  })
  const one = await startTestService(t, options('/one'))
  const names = Array.from({ length: 40 }, (_, index) => `A${index}`)
  await Promise.all(names.map(name => one.post(publishPaths.all, alertmanagerBody([name]))))
  const before = hook.requests.length
  t.equal(before, 40)
  hook.answer({ delayMs: 20 })
  const other = await startTestService(t, options('/other'))
  await one.retarget([webhook('hook', `${hook.url}/one`, { timeout: '9s' })])
  await workedOff(other)
  const after = hook.requests.slice(before)
  t.same(after.map(request => request.json().alerts[0].alert_name).sort(), [...names].sort())
  const keys = keysAt(hook)
  t.equal(new Set(keys).size, 40)
})
