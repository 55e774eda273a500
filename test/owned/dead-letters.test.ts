import t from 'tap'
import { movableClock } from '../support/clock.js'
import { events, group, pagerduty, told, webhook } from '../support/posts.js'
import { depth, eventually, onEachQueue, onRedis, workedOff } from '../support/queues.js'
import {
  alertmanagerBody,
  noRetry,
  oneAlert,
  patient,
  publishPaths,
  startTestService,
  type TestService
} from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

const publish = (service: TestService, body: object) => service.post(publishPaths.all, body)

interface Letter {
  readonly id: string
  readonly alerts: { alert_name: string }[]
}

/** Dead letters by the name of their first alert. */
async function letters(service: TestService, query = ''): Promise<string[]> {
  const { items } = (await service.get(`/api/v1/dead-letters${query}`)).body
  return items.map(({ alerts }: Letter) => alerts[0]!.alert_name)
}

/** Waits until there are so many dead letters. */
const buried = (service: TestService, count: number) =>
  eventually(`there are ${count} dead letters`, async () => (await letters(service)).length === count)

onEachQueue(t, 'what was refused is a dead letter: listed, filtered, paged, and shown whole', async (t, queue) => {
  const picky = await startStandIn(t, { status: 400 })
  const big = await startStandIn(t, { status: 413 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [webhook('big', big.url), webhook('picky', picky.url)]
  })
  for (const name of ['A', 'B']) t.equal((await publish(service, group(name, name))).status, 502)
  await buried(service, 4)
  t.same((await letters(service, '?target=picky')).sort(), ['A', 'B'])
  t.same((await letters(service, '?error_reason=payload_too_large')).sort(), ['A', 'B'])
  t.same(await letters(service, '?target=picky&error_reason=payload_too_large'), [])
  t.equal((await service.get('/api/v1/dead-letters?error_reason=nonsense')).status, 400)

  const pages: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await service.get(`/api/v1/dead-letters?limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`)
    pages.push(...body.items.map(({ id }: Letter) => id))
    cursor = body.next_cursor
  }
  t.equal(new Set(pages).size, 4)
  const { items } = (await service.get('/api/v1/dead-letters?target=picky')).body
  const one = await service.get(`/api/v1/dead-letters/${items[0].id}`)
  t.equal(one.status, 200)
  t.same(one.body, items[0])
  t.match(one.body, {
    target: 'picky',
    target_type: 'webhook',
    priority: 'high',
    receiver: 'team',
    tries: 1,
    attempts: [{ status_code: 400, error_reason: 'client_error' }],
    error_type: 'permanent',
    error_reason: 'client_error',
    buried_at: /^\d{4}-/
  })
  t.equal((await service.get('/api/v1/dead-letters/nobody')).status, 404)
  t.match((await service.get('/api/v1/queue')).body, { depth: 0 })
})

onEachQueue(t, 'a dead letter is replayed by its id, once, and tells how late it is', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, [{ status: 400 }, {}])
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  const { body } = await publish(service, group('g', 'A'))
  const id = body.results[0].delivery_id
  await buried(service, 1)
  clock.forward(3 * 3_600_000)
  const dry = await service.post(`/api/v1/dead-letters/${id}/replay`, { dry_run: true })
  t.match(dry.body, { matched: 1, replayed: 1, skipped_resolved: 0, dry_run: true })
  t.equal(hook.requests.length, 1)
  const replay = await service.post(`/api/v1/dead-letters/${id}/replay`)
  t.match(replay.body, { matched: 1, replayed: 1, skipped_resolved: 0, dry_run: false })
  await workedOff(service)
  t.same(told(hook), ['A', 'A'])
  t.ok(hook.requests[1]!.json().late_by_ms >= 3 * 3_600_000)
  t.equal(hook.requests[1]!.headers['idempotency-key'], hook.requests[0]!.headers['idempotency-key'])
  t.equal((await service.post(`/api/v1/dead-letters/${id}/replay`)).status, 404)
  t.same(await letters(service), [])
  await eventually('the log tells it', async () => {
    const delivery = (await service.get(`/api/v1/deliveries/${id}`)).body
    return delivery.state === 'delivered' && delivery.attempts.length === 2
  })
})

