import t from 'tap'
import { openStore } from '../../src/queues/registry.js'
import { Secret } from '../../src/secret.js'
import { startApiServer, status } from '../support/api-server.js'
import { movableClock } from '../support/clock.js'
import { group, pagerduty, told, webhook } from '../support/posts.js'
import { depth, eventually, onEachQueue, onRedis, workedOff } from '../support/queues.js'
import {
  alertmanagerBody,
  oneAlert,
  patient,
  publishPaths,
  startTestService,
  type TestService
} from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

const hourMs = 3_600_000
/** What fails is tried again at once, and no circuit opens. */
const eager = { RETRY_BASE: '10ms', RETRY_MAX_DELAY: '20ms', CIRCUIT_FAILURE_THRESHOLD: '10000' }
const publish = (service: TestService, body: object) => service.post(publishPaths.all, body)
/** When an entry was accepted and is due, in milliseconds since the epoch. */
async function timesOf(service: TestService, id: string): Promise<{ acceptedAt: number; dueAt: number }> {
  const { accepted_at, due_at } = (await service.get(`/api/v1/queue/${id}`)).body
  return { acceptedAt: Date.parse(accepted_at), dueAt: Date.parse(due_at) }
}

for (const [what, header, least, most] of [
  ['in seconds', '120', 120_000, 125_000],
  ['as a date', () => new Date(Date.now() + 120_000).toUTCString(), 118_000, 125_000],
  ['of an absurd size', '99999999999', hourMs, hourMs + 5_000]
] as const) {
  onEachQueue(t, `a Retry-After ${what} pauses the whole target, and no other`, async (t, queue) => {
    const clock = movableClock(t)
    const limited = await startStandIn(t, () => ({
      status: 429,
      headers: { 'retry-after': typeof header === 'string' ? header : header() }
    }))
    const other = await startStandIn(t)
    const service = await startTestService(t, {
      env: { ...queue.env, ...eager, CIRCUIT_FAILURE_THRESHOLD: '1' },
      targets: [webhook('limited', limited.url), webhook('other', other.url)]
    })
    const first = await publish(service, group('g', 'A'))
    t.match(first.body.results, [{ status_code: 429, error_type: 'rate_limited', queued: true }, { success: true }])
    const second = await publish(service, group('h', 'B'))
    t.match(second.body.results, [
      { error_type: 'rate_limited', error_reason: 'rate_limited', attempts: 0, queued: true, skipped: false },
      { success: true }
    ])
    const { acceptedAt } = await timesOf(service, first.body.results[0].delivery_id)
    for (const { body } of [first, second]) {
      const ms = (await timesOf(service, body.results[0].delivery_id)).dueAt - acceptedAt
      t.ok(ms >= least && ms <= most, `${ms} ms`)
    }
    t.match((await service.get('/api/v1/targets/limited')).body.circuit, { state: 'closed' })
    t.equal(limited.requests.length, 1)
    limited.answer({})
    clock.forward(most)
    await workedOff(service)
    t.equal(limited.requests.length, 3)
  })
}

onEachQueue(t, 'what waits for its turn at a slow target loses none of the time of its attempt', async (t, queue) => {
  const hook = await startStandIn(t, { status: 500 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...eager },
    targets: [webhook('hook', hook.url, { max_concurrent: 1, timeout: '800ms' })]
  })
  const names = ['A', 'B', 'C', 'D']
  for (const name of names) await publish(service, group(name, name))
  const sent: string[] = []
  hook.answer(request => {
    sent.push(request.json().alerts[0].alert_name)
    return { delayMs: 500 }
  })
  await workedOff(service)
  t.same(sent.sort(), names)
})

onEachQueue(t, 'a Retry-After that is negative, past or unreadable pauses nothing', async (t, queue) => {
  const headers = ['-5', 'Wed, 21 Oct 2015 07:28:00 GMT', 'soon']
  const limited = await startStandIn(t, (_, index) => ({ status: 429, headers: { 'retry-after': headers[index]! } }))
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [webhook('hook', limited.url)]
  })
  for (const [index] of headers.entries()) {
    const { body } = await publish(service, group(`g${index}`, `A${index}`))
    t.match(body.results, [{ status_code: 429, attempts: 1, queued: true }])
  }
  t.equal(limited.requests.length, headers.length)
})

