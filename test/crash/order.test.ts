import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { compile, openPlace } from '../support/process.js'
import { alertmanagerBody, noRetry, publishPaths } from '../support/service.js'
import { type Json, type Script, startStandIn } from '../support/stand-in.js'

const main = compile(t)
const firing = alertmanagerBody(['NodeDown'])
const resolved = alertmanagerBody(['NodeDown'], { status: 'resolved' })

/** The service's process beside one target, and what that was told so far. */
async function open(t: Test, target: object, env: Record<string, string> = {}) {
  let script: Script = {}
  const server = await startStandIn(t, request => (request.method === 'POST' ? (script as never) : {}))
  const place = await openPlace(t, main, { targets: [{ name: 'target', url: server.url, ...target }], env })
  const told = () =>
    server.requests
      .filter(({ method }) => method === 'POST')
      .map(request => request.json())
      .map((body: Json) => body.event_action ?? body.status)
  return {
    ...place,
    told,
    answer: (next: Script) => {
      script = next
    },
    publish: async (body: object) => (await place.post(publishPaths.all, body)).status,
    idle: async () => {
      while ((await place.get('/api/v1/queue')).body.depth > 0) await sleep(10)
    }
  }
}
const pager = { type: 'pagerduty', routing_key: 'R0' }

t.test('a firing out of the queue does not come back after its resolve, whenever the process dies', async t => {
  const { start, publish, told, answer, idle } = await open(t, { type: 'webhook' }, { RETRY_BASE: '50ms' })
  let run = await start()
  for (const name of ['First', 'Second', 'Third']) {
    answer({ status: 503 })
    t.equal(await publish(alertmanagerBody([name])), 202)
    answer({})
    await idle()
    const before = told().length
    t.equal(await publish(alertmanagerBody([name], { status: 'resolved' })), 200)
    run.kill('SIGKILL')
    await run.ended
    run = await start()
    await idle()
    t.strictSame(told().slice(before), ['resolved'])
  }
})

t.test('nor after a resolve that there was nobody to tell', async t => {
  const { start, publish, told, answer, idle } = await open(t, pager, noRetry)
  const run = await start()
  answer({ status: 503 })
  t.equal(await publish(firing), 202)
  answer({})
  t.equal(await publish(resolved), 200)
  run.kill('SIGKILL')
  await run.ended
  await start({ RETRY_BASE: '50ms' })
  await idle()
  t.strictSame(told(), ['trigger'])
})

t.test('a firing that arrived just before a crash has its resolve told, even if its next attempts failed', async t => {
  const { start, publish, told, answer, idle } = await open(t, pager, noRetry)
  const run = await start()
  answer('hang')
  const unanswered = publish(firing).catch(() => 'no answer')
  while (told().length === 0) await sleep(1)
  run.kill('SIGKILL')
  t.equal(await unanswered, 'no answer')
  answer({ status: 503 })
  await start()
  t.equal(await publish(firing), 202)
  answer({})
  t.equal(await publish(resolved), 200)
  await idle()
  t.strictSame(told(), ['trigger', 'trigger', 'resolve'])
})