onEachQueue(t, 'a replayed one is tried as long as a new one, and fails as any other', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, [{ status: 400 }, { status: 503 }, { status: 400 }])
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, RETRY_MAX_AGE: '6h' },
    targets: [webhook('hook', hook.url)]
  })
  const { body } = await publish(service, group('g', 'A'))
  await buried(service, 1)
  clock.forward(12 * 3_600_000)
  await service.post(`/api/v1/dead-letters/${body.results[0].delivery_id}/replay`)
  await hook.got(2)
  await eventually('it waits again', async () => (await depth(service)) === 1)
  t.same(await letters(service), [], 'its age counts from the replay')
  await service.retarget([webhook('hook', `${hook.url}/2`)])
  await hook.got(3)
  await buried(service, 1)
  t.equal(await depth(service), 0)
})

onEachQueue(t, 'dead letters are replayed by filter, without those that have resolved since', async (t, queue) => {
  const hook = await startStandIn(t, { status: 400 })
  const other = await startStandIn(t, { status: 400 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [webhook('hook', hook.url), webhook('other', other.url)]
  })
  for (const name of ['A', 'B', 'C']) await publish(service, group(name, name))
  await buried(service, 6)
  for (const each of [hook, other]) each.answer({})
  t.equal((await publish(service, group('B', '-B'))).status, 200)
  const [before, otherBefore] = [hook.requests.length, other.requests.length]

  const filter = { target: 'hook', error_reason: 'client_error' }
  const dry = await service.post('/api/v1/dead-letters/replay', { ...filter, dry_run: true })
  t.match(dry.body, { matched: 3, replayed: 2, skipped_resolved: 1, dry_run: true })
  t.equal((await letters(service)).length, 6)
  const replay = await service.post('/api/v1/dead-letters/replay', filter)
  t.match(replay.body, { matched: 3, replayed: 2, skipped_resolved: 1, dry_run: false })
  await workedOff(service)
  t.same(told(hook).slice(before).sort(), ['A', 'C'])
  t.same(await letters(service, '?target=hook'), ['B'])
  t.equal(other.requests.length, otherBefore)
  const all = await service.post('/api/v1/dead-letters/replay', { target: 'hook', skip_resolved: false })
  t.match(all.body, { matched: 1, replayed: 1, skipped_resolved: 0 })
  await workedOff(service)
  t.equal(told(hook).length, before + 2, 'but the firing is older than the resolve that it has, and is not told')
  t.same(await letters(service, '?target=hook'), [])
})

onEachQueue(t, 'of a letter what has resolved since is left out, and the rest is told', async (t, queue) => {
  const hook = await startStandIn(t, { status: 400 })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  await publish(service, group('g', 'A', 'B', '-C'))
  await buried(service, 1)
  hook.answer({})
  t.equal((await publish(service, group('other', '-A'))).status, 200)
  const replay = await service.post('/api/v1/dead-letters/replay', {})
  t.match(replay.body, { matched: 1, replayed: 1, skipped_resolved: 0 })
  await workedOff(service)
  t.same(told(hook).slice(-1), ['B,-C'])
})

onEachQueue(t, 'a letter with an end does not close the incident of a group that fires since', async (t, queue) => {
  const pd = await startStandIn(t, { status: 202 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [pagerduty('pd', pd.url, { per: 'group' })]
  })
  const actions = () => pd.requests.map(request => request.json().event_action)
  await publish(service, group('g', 'A'))
  pd.answer({ status: 400 })
  for (const body of [group('g', '-A'), group('h', '-A')]) await publish(service, body)
  await buried(service, 2)
  pd.answer({ status: 202 })
  t.equal((await publish(service, group('g', 'B'))).status, 200)
  const before = pd.requests.length
  t.match((await service.post('/api/v1/dead-letters/replay', {})).body, { replayed: 2 })
  await workedOff(service)
  t.same(actions().slice(before).sort(), ['resolve', 'trigger'], 'the other group is over')
  t.equal((await publish(service, group('g', '-B'))).status, 200)
  t.equal(actions().at(-1), 'resolve')
})