onEachQueue(
  t,
  'after RETRY_MAX_AGE the next failed attempt is the last, and none dies without one',
  async (t, queue) => {
    const clock = movableClock(t)
    const hook = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, RETRY_MAX_AGE: '6h', RETRY_BASE: '7h', RETRY_MAX_DELAY: '7h' },
      targets: [webhook('hook', hook.url)]
    })
    const { body } = await publish(service, group('g', 'A'))
    const id = body.results[0].delivery_id
    const got = hook.requests.length
    clock.forward(6 * hourMs + 1)
    t.equal((await service.get(`/api/v1/queue/${id}`)).status, 200, 'its age alone ends nothing')
    clock.forward(hourMs)
    await workedOff(service)
    t.equal(hook.requests.length, got + 1)
    t.match((await service.get('/api/v1/dead-letters')).body.items, [
      { id, target: 'hook', error_reason: 'server_error', tries: 2, alerts: [{ alert_name: 'A' }] }
    ])
    await eventually('the log tells it', async () => {
      const { state, error_reason } = (await service.get(`/api/v1/deliveries/${id}`)).body
      return state === 'refused' && error_reason === 'server_error'
    })
    t.match(
      (await publish(service, group('g', 'A'))).body.results,
      [{ queued: true }],
      'a later retry is a new attempt'
    )
  }
)

onEachQueue(t, 'a resolve that closes something is tried for as long as dead letters are kept', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: {
      ...queue.env,
      ...patient,
      RETRY_MAX_AGE: '6h',
      DEAD_LETTER_RETENTION: '7d',
      RETRY_BASE: '7h',
      RETRY_MAX_DELAY: '7h'
    },
    targets: [webhook('hook', hook.url)]
  })
  await publish(service, group('g', 'A'))
  hook.answer({ status: 503 })
  await publish(service, group('g', '-A'))
  const failures = () => hook.requests.length - 2
  for (const tries of [1, 2, 3]) {
    clock.forward(14 * hourMs)
    await eventually(`it was tried ${tries} times more`, () => failures() >= tries)
    await eventually('that is written down', async () => (await depth(service)) === 1)
  }
  hook.answer({})
  clock.forward(14 * hourMs)
  await workedOff(service)
  t.equal(told(hook).at(-1), '-A')
  t.same((await service.get('/api/v1/dead-letters')).body.items, [])
})

onEachQueue(
  t,
  'an open circuit keeps the queue away too, until one probe after the other closes it',
  async (t, queue) => {
    const clock = movableClock(t)
    const hook = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: {
        ...queue.env,
        ...eager,
        CIRCUIT_FAILURE_THRESHOLD: '2',
        CIRCUIT_OPEN_DURATION: '30m',
        CIRCUIT_SUCCESS_THRESHOLD: '2'
      },
      targets: [webhook('hook', hook.url)]
    })
    const circuit = async () => (await service.get('/api/v1/targets/hook')).body.circuit.state
    for (let index = 0; index < 5; index++) await publish(service, group(`g${index}`, `A${index}`))
    await eventually('the circuit is open', async () => (await circuit()) === 'open')
    const before = hook.requests.length
    const { body } = await publish(service, group('h', 'B'))
    t.match(body.results, [{ skip_reason: 'circuit_open', queued: true, attempts: 0 }])
    hook.answer({ delayMs: 20 })
    t.equal(hook.requests.length, before)
    clock.forward(30 * 60_000)
    await workedOff(service)
    t.equal(await circuit(), 'closed')
    t.equal(hook.requests.length, before + 6)
    const seen = new Set(told(hook).slice(before))
    t.equal(seen.size, 6, 'a probe is a part that is due, and costs it nothing')
  }
)

onEachQueue(
  t,
  'wrong credentials open the circuit, and what is owed goes once the target changes',
  async (t, queue) => {
    const hook = await startStandIn(t, ({ headers }) => ({
      status: headers.authorization === 'Bearer new' ? 200 : 401
    }))
    const target = (token: string) => webhook('hook', hook.url, { auth: { type: 'bearer', token } })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, CIRCUIT_OPEN_DURATION: '1h' },
      targets: [target('old')]
    })
    const first = await publish(service, group('g', 'A'))
    t.match(first.body.results, [{ error_type: 'configuration', error_reason: 'auth', queued: true }])
    t.match((await service.get('/api/v1/targets/hook')).body.circuit, { state: 'open', reason: 'auth' })
    const second = await publish(service, group('h', 'B'))
    t.match(second.body.results, [{ skip_reason: 'circuit_open', queued: true }])
    await service.retarget([target('new')])
    await workedOff(service)
    t.same(told(hook), ['A', ...told(hook).slice(1)])
    t.same(told(hook).slice(1).sort(), ['A', 'B'])
    t.notMatch(JSON.stringify((await service.get('/api/v1/deliveries')).body), /Bearer|old|new/)
  }
)

