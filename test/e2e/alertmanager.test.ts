import t, { type Test } from 'tap'
import { startAlertmanager } from '../support/alertmanager.js'
import { until } from '../support/looks.js'
import { needs } from '../support/programs.js'
import { publishPaths, startTestService } from '../support/service.js'
import { type Json, startStandIn } from '../support/stand-in.js'

/** An Alertmanager in front, the service, and one target of each kind behind it: a second real Alertmanager among them. */
async function startChain(t: Test, { queue = 'embedded', hold = '5h' } = {}) {
  const slack = await startStandIn(t, { body: 'ok' })
  const pagerduty = await startStandIn(t, { status: 202, body: '{"status":"success"}' })
  const rootly = await startStandIn(t, ({ method }) =>
    method === 'POST'
      ? { status: 201, body: '{"data":{"id":"incident-1","type":"incidents"}}' }
      : { body: '{"data":{"id":"incident-1"}}' }
  )
  const webhook = await startStandIn(t)
  // Short, so that the alert is seen to outlive it.
  const behind = await startAlertmanager(
    t,
    'global: {resolve_timeout: 1s}\nroute: {receiver: nobody}\nreceivers: [{name: nobody}]\n'
  )
  const service = await startTestService(t, {
    env: { QUEUE: queue },
    targets: [
      { name: 'central', type: 'alertmanager', url: behind.url, hold },
      { name: 'hook', type: 'webhook', url: `${webhook.url}/hook` },
      { name: 'hook-v4', type: 'webhook', url: `${webhook.url}/v4`, format: 'alertmanager' },
      { name: 'pagerduty', type: 'pagerduty', url: pagerduty.url, routing_key: 'routing-key' },
      { name: 'rootly', type: 'rootly', url: rootly.url, auth: { type: 'bearer', token: 'token' } },
      { name: 'slack', type: 'slack', url: `${slack.url}/services/T/B/X` }
    ]
  })
  const front = await startAlertmanager(
    t,
    `route: {receiver: 'team.a', group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: 'team.a'
    webhook_configs:
      - {url: '${service.url}${publishPaths.all}', send_resolved: true}
`
  )
  return { slack, pagerduty, rootly, webhook, behind, service, front }
}