onEachQueue(
  t,
  'a letter that is named is left out as well if it has resolved since, unless told otherwise',
  async (t, queue) => {
    const hook = await startStandIn(t, { status: 400 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [webhook('hook', hook.url)]
    })
    const { body } = await publish(service, group('g', 'A'))
    await buried(service, 1)
    hook.answer({})
    t.equal((await publish(service, group('g', '-A'))).status, 200)
    const path = `/api/v1/dead-letters/${body.results[0].delivery_id}/replay`
    t.match((await service.post(path)).body, { matched: 1, replayed: 0, skipped_resolved: 1 })
    t.same(await letters(service), ['A'])
    t.equal((await service.post(path, { skip_resolved: 'maybe' })).status, 400)
    t.match((await service.post(path, { skip_resolved: false })).body, { replayed: 1, skipped_resolved: 0 })
    await workedOff(service)
    t.same(await letters(service), [])
  }
)

onEachQueue(
  t,
  'what resolved long ago is left out as well, though nothing else is known of it any more, and what fires is not',
  async (t, queue) => {
    const clock = movableClock(t)
    const hook = await startStandIn(t, { status: 400 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, DEAD_LETTER_RETENTION: '30d' },
      targets: [webhook('hook', hook.url)]
    })
    for (const name of ['A', 'B']) await publish(service, group(name, name))
    await buried(service, 2)
    hook.answer({})
    t.equal((await publish(service, group('A', '-A'))).status, 200)
    clock.forward(20 * 86_400_000)
    t.match((await service.post('/api/v1/dead-letters/replay', {})).body, { replayed: 1, skipped_resolved: 1 })
    await workedOff(service)
    t.same(told(hook).slice(-1), ['B'])
    t.same(await letters(service), ['A'])
  }
)

onEachQueue(
  t,
  'what is replayed is owed, so that its end takes it back before anybody heard of it',
  async (t, queue) => {
    const incidents = await startStandIn(t, { status: 400 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...noRetry, CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '1h' },
      targets: [pagerduty('pd', incidents.url)]
    })
    await publish(service, group('g', 'A'))
    incidents.answer({ status: 503 })
    await publish(service, group('h', 'Z'))
    t.match((await service.post('/api/v1/dead-letters/replay', {})).body, { replayed: 1 })
    const { body } = await service.post(publishPaths.healthy, group('g', '-A'))
    t.match(body.results, [{ skip_reason: 'resolved_not_wanted' }])
    t.equal(await depth(service), 1)
    incidents.answer({ status: 202 })
    await service.post('/api/v1/targets/pd/circuit/reset')
    await service.retarget([pagerduty('pd', `${incidents.url}/2`)])
    await workedOff(service)
    t.same(events(incidents), ['A', 'Z', 'Z'])
  }
)

onRedis(t, 'what two replicas replay or purge at once is replayed and purged once', async (t, queue) => {
  const hook = await startStandIn(t, { status: 400 })
  const targets = [webhook('hook', hook.url, { rate_limit: { requests: 1000, per: '1s', burst: 1000 } })]
  const start = () => startTestService(t, { env: { ...queue.env, ...patient }, targets })
  const services = await Promise.all([start(), start()])
  const names = Array.from({ length: 40 }, (_, index) => `A${index}`)
  for (const name of names) await publish(services[0], group(name, name))
  hook.answer({})
  const sum = (replies: { body: Record<string, number> }[], what: string) =>
    replies.reduce((total, { body }) => total + body[what]!, 0)
  const replays = await Promise.all(services.map(service => service.post('/api/v1/dead-letters/replay', {})))
  t.equal(sum(replays, 'replayed'), 40)
  await workedOff(services[0])
  t.same(told(hook).slice(40).sort(), [...names].sort())

  hook.answer({ status: 400 })
  for (const name of names) await publish(services[0], group(`${name}-again`, `${name}-again`))
  await buried(services[0], 40)
  const purges = await Promise.all(
    services.map(service => service.send('DELETE', '/api/v1/dead-letters?older_than=0s'))
  )
  t.equal(sum(purges, 'purged'), 40)
})

