import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Node, startCluster } from '../support/cluster.js'
import { compile, openPlace, type PlaceOptions } from '../support/process.js'
import { needs } from '../support/programs.js'
import { publishPaths } from '../support/service.js'
import { type Json, type Script, startStandIn } from '../support/stand-in.js'

if (needs(t, 'prometheus-alertmanager')) await run()

async function run(): Promise<void> {
  const main = compile(t)

  /** Alertmanagers, the service's process, and two targets that take what they are told. */
  async function chain(t: Test, size: number, timing = 'repeat_interval: 1h', options: PlaceOptions = {}) {
    const hook = await startTarget(t, { name: 'hook', type: 'webhook' })
    const pager = await startTarget(t, { name: 'pager', type: 'pagerduty', routing_key: 'R0' })
    const targets = [hook.settings, pager.settings]
    const env = { RETRY_BASE: '100ms', RETRY_MAX_DELAY: '500ms', CIRCUIT_OPEN_DURATION: '500ms', ...options.env }
    const place = await openPlace(t, main, { targets, env })
    const nodes = await startCluster(
      t,
      size,
      `route: {receiver: team, group_by: [alertname], group_wait: 100ms, group_interval: 1s, ${timing}}
receivers:
  - name: team
    webhook_configs: [{url: '${place.url}${publishPaths.all}', send_resolved: true}]
`
    )
    const settled = async () => {
      while ((await place.get('/api/v1/queue')).body.depth > 0) await sleep(50)
    }
    return { hook, pager, place, nodes, settled }
  }

  t.test('an HA pair through an outage of the service: each target gets each state once', async t => {
    const { hook, pager, place, nodes } = await chain(t, 2)
    const first = await place.start()
    await fire(nodes, 'A')
    await Promise.all([hook.told('firing A'), pager.told('firing A')])
    // The other one has heard of it by then and does not post it any more.
    await sleep(2_500)
    first.kill('SIGKILL')
    await first.ended
    await resolve(nodes, 'A')
    await fire(nodes, 'B')
    const posted = Date.now()
    for (const node of nodes) await node.reaches('alertmanager_notification_requests_failed_total', 2)
    await place.start()
    for (const target of [hook, pager]) await Promise.all([target.told('resolved A'), target.told('firing B')])
    // An Alertmanager posts what it began to post for 10 s, whatever has happened meanwhile.
    await sleep(posted + 11_000 - Date.now())
    for (const { all } of [hook, pager]) t.strictSame(all().sort(), ['firing A', 'firing B', 'resolved A'])
    await resolve(nodes, 'B')
    for (const target of [hook, pager]) await target.told('resolved B')
    await sleep(2_000)
    for (const { all } of [hook, pager]) {
      // A peer that waited for its turn may say a firing once more after its end, and then its end: that is told too.
      t.strictSame([...new Set(all())].sort(), ['firing A', 'firing B', 'resolved A', 'resolved B'])
      t.equal(all().at(-1), 'resolved B')
    }
  })

  t.test('an Alertmanager that restarts, even without its memory, has nothing told again', async t => {
    const { hook, place, nodes } = await chain(t, 1)
    const [node] = nodes as [Node]
    await place.start()
    await fire(nodes, 'A')
    await hook.told('firing A')
    await node.reaches('alertmanager_notification_requests_total', 1)
    // Killed, it has not written down whom it told what.
    await node.stop('SIGKILL')
    await node.start()
    await fire(nodes, 'A')
    await node.reaches('alertmanager_notification_requests_total', 1)
    t.equal(await node.counted('alertmanager_notification_requests_failed_total'), 0)
    await resolve(nodes, 'A')
    await hook.told('resolved A')
    t.strictSame(hook.all(), ['firing A', 'resolved A'])
  })

  t.test('reminders are told again, each as a new round', async t => {
    const { hook, place, nodes } = await chain(t, 1, 'repeat_interval: 1s', { env: { DEDUP_WINDOW: '500ms' } })
    await place.start()
    await fire(nodes, 'A')
    while (hook.all().length < 3) await sleep(50)
    await resolve(nodes, 'A')
    await hook.told('resolved A')
    const told = hook.all()
    t.strictSame(told, [...Array(told.length - 1).fill('firing A'), 'resolved A'])
    t.equal(new Set(hook.keys()).size, told.length, 'and each under a key of its own')
  })

  t.test('what fires and resolves during a target’s outage is one message in a chat, and none on a pager', async t => {
    const { hook, pager, place, nodes, settled } = await chain(t, 1)
    await place.start()
    for (const { answer } of [hook, pager]) answer({ status: 503 })
    await fire(nodes, 'A')
    while ((await place.get('/api/v1/queue')).body.depth < 2) await sleep(50)
    await resolve(nodes, 'A')
    // The end was accepted once what waits for the chat says so.
    const waits = async () => (await place.get('/api/v1/deliveries?target=hook')).body.items
    while (!(await waits()).some((item: Json) => item.alert_status === 'resolved')) await sleep(50)
    for (const { answer } of [hook, pager]) answer({})
    await hook.told('resolved A')
    await settled()
    t.strictSame({ hook: hook.all(), pager: pager.all() }, { hook: ['resolved A'], pager: [] })
    t.match(hook.bodies().at(-1), { fired_and_resolved: true })
  })

  t.test(
    'one target that fails for long costs the others and Alertmanager nothing, and has the last state in the end',
    async t => {
      const { hook, pager, place, nodes, settled } = await chain(t, 1)
      await place.start()
      hook.answer({ status: 503 })
      await fire(nodes, 'A', 'B', 'C')
      for (const name of ['A', 'B', 'C']) await pager.told(`firing ${name}`)
      await resolve(nodes, 'A')
      await pager.told('resolved A')
      await fire(nodes, 'D')
      await pager.told('firing D')
      for (const node of nodes) t.equal(await node.counted('alertmanager_notification_requests_failed_total'), 0)
      const states = ['firing A', 'firing B', 'firing C', 'firing D', 'resolved A']
      t.strictSame(pager.all().sort(), states)
      t.strictSame(hook.all(), [])
      hook.answer({})
      await settled()
      t.strictSame(hook.all().sort(), ['firing B', 'firing C', 'firing D', 'resolved A'])
      t.strictSame(pager.all().sort(), states)
    }
  )
}

