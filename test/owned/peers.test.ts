import t, { type Test } from 'tap'
import { group } from '../support/posts.js'
import { depth, eventually, type OwnQueue, onEachQueue, workedOff } from '../support/queues.js'
import { oneAlert, patient, publishPaths, startTestService, type TestService } from '../support/service.js'
import { gate, type StandIn, startStandIn } from '../support/stand-in.js'

/** What fails is tried again at once, and no circuit opens. */
const eager = { RETRY_BASE: '10ms', RETRY_MAX_DELAY: '20ms', CIRCUIT_FAILURE_THRESHOLD: '10000' }
const ended = '2026-11-20T18:30:00Z'
const filter = { severities: ['critical'] }

const cluster = (peers: readonly StandIn[], more: object = {}): object => ({
  name: 'am',
  type: 'alertmanager',
  urls: peers.map(({ url }) => url),
  ...more
})

const serviceOf = (t: Test, queue: OwnQueue, targets: readonly object[], env: Record<string, string> = eager) =>
  startTestService(t, { env: { ...queue.env, ...env }, targets })

const publish = (service: TestService, body: object) => service.post(publishPaths.all, body)

/** A body of our own, which waits for its targets: so severe when it fires that the filter lets it through, and no more after. */
const alert = (status: 'firing' | 'resolved') =>
  oneAlert('A', {
    status,
    classification: { severity: status === 'firing' ? 'critical' : 'info' },
    starts_at: '2026-01-01T00:00:00Z',
    fingerprint: '41'.padEnd(32, '2e'),
    ...(status === 'resolved' ? { ends_at: ended } : {})
  })

/** What a peer got, one text per request: `A,-B`, as `group` takes it. */
const told = ({ requests }: StandIn): string[] =>
  requests.map(request =>
    request
      .json()
      .map((each: { endsAt: string; labels: { alertname: string } }) =>
        each.endsAt === ended ? `-${each.labels.alertname}` : each.labels.alertname
      )
      .join()
  )

onEachQueue(t, 'a peer that hangs keeps no other one waiting, and gets all in order in the end', async (t, queue) => {
  const slow = gate()
  const hung = await startStandIn(t, slow.answer)
  const good = await startStandIn(t)
  const service = await serviceOf(t, queue, [cluster([hung, good])], { ...eager, ACK_TIMEOUT: '1s' })
  for (const [count, name] of ['A', '-A'].entries()) {
    const { status, body } = await publish(service, group('g', name))
    t.equal(status, 207)
    t.match(body.results, [{ success: true, parts: { total: 2, delivered: 1, queued: 1 } }])
    t.same(told(good), ['A', '-A'].slice(0, count + 1))
  }
  t.same(told(hung), ['A'], 'the resolve waits for the firing')
  slow.open()
  await workedOff(service)
  t.same(told(hung), ['A', '-A'])
  t.same(told(good), ['A', '-A'])
})

onEachQueue(
  t,
  'a peer that is down closes the way to none that works, and is tried no sooner for that',
  async (t, queue) => {
    const down = await startStandIn(t, { status: 503 })
    const good = await startStandIn(t)
    const service = await serviceOf(t, queue, [cluster([down, good])], { ...patient, CIRCUIT_FAILURE_THRESHOLD: '2' })
    const circuit = async () => (await service.get('/api/v1/targets/am')).body.circuit.state
    for (const name of ['A', 'B', 'C']) {
      const { body } = await publish(service, group(name, name))
      t.match(body.results, [{ success: true, parts: { delivered: 1, queued: 1 } }])
    }
    t.same(told(good), ['A', 'B', 'C'])
    t.same(told(down), ['A', 'B', 'C'], 'what the good one takes is no news of it')
    t.equal(await circuit(), 'closed')
    good.answer({ status: 503 })
    for (const name of ['D', 'E']) await publish(service, group(name, name))
    t.equal(await circuit(), 'open', 'nobody takes anything')
  }
)

onEachQueue(t, 'alerts of one group do not wait for each other at a cluster', async (t, queue) => {
  const slow = gate()
  const peer = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
  const service = await serviceOf(t, queue, [cluster([peer])], { ...patient, ACK_TIMEOUT: '5s' })
  const first = publish(service, group('g', 'A'))
  await peer.got(1)
  t.equal((await publish(service, group('g', 'B'))).status, 200)
  slow.open()
  t.equal((await first).status, 200)
})

onEachQueue(t, 'a peer that hangs takes no room from the others', async (t, queue) => {
  const slow = gate()
  const hung = await startStandIn(t, slow.answer)
  const good = await startStandIn(t)
  const service = await serviceOf(t, queue, [cluster([hung, good], { max_concurrent: 1 })], {
    ...patient,
    ACK_TIMEOUT: '300ms'
  })
  for (const name of ['A', 'B', 'C']) {
    const { body } = await publish(service, group(name, name))
    t.match(body.results, [{ success: true, parts: { delivered: 1, queued: 1 } }])
  }
  t.same(told(good), ['A', 'B', 'C'])
  t.same(told(hung), ['A'], 'one at a time')
  t.match((await service.get('/api/v1/targets/am')).body, { in_flight: 1 })
  slow.open()
  await workedOff(service)
  t.same(told(hung).sort(), ['A', 'B', 'C'])
})

