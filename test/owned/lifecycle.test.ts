import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { alertId, laneId, laneOf, laneOfGroup, stateField } from '../../src/pipeline/entry.js'
import { unpackState } from '../../src/pipeline/lifecycle.js'
import { redisStore } from '../../src/queues/redis.js'
import { openStore } from '../../src/queues/registry.js'
import { movableClock } from '../support/clock.js'
import { copyQueue } from '../support/directory.js'
import { targetOf } from '../support/drive.js'
import { events, fingerprintOf, group, pagerduty, rootlyAt, told, webhook } from '../support/posts.js'
import { depth, eventually, type OwnQueue, onEachQueue, onRedis, workedOff } from '../support/queues.js'
import { oneAlert, patient, publishPaths, startTestService, type TestService } from '../support/service.js'
import { gate, nobodyThere, startStandIn } from '../support/stand-in.js'
import { startVendors } from '../support/vendors.js'

const publish = (service: TestService, body: object) => service.post(publishPaths.all, body)

onEachQueue(
  t,
  'a firing that was taken but timed out, and resolves during an outage, is resolved',
  async (t, queue) => {
    const chat = await startStandIn(t, 'hang')
    const incidents = await startStandIn(t, 'hang')
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, ATTEMPT_TIMEOUT: '150ms' },
      targets: [webhook('chat', chat.url), pagerduty('pd', incidents.url)]
    })
    const firing = await publish(service, group('g', 'A'))
    t.equal(firing.status, 202)
    t.match(firing.body.results, [{ error_reason: 'timeout' }, { error_reason: 'timeout' }])
    for (const each of [chat, incidents]) each.answer({ status: 503 })
    const resolved = await publish(service, group('g', '-A'))
    t.equal(resolved.status, 202)
    for (const each of [chat, incidents]) each.answer({ status: 202 })
    await service.retarget([webhook('chat', `${chat.url}/2`), pagerduty('pd', `${incidents.url}/2`)])
    await workedOff(service)
    t.same(told(chat), ['A', '-A', '-A'])
    t.same(events(incidents), ['A', '-A', '-A'])
  }
)

onEachQueue(
  t,
  'what fired and resolved during an outage is one message in a chat, and none on a pager',
  async (t, queue) => {
    const chat = await startStandIn(t, { status: 503 })
    const incidents = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, HEALTH_FAILURE_THRESHOLD: '1' },
      targets: [webhook('chat', chat.url), pagerduty('pd', incidents.url)]
    })
    const firing = await publish(service, group('g', 'A'))
    t.equal(firing.status, 202)
    const resolved = await publish(service, group('g', '-A'))
    t.match(resolved.body.results, [
      { queued: true, delivery_id: firing.body.results[0].delivery_id },
      { success: false, skipped: true, queued: undefined }
    ])
    t.match((await service.get('/api/v1/queue')).body, { depth: 1 })
    for (const each of [chat, incidents]) each.answer({ status: 202 })
    await service.retarget([webhook('chat', `${chat.url}/2`), pagerduty('pd', `${incidents.url}/2`)])
    await workedOff(service)
    t.same(told(chat), ['A', '!-A', '!-A'])
    t.same(events(incidents), ['A'])
    const { items } = (await service.get('/api/v1/deliveries?target=pd')).body
    t.match(items, [
      { state: 'nothing', alert_status: 'resolved', error_reason: 'superseded', attempts: [{ status_code: 503 }] }
    ])
  }
)

onEachQueue(
  t,
  'a newer notification takes over what waits: {B, C firing} and the resolve of A go as one',
  async (t, queue) => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [webhook('hook', hook.url)]
    })
    t.equal((await publish(service, group('g', 'A', 'B'))).status, 200)
    hook.answer({ status: 503 })
    const waiting = await publish(service, group('g', '-A', 'B'))
    const coming = await publish(service, group('g', 'B', 'C'))
    t.same([waiting.status, coming.status], [202, 202])
    t.equal(coming.body.results[0].delivery_id, waiting.body.results[0].delivery_id, 'one delivery carries both')
    t.match((await service.get('/api/v1/queue')).body, { depth: 1 })
    hook.answer({})
    await service.retarget([webhook('hook', `${hook.url}/2`)])
    await workedOff(service)
    t.same(told(hook), ['A,B', '-A,B', 'B,C,-A', 'B,C,-A'])
    for (const body of [group('g', '-A', 'B'), group('g', 'B', 'C')])
      t.match((await publish(service, body)).body.results, [{ success: true, deduplicated: true }])
  }
)

onEachQueue(t, 'it goes at once with the newer one, if the target is there again', async (t, queue) => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  await publish(service, group('g', 'A', 'B'))
  hook.answer([{ status: 503 }, {}])
  t.equal((await publish(service, group('g', '-A', 'B'))).status, 202)
  const coming = await publish(service, group('g', 'B', 'C'))
  t.equal(coming.status, 200)
  t.match(coming.body.results, [{ success: true, deduplicated: undefined }])
  t.same(told(hook), ['A,B', '-A,B', 'B,C,-A'])
  await workedOff(service)
})

onEachQueue(
  t,
  'new alerts of a group leave alone what waits of it, and the next attempt takes all',
  async (t, queue) => {
    const hook = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [webhook('hook', hook.url)]
    })
    for (const alert of ['A', 'B', 'C']) t.equal((await publish(service, group('g', alert))).status, 202)
    t.equal(await depth(service), 3)
    t.same(told(hook), ['A', 'B', 'C'])
    hook.answer({})
    await service.retarget([webhook('hook', `${hook.url}/2`)])
    await workedOff(service)
    const requests = told(hook).slice(3)
    t.same(requests.flatMap(request => request.split(',')).sort(), ['A', 'B', 'C'])
    // With Redis several may be begun before the first one looks for the others.
    if (!queue.redis) t.equal(requests.length, 1)
  }
)