/** A target and what it took: `firing A`, in order. */
async function startTarget(t: Test, settings: object) {
  let script: Script = {}
  const taken: { body: Json; key: unknown }[] = []
  const server = await startStandIn(t, request => {
    const answer = script as { status?: number }
    if (request.method !== 'POST') return {}
    if ((answer.status ?? 200) < 300) taken.push({ body: request.json(), key: request.headers['idempotency-key'] })
    return { status: 202, ...answer }
  })
  const all = () => taken.flatMap(({ body }) => statesIn(body))
  return {
    settings: { url: server.url, ...settings },
    all,
    bodies: () => taken.map(({ body }) => body),
    keys: () => taken.map(({ key }) => key),
    answer(next: Script) {
      script = next
    },
    async told(state: string) {
      while (!all().includes(state)) await sleep(20)
    }
  }
}

function statesIn(body: Json): string[] {
  if ('event_action' in body) {
    const name = body.payload?.custom_details?.labels?.alertname ?? named.get(body.dedup_key)
    named.set(body.dedup_key, name)
    return [`${body.event_action === 'resolve' ? 'resolved' : 'firing'} ${name}`]
  }
  return body.alerts.map(({ status, labels }: Json) => `${status} ${labels.alertname}`)
}
/** A pager's resolve carries only the key. */
const named = new Map<string, string>()

async function fire(nodes: readonly Node[], ...names: string[]): Promise<void> {
  const alerts = names.map(alertname => ({ labels: { alertname, severity: 'critical' }, startsAt }))
  await Promise.all(nodes.map(node => node.post(alerts)))
}

async function resolve(nodes: readonly Node[], name: string): Promise<void> {
  const alert = { labels: { alertname: name, severity: 'critical' }, startsAt, endsAt: new Date().toISOString() }
  await Promise.all(nodes.map(node => node.post([alert])))
}
/** As Prometheus gives it: the same at every post. */
const startsAt = new Date().toISOString()