onEachQueue(t, 'a wrong routing key opens the circuit, and no page is lost over it', async (t, queue) => {
  const errors = ["Length of 'routing_key' is incorrect (should be 32 characters)"]
  const refusal = JSON.stringify({ status: 'invalid event', message: 'Event object is invalid', errors })
  const incidents = await startStandIn(t, request =>
    request.json().routing_key === 'right' ? { status: 202 } : { status: 400, body: refusal }
  )
  const target = (routing_key: string) => pagerduty('pd', incidents.url, { routing_key })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, CIRCUIT_OPEN_DURATION: '1h' },
    targets: [target('rotated')]
  })
  const { body } = await publish(service, group('g', 'A'))
  t.match(body.results, [{ error_type: 'configuration', error_reason: 'auth', queued: true }])
  t.match((await service.get('/api/v1/targets/pd')).body.circuit, { state: 'open', reason: 'auth' })
  await service.retarget([target('right')])
  await workedOff(service)
  t.same(
    incidents.requests.map(request => request.json().routing_key),
    ['rotated', 'right']
  )
  t.same((await service.get('/api/v1/dead-letters')).body.items, [])
})

onEachQueue(t, 'a success makes due at once all else that the target is owed', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  // As Alertmanager does: a store that is slow for a moment is a 503.
  for (const name of ['A', 'B', 'C'])
    await eventually(`${name} is owed`, async () => (await publish(service, group(name, name))).status === 202)
  await eventually('all are owed', async () => (await depth(service)) === 3)
  const refused = hook.requests.length
  hook.answer({})
  t.equal((await publish(service, group('g', 'D'))).status, 200)
  await workedOff(service)
  t.same(told(hook).slice(refused).sort(), ['A', 'B', 'C', 'D'])
})

onRedis(
  t,
  'a success in one replica makes due what another one saw fail, as often as that happens',
  async (t, queue) => {
    const hook = await startStandIn(t, { status: 503 })
    const start = () => startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
    const [one, other] = await Promise.all([start(), start()])
    for (const [index, name] of ['A', 'B'].entries()) {
      hook.answer({ status: 503 })
      t.equal((await publish(one, group(name, name))).status, 202)
      t.equal(await depth(other), 1)
      hook.answer({})
      t.equal((await publish(other, group(`g${index}`, `C${index}`))).status, 200)
      await workedOff(one)
    }
    t.same(told(hook), ['A', 'C0', 'A', 'B', 'C1', 'B'])
  }
)

onEachQueue(t, 'urgent ones go first, and none starves', async (t, queue) => {
  const hook = await startStandIn(t)
  const target = (enabled: boolean) => webhook('hook', hook.url, { enabled })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, QUEUE_WORKERS: '1', CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '1h' },
    targets: [target(true)]
  })
  hook.answer({ status: 503 })
  const severities = ['info', 'warning', 'critical']
  for (let index = 0; index < 16; index++)
    for (const severity of severities)
      await publish(service, group(`${severity}${index}`, { name: `${severity}${index}`, severity }))
  t.match((await service.get('/api/v1/queue')).body, { depth: 48, by_priority: { high: 16, medium: 16, low: 16 } })
  const before = hook.requests.length
  hook.answer({})
  await service.post('/api/v1/targets/hook/circuit/reset')
  await workedOff(service)
  const order = told(hook)
    .slice(before)
    .map(name => name.replace(/\d+/, ''))
  const first = (name: string) => order.indexOf(name)
  t.equal(order.length, 48)
  t.equal(order[0], 'critical')
  t.ok(first('warning') < 4 && first('info') < 9, order.slice(0, 10).join())
  t.ok(order.slice(0, 16).filter(name => name === 'critical').length >= 9, 'most of the first are urgent')
  const last = (name: string) => order.lastIndexOf(name)
  t.ok(last('critical') < last('warning') && last('warning') < last('info'))
  const criticals = told(hook)
    .slice(before)
    .filter(name => name.startsWith('critical'))
  t.same(
    criticals,
    Array.from({ length: 16 }, (_, index) => `critical${index}`),
    'each priority in its order'
  )
})