t.test('what was merged is one entry, however often it fails, and is told once', async t => {
  const hook = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, { env: patient, targets: [webhook('hook', hook.url)] })
  await publish(service, group('g', { name: 'A', severity: 'info' }))
  await publish(service, group('g', 'C'))
  t.equal(await depth(service), 2)
  // Both are due then: the newer one is critical, goes first, and goes on under the older one's id.
  await service.retarget([webhook('hook', `${hook.url}/2`)])
  const inFlight = async () => (await service.get('/status')).body.in_flight.deliveries
  await eventually('they failed as one', async () => hook.requests.length === 3 && (await inFlight()) === 0)
  t.equal(await depth(service), 1)
  t.same(told(hook), ['A', 'C', 'C,A'])
  hook.answer({})
  await service.retarget([webhook('hook', `${hook.url}/3`)])
  await workedOff(service)
  t.same(told(hook), ['A', 'C', 'C,A', 'C,A'])
  t.match((await service.get('/api/v1/deliveries')).body.items, [
    { state: 'nothing', error_reason: 'merged' },
    { state: 'delivered' }
  ])
})

onEachQueue(t, 'an incident of a group is not closed by what waited while something of it fires', async (t, queue) => {
  const incidents = await startStandIn(t, { status: 202 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [pagerduty('pd', incidents.url, { per: 'group' })]
  })
  await publish(service, group('g', 'A'))
  incidents.answer({ status: 503 })
  t.equal((await publish(service, group('g', '-A'))).status, 202)
  incidents.answer({ status: 202 })
  t.equal((await publish(service, group('g', 'C'))).status, 200)
  await workedOff(service)
  const actions = () => incidents.requests.map(request => request.json().event_action)
  t.same(actions(), ['trigger', 'resolve', 'trigger'])
  t.equal((await publish(service, group('g', '-C'))).status, 200)
  t.same(actions().slice(3), ['resolve'])
})

onEachQueue(t, 'nor by a resolve that goes without the others of its group', async (t, queue) => {
  const incidents = await startStandIn(t, { status: 202 })
  const perGroup = (path: string, more: object = {}) =>
    pagerduty('pd', `${incidents.url}/${path}`, { per: 'group', ...more })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [perGroup('1')] })
  const actionsOf = (path: string) =>
    incidents.requests.filter(each => each.path.startsWith(path)).map(each => each.json().event_action)
  await publish(service, group('g', 'A', 'B'))
  await service.retarget([perGroup('1', { enabled: false })])
  // A disabled target is owed no more than the resolves of what it has.
  t.match((await publish(service, group('g', '-A', 'B'))).body.results, [{ skip_reason: 'disabled', queued: true }])
  await service.retarget([perGroup('2')])
  await workedOff(service)
  t.same(actionsOf('/2'), ['trigger'])

  await publish(service, group('h', 'D', 'E'))
  incidents.answer({ status: 503 })
  await publish(service, group('h', '-D', 'E'))
  await publish(service, group('elsewhere', 'E'))
  incidents.answer({ status: 202 })
  await service.retarget([perGroup('3')])
  await workedOff(service)
  t.same(actionsOf('/3'), ['trigger', 'trigger'], 'E moved to another group and fires in both')
})

onEachQueue(
  t,
  'an incident is closed with the last of its group, also if another one ended unheard',
  async (t, queue) => {
    const incidents = await startStandIn(t, { status: 202 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [pagerduty('pd', incidents.url, { per: 'group' })]
    })
    await publish(service, group('g', 'B'))
    incidents.answer({ status: 503 })
    t.equal((await publish(service, group('g', 'A', 'B'))).status, 202)
    incidents.answer({ status: 202 })
    t.equal((await publish(service, group('g', '-A', '-B'))).status, 200)
    await workedOff(service)
    const actions = incidents.requests.map(request => request.json().event_action)
    t.same(actions, ['trigger', 'trigger', 'resolve'])
  }
)

onEachQueue(t, 'a retry for a group and a new alert of it do not pass each other at its incident', async (t, queue) => {
  const slow = gate()
  const incidents = await startStandIn(t, { status: 202 })
  const perGroup = (path: string) => pagerduty('pd', `${incidents.url}/${path}`, { per: 'group' })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, ACK_TIMEOUT: '300ms' },
    targets: [perGroup('1')]
  })
  await publish(service, group('g', 'A'))
  incidents.answer({ status: 503 })
  t.equal((await publish(service, group('g', '-A'))).status, 202)
  incidents.answer(() => slow.answer())
  await service.retarget([perGroup('2')])
  await incidents.got(3)
  t.equal((await publish(service, group('g', 'C'))).status, 202, 'it waits for the resolve')
  t.equal(incidents.requests.length, 3)
  slow.open({ status: 202 })
  await workedOff(service)
  const actions = incidents.requests.map(request => request.json().event_action)
  t.same(actions, ['trigger', 'resolve', 'resolve', 'trigger'])
})

onEachQueue(t, 'a re-fire that comes while its end is on its way is told, whatever that comes to', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, ACK_TIMEOUT: '100ms' },
    targets: [webhook('hook', hook.url)]
  })
  await publish(service, group('g', 'A'))
  hook.answer((_, index) => (index === 0 ? slow.answer() : {}))
  t.match((await publish(service, group('g', '-A'))).body.results, [{ queued: true }])
  t.match((await publish(service, group('g', 'A'))).body.results, [{ queued: true }])
  slow.open({})
  await workedOff(service)
  t.same(told(hook).slice(1), ['!-A', 'A'])
})

