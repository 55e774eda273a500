import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { compile, openPlace } from '../support/process.js'
import { alertmanagerBody, oneAlert, publishPaths } from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

const main = compile(t)
const hook = (url: string) => ({ name: 'hook', type: 'webhook', url, timeout: '20s' })

t.test('SIGTERM: not ready at once, new publishes are refused, running ones are answered, exit code 0', async t => {
  const { answer, open } = gate()
  const target = await startStandIn(t, request => (request.method === 'POST' ? answer() : {}))
  const place = await openPlace(t, main, { targets: [hook(target.url)] })
  const run = await place.start()
  const running = place.post(publishPaths.all, oneAlert('Running'))
  await posted(target.requests, 1)
  run.kill('SIGTERM')
  while ((await place.get('/readyz')).status === 200) await sleep(5)
  t.match(await place.post(publishPaths.all, oneAlert('TooLate')), { status: 503, body: { code: 'DRAINING' } })
  t.match(await place.get('/healthz'), { status: 200 }, 'it lives, and says so')
  open()
  t.match(await running, { status: 200, body: { all_succeeded: true } })
  t.strictSame(await run.ended, { code: 0, signal: null })
  t.equal(target.requests.filter(({ method }) => method === 'POST').length, 1)
})

t.test('what still runs after DRAIN_TIMEOUT is answered as owed, and delivered after the restart', async t => {
  let isStuck = true
  const target = await startStandIn(t, () => (isStuck ? 'hang' : {}))
  const place = await openPlace(t, main, { targets: [hook(target.url)], env: { DRAIN_TIMEOUT: '300ms' } })
  const run = await place.start()
  const running = [
    place.post(publishPaths.all, oneAlert('OwnBody')),
    place.post(publishPaths.all, alertmanagerBody(['FromAlertmanager']))
  ]
  await posted(target.requests, 2)
  run.kill('SIGTERM')
  for (const each of running) {
    t.match(await each, { status: 202, body: { queued_count: 1, results: [{ target_name: 'hook', queued: true }] } })
  }
  t.strictSame(await run.ended, { code: 0, signal: null })

  isStuck = false
  const before = target.requests.length
  await place.start({ RETRY_BASE: '100ms' })
  while ((await place.get('/api/v1/queue')).body.depth > 0) await sleep(20)
  const names = target.requests
    .slice(before)
    .filter(({ method }) => method === 'POST')
    .map(request => request.json().alerts[0].alert_name)
  t.strictSame(names.sort(), ['FromAlertmanager', 'OwnBody'], 'each once')
})

t.test('a second signal stops at once, and what was acknowledged before stays owed', async t => {
  const target = await startStandIn(t, request => (request.method === 'POST' ? 'hang' : {}))
  const place = await openPlace(t, main, {
    targets: [hook(target.url)],
    env: { DRAIN_TIMEOUT: '10m', ACK_TIMEOUT: '200ms' }
  })
  const run = await place.start()
  const answer = await place.post(publishPaths.all, alertmanagerBody(['Owed']))
  t.match(answer, { status: 202 })
  const unanswered = place.post(publishPaths.all, oneAlert('Running')).catch(() => 'no answer')
  await posted(target.requests, 2)
  run.kill('SIGTERM')
  while ((await place.get('/readyz')).status === 200) await sleep(5)
  run.kill('SIGTERM')
  const { code } = await run.ended
  t.not(code, 0, 'it did not end as it should have')
  t.equal(await unanswered, 'no answer')
  target.answer({})
  await place.start()
  const path = `/api/v1/deliveries/${answer.body.results[0].delivery_id}`
  // It may just be delivered: between the queue and the log it is in neither until that is on disk.
  let logged = await place.get(path)
  while (logged.status === 404) {
    await sleep(5)
    logged = await place.get(path)
  }
  t.match(logged, { status: 200, body: { alert_name: 'Owed' } })
})

/** Health checks are no posts. */
async function posted(requests: readonly { method: string }[], count: number): Promise<void> {
  while (requests.filter(({ method }) => method === 'POST').length < count) await sleep(5)
}