onEachQueue(t, 'one slow target with 1,000 owed takes nothing from a fast one', async (t, queue) => {
  const slow = await startStandIn(t, { status: 503 })
  const fast = await startStandIn(t)
  const targets = (path: string) => [pagerduty('slow', slow.url + path), webhook('fast', fast.url)]
  const service = await startTestService(t, {
    env: { ...queue.env, ...eager, CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '1h', ATTEMPT_TIMEOUT: '1m' },
    targets: targets('')
  })
  await service.post(`${publishPaths.named}?target=slow`, group('g', 'First'))
  const names = Array.from({ length: 1_000 }, (_, index) => `A${index}`)
  const owed = await service.post(`${publishPaths.named}?target=slow`, alertmanagerBody(names))
  t.match(owed.body.results, [{ queued: true, parts: { total: 1_000, queued: 1_000 } }])
  slow.answer('hang')
  await service.retarget(targets('/again'))
  await slow.got(2)
  await service.post('/api/v1/targets/slow/circuit/reset')
  await eventually('it has all the workers that it may have', () => slow.open() === 8)

  fast.answer([{ status: 429 }, {}])
  const failed = await service.post(`${publishPaths.named}?target=fast`, group('h', 'B'))
  t.match(failed.body.results, [{ queued: true }])
  await fast.got(2)
  t.equal(slow.open(), 8, 'nothing of the slow one has ended')
  t.equal((await service.post(`${publishPaths.named}?target=fast`, group('i', 'C'))).status, 200)
  await eventually('its workers are free again', async () => {
    const { total, active, idle } = (await service.get('/api/v1/queue')).body.workers
    return total === 10 && active === 8 && idle === 2
  })
})

onEachQueue(t, 'beside others that have work due, one target has a quarter of the workers', async (t, queue) => {
  const slow = await startStandIn(t, { status: 503 })
  const slowToo = await startStandIn(t, { status: 503 })
  const targets = (path: string) => [pagerduty('a', slow.url + path), pagerduty('b', slowToo.url + path)]
  const service = await startTestService(t, {
    env: { ...queue.env, ...eager, CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '1h', ATTEMPT_TIMEOUT: '1m' },
    targets: targets('')
  })
  await publish(service, group('g', 'First'))
  await publish(service, alertmanagerBody(Array.from({ length: 20 }, (_, index) => `A${index}`)))
  for (const each of [slow, slowToo]) each.answer('hang')
  await service.retarget(targets('/again'))
  await Promise.all([slow.got(2), slowToo.got(2)])
  for (const name of ['a', 'b']) await service.post(`/api/v1/targets/${name}/circuit/reset`)
  await eventually('both have their share', () => slow.open() >= 2 && slowToo.open() >= 2)
  t.ok(slow.mostOpen() + slowToo.mostOpen() <= 10)
  t.match((await service.get('/api/v1/queue')).body.workers, { total: 10 })
})

onEachQueue(t, 'the queue keeps to a target’s rate limit', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, { status: 503 })
  const target = (path: string) =>
    webhook('hook', hook.url + path, { rate_limit: { requests: 1, per: '1h', burst: 2 } })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [target('/1')] })
  const first = await publish(service, alertmanagerBody(['A']))
  await publish(service, alertmanagerBody(['B']))
  const limited = await publish(service, alertmanagerBody(['C']))
  t.match(first.body.results, [{ status_code: 503, queued: true }])
  t.match(limited.body.results, [
    { error_type: 'rate_limited', error_reason: 'rate_limited', attempts: 0, queued: true }
  ])
  t.equal(hook.requests.length, 2)
  hook.answer({})
  await service.retarget([target('/2')])
  await hook.got(4)
  await eventually('changed, it has a new bucket, and that is empty again', async () => (await depth(service)) === 1)
  await eventually('nothing runs', async () => (await service.get('/api/v1/queue')).body.workers.active === 0)
  t.equal(hook.requests.length, 4)
  clock.forward(hourMs)
  await workedOff(service)
  t.equal(hook.requests.length, 5)
})