onEachQueue(t, 'who was only owed an end is told of the rest when it is asked for again', async (t, queue) => {
  const hook = await startStandIn(t)
  const target = (enabled: boolean) => [webhook('hook', hook.url, { enabled }), webhook('other', hook.url)]
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: target(true) })
  await publish(service, group('g', 'A'))
  await service.retarget(target(false))
  t.match((await publish(service, group('g', '-A', 'B'))).body.results, [{ skip_reason: 'disabled', queued: true }, {}])
  await service.retarget(target(true))
  await workedOff(service)
  const again = await publish(service, group('g', '-A', 'B'))
  t.match(again.body.results, [
    { success: true, deduplicated: undefined },
    { success: true, deduplicated: true }
  ])
})

onEachQueue(t, 'what waits is merged up to 1,000 alerts, and each is told once all the same', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  const named = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `A${from + index}`)
  for (const alerts of [
    named(0, 600),
    named(500, 1_000),
    ['-A500', ...named(999, 1_500)],
    ['-A1', ...named(1_400, 1_402)]
  ])
    t.equal((await publish(service, group('g', ...alerts))).status, 202)
  t.equal(await depth(service), 2)
  const before = hook.requests.length
  hook.answer({})
  await service.retarget([webhook('hook', `${hook.url}/2`)])
  await workedOff(service)
  const requests = told(hook).slice(before)
  t.ok(requests.every(request => request.split(',').length <= 1_000))
  const names = requests.flatMap(request => request.split(','))
  t.same([...names].sort(), [...named(0, 1_500).filter(name => !['A1', 'A500'].includes(name)), '-A1', '-A500'].sort())
})

onEachQueue(t, 'a resolve never overtakes its firing, however slow that is', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, ACK_TIMEOUT: '100ms' },
    targets: [webhook('hook', hook.url)]
  })
  const firing = publish(service, group('g', 'A'))
  await hook.got(1)
  const resolved = await publish(service, group('g', '-A'))
  t.equal(resolved.status, 202, 'it waits behind the firing')
  t.equal((await firing).status, 202)
  t.same(told(hook), ['A'])
  slow.open()
  await workedOff(service)
  t.same(told(hook), ['A', '-A'])
  t.equal(hook.mostOpen(), 1)
})

onEachQueue(t, 'nor does it if the firing fails in the end: then one message tells both', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
  const incidents = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : { status: 202 }))
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, ACK_TIMEOUT: '100ms' },
    targets: [webhook('hook', hook.url), pagerduty('pd', incidents.url)]
  })
  const firing = publish(service, group('g', 'A'))
  await Promise.all([hook.got(1), incidents.got(1)])
  await publish(service, group('g', '-A'))
  await firing
  slow.open({ status: 503 })
  await workedOff(service)
  t.same(told(hook), ['A', '!-A'])
  t.same(events(incidents), ['A'])
})

onEachQueue(t, 'a resolve goes to whoever has the firing, whatever health and filters say', async (t, queue) => {
  const sick = await startStandIn(t)
  const well = await startStandIn(t)
  const picky = await startStandIn(t)
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, HEALTH_FAILURE_THRESHOLD: '1' },
    targets: [
      webhook('picky', picky.url, { filter: { severities: ['critical'] } }),
      webhook('sick', sick.url, { health: { path: '/health' } }),
      webhook('well', well.url)
    ]
  })
  const alert = (status: string, severity: string) =>
    oneAlert('A', { status, classification: { severity }, starts_at: '2026-01-01T00:00:00Z' })
  t.equal((await service.post(publishPaths.healthy, alert('firing', 'critical'))).status, 200)
  t.equal((await service.post(publishPaths.healthy, oneAlert('B'))).status, 200)
  sick.answer(({ path }) => (path === '/health' ? { status: 500 } : {}))
  t.match((await service.post('/api/v1/targets/sick/check')).body, { status: 'unhealthy' })

  const unrelated = await service.post(publishPaths.healthy, oneAlert('C'))
  t.match(unrelated.body.results, [
    { success: true },
    { skipped: true, skip_reason: 'unhealthy', queued: undefined },
    {}
  ])
  const resolved = await service.post(publishPaths.healthy, alert('resolved', 'info'))
  t.equal(resolved.status, 207)
  t.match(resolved.body.results, [
    { target_name: 'picky', success: true },
    { target_name: 'sick', skipped: true, skip_reason: 'unhealthy', queued: true },
    { target_name: 'well', success: true }
  ])
  await workedOff(service)
  const sent = () => told({ ...sick, requests: sick.requests.filter(({ path }) => path !== '/health') })
  t.same(sent(), ['A', 'B', '-A'], 'the queue does not ask for health')
  t.same(told(picky), ['A', 'B', 'C', '-A'])
})

onEachQueue(t, 'a target that may have or is owed the firing gets the resolve as well', async (t, queue) => {
  const doubtful = await startStandIn(t, 'hang')
  const owed = await startStandIn(t, { status: 503 })
  const filter = { severities: ['critical'] }
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, ATTEMPT_TIMEOUT: '150ms' },
    targets: [webhook('doubtful', doubtful.url, { filter }), pagerduty('owed', owed.url, { filter })]
  })
  const alert = (status: string, severity: string) =>
    oneAlert('A', { status, classification: { severity }, starts_at: '2026-01-01T00:00:00Z' })
  t.equal((await service.post(publishPaths.all, alert('firing', 'critical'))).status, 202)
  doubtful.answer({})
  owed.answer({ status: 202 })
  const resolved = await service.post(publishPaths.all, alert('resolved', 'info'))
  t.match(resolved.body.results, [{ success: true }, { skipped: true, queued: undefined }])
  t.same(told(doubtful), ['A', '-A'])
  t.equal(owed.requests.length, 1, 'it surely has nothing, and never will')
  await workedOff(service)
  const stranger = await service.post(publishPaths.all, {
    ...oneAlert('B', { status: 'resolved', classification: { severity: 'info' } })
  })
  t.match(stranger.body.results, [{ skip_reason: 'filtered' }, { skip_reason: 'filtered' }])
})