onEachQueue(t, 'what one peer has is not taken for what another one has', async (t, queue) => {
  const ill = await startStandIn(t)
  const good = await startStandIn(t)
  const service = await serviceOf(t, queue, [cluster([ill, good])], patient)
  await publish(service, group('g', 'A'))
  const slow = gate()
  ill.answer(slow.answer)
  const resolved = publish(service, group('g', '-A'))
  const delivered = async () => (await service.get('/api/v1/deliveries?state=delivered')).body.items.length
  await eventually('the good one has it', async () => (await delivered()) === 3)
  // Only now: a success after a failure would have what is owed tried again.
  slow.open({ status: 503 })
  t.match((await resolved).body.results, [{ parts: { delivered: 1, queued: 1 } }])
  ill.answer({ status: 503 })
  good.answer({ status: 503 })
  t.match((await publish(service, group('g', 'A'))).body.results, [{ parts: { delivered: 0, queued: 2 } }])
  for (const peer of [ill, good]) peer.answer({})
  await publish(service, group('g', '-A'))
  await workedOff(service)
  // What failed may have been tried once more before the resolve took its place.
  const inOrder = told(ill).filter((each, index, all) => each !== all[index - 1])
  t.same(inOrder, ['A', '-A', 'A', '-A'], 'it has had the first firing until now')
  t.same(told(good), ['A', '-A', 'A'], 'of the second one it never heard')
})

onEachQueue(t, 'peers that are owed many alerts at once get each of them once', async (t, queue) => {
  const peers = [await startStandIn(t, { status: 503 }), await startStandIn(t, { status: 503 })]
  const service = await serviceOf(t, queue, [cluster(peers)], { ...patient, CIRCUIT_FAILURE_THRESHOLD: '1' })
  await publish(service, group('g', 'A'))
  const names = Array.from({ length: 300 }, (_, index) => `A${index}`)
  const { body } = await publish(service, group('h', ...names))
  t.match(body.results, [{ queued: true, skip_reason: 'circuit_open' }])
  t.equal(await depth(service), 4)
  for (const peer of peers) peer.answer({})
  await service.retarget([cluster(peers, { max_concurrent: 20 })])
  await workedOff(service)
  await publish(service, group('h', ...names.map(name => `-${name}`)))
  for (const peer of peers)
    t.same(told(peer).slice(1).sort(), ['A', names.join(), names.map(name => `-${name}`).join()].sort())
})

onEachQueue(
  t,
  'a resolve that a filter keeps back finds the firing that is under way at one of the peers',
  async (t, queue) => {
    const slow = gate()
    const hung = await startStandIn(t, (_, index) => (index === 0 ? slow.answer() : {}))
    const other = await startStandIn(t, { status: 400 })
    const one = await serviceOf(t, queue, [cluster([other, hung], { filter })])
    const firing = publish(one, alert('firing'))
    await Promise.all([hung.got(1), other.got(1)])
    const two = queue.redis ? await serviceOf(t, queue, [cluster([other, hung], { filter })]) : one
    const resolved = publish(two, alert('resolved'))
    const inFlight = async () => (await two.get('/status')).body.in_flight.deliveries
    await eventually('it waits', async () => (await inFlight()) > 0 && told(hung).length === 1)
    slow.open()
    await Promise.all([firing, resolved])
    await workedOff(two)
    t.same(told(hung), ['A', '-A'])
  }
)

onEachQueue(t, 'a peer that moved to another address gets the resolve that a filter keeps back', async (t, queue) => {
  const [before, after] = [await startStandIn(t), await startStandIn(t)]
  const service = await serviceOf(t, queue, [cluster([before], { filter })])
  await publish(service, alert('firing'))
  await service.retarget([cluster([after], { filter })])
  t.match((await publish(service, alert('resolved'))).body.results, [{ success: true, skipped: false }])
  t.same([told(before), told(after)], [['A'], ['-A']])
})

onEachQueue(
  t,
  'what waits for a peer that has left comes to no other one after what that has heard since',
  async (t, queue) => {
    const slow = gate()
    const leaving = await startStandIn(t, slow.answer)
    const staying = await startStandIn(t)
    const service = await serviceOf(t, queue, [cluster([leaving, staying])])
    const running = publish(service, group('g', 'A'))
    await Promise.all([leaving.got(1), staying.got(1)])
    const waiting = publish(service, group('h', 'A'))
    await staying.got(2)
    await service.retarget([cluster([staying])])
    t.equal((await publish(service, group('g', '-A'))).status, 200)
    slow.open({ status: 503 })
    for (const { body } of await Promise.all([running, waiting]))
      t.match(body.results, [{ success: true, parts: { total: 2, delivered: 1, queued: 1 } }])
    await workedOff(service)
    t.same(told(staying), ['A', 'A', '-A'])
    t.same(told(leaving), ['A'])
  }
)