onEachQueue(t, 'a replay of many is no storm', async (t, queue) => {
  const incidents = await startStandIn(t, { status: 400 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [pagerduty('pd', incidents.url)]
  })
  await publish(service, group('g', ...Array.from({ length: 20 }, (_, index) => `A${index}`)))
  await buried(service, 20)
  const slow = gate()
  incidents.answer(slow.answer)
  const { body } = await service.post('/api/v1/dead-letters/replay', {})
  t.match(body, { matched: 20, replayed: 20 })
  const { items } = (await service.get('/api/v1/deliveries?limit=1')).body
  const dueTimes: number[] = []
  for (const { id } of (await service.get('/api/v1/deliveries?limit=20')).body.items) {
    const { status, body } = await service.get(`/api/v1/queue/${id}`)
    if (status === 200) dueTimes.push(Date.parse(body.due_at))
  }
  t.equal(items.length, 1)
  dueTimes.sort((a, b) => a - b)
  t.equal(dueTimes.length, 20)
  t.ok(
    dueTimes.every((dueAt, index) => index === 0 || dueAt - dueTimes[index - 1]! >= 90),
    'one after the other'
  )
  slow.open({ status: 202 })
  await workedOff(service)
  t.equal(new Set(events(incidents)).size, 20)
})

onEachQueue(t, 'a later state of the alert goes its own way, whatever becomes of the dead letter', async (t, queue) => {
  const incidents = await startStandIn(t, { status: 400 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [pagerduty('pd', incidents.url)]
  })
  const first = await publish(service, group('g', 'A'))
  await buried(service, 1)
  incidents.answer({ status: 202 })
  t.equal((await publish(service, group('g', '-A'))).status, 200)
  t.equal((await publish(service, group('g', 'A'))).status, 200)
  t.same(events(incidents), ['A', '-A', 'A'])
  await service.post(`/api/v1/dead-letters/${first.body.results[0].delivery_id}/replay`)
  await workedOff(service)
  t.same(events(incidents), ['A', '-A', 'A'], 'what it carries is old, and was told since')
  t.match((await publish(service, group('g', 'A'))).body.results, [{ success: true, deduplicated: true }])
})

onEachQueue(
  t,
  'dead letters are purged by id and by age, and forgotten after DEAD_LETTER_RETENTION',
  async (t, queue) => {
    const clock = movableClock(t)
    const hook = await startStandIn(t, { status: 400 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, DEAD_LETTER_RETENTION: '7d' },
      targets: [webhook('hook', hook.url)]
    })
    for (const name of ['A', 'B']) await publish(service, group(name, name))
    await buried(service, 2)
    const { items } = (await service.get('/api/v1/dead-letters')).body
    const idOf = (name: string) => items.find(({ alerts }: Letter) => alerts[0]!.alert_name === name).id
    t.same((await service.send('DELETE', `/api/v1/dead-letters/${idOf('A')}`)).body, { purged: 1 })
    t.equal((await service.send('DELETE', `/api/v1/dead-letters/${idOf('A')}`)).status, 404)
    t.same(await letters(service), ['B'])

    clock.forward(2 * 3_600_000)
    await publish(service, group('C', 'C'))
    await buried(service, 2)
    t.same((await service.send('DELETE', '/api/v1/dead-letters?older_than=3h')).body, { purged: 0 })
    t.same((await service.send('DELETE', '/api/v1/dead-letters?older_than=1h')).body, { purged: 1 })
    t.equal((await service.send('DELETE', '/api/v1/dead-letters?older_than=soon')).status, 400)
    t.same(await letters(service), ['C'])
    clock.forward(7 * 86_400_000)
    await buried(service, 0)
  }
)

onEachQueue(t, 'a test alert fires and resolves on the real path', async (t, queue) => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [webhook('hook', hook.url), webhook('other', `${hook.url}/other`)]
  })
  const { status, body } = await service.post('/api/v1/targets/hook/test')
  t.equal(status, 200)
  t.match(body, { target_name: 'hook', success: true, status_code: 200, attempts: 1 })
  t.same(told(hook), ['AlertFanoutTest', '-AlertFanoutTest'])
  t.same(
    hook.requests.map(({ path }) => path),
    ['/', '/']
  )
  t.match(hook.requests[0]!.json().alerts[0].labels, { test: 'true', target: 'hook' })
  const { items } = (await service.get('/api/v1/deliveries')).body
  t.match(items, [
    { target: 'hook', state: 'delivered', alert_name: 'AlertFanoutTest', alert_status: 'resolved' },
    { target: 'hook', state: 'delivered', alert_name: 'AlertFanoutTest', alert_status: 'firing' }
  ])
})