for (const [ending, answer, inChat, onPager] of [
  ['arrives', { status: 202 }, ['A', '-A'], ['A', '-A']],
  ['fails', { status: 503 }, ['A', '!-A'], ['A']],
  ['is refused', { status: 400 }, ['A'], ['A']]
] as const) {
  onEachQueue(
    t,
    `a resolve that comes while the firing is under way goes if that ${ending} as it must`,
    async (t, queue) => {
      const slow = gate()
      let isWell = true
      let underWay = 0
      const slowAtFirst = () => {
        let took = 0
        return startStandIn(t, ({ path }) => {
          if (path === '/health') return { status: isWell ? 200 : 500 }
          if (took++ > 0) return { status: 202 }
          underWay++
          return slow.answer()
        })
      }
      const [picky, sick, incidents] = [await slowAtFirst(), await slowAtFirst(), await slowAtFirst()]
      const filter = { severities: ['critical'] }
      const service = await startTestService(t, {
        env: { ...queue.env, ...patient, HEALTH_FAILURE_THRESHOLD: '1' },
        targets: [
          pagerduty('pd', incidents.url, { filter }),
          webhook('picky', picky.url, { filter }),
          webhook('sick', sick.url, { health: { path: '/health' } })
        ]
      })
      const alert = (status: string, severity: string) =>
        oneAlert('A', {
          status,
          classification: { severity },
          starts_at: '2026-01-01T00:00:00Z',
          fingerprint: '41'.padEnd(32, '2e')
        })
      const firing = service.post(publishPaths.healthy, alert('firing', 'critical'))
      await eventually('it is under way', () => underWay === 3)
      isWell = false
      t.match((await service.post('/api/v1/targets/sick/check')).body, { status: 'unhealthy' })
      const resolved = service.post(publishPaths.healthy, alert('resolved', 'info'))
      await eventually('it waits', async () => (await service.get('/status')).body.in_flight.deliveries === 6)
      slow.open(answer)
      await firing
      await resolved
      await workedOff(service)
      const sent = told({ ...sick, requests: sick.requests.filter(({ path }) => path !== '/health') })
      t.same([told(picky), sent, events(incidents)], [inChat, inChat, onPager])
    }
  )
}

onEachQueue(
  t,
  'where each alert goes alone, it replaces what waits of it in whatever group it comes',
  async (t, queue) => {
    const incidents = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [pagerduty('pd', incidents.url)]
    })
    t.equal((await publish(service, group('g1', 'A', 'B'))).status, 202)
    t.equal((await publish(service, group('g2', 'A'))).status, 202)
    t.equal(await depth(service), 2)
    t.equal((await publish(service, group('g3', '-B'))).status, 200)
    t.equal(await depth(service), 1)
    const before = incidents.requests.length
    incidents.answer({ status: 202 })
    await service.retarget([pagerduty('pd', `${incidents.url}/2`)])
    await workedOff(service)
    t.same(events(incidents).slice(before), ['A'])
  }
)

t.test('QUEUE=off: a resolve goes to whoever has or may have the firing, whatever a filter says', async t => {
  const has = await startStandIn(t)
  const mayHave = await startStandIn(t, 'hang')
  const never = await startStandIn(t, { status: 503 })
  const filter = { severities: ['critical'] }
  const service = await startTestService(t, {
    env: { QUEUE: 'off', ATTEMPT_TIMEOUT: '150ms' },
    targets: [
      webhook('has', has.url, { filter }),
      webhook('may-have', mayHave.url, { filter }),
      webhook('never', never.url, { filter })
    ]
  })
  const alert = (status: string, severity: string) =>
    oneAlert('A', { status, classification: { severity }, starts_at: '2026-01-01T00:00:00Z' })
  t.equal((await service.post(publishPaths.all, alert('firing', 'critical'))).status, 503)
  for (const each of [mayHave, never]) each.answer({})
  t.match((await service.post(publishPaths.all, alert('resolved', 'info'))).body.results, [
    { success: true },
    { success: true },
    { skip_reason: 'filtered' }
  ])
  t.same([told(has), told(mayHave), told(never)], [['A', '-A'], ['A', '-A'], ['A']])
})

onEachQueue(t, 'a disabled target keeps the resolves that it is owed until it is enabled', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [webhook('hook', hook.url), webhook('other', `${hook.url}/other`)]
  })
  await publish(service, group('g', 'A'))
  await service.retarget([webhook('hook', hook.url, { enabled: false }), webhook('other', `${hook.url}/other`)])
  const resolved = await publish(service, group('g', '-A'))
  t.match(resolved.body.results, [
    { target_name: 'hook', skipped: true, skip_reason: 'disabled', queued: true },
    { success: true }
  ])
  clock.forward(5 * 86_400_000)
  await service.retarget([webhook('hook', hook.url), webhook('other', `${hook.url}/other`)])
  await workedOff(service)
  t.same(told({ ...hook, requests: hook.requests.filter(({ path }) => path === '/') }), ['A', '-A'])
})

onEachQueue(t, 'send_resolved: false stops the message, and what waited goes with it', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const quiet = (path: string) => webhook('hook', hook.url + path, { send_resolved: false })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [quiet('/1')] })
  const firing = await publish(service, group('g', 'A'))
  t.equal(firing.status, 202)
  const resolved = await publish(service, group('g', '-A'))
  t.equal(resolved.status, 200)
  t.match(resolved.body.results, [{ skipped: true, skip_reason: 'resolved_not_wanted' }])
  await workedOff(service)
  hook.answer({})
  await service.retarget([quiet('/2')])
  t.equal((await publish(service, group('g', 'B'))).status, 200)
  t.same(told(hook), ['A', 'B'])
})

