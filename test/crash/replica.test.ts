import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { group, rootlyAt, told, webhook } from '../support/posts.js'
import { compile, openPlace, type Run } from '../support/process.js'
import { needs } from '../support/programs.js'
import { startRedis } from '../support/redis.js'
import { publishPaths } from '../support/service.js'
import { type Answer, startStandIn } from '../support/stand-in.js'

// Each of them waits until the lanes of a killed replica are free: all of them at once.
t.jobs = 6
if (needs(t, 'redis-server')) tests(compile(t))

function tests(main: string): void {
  /** Two replicas on one Redis: one to kill, and the one that goes on. */
  async function startPair(t: Test, target: object, env: Record<string, string> = {}) {
    const redis = await startRedis(t)
    const options = { targets: [target], env: { QUEUE: 'redis', REDIS_URL: redis.url.reveal(), ...env } }
    const [doomed, survivor] = await Promise.all([openPlace(t, main, options), openPlace(t, main, options)])
    const [run] = await Promise.all([doomed.start(), survivor.start()])
    return { doomed, survivor, run }
  }

  /** Kills the moment that a target has the request: nothing that was to be said after that is said any more. */
  const killing = (run: () => Run): Answer => {
    run().kill('SIGKILL')
    return 'hang'
  }

  t.test('a resolve that a filter keeps away from a target whose firing died with its replica is told', async t => {
    const hook = await startStandIn(t, (_, index) => (index === 0 ? 'hang' : {}))
    const picky = webhook('hook', hook.url, { filter: { severities: ['critical'] } })
    const { doomed, survivor, run } = await startPair(t, picky)
    const firing = t.rejects(doomed.post(publishPaths.all, group('g', 'A')))
    await hook.got(1)
    const resolved = survivor.post(publishPaths.all, group('g', { name: 'A', status: 'resolved', severity: 'info' }))
    run.kill('SIGKILL')
    await firing
    t.match(await resolved, { status: 202, body: { results: [{ queued: true }] } })
    await hook.got(2)
    t.same(told(hook), ['A', '-A'])
  })

  t.test('what fires again after a resolve that a replica died over is no twin of what fired before', async t => {
    const hook = await startStandIn(t, (_, index) => (index === 1 ? killing(() => run) : {}))
    const { doomed, survivor, run } = await startPair(t, webhook('hook', hook.url))
    const firing = group('g', 'A')
    t.equal((await doomed.post(publishPaths.all, firing)).status, 200)
    const { fingerprint, startsAt, labels } = (group('g', 'A') as { alerts: { [name: string]: unknown }[] }).alerts[0]!
    // Nobody tries it again, and it has no key whose look-up would have written anything.
    const resolved = { status: 'resolved', fingerprint, labels, starts_at: startsAt }
    await t.rejects(doomed.post(publishPaths.all, { alert: resolved }))
    const [again] = (await survivor.post(publishPaths.all, firing)).body.results
    t.match(again, { deduplicated: undefined })
    await hook.got(3)
    t.same(told(hook), ['A', '-A', 'A'])
  })

  t.test('what is tried again over a replica that died is looked for before it is made anew', async t => {
    const found = { data: [] }
    const made = { data: { type: 'incidents', id: 'inc-1', attributes: { status: 'started' } } }
    const rootly = await startStandIn(t, ({ method }, index) =>
      index === 0 ? killing(() => run) : { body: JSON.stringify(method === 'GET' ? found : made) }
    )
    const { doomed, survivor, run } = await startPair(t, rootlyAt(rootly.url))
    await t.rejects(doomed.post(publishPaths.all, group('g', 'A')))
    await survivor.post(publishPaths.all, group('g', 'A'))
    await rootly.got(3)
    t.same(
      rootly.requests.map(({ method }) => method),
      ['POST', 'GET', 'POST']
    )
  })

  t.test('what a replica died over may have arrived, whatever comes of its alert in another group', async t => {
    const other = await startStandIn(t, ({ method }) => (method === 'POST' && posts().length === 1 ? 'hang' : {}))
    const posts = () => other.requests.filter(({ method }) => method === 'POST')
    const target = { name: 'other', type: 'alertmanager', url: other.url }
    const { doomed, survivor, run } = await startPair(t, target, { ACK_TIMEOUT: '200ms' })
    t.equal((await doomed.post(publishPaths.all, group('a', 'A'))).status, 202)
    run.kill('SIGKILL')
    await run.ended
    for (const body of [group('b', 'A'), group('a', '-A'), group('b', '-A')])
      t.equal((await survivor.post(publishPaths.all, body)).status, 202)
    while ((await survivor.get('/api/v1/queue')).body.depth > 0) await sleep(100)
    const [alert] = posts().at(-1)!.json()
    t.ok(Date.parse(alert.endsAt) < Date.now(), 'its end is told')
  })

  t.test('so it may where whoever has its lane next leaves the alert to another group', async t => {
    const other = await startStandIn(t, ({ method }) =>
      method === 'POST' && posts().length === 1 ? killing(() => run) : {}
    )
    const posts = () => other.requests.filter(({ method }) => method === 'POST')
    const target = { name: 'other', type: 'alertmanager', url: other.url }
    const { doomed, survivor, run } = await startPair(t, target, { ACK_TIMEOUT: '200ms' })
    await t.rejects(doomed.post(publishPaths.all, group('a', 'A')))
    const again = { name: 'A', startsAt: '2026-11-20T18:20:00Z' }
    const over = { ...again, status: 'resolved' as const }
    for (const body of [group('b', again), group('b', over), group('a', over)])
      t.equal((await survivor.post(publishPaths.all, body)).status, 202)
    while ((await survivor.get('/api/v1/queue')).body.depth > 0) await sleep(100)
    const [alert] = posts().at(-1)!.json()
    t.ok(Date.parse(alert.endsAt) < Date.now(), 'its end is told')
  })

  t.test('what a replica died over unanswered may have arrived, whatever is posted of it next', async t => {
    const pager = await startStandIn(t, (_, index) => (index === 0 ? killing(() => run) : { status: 202 }))
    const target = { name: 'pager', type: 'pagerduty', url: pager.url, routing_key: 'R0' }
    const { doomed, survivor, run } = await startPair(t, target, { ACK_TIMEOUT: '200ms' })
    await t.rejects(doomed.post(publishPaths.all, group('g', 'A')))
    const again = { name: 'A', startsAt: '2026-11-20T19:00:00Z' }
    for (const alert of [again, { ...again, status: 'resolved' as const }])
      t.equal((await survivor.post(publishPaths.all, group('g', alert))).status, 202)
    while ((await survivor.get('/api/v1/queue')).body.depth > 0) await sleep(100)
    t.same(
      pager.requests.map(request => request.json().event_action),
      ['trigger', 'resolve']
    )
  })
}