onEachQueue(
  t,
  'no more is begun for a target than it has tokens for, and nothing is written for the others',
  async (t, queue) => {
    const hook = await startStandIn(t, { status: 503 })
    const target = (path: string, more: object = {}) => webhook('hook', hook.url + path, more)
    const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [target('/1')] })
    const ids: string[] = []
    for (let index = 0; index < 12; index++) {
      const { body } = await publish(service, group(`g${index}`, `A${index}`))
      ids.push(body.results[0].delivery_id)
    }
    hook.answer({})
    await service.retarget([target('/2', { rate_limit: { requests: 1, per: '1h', burst: 3 } })])
    await eventually('three have gone', async () => (await depth(service)) === 9)
    await eventually('nothing runs', async () => (await service.get('/api/v1/queue')).body.workers.active === 0)
    t.equal(hook.requests.length, 15)
    const left: string[] = []
    for (const id of ids) {
      const { status, body } = await service.get(`/api/v1/queue/${id}`)
      if (status === 200) left.push(`${body.tries} ${body.error_reason}`)
    }
    t.same(left, Array(9).fill('1 server_error'), 'they are as their own attempt left them')
  }
)

onEachQueue(
  t,
  'when a target’s room is full, the oldest of the least urgent becomes a dead letter',
  async (t, queue) => {
    const hook = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, QUEUE_MAX_PER_TARGET: '3' },
      targets: [webhook('hook', hook.url)]
    })
    const post = (name: string, severity: string) => publish(service, group(name, { name, severity }))
    const letters = async () =>
      (await service.get('/api/v1/dead-letters?error_reason=queue_full')).body.items.map(
        (letter: { alerts: { alert_name: string }[] }) => letter.alerts[0]!.alert_name
      )
    for (const [name, severity] of [
      ['Low1', 'info'],
      ['High1', 'critical'],
      ['Low2', 'info'],
      ['High2', 'critical']
    ] as const)
      t.match((await post(name, severity)).body.results, [{ queued: true }])
    t.same(await letters(), ['Low1'])
    await post('High3', 'critical')
    t.same(await letters(), ['Low1', 'Low2'])
    await post('High4', 'critical')
    t.same((await letters()).sort(), ['High1', 'Low1', 'Low2'])
    const refused = await post('Low3', 'info')
    t.equal(refused.status, 502)
    t.match(
      refused.body.results,
      [{ queued: undefined, error_type: 'permanent', error_reason: 'queue_full' }],
      'the least urgent is itself'
    )
    t.match((await service.get('/api/v1/queue')).body, { depth: 3, by_priority: { high: 3 } })
  }
)

onEachQueue(t, 'that holds for hundreds of parts at once', async (t, queue) => {
  const incidents = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, {
    env: {
      ...queue.env,
      ...patient,
      QUEUE_MAX_PER_TARGET: '50',
      CIRCUIT_FAILURE_THRESHOLD: '1',
      CIRCUIT_OPEN_DURATION: '1h'
    },
    targets: [pagerduty('pd', incidents.url)]
  })
  await publish(service, group('g', 'First'))
  const names = Array.from({ length: 300 }, (_, index) => `A${index}`)
  await publish(service, alertmanagerBody(names))
  t.equal(await depth(service), 50)
  const { items } = (await service.get('/api/v1/dead-letters?limit=1000')).body
  t.equal(items.length, 251, 'each of the others is a dead letter, once')
})

onEachQueue(t, 'what a deleted target is owed waits 15 min for it, then becomes dead letters', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, { status: 503 })
  const other = webhook('other', `${hook.url}/other`)
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [webhook('hook', hook.url), other]
  })
  const post = (name: string) => service.post(`${publishPaths.named}?target=hook`, group(name, name))
  await post('A')
  await service.retarget([other])
  clock.forward(14 * 60_000)
  hook.answer({})
  await service.retarget([webhook('hook', hook.url), other])
  await workedOff(service)
  t.same(told(hook), ['A', 'A'], 'it returned in time')

  hook.answer({ status: 503 })
  await post('B')
  await post('C')
  await service.retarget([other])
  await eventually('that is seen', async () => (await service.get('/api/v1/targets/hook')).status === 404)
  clock.forward(16 * 60_000)
  await workedOff(service)
  const { items } = (await service.get('/api/v1/dead-letters?target=hook')).body
  t.match(items, [{ error_reason: 'target_not_found' }, { error_reason: 'target_not_found' }])
  t.equal(items.length, 2)
})