onEachQueue(t, 'what is not told replaces what waits in other groups too', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const quiet = (path: string) => webhook('hook', hook.url + path, { send_resolved: false })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [quiet('/1')] })
  t.equal((await publish(service, group('g1', 'A', 'C'))).status, 202)
  hook.answer({})
  t.equal((await publish(service, group('g2', '-A', 'B'))).status, 200)
  await service.retarget([quiet('/2')])
  await workedOff(service)
  t.same(told(hook), ['A,C', 'B', 'C'], 'the firing of A is not told after its end')
})

onEachQueue(
  t,
  'what a later notification of another group told is not told again, older as it is',
  async (t, queue) => {
    const hook = await startStandIn(t, { status: 503 })
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [webhook('hook', hook.url)]
    })
    t.equal((await publish(service, group('g1', 'A', 'B'))).status, 202)
    hook.answer({})
    t.equal((await publish(service, group('g2', '-A'))).status, 200)
    await service.retarget([webhook('hook', `${hook.url}/2`)])
    await workedOff(service)
    t.same(told(hook), ['A,B', '!-A', 'B'])
  }
)

onEachQueue(t, 'a target that was skipped has what waits for it replaced as well', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '1h' },
    targets: [webhook('hook', hook.url)]
  })
  const first = await publish(service, group('g', 'A'))
  t.equal(first.status, 202)
  const id = first.body.results[0].delivery_id
  for (const body of [group('g', 'A', 'B'), group('g', '-A', 'B', 'C')]) {
    const { body: next } = await publish(service, body)
    t.match(next.results, [{ skipped: true, skip_reason: 'circuit_open', queued: true, delivery_id: id, attempts: 1 }])
  }
  t.match((await service.get('/api/v1/queue')).body, { depth: 1 })
  hook.answer({})
  await service.post('/api/v1/targets/hook/circuit/reset')
  await workedOff(service)
  t.same(told(hook), ['A', '-A,B,C'])
})

onEachQueue(t, 'a late message tells its readers how late it is', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, { status: 503 })
  const slack = await startStandIn(t, { status: 503 })
  const incidents = await startStandIn(t, { status: 503 })
  const targets = (path: string) => [
    webhook('hook', hook.url + path),
    pagerduty('pd', incidents.url + path),
    { name: 'slack', type: 'slack', url: slack.url + path }
  ]
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: targets('/1') })
  t.equal((await publish(service, group('g', 'A'))).status, 202)
  for (const each of [hook, slack, incidents]) each.answer({ status: 202, body: 'ok' })
  clock.forward(12 * 60_000)
  slack.answer({ body: 'ok' })
  await service.retarget(targets('/2'))
  await workedOff(service)
  const [, late] = hook.requests
  t.equal(hook.requests[0]!.json().late_by_ms, undefined)
  t.ok(late!.json().late_by_ms >= 12 * 60_000 && late!.json().late_by_ms < 13 * 60_000)
  t.match(slack.requests[1]!.bytes.toString(), 'late by 12 min')
  t.match(incidents.requests[1]!.json().payload.custom_details, { late_by: '12 min' })
})

onEachQueue(t, 'a Secret that is deleted and created again within a minute finds what it is owed', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t, { status: 503 })
  const target = webhook('hook', hook.url)
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [target] })
  t.equal((await publish(service, group('g', 'A'))).status, 202)
  t.equal((await publish(service, group('h', 'B'))).status, 202)
  await service.retarget([])
  t.equal((await publish(service, group('g', 'A'))).status, 503, 'no target is enabled')
  clock.forward(45_000)
  hook.answer({})
  t.match((await service.get('/api/v1/queue')).body, { depth: 2 })
  await service.retarget([target])
  await workedOff(service)
  t.same(told(hook).slice(2).sort(), ['A', 'B'])
  t.same((await service.get('/api/v1/dead-letters')).body.items, [])
  t.match((await publish(service, group('g', 'A'))).body.results, [{ success: true, deduplicated: true }])
})

