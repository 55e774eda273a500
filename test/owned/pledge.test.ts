import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readConfig } from '../../src/config.js'
import { accept } from '../../src/pipeline/accept.js'
import { publishKeyOf } from '../../src/pipeline/ledger.js'
import { defaultOptions } from '../../src/pipeline/options.js'
import { embeddedStore } from '../../src/queues/embedded.js'
import { openStore } from '../../src/queues/registry.js'
import { copyQueue, ownDirectory } from '../support/directory.js'
import { webhook } from '../support/posts.js'
import { depth, eventually, onEachQueue } from '../support/queues.js'
import { alertmanagerBody, patient, publishPaths, startTestService } from '../support/service.js'
import { gate, type StandIn, startStandIn } from '../support/stand-in.js'

const count = 3_000
const names = Array.from({ length: count }, (_, index) => `A${String(index).padStart(7, '0')}`)
const hooks = ['one', 'two', 'three']
const env = { ...patient, ACK_TIMEOUT: '2s', QUEUE_WORKERS: '100', ATTEMPT_TIMEOUT: '4s', PUBLISH_TIMEOUT: '60s' }
const perAlert = (url: string) => hooks.map(name => webhook(name, `${url}/${name}`, { batch: 'alert' }))

/** What each hook was told, in order, as names with a minus before those that are resolved. */
function toldAt(target: StandIn, hook: string): string[] {
  return target.requests
    .filter(({ path }) => path === `/${hook}`)
    .flatMap(request => request.json().alerts)
    .map(({ alert_name, status }: { alert_name: string; status: string }) =>
      status === 'firing' ? alert_name : `-${alert_name}`
    )
}

/** Thousands take their time on a machine that has other things to do. */
const patiently = (what: string, holds: () => boolean | Promise<boolean>) => eventually(what, holds, undefined, 90)

const got = (target: StandIn, requests: number) => patiently('all is told', () => target.requests.length >= requests)

const pledgesIn = async (dir: string): Promise<number> => {
  const store = await embeddedStore({ dir })
  const { length } = await store.list('pledge/', undefined, 10)
  await store.close()
  return length
}

/** A target that answers nothing. */
async function hanging(t: Test): Promise<StandIn> {
  const slow = gate()
  const target = await startStandIn(t, slow.answer)
  t.teardown(() => slow.open())
  return target
}

onEachQueue(t, 'thousands of parts are owed as a whole first, and then each by itself', async (t, queue) => {
  const target = await hanging(t)
  const service = await startTestService(t, { env: { ...env, ...queue.env }, targets: perAlert(target.url) })
  const body = alertmanagerBody(names)
  const { status, body: answer } = await service.post(publishPaths.all, body)
  t.equal(status, 202)
  for (const result of answer.results) {
    t.match(result, { success: false, queued: true, delivery_id: /^d/, parts: { total: count, queued: count } })
    const delivery = await service.get(`/api/v1/deliveries/${result.delivery_id}`)
    t.match(delivery.body, { target: result.target_name, state: 'queued' })
  }
  await patiently('each part is owed', async () => (await depth(service)) === 3 * count)
  const again = await service.post(publishPaths.all, body)
  for (const result of again.body.results) t.match(result, { queued: true, parts: { total: count, queued: count } })
  t.equal(await depth(service), 3 * count, 'no part is owed twice')
})

/** The queue of a process that died right behind its answer, with none of its parts told. */
async function leftBehind(t: Test): Promise<string> {
  const directory = ownDirectory(t)
  const target = await hanging(t)
  const [before, dir, look] = ['before', 'after', 'look'].map(name => join(directory, name)) as [string, string, string]
  const service = await startTestService(t, { env: { ...env, QUEUE_DIR: before }, targets: perAlert(target.url) })
  t.equal((await service.post(publishPaths.all, alertmanagerBody(names))).status, 202)
  await copyQueue(before, dir)
  await copyQueue(dir, look)
  t.equal(await pledgesIn(look), 1, 'not each part was owed')
  return dir
}