onEachQueue(t, 'nothing is tried or given up before the targets were found for the first time', async (t, queue) => {
  const clock = movableClock(t)
  const cluster = await startApiServer(t)
  const hook = await startStandIn(t, { status: 503 })
  cluster.apply('hook', { type: 'webhook', url: hook.url })
  const before = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  const { body } = await publish(before, group('g', 'A'))
  await before.stop()
  let refused = 0
  cluster.faults.intercept = (_, response) => {
    refused++
    status(response, 503)
    return true
  }
  const service = await startTestService(t, { env: { ...queue.env, ...patient, DISCOVERY: 'kubernetes' } })
  for (const times of [1, 2, 3]) {
    await eventually('they were looked for in vain', () => refused >= times)
    clock.forward(20 * 60_000)
  }
  hook.answer({})
  t.match((await service.get(`/api/v1/queue/${body.results[0].delivery_id}`)).body, { tries: 1 })
  delete cluster.faults.intercept
  await workedOff(service)
  t.same(told(hook), ['A', 'A'])
})

onEachQueue(t, 'a target of that name but of another type is not the one that returns', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, { status: 503 })
  const incidents = await startStandIn(t, { status: 202 })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('x', hook.url)] })
  for (let index = 0; index < 20; index++) await publish(service, group(`g${index}`, `A${index}`))
  t.equal(await depth(service), 20)
  await service.retarget([pagerduty('x', incidents.url)])
  incidents.answer([{ status: 503 }, { status: 202 }])
  t.match((await publish(service, group('h', 'B'))).body.results, [{ queued: true }])
  t.equal((await publish(service, group('i', 'C'))).status, 200, 'which makes due what it is owed')
  await eventually('what the new one is owed is not held up', async () => (await depth(service)) === 20)
  hook.answer({})
  await service.retarget([webhook('x', hook.url)])
  await eventually('the old ones go once theirs is back', async () => (await depth(service)) === 0)
  t.equal(hook.requests.length, 40)

  hook.answer({ status: 503 })
  await publish(service, group('j', 'D'))
  await service.retarget([pagerduty('x', incidents.url)])
  await eventually('it is seen that nobody is there for it', async () => {
    clock.forward(5 * 60_000)
    return (await depth(service)) === 0
  })
  t.match((await service.get('/api/v1/dead-letters')).body.items, [
    { target: 'x', target_type: 'webhook', error_reason: 'target_not_found' }
  ])
})

onEachQueue(t, 'an attempt that its publish gave little time is not blamed on the target', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, slow.answer)
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, CIRCUIT_FAILURE_THRESHOLD: '1' },
    targets: [webhook('hook', hook.url)]
  })
  const { body } = await publish(service, { ...oneAlert('A'), options: { timeout: '100ms' } })
  t.match(body.results, [{ error_reason: 'timeout', queued: true }])
  t.equal((await service.get('/api/v1/targets/hook')).body.circuit.state, 'closed')
  slow.open()
})

onEachQueue(t, 'a place without a record holds nothing up', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const start = () => startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  const before = await start()
  await publish(before, group('g', 'A'))
  await before.stop()
  const { QUEUE, QUEUE_DIR = '', REDIS_URL } = queue.env
  const redis = REDIS_URL ? { redisUrl: new Secret(REDIS_URL) } : {}
  const store = await openStore({ queue: QUEUE as 'embedded' | 'redis', queueDir: QUEUE_DIR, ...redis })
  await store.write([{ id: 'entry/ghost', place: { target: 'hook', priority: 'high', dueAt: 0, acceptedAt: 0 } }])
  await store.close()
  hook.answer({})
  const service = await start()
  await service.retarget([webhook('hook', `${hook.url}/2`)])
  await workedOff(service)
  t.same(told(hook), ['A', 'A'])
})

onEachQueue(t, 'all attempts of a delivery carry one key, and what differs another', async (t, queue) => {
  const hook = await startStandIn(t, [{ status: 503 }, { status: 503 }, { status: 503 }, {}])
  const service = await startTestService(t, {
    env: { ...queue.env, ...eager },
    targets: [webhook('hook', hook.url, { auth: { type: 'hmac', secret: 'whsec_ZXhhbXBsZS1zaWduaW5nLXNlY3JldA==' } })]
  })
  await publish(service, group('g', 'A'))
  await workedOff(service)
  await publish(service, group('g', 'A', 'B'))
  await publish(service, group('g', '-A', 'B'))
  const keys = hook.requests.map(({ headers }) => headers['idempotency-key'])
  t.equal(hook.requests.length, 6)
  t.equal(new Set(keys.slice(0, 4)).size, 1)
  t.equal(new Set(keys).size, 3)
  t.same(
    hook.requests.map(({ headers }) => headers['webhook-id']),
    keys
  )
})