t.test('what ends while its target is gone', async t => {
  /** Two targets are gone while the alerts of the group `g` come to `then`; a third one is there all the time. */
  async function awayDuring(t: Test, queue: OwnQueue, then: readonly object[], more: object = {}) {
    const [chat, incidents, other] = await Promise.all([1, 2, 3].map(() => startStandIn(t, { status: 503 })))
    const there = webhook('other', other!.url)
    const targets = [webhook('chat', chat!.url, more), pagerduty('pd', incidents!.url, more), there]
    const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets })
    other!.answer({})
    t.equal((await publish(service, group('g', 'A', 'B'))).status, 207)
    await service.retarget([there])
    for (const body of then) t.equal((await publish(service, body)).status, 200)
    for (const each of [chat!, incidents!]) each.answer({ status: 202 })
    await service.retarget(targets)
    await workedOff(service)
    return { service, chat: () => told(chat!).slice(1), incidents: () => events(incidents!).slice(2).sort() }
  }

  onEachQueue(t, 'is not told as firing, and what comes of the alert later is told as ever', async (t, queue) => {
    const { service, chat, incidents } = await awayDuring(t, queue, [group('g', '-A', '-B')])
    t.same([chat(), incidents()], [[], []])
    const { items } = (await service.get('/api/v1/deliveries?target=chat')).body
    t.match(items, [{ state: 'nothing', alert_status: 'firing', error_reason: 'superseded' }])
    t.equal((await publish(service, group('g', 'A'))).status, 200)
    t.equal((await publish(service, group('g', '-A', '-B'))).status, 200)
    t.same(chat(), ['A', '-A,-B'])
    t.same(incidents(), ['-A', 'A'])
  })

  onEachQueue(t, 'is left out of what is told of the others', async (t, queue) => {
    const { service, chat, incidents } = await awayDuring(t, queue, [group('g', '-A', 'B')])
    t.same([chat(), incidents()], [['B'], ['B']])
    t.equal((await publish(service, group('h', '-A'))).status, 200, 'a receiver that is later than others says so too')
    t.same([chat(), incidents()], [['B', '!-A'], ['B']])
  })

  onEachQueue(t, 'is left out by a newer notification that takes over what waits', async (t, queue) => {
    const [chat, other] = await Promise.all([1, 2].map(() => startStandIn(t, { status: 503 })))
    const slow = gate()
    const there = webhook('other', `${other!.url}/2`)
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient, QUEUE_WORKERS: '1', ACK_TIMEOUT: '100ms' },
      targets: [webhook('chat', chat!.url), webhook('other', other!.url)]
    })
    t.equal((await publish(service, group('g', 'A', 'B'))).status, 202)
    other!.answer(slow.answer)
    await service.retarget([there])
    await other!.got(2)
    const ended = await service.post(publishPaths.all, group('h', '-A'))
    t.match(ended.body.results, [{ target_name: 'other', queued: true }])
    chat!.answer({})
    await service.retarget([webhook('chat', chat!.url), there])
    const newer = await service.post(`${publishPaths.named}?target=chat`, group('g', 'B', 'C'))
    t.equal(newer.status, 200, 'the queue has no worker free, so this one goes first')
    slow.open({})
    await workedOff(service)
    t.same(told(chat!), ['A,B', 'B,C'])
  })

  onEachQueue(t, 'is not told by the next process either, which finds the target there', async (t, queue) => {
    const pd = await startStandIn(t, { status: 503 })
    const there = webhook('other', (await startStandIn(t)).url)
    const env = { ...queue.env, ...patient }
    const targets = [pagerduty('pd', pd.url), there]
    const service = await startTestService(t, { env, targets })
    t.equal((await publish(service, group('g', 'A'))).status, 207)
    await service.retarget([there])
    t.equal((await publish(service, group('g', '-A'))).status, 200)
    await service.stop()
    pd.answer({ status: 202 })
    const next = await startTestService(t, { env, targets: [there] })
    await next.stop()
    const last = await startTestService(t, { env, targets })
    await last.retarget([pagerduty('pd', `${pd.url}/2`), there])
    await workedOff(last)
    t.same(events(pd), ['A'])
    t.equal((await publish(last, group('h', 'B'))).status, 200)
    t.same(events(pd), ['A', 'B'])
  })

  onEachQueue(t, 'and fires again is told', async (t, queue) => {
    const again = { name: 'A', startsAt: '2026-11-20T19:00:00Z' }
    const { chat, incidents } = await awayDuring(t, queue, [group('g', '-A', '-B'), group('g', again)])
    t.same([chat(), incidents()], [['A'], ['A']])
  })

  onEachQueue(t, 'is told to who is told of no end', async (t, queue) => {
    const { chat, incidents } = await awayDuring(t, queue, [group('g', '-A', '-B')], { send_resolved: false })
    t.same([chat(), incidents()], [['A,B'], ['A', 'B']])
  })

  onEachQueue(t, 'is not what ends for others while the target is there', async (t, queue) => {
    const hook = await startStandIn(t, { status: 503 })
    const other = webhook('other', (await startStandIn(t)).url)
    const env = { ...queue.env, ...patient }
    const service = await startTestService(t, { env, targets: [webhook('hook', hook.url), other] })
    t.equal((await publish(service, group('g', 'A'))).status, 207)
    t.equal((await service.post(`${publishPaths.named}?target=other`, group('h', '-A'))).status, 200)
    hook.answer({})
    await service.retarget([webhook('hook', `${hook.url}/2`), other])
    await workedOff(service)
    t.same(told(hook), ['A', 'A'])
  })
})

onEachQueue(t, 'what a target has is kept while it fires, then for 24 h', async (t, queue) => {
  const clock = movableClock(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [webhook('hook', hook.url)] })
  await publish(service, group('g', 'A', 'B'))
  await publish(service, group('g', '-A', 'B'))
  await service.stop()
  const store = await openStore({
    queue: queue.redis ? 'redis' : 'embedded',
    queueDir: queue.env.QUEUE_DIR ?? '',
    ...(queue.redis ? { redisUrl: queue.redis.url } : {})
  })
  t.teardown(() => store.close())
  const has = async () => {
    const ids = ['A', 'B'].map(name => alertId(fingerprintOf(name)))
    return (await store.read(ids)).map(record => unpackState(record?.[stateField({ target: 'hook', slot: '' })])?.has)
  }
  t.same(await has(), ['resolved', 'firing'])
  clock.forward(23 * 3_600_000)
  t.same(await has(), ['resolved', 'firing'])
  clock.forward(2 * 3_600_000)
  t.same(await has(), [undefined, 'firing'])
})

onEachQueue(t, 'the id that a vendor gave is remembered over a restart', async (t, queue) => {
  const rootly = await startStandIn(t, ({ method }) => ({
    status: method === 'POST' ? 201 : 200,
    body: JSON.stringify({ data: { type: 'incidents', id: 'inc-1', attributes: { status: 'started' } } })
  }))
  const options = {
    env: { ...queue.env, ...patient },
    targets: [rootlyAt(rootly.url)]
  }
  const service = await startTestService(t, options)
  t.equal((await publish(service, group('g', 'A'))).status, 200)
  await service.stop()
  const next = await startTestService(t, options)
  t.equal((await publish(next, group('g', '-A'))).status, 200)
  t.same(
    rootly.requests.map(({ method, path }) => `${method} ${path}`),
    ['POST /v1/incidents', 'PUT /v1/incidents/inc-1/resolve']
  )
})

onEachQueue(t, 'what fires anew is looked for if its end may not have arrived', async (t, queue) => {
  const rootly = await startStandIn(t, 'hang')
  const target = (path: string) => rootlyAt(rootly.url + path)
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient, ATTEMPT_TIMEOUT: '150ms' },
    targets: [target('')]
  })
  for (const name of ['A', '-A']) t.match((await publish(service, group('g', name))).body.results, [{ queued: true }])
  rootly.answer({ status: 400 })
  await service.retarget([target('/2')])
  await workedOff(service)
  rootly.answer({ body: '{"data":[]}' })
  await publish(service, group('g', { name: 'A', startsAt: '2026-11-20T19:00:00Z' }))
  t.same(
    rootly.requests.map(({ method }) => method),
    ['POST', 'GET', 'GET', 'GET', 'POST']
  )
})