t.test('who follows a process that died before each part was owed goes on, and mixes nothing up', async t => {
  const dir = await leftBehind(t)
  const next = await startStandIn(t)
  const after = await startTestService(t, { env: { ...env, QUEUE_DIR: dir }, targets: perAlert(next.url) })
  // This one ended meanwhile. Its firing is told before that, or not any more.
  const [ended] = names
  const resolved = { ...alertmanagerBody([ended!], { status: 'resolved' }), groupKey: 'other' }
  t.ok((await after.post(publishPaths.all, resolved)).status < 300)
  await got(next, 3 * count)
  await patiently('nothing is owed any more', async () => (await depth(after)) === 0)
  for (const hook of hooks) {
    const isEnded = (name: string) => name.endsWith(ended!)
    const told = toldAt(next, hook)
    t.same(told.filter(name => !isEnded(name)).sort(), names.slice(1), 'each once')
    t.equal(told.filter(isEnded).at(-1), `-${ended}`)
  }
  await after.stop()
  t.equal(await pledgesIn(dir), 0)
})

t.test('a target that is away when it is gone on has its part once it is back', async t => {
  const dir = await leftBehind(t)
  const next = await startStandIn(t)
  const [one, ...others] = perAlert(next.url)
  const after = await startTestService(t, { env: { ...env, QUEUE_DIR: dir }, targets: others })
  await got(next, 2 * count)
  await after.stop()
  t.equal(await pledgesIn(dir), 1)
  const last = await startTestService(t, { env: { ...env, QUEUE_DIR: dir }, targets: [one!, ...others] })
  await got(next, 3 * count)
  await last.stop()
  t.equal(await pledgesIn(dir), 0)
  for (const hook of hooks) t.same(toldAt(next, hook).sort(), names)
})

t.test('without a queue nothing is owed as a whole either', async t => {
  const target = await hanging(t)
  const service = await startTestService(t, { env: { ...env, QUEUE: 'off' }, targets: perAlert(target.url) })
  const { status, body } = await service.post(publishPaths.all, alertmanagerBody(names))
  t.ok(status >= 500)
  t.match(body, { queued_count: 0, failure_count: 3 })
})

onEachQueue(t, 'whoever finds what a process has left goes on with it under the same key', async (t, queue) => {
  const body = alertmanagerBody(names.slice(0, 150))
  const bytes = Buffer.from(JSON.stringify(body))
  const reading = accept(body, bytes, Date.now())
  const config = readConfig({})
  if (!reading.ok || !config.ok) throw new Error('neither should be refused')
  const { QUEUE, QUEUE_DIR = '' } = queue.env as { QUEUE: 'embedded' | 'redis'; QUEUE_DIR?: string }
  const store = await openStore({
    queue: QUEUE,
    queueDir: QUEUE_DIR,
    ...(queue.redis ? { redisUrl: queue.redis.url } : {})
  })
  await eventually('the queue is open', async () => (await store.status()).available)
  const at = Date.now()
  const key = publishKeyOf(reading.value.notification)
  const seq = await store.next()
  const left = {
    key,
    seq,
    round: seq,
    publish_id: 'p-left',
    accepted_at: at,
    targets: ['one', 'two'].map(name => ({ name, type: 'webhook' })),
    unfiltered: false,
    options: defaultOptions(config.value),
    sender: '127.0.0.1',
    traceparent: null,
    body: bytes.toString()
  }
  const expiresAt = at + 60_000
  const known = { round: seq, seenAt: at, senders: [`127.0.0.1 ${body.externalURL}`] }
  const [first] = body.alerts
  await store.write([
    { id: 'pledge/p-left', set: left, expiresAt },
    { id: `ledger/${key}`, set: { m: known }, expiresAt },
    // One has been told already.
    { id: `ledger/${key}/${seq}/${first!.fingerprint}`, set: { [`one/${seq}`]: 'd 200 1 5' }, expiresAt }
  ])
  await store.close()
  const target = await startStandIn(t)
  const service = await startTestService(t, { env: { ...env, ...queue.env }, targets: perAlert(target.url) })
  await got(target, 299)
  t.same(toldAt(target, 'one').sort(), names.slice(1, 150))
  t.same(toldAt(target, 'two').sort(), names.slice(0, 150))
  t.equal(toldAt(target, 'three').length, 0)
  const path = `${publishPaths.named}?target=one&target=two`
  const again = await service.post(path, body)
  t.match(again.body.results, [{ deduplicated: true }, { deduplicated: true }])
})