const post = (url: string, alerts: object[]) =>
  fetch(`${url}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(alerts)
  })

/** Alerts as an Alertmanager has them: only firing ones. */
async function firingAt(url: string): Promise<Json[]> {
  return (await (await fetch(`${url}/api/v2/alerts`)).json()) as Json[]
}

for (const queue of ['embedded', 'off']) {
  t.test(
    `QUEUE=${queue}: what a real Alertmanager fires and resolves reaches every kind of target, each state once`,
    async t => {
      if (!needs(t, 'prometheus-alertmanager')) return
      const { slack, pagerduty, rootly, webhook, behind, service, front } = await startChain(t, { queue })
      const all = [slack, pagerduty, rootly, webhook]
      const labels = { alertname: 'NodeDown', severity: 'critical', instance: 'node-1' }
      const annotations = { summary: 'node-1 is down' }
      const startsAt = new Date(Date.now() - 60_000).toISOString()

      await post(front.url, [{ labels, annotations, startsAt, generatorURL: 'http://prometheus:9090/graph' }])
      await Promise.all([slack.got(1), pagerduty.got(1), rootly.got(1), webhook.got(2)])
      let firing: Json[] = []
      await until('the second Alertmanager has it', async () => (firing = await firingAt(behind.url)).length === 1)
      const [fingerprint] = firing.map(alert => alert.fingerprint)
      t.match(firing, [
        { labels, annotations, status: { state: 'active' }, generatorURL: 'http://prometheus:9090/graph' }
      ])
      t.equal(Date.parse(firing[0].startsAt), Date.parse(startsAt))

      const taken = () => Date.parse(firing[0].updatedAt)
      await until('its resolve_timeout has passed', () => Date.now() > taken() + 2_000)
      t.match(await firingAt(behind.url), [{ fingerprint, status: { state: 'active' } }], 'it still fires there')
      const states = () => all.map(each => each.requests.length)
      t.same(states(), [1, 1, 1, 2], 'each target heard of it once')

      const endsAt = new Date().toISOString()
      await post(front.url, [{ labels, annotations, startsAt, endsAt }])
      await Promise.all([slack.got(2), pagerduty.got(2), rootly.got(2), webhook.got(4)])
      await until('it ends at the second Alertmanager', async () => (await firingAt(behind.url)).length === 0)

      t.same(
        pagerduty.requests.map(each => [each.json().event_action, each.json().dedup_key]),
        [
          ['trigger', fingerprint],
          ['resolve', fingerprint]
        ]
      )
      t.same(
        rootly.requests.map(({ method, path }) => `${method} ${path}`),
        ['POST /v1/incidents', 'PUT /v1/incidents/incident-1/resolve']
      )
      t.match(
        slack.requests.map(each => each.json().text),
        [/FIRING:1.*NodeDown/s, /RESOLVED.*NodeDown/s]
      )
      const at = (path: string) => webhook.requests.filter(each => each.path === path).map(each => each.json())
      t.match(at('/hook'), [
        { status: 'firing', receiver: 'team.a', alerts: [{ status: 'firing', fingerprint, labels, annotations }] },
        { status: 'resolved', receiver: 'team.a', alerts: [{ status: 'resolved', fingerprint }] }
      ])
      t.match(at('/v4'), [
        { version: '4', status: 'firing', receiver: /^team/, alerts: [{ status: 'firing', fingerprint }] },
        { version: '4', status: 'resolved', alerts: [{ status: 'resolved', fingerprint, endsAt: /^20/ }] }
      ])
      // A flush of the group comes each second: were something sent twice, it would be seen by then.
      const seen = states()
      await until('another flush is over', () => Date.now() > Date.parse(endsAt) + 3_000)
      t.same(states(), seen)
      t.same(seen, [2, 2, 2, 4])
      t.match((await service.get('/status')).body, {
        queue: { depth: 0 },
        publish: { total: 2, success: 2, failure: 0 }
      })
    }
  )
}

t.test(
  'while a target is down, a real Alertmanager is answered 2xx, does not repeat itself, and the target gets both in order',
  async t => {
    if (!needs(t, 'prometheus-alertmanager')) return
    const { slack, pagerduty, rootly, webhook, service, front } = await startChain(t)
    pagerduty.answer({ status: 503, headers: { 'retry-after': '1' } })
    const labels = { alertname: 'DiskFull', severity: 'critical' }
    const startsAt = new Date(Date.now() - 60_000).toISOString()
    await post(front.url, [{ labels, startsAt }])
    await Promise.all([slack.got(1), rootly.got(1), webhook.got(2), pagerduty.got(2)])
    pagerduty.answer({ status: 202, body: '{"status":"success"}' })
    const before = pagerduty.requests.length
    await pagerduty.got(before + 1)
    await until('nothing is owed', async () => (await service.get('/api/v1/queue')).body.depth === 0)
    t.equal(pagerduty.requests.at(-1)!.json().event_action, 'trigger')
    const keys = new Set(pagerduty.requests.map(each => each.json().dedup_key))
    t.equal(keys.size, 1)
    await post(front.url, [{ labels, startsAt, endsAt: new Date().toISOString() }])
    await until('the resolve has come', () => pagerduty.requests.at(-1)!.json().event_action === 'resolve')
    await Promise.all([slack.got(2), rootly.got(2), webhook.got(4)])
    t.same(
      [slack, rootly, webhook].map(each => each.requests.length),
      [2, 2, 4],
      'the others heard of each state once'
    )
    const published = async () => (await service.get('/status')).body.publish
    await until('their answers have come', async () => (await published()).total === 2)
    t.match(await published(), { partial_success: 1, success: 1 })
  }
)

t.test('a mended service takes up what a real Alertmanager could not hand over', async t => {
  if (!needs(t, 'prometheus-alertmanager')) return
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { QUEUE: 'off' },
    targets: [{ name: 'hook', type: 'webhook', url: hook.url, enabled: false }]
  })
  const front = await startAlertmanager(
    t,
    `route: {receiver: all, group_wait: 10ms, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: all, webhook_configs: [{url: '${service.url}${publishPaths.all}/'}]}]
`
  )
  await post(front.url, [{ labels: { alertname: 'Early' } }])
  await until('it was refused', async () => (await service.get('/api/v1/stats')).body.publish.failure > 0)
  await service.retarget([{ name: 'hook', type: 'webhook', url: hook.url }])
  await hook.got(1)
  t.match(hook.requests[0]!.json(), { status: 'firing', alerts: [{ alert_name: 'Early' }] })
})