onRedis(
  t,
  'an incident of the group is looked for if one that waits, and another replica has, may have opened it',
  async (t, queue) => {
    const rootly = await startStandIn(t, 'reset')
    const service = await startTestService(t, {
      env: { ...queue.env, ...patient },
      targets: [rootlyAt(rootly.url, { per: 'group' })]
    })
    t.match((await publish(service, group('g', 'A'))).body.results, [{ queued: true }])
    const replica = await redisStore({ url: queue.redis.url })
    t.teardown(() => replica.close())
    t.ok(await replica.hold([laneId('rootly', fingerprintOf('A'))]))
    rootly.answer({ body: '{"data":[]}' })
    await publish(service, group('g', 'B'))
    t.same(
      rootly.requests.map(({ method }) => method),
      ['POST', 'GET', 'POST']
    )
  }
)

onEachQueue(t, 'an incident of the group is looked for if what was given up may have opened it', async (t, queue) => {
  const rootly = await startStandIn(t, 'reset')
  const target = (path: string) => rootlyAt(rootly.url + path, { per: 'group' })
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [target('')] })
  t.match((await publish(service, group('g', 'A'))).body.results, [{ queued: true }])
  rootly.answer({ status: 400 })
  await service.retarget([target('/2')])
  await workedOff(service)
  const made = { data: { type: 'incidents', id: 'inc-1', attributes: { status: 'started' } } }
  rootly.answer(({ method }) => ({ body: JSON.stringify(method === 'GET' ? { data: [] } : made) }))
  const again = { name: 'C', startsAt: '2026-11-20T19:00:00Z' }
  for (const each of ['B', '-B', again]) t.equal((await publish(service, group('g', each))).status, 200)
  t.same(
    rootly.requests.map(({ method }) => method),
    ['POST', 'GET', 'GET', 'POST', 'PUT', 'GET', 'POST'],
    'until the end, with which others that are open are closed'
  )
})

onRedis(t, 'so it is if a replica may have died over it, whatever comes of who has its lane next', async (t, queue) => {
  const rootly = await startStandIn(t, { body: '{"data":[]}' })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [rootlyAt(rootly.url, { per: 'group', send_resolved: false })]
  })
  const [firing] = (await publish(service, group('g', 'A'))).body.results
  t.match(firing, { success: true })
  const admin = new Redis(queue.redis.url.reveal())
  t.teardown(() => admin.quit())
  const [memory] = await admin.keys('*memory/rootly/*')
  await admin.del(memory!)
  const slot = memory!.split('/').at(-1)!
  await admin.set(`{alert-fanout}:h:${laneId('rootly', laneOfGroup(slot))}`, 'a replica that is gone')
  for (const each of ['-A', 'B']) t.equal((await publish(service, group('g', each))).status, 200)
  t.same(
    rootly.requests.map(({ method }) => method),
    ['POST', 'GET', 'POST']
  )
})

onRedis(t, 'of what two replicas opened while Redis was away, nothing stays open in the end', async (t, queue) => {
  const vendors = await startVendors(t)
  const rootly = vendors.find(({ name }) => name === 'rootly')!
  const options = { env: { ...queue.env, ...patient }, targets: [rootly.settings] }
  const replicas = await Promise.all([startTestService(t, options), startTestService(t, options)])
  await queue.redis.stop()
  rootly.be('late')
  await Promise.all(replicas.map(replica => publish(replica, group('g', 'A'))))
  const key = fingerprintOf('A')
  t.equal(rootly.open(key), 2, 'neither knew of the other')
  rootly.be('well')
  await queue.redis.start()
  await eventually('Redis is back', async () => {
    const depths = await Promise.all(replicas.map(depth))
    return depths.every(each => each === 0)
  })
  for (const names of [
    ['A', 'B'],
    ['-A', '-B']
  ])
    t.equal((await publish(replicas[0], group('g', ...names))).status, 200)
  t.equal(rootly.open(key), 0)
})

onRedis(t, 'what a replica died over is in doubt, and nothing beside it', async (t, queue) => {
  const other = await startStandIn(t, { status: 503 })
  const target = { name: 'other', type: 'alertmanager', url: other.url }
  const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [target] })
  t.equal((await publish(service, group('g', 'A', 'B'))).status, 202)
  const [peer] = targetOf(target).wire.peers!
  const lane = laneId('other', laneOf(peer, fingerprintOf('A')))
  const admin = new Redis(queue.redis.url.reveal())
  t.teardown(() => admin.quit())
  await admin.set(`{alert-fanout}:h:${lane}`, 'a replica that is gone')
  other.answer({})
  await publish(service, group('g', '-A', '-B'))
  const told = other.requests.filter(({ method }) => method === 'POST').at(-1)!
  t.same(
    told.json().map(({ labels }: { labels: { alertname: string } }) => labels.alertname),
    ['A']
  )
})

onRedis(
  t,
  'what may have arrived is not forgotten with an attempt that is refused while Redis is away',
  async (t, queue) => {
    const slow = gate()
    const found = { body: '{"data":[]}' }
    const rootly = await startStandIn(t, (_, index) => (index === 0 ? 'reset' : index === 1 ? slow.answer() : found))
    const target = (path: string) => rootlyAt(rootly.url + path)
    const service = await startTestService(t, { env: { ...queue.env, ...patient }, targets: [target('')] })
    t.match((await publish(service, group('g', 'A'))).body.results, [{ queued: true }])
    await service.retarget([target('/2')])
    await rootly.got(2)
    await queue.redis.stop()
    slow.open({ status: 400 })
    await eventually('it is refused', async () => (await service.get('/status')).body.in_flight.deliveries === 0)
    await queue.redis.start()
    await eventually('Redis is back', async () => (await depth(service)) === 0)
    await publish(service, group('g', { name: 'A', startsAt: '2026-11-20T19:00:00Z' }))
    t.same(
      rootly.requests.map(({ method }) => method),
      ['POST', 'GET', 'GET', 'POST']
    )
  }
)