onEachQueue(t, 'a test alert that fails is owed like any other, and its resolve takes it back', async (t, queue) => {
  const chat = await startStandIn(t, { status: 503 })
  const incidents = await startStandIn(t, { status: 503 })
  const targets = (path: string) => [webhook('chat', chat.url + path), pagerduty('pd', incidents.url + path)]
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: targets('') })
  for (const name of ['chat', 'pd'])
    t.match((await service.post(`/api/v1/targets/${name}/test`)).body, {
      success: false,
      status_code: 503,
      queued: true
    })
  t.equal(await depth(service), 1, 'a pager is not told of what is over')
  for (const each of [chat, incidents]) each.answer({ status: 202 })
  await service.retarget(targets('/2'))
  await workedOff(service)
  t.equal(told(chat).at(-1), '!-AlertFanoutTest')
  t.equal(incidents.requests.length, 1)
})

onEachQueue(t, 'every delivery is in the log with its attempts, by state, target and alert', async (t, queue) => {
  const down = await startStandIn(t, [{ status: 503 }, { status: 500 }, {}])
  const up = await startStandIn(t)
  const service = await startTestService(t, {
    env: { ...queue.env, RETRY_BASE: '10ms', RETRY_MAX_DELAY: '20ms' },
    targets: [webhook('down', down.url), webhook('up', up.url)]
  })
  const { body } = await publish(service, oneAlert('A', { fingerprint: 'abc' }))
  await publish(service, oneAlert('B', { fingerprint: 'def' }))
  await workedOff(service)
  const id = body.results[0].delivery_id
  await eventually(
    'the log tells it',
    async () => (await service.get(`/api/v1/deliveries/${id}`)).body.state === 'delivered'
  )
  t.match((await service.get(`/api/v1/deliveries/${id}`)).body, {
    id,
    publish_id: body.publish_id,
    target: 'down',
    state: 'delivered',
    alert_name: 'A',
    fingerprints: ['abc']
  })
  const ofA = (await service.get('/api/v1/deliveries?fingerprint=abc&state=delivered')).body.items
  t.same(ofA.map(({ target }: { target: string }) => target).sort(), ['down', 'up'])
  t.equal((await service.get('/api/v1/deliveries?target=up')).body.items.length, 2)
  t.same((await service.get('/api/v1/deliveries?state=queued')).body.items, [])
})

onEachQueue(t, 'at no moment is a delivery unknown, after a restart either', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const options = (path: string) => ({
    env: { ...queue.env, ...patient },
    targets: [webhook('hook', hook.url + path)]
  })
  const before = await startTestService(t, options('/1'))
  const ids: string[] = []
  for (let index = 0; index < 20; index++) {
    const { body } = await publish(before, group(`g${index}`, `A${index}`))
    ids.push(body.results[0].delivery_id)
  }
  await before.stop()
  hook.answer({})
  const service = await startTestService(t, options('/1'))
  const said = ids.map(async id => {
    for (const seen: unknown[] = []; ; ) {
      const { status, body } = await service.get(`/api/v1/deliveries/${id}`)
      const state = status === 200 ? body.state : status
      if (seen.at(-1) !== state) seen.push(state)
      if (state === 'delivered' || seen.length > 5) return seen
    }
  })
  await service.retarget([webhook('hook', `${hook.url}/2`)])
  for (const seen of await Promise.all(said)) t.same(seen, ['queued', 'delivered'])
})

onEachQueue(t, 'a storm is told as shortly after a restart as before it', async (t, queue) => {
  const down = await startStandIn(t, { status: 503 })
  const picky = await startStandIn(t, { status: 400 })
  const options = {
    env: { ...queue.env, ...patient },
    targets: [webhook('down', down.url), webhook('picky', picky.url)]
  }
  const before = await startTestService(t, options)
  const names = Array.from({ length: 300 }, (_, index) => `${index}-${'A'.repeat(300)}`)
  await publish(before, alertmanagerBody(names))
  await buried(before, 1)
  const { items } = (await before.get('/api/v1/deliveries')).body
  t.same(items.map(({ state }: { state: string }) => state).sort(), ['queued', 'refused'])
  await before.stop()
  const service = await startTestService(t, options)
  for (const item of items) {
    const { body } = await service.get(`/api/v1/deliveries/${item.id}`)
    t.equal(body.fingerprints.length, 256)
    t.same(body, item)
  }
})
