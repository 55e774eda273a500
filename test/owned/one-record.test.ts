import t, { type Test } from 'tap'
import { accept } from '../../src/pipeline/accept.js'
import { publishKeyOf } from '../../src/pipeline/ledger.js'
import { embeddedStore } from '../../src/queues/embedded.js'
import { movableClock } from '../support/clock.js'
import { ownDirectory } from '../support/directory.js'
import { group, pagerduty, webhook } from '../support/posts.js'
import { onEachQueue } from '../support/queues.js'
import { alertmanagerBody, publishPaths, startTestService, type TestService } from '../support/service.js'
import { type StandIn, startStandIn } from '../support/stand-in.js'

const minuteMs = 60_000
const dayMs = 86_400_000
const named = (name: string) => `${publishPaths.named}?target=${name}`

/** What the queue of a service that has stopped remembers, and where. */
async function remembered(dir: string) {
  const store = await embeddedStore({ dir })
  const records = await Promise.all(['alert/', 'ledger/'].map(prefix => store.list(prefix, undefined, 100)))
  await store.close()
  return records.flat()
}

async function oneHook(t: Test) {
  const dir = ownDirectory(t)
  const hook = await startStandIn(t)
  const start = (targets: object[] = [webhook('hook', hook.url)]) =>
    startTestService(t, { env: { QUEUE_DIR: dir }, targets })
  return { dir, hook, start }
}

const isSent = async (t: Test, service: TestService, body: object, hook: StandIn, path: string = publishPaths.all) => {
  const before = hook.requests.length
  const answer = await service.post(path, body)
  t.equal(answer.status, 200)
  t.equal(hook.requests.length - before, answer.body.results[0].deduplicated ? 0 : 1)
  return !answer.body.results[0].deduplicated
}

t.test('a notification of one alert leaves one record, with its key beside the alert', async t => {
  const { dir, hook, start } = await oneHook(t)
  const incidents = await startStandIn(t, { status: 202 })
  const service = await start([webhook('hook', hook.url), pagerduty('pager', incidents.url)])
  t.equal((await service.post(publishPaths.all, alertmanagerBody(['A']))).status, 200)
  await service.stop()
  const [record, ...others] = await remembered(dir)
  t.same(others, [])
  const of = (start: string) => Object.keys(record!.fields).filter(name => name.startsWith(start))
  t.equal(of('m:').length, 1)
  t.same([of('hook/').length, of('pager/').length, of('answered:').length], [1, 1, 1])
})

t.test('what is void, and rounds that are over, leave nothing behind', async t => {
  const clock = movableClock(t)
  const { dir, hook, start } = await oneHook(t)
  const service = await start()
  const names: number[] = []
  for (const status of ['firing', 'resolved', 'firing', 'firing', 'firing']) {
    t.ok(await isSent(t, service, alertmanagerBody(['A'], { status }), hook), status)
    clock.forward(240 * minuteMs)
  }
  await service.stop()
  for (const { fields } of await remembered(dir)) names.push(Object.keys(fields).length)
  // Its state, when that and the one before it came, what the target has, and of the key round, outcome and answer.
  t.same(names, [7])
})

t.test('an alert in more groups than are remembered beside it is told once for each', async t => {
  const { dir, hook, start } = await oneHook(t)
  const service = await start()
  const bodies = Array.from({ length: 20 }, (_, index) => group(`group-${index}`, 'A'))
  for (const body of bodies) t.ok(await isSent(t, service, body, hook))
  for (const body of bodies) t.notOk(await isSent(t, service, body, hook))
  await service.stop()
  const records = await remembered(dir)
  t.same(
    records.map(({ id }) => id.slice(0, id.indexOf('/'))),
    ['alert', 'ledger', 'ledger', 'ledger', 'ledger']
  )
  const next = await start()
  for (const body of bodies) t.notOk(await isSent(t, next, body, hook), 'nor after a restart')
})

t.test('groups that were not heard of for a day make room beside an alert', async t => {
  const clock = movableClock(t)
  const { dir, hook, start } = await oneHook(t)
  const service = await start()
  for (let index = 0; index < 16; index++) t.ok(await isSent(t, service, group(`group-${index}`, 'A'), hook))
  clock.forward(dayMs + minuteMs)
  t.ok(await isSent(t, service, group('group-0', 'A'), hook))
  t.ok(await isSent(t, service, group('group-16', 'A'), hook))
  await service.stop()
  const [record, ...others] = await remembered(dir)
  t.same(others, [])
  t.equal(Object.keys(record!.fields).filter(name => name.startsWith('m:')).length, 2)
})

t.test('a key that has a record of its own from an earlier version keeps it', async t => {
  const { dir, hook, start } = await oneHook(t)
  const body = alertmanagerBody(['A'])
  const reading = accept(body, Buffer.from(JSON.stringify(body)), Date.now())
  if (!reading.ok) throw new Error('the body is not accepted')
  const { notification } = reading.value
  const [alert] = notification.alerts
  const key = publishKeyOf(notification)
  const store = await embeddedStore({ dir })
  const at = Date.now()
  const expiresAt = at + dayMs
  const seen = { k: `firing ${alert!.starts_at}`, s: at * 1000, 't:hook': `${at * 1000} f!-` }
  const round = { round: at * 1000, seenAt: at, senders: [`127.0.0.1 ${body.externalURL}`] }
  await store.write([
    { id: `alert/${alert!.fingerprint}`, set: seen, expiresAt },
    { id: `ledger/${key}`, set: { m: round, [`hook/${round.round}`]: 'd 200 1 5' }, expiresAt }
  ])
  await store.close()
  const service = await start()
  t.notOk(await isSent(t, service, body, hook), 'it is a retry of what was not answered')
  await service.stop()
  const ids = (await remembered(dir)).map(({ id }) => id)
  t.same(ids, [`alert/${alert!.fingerprint}`, `ledger/${key}`])
})

onEachQueue(t, 'a target may be called like anything that is remembered beside its outcomes', async (t, queue) => {
  const hook = await startStandIn(t)
  const names = ['answered', 'm', 't', 'k', 'o', 's']
  const targets = names.map(name => webhook(name, hook.url))
  const service = await startTestService(t, { env: queue.env, targets })
  for (const alerts of [['A'], ['B', 'C']]) {
    const body = alertmanagerBody(alerts)
    for (const name of names) t.ok(await isSent(t, service, body, hook, named(name)), name)
    for (const name of names) t.notOk(await isSent(t, service, body, hook, named(name)), `${name} again`)
  }
})