t.test('what a crash may have forgotten is looked for, also by whoever comes after the next stop', async t => {
  const directory = t.testdir({ before: {} })
  const rootly = await startStandIn(t, { body: '{"data":[]}' })
  const options = (queue: string) => ({
    env: { QUEUE_DIR: join(directory, queue), ...patient },
    targets: [rootlyAt(rootly.url)]
  })
  const service = await startTestService(t, options('before'))
  await copyQueue(join(directory, 'before'), join(directory, 'after'))
  await publish(service, group('g', 'A'))
  for (const name of ['B', 'C']) {
    const next = await startTestService(t, options('after'))
    await publish(next, group('g', name))
    await next.stop()
  }
  t.same(
    rootly.requests.map(({ method }) => method),
    ['POST', 'GET', 'POST', 'GET', 'POST']
  )
})

onEachQueue(t, 'an attempt that a stop cut short may have arrived: its resolve is told', async (t, queue) => {
  const incidents = await startStandIn(t, { status: 503 })
  const options = { env: { ...queue.env, ...patient }, targets: [pagerduty('pd', incidents.url)] }
  const service = await startTestService(t, options)
  t.equal((await publish(service, group('g', 'A'))).status, 202)
  incidents.answer('hang')
  await service.retarget([pagerduty('pd', `${incidents.url}/2`)])
  await incidents.got(2)
  await service.stop()
  incidents.answer({ status: 202 })
  const next = await startTestService(t, { ...options, targets: [pagerduty('pd', incidents.url, { enabled: false })] })
  t.match((await publish(next, group('g', '-A'))).body.results, [{ queued: true }])
  await next.retarget([pagerduty('pd', incidents.url)])
  await workedOff(next)
  t.equal(events(incidents).at(-1), '-A')
})

t.test('so is one that a crash cut short, of which nothing tells but that it was begun', async t => {
  const directory = t.testdir({ before: {} })
  const incidents = await startStandIn(t, { status: 503 })
  const options = (queue: string, enabled = true) => ({
    env: { QUEUE_DIR: join(directory, queue), ...patient },
    targets: [pagerduty('pd', incidents.url, { enabled })]
  })
  const service = await startTestService(t, options('before'))
  const firing = await publish(service, group('g', 'A'))
  t.equal(firing.status, 202)
  incidents.answer('hang')
  await service.retarget([pagerduty('pd', `${incidents.url}/2`), webhook('down', await nobodyThere())])
  await incidents.got(2)
  // Once another one is owned, all before it is on the disk: a copy of that is what a crash would have left.
  t.equal((await service.post(`${publishPaths.named}?target=down`, group('h', 'B'))).status, 202)
  await copyQueue(join(directory, 'before'), join(directory, 'after'))

  incidents.answer({ status: 202 })
  const next = await startTestService(t, options('after', false))
  const entry = await next.get(`/api/v1/queue/${firing.body.results[0].delivery_id}`)
  t.match(entry.body, { tries: 1 }, 'the crash cost it no try')
  t.match((await publish(next, group('g', '-A'))).body.results, [{ queued: true }])
  await next.retarget([pagerduty('pd', incidents.url)])
  await eventually('it is told', () => incidents.requests.length === 3)
  t.equal(events(incidents).at(-1), '-A')
})

onEachQueue(t, 'an alert of two groups ends in the incident of each of them', async (t, queue) => {
  const pd = await startStandIn(t, { status: 202 })
  const service = await startTestService(t, {
    env: { ...queue.env, ...patient },
    targets: [pagerduty('pd', pd.url, { per: 'group' })]
  })
  const actions = () => pd.requests.map(request => request.json().event_action)
  for (const name of ['a', 'b']) await publish(service, group(name, 'A'))
  pd.answer({ status: 503 })
  for (const name of ['a', 'b']) t.match((await publish(service, group(name, '-A'))).body.results, [{ queued: true }])
  const tried = pd.requests.length
  pd.answer({ status: 202 })
  await service.retarget([pagerduty('pd', `${pd.url}/2`, { per: 'group' })])
  await workedOff(service)
  const keys = pd.requests.slice(tried).map(request => request.json().dedup_key)
  t.same(actions().slice(tried), ['resolve', 'resolve'])
  t.equal(new Set(keys).size, 2)
})

t.test('what a caller left behind is not told again with the next notification of its group', async t => {
  const slow = gate()
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: patient,
    targets: [webhook('hook', hook.url)]
  })
  await publish(service, group('g', 'A', 'B'))
  hook.answer((_, index) => (index === 0 ? slow.answer() : {}))
  const first = publish(service, group('g', '-A', 'B'))
  await hook.got(2)
  const caller = new AbortController()
  const body = JSON.stringify(group('g', '-A', 'B'))
  const headers = { 'content-type': 'application/json' }
  const left = fetch(service.url + publishPaths.all, { method: 'POST', body, headers, signal: caller.signal })
  left.catch(() => {})
  await eventually('both are under way', async () => (await service.get('/status')).body.in_flight.publishes === 2)
  caller.abort()
  await eventually('it is owed', async () => (await depth(service)) === 1)
  const next = publish(service, group('g', 'B', 'C'))
  await eventually(
    'the next one is under way',
    async () => (await service.get('/status')).body.in_flight.publishes === 2
  )
  slow.open({})
  await Promise.all([first, next])
  await workedOff(service)
  t.same(told(hook), ['A,B', '-A,B', 'B,C'])
})
