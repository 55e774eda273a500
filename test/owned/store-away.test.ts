import { chmod, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { ownDirectory } from '../support/directory.js'
import { eventually, onEachQueue, onRedis, workedOff } from '../support/queues.js'
import {
  alertmanagerBody,
  noRetry,
  oneAlert,
  publishPaths,
  startTestService,
  type TestService
} from '../support/service.js'
import { gate, type StandIn, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string) => ({ name, type: 'webhook', url })

onRedis(t, 'one that is away at the start is waited for: alive, not ready, then ready by itself', async (t, queue) => {
  await queue.redis.stop()
  const hook = await startStandIn(t)
  const service = await startTestService(t, { env: queue.env, targets: [webhook('hook', hook.url)] })
  t.equal((await service.get('/healthz')).status, 200)
  t.equal((await service.get('/readyz')).status, 503)
  const refused = await service.post(publishPaths.all, oneAlert())
  t.equal(refused.status, 503)
  t.match(refused.body, { code: 'NOT_READY' })
  t.match((await service.get('/status')).body.queue, { available: false, warnings: ['Redis is not reachable'] })

  await queue.redis.start()
  await eventually('it is ready', async () => (await service.get('/readyz')).status === 200)
  t.equal((await service.post(publishPaths.all, oneAlert())).status, 200)
  t.match((await service.get('/status')).body.queue, { available: true, warnings: [] })
})

onRedis(t, 'one that may forget is told of at the start, also when it comes late', async (t, queue) => {
  await queue.redis.stop()
  const service = await startTestService(t, { env: { ...queue.env, LOG_LEVEL: 'warn' } })
  await queue.redis.start('--appendonly', 'no')
  await eventually('it is ready', async () => (await service.get('/readyz')).status === 200)
  const said = service.logs.filter(({ level }) => level === 40).map(({ msg }) => msg)
  const warning = 'Redis has its append-only file off: what is owed is lost when it restarts (set appendonly yes)'
  t.ok(said.includes(warning), said.join('\n'))
  t.match((await service.get('/status')).body.queue, { warnings: [warning] })
})

for (const how of ['stopped', 'frozen'] as const) {
  onRedis(
    t,
    `while it is ${how}, who can be reached is reached, what cannot be owned is 503, and nothing is lost`,
    async (t, queue) => {
      const up = await startStandIn(t)
      const down = await startStandIn(t, { status: 503 })
      const service = await startTestService(t, {
        env: { ...queue.env, RETRY_BASE: '20ms', RETRY_MAX_DELAY: '50ms', CIRCUIT_FAILURE_THRESHOLD: '1000' },
        targets: [webhook('down', down.url), webhook('up', up.url)]
      })
      const owed = await service.post(publishPaths.all, alertmanagerBody(['Before']))
      t.equal(owed.status, 207)
      if (how === 'frozen') queue.redis.pause()
      else await queue.redis.stop()

      const delivered = await service.post(`${publishPaths.named}?target=up`, alertmanagerBody(['During']))
      t.equal(delivered.status, 200)
      const refused = await service.post(publishPaths.all, alertmanagerBody(['Refused']))
      t.equal(refused.status, 503)
      t.match(refused.body, {
        code: 'QUEUE_UNAVAILABLE',
        success: true,
        results: [{ queued: undefined }, { success: true }]
      })
      t.match(refused.headers.get('retry-after'), /^\d+$/)
      const again = await service.post(publishPaths.all, alertmanagerBody(['Refused']))
      t.equal(again.status, 503)
      t.match(again.body.results, [{ success: false }, { success: true, deduplicated: true }], 'who has it is known')
      t.equal((await service.get('/readyz')).status, 200, 'a loss after the start shows elsewhere')
      const { queue: away } = (await service.get('/status')).body
      t.match(away, { available: false, depth: null, by_priority: null, oldest_age_ms: null, targets: [] })

      if (how === 'frozen') queue.redis.resume()
      else await queue.redis.start()
      await eventually('it is back', async () => (await service.get('/status')).body.queue.available)
      const failedTries = down.requests.length
      down.answer({})
      // Alertmanager tries again what got no 2xx; who has it is left alone.
      const retried = await service.post(publishPaths.all, alertmanagerBody(['Refused']))
      t.equal(retried.status, 200)
      t.match(retried.body.results, [{ deduplicated: undefined }, { deduplicated: true }])
      const twin = await service.post(`${publishPaths.named}?target=up`, alertmanagerBody(['During']))
      t.match(twin.body.results, [{ success: true, deduplicated: true }])
      await workedOff(service)
      t.same(namesAt(up), ['Before', 'During', 'Refused'])
      t.same(namesAt(down).slice(failedTries).sort(), ['Before', 'Refused'], 'what was owed before is delivered')
    }
  )
}

const namesAt = (hook: StandIn) => hook.requests.map(request => request.json().alerts[0].labels.alertname)

onRedis(t, 'an outcome that cannot be written is kept, and nothing is sent again for it', async (t, queue) => {
  const slow = gate()
  const hook = await startStandIn(t, (_, index) => (index === 0 ? { status: 503 } : slow.answer()))
  const service = await startTestService(t, {
    env: { ...queue.env, RETRY_BASE: '20ms' },
    targets: [webhook('hook', hook.url)]
  })
  const { body } = await service.post(publishPaths.all, alertmanagerBody())
  await hook.got(2)
  await queue.redis.stop()
  slow.open()
  await eventually('the attempt has ended', async () => (await service.get('/status')).body.in_flight.deliveries === 0)
  for (const when of ['away', 'back']) {
    const twin = await service.post(publishPaths.all, alertmanagerBody())
    t.match(twin.body.results, [{ success: true, deduplicated: true }], `known while Redis is ${when}`)
    if (when === 'away') await queue.redis.start()
    await workedOff(service)
  }
  t.equal(hook.requests.length, 2)
  const { state } = (await service.get(`/api/v1/deliveries/${body.results[0].delivery_id}`)).body
  t.equal(state, 'delivered')
})

onRedis(t, 'while Redis takes no writes nothing that is owed is sent, and nothing twice', async (t, queue) => {
  const well = await startStandIn(t)
  const ill = await startStandIn(t, { status: 503 })
  const services = await Promise.all(
    [1, 2].map(() =>
      startTestService(t, {
        env: { ...queue.env, RETRY_BASE: '10ms', RETRY_MAX_DELAY: '20ms', CIRCUIT_FAILURE_THRESHOLD: '10000' },
        targets: [webhook('well', well.url), webhook('ill', ill.url)]
      })
    )
  )
  const [one] = services as [TestService, TestService]
  t.equal((await one.post(publishPaths.all, alertmanagerBody(['Before']))).status, 207)
  const admin = new Redis(queue.redis.url.reveal())
  t.teardown(() => admin.quit())
  await admin.config('SET', 'min-replicas-to-write', '1')
  const isAvailable = async (service: TestService) => (await service.get('/api/v1/queue')).body.available
  for (const service of services)
    await eventually('the refusal is told', async () => {
      await service.post(publishPaths.all, oneAlert())
      return !(await isAvailable(service))
    })
  ill.answer({})
  const before = namesAt(well).length
  for (const _ of [1, 2, 3]) await one.post(publishPaths.all, alertmanagerBody(['Meanwhile']))
  t.same(namesAt(well).slice(before), ['Meanwhile'], 'callers who ask again are not heard twice')
  const meanwhile = namesAt(ill)
  await admin.config('SET', 'min-replicas-to-write', '0')
  for (const service of services) await eventually('it goes on', () => isAvailable(service))
  await workedOff(one)
  const since = namesAt(ill).slice(meanwhile.length)
  t.equal(since.filter(name => name === 'Before').length, 1)
})

onEachQueue(t, 'what is written down holds no credential of the target', async (t, queue) => {
  const hook = await startStandIn(t, { status: 503 })
  const secret = 'TOPSECRET'
  const auth = { type: 'bearer', token: secret }
  const service = await startTestService(t, {
    env: { ...queue.env, ...noRetry },
    targets: [
      { ...webhook('hook', `${hook.url}/${secret}?key=${secret}`), auth, headers: { 'X-Key': secret } },
      { name: 'pd', type: 'pagerduty', url: hook.url, routing_key: secret }
    ]
  })
  t.equal((await service.post(publishPaths.all, alertmanagerBody(['Marker']))).status, 202)
  t.match(String(hook.requests.map(({ headers, path }) => headers.authorization ?? path)), secret)
  await service.stop()
  const written = queue.redis ? await keptInRedis(queue.redis.url.reveal()) : await keptIn(queue.env.QUEUE_DIR!)
  t.match(written, 'Marker')
  t.notMatch(written, secret)
})

/** All bytes of a directory's files, as text. */
async function keptIn(directory: string): Promise<string> {
  const entries = await readdir(directory, { withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(({ name }) => readFile(join(directory, name), 'latin1'))
  return (await Promise.all(files)).join()
}

/** All records of a Redis, as text. */
async function keptInRedis(url: string): Promise<string> {
  const redis = new Redis(url)
  const keys = await redis.keys('*r:*')
  const records = await Promise.all(keys.map(key => redis.hgetall(key)))
  await redis.quit()
  return JSON.stringify([keys, records])
}

onEachQueue(t, 'what was owed is still owed, and known, after a restart', async (t, queue) => {
  const down = await startStandIn(t, { status: 503 })
  const up = await startStandIn(t)
  const options = {
    env: { ...queue.env, ...noRetry },
    targets: [webhook('down', down.url), webhook('up', up.url)]
  }
  const before = await startTestService(t, options)
  const first = await before.post(publishPaths.all, alertmanagerBody())
  t.equal(first.status, 207)
  const id = first.body.results[0].delivery_id
  await before.stop()

  const after = await startTestService(t, options)
  await eventually('it was tried again', () => down.requests.length > 1)
  const again = await after.post(publishPaths.all, alertmanagerBody())
  t.equal(again.status, 207)
  t.match(again.body.results, [
    { queued: true, delivery_id: id },
    { success: true, deduplicated: true }
  ])
  t.match((await after.get(`/api/v1/deliveries/${id}`)).body, { id, state: 'queued', target: 'down' })
  down.answer({})
  await after.retarget([webhook('down', `${down.url}/changed`), webhook('up', up.url)])
  await workedOff(after)
  t.equal(up.requests.length, 1)
  const keys = new Set(down.requests.map(({ headers }) => headers['idempotency-key']))
  t.equal(keys.size, 1, 'all its attempts carry one key')
})

t.test('a second process on the directory is refused with the reason', async t => {
  const QUEUE_DIR = ownDirectory(t)
  await startTestService(t, { env: { QUEUE_DIR } })
  await t.rejects(startTestService(t, { env: { QUEUE_DIR } }), {
    message: `the queue directory ${QUEUE_DIR} is in use by another process`
  })
})

t.test('a directory that cannot be written is refused with the reason', async t => {
  const QUEUE_DIR = join(t.testdir({ file: '' }), 'file')
  await t.rejects(startTestService(t, { env: { QUEUE_DIR } }), { message: /^the queue directory .*file cannot be / })
  if (process.getuid?.() === 0) return
  const closed = ownDirectory(t)
  await chmod(closed, 0o500)
  await t.rejects(startTestService(t, { env: { QUEUE_DIR: closed } }), { message: /cannot be .*: EACCES/ })
})
