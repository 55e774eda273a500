import t from 'tap'
import type { Alert } from '../../src/alert.js'
import type { WireAnswer, WireRequest } from '../../src/targets/contract.js'
import { readTarget } from '../../src/targets/target.js'
import { startAlertmanager } from '../support/alertmanager.js'
import { answerOf, drive, targetOf } from '../support/drive.js'
import { alertOf, messageOf, notificationOf, notificationWith, testNow } from '../support/messages.js'
import { needs } from '../support/programs.js'

const settings = { type: 'alertmanager', url: 'http://am.example.com:9093' }

const wireOf = (alert: Partial<Alert>, own: object = {}) =>
  JSON.parse(
    String(targetOf({ ...settings, ...own }).wire.requests(messageOf({ alerts: [alertOf(alert)] }))[0]!.body)
  )[0]

/** Alerts one by one as `names` of what a request carries. */
const namesIn = (request: WireRequest): string[] =>
  JSON.parse(String(request.body)).map((alert: { labels: { n: string } }) => alert.labels.n)
const named = (...names: string[]) =>
  messageOf({ alerts: names.map(n => alertOf({ fingerprint: n, labels: { alertname: 'A', n } })) })

t.test('a firing alert ends `hold` from now, so that no resolve_timeout resolves it', async t => {
  const { body: _, ...request } = targetOf({ ...settings, url: 'http://am.example.com:9093/prefix/' }).wire.requests(
    messageOf()
  )[0]!
  t.match(request, {
    method: 'POST',
    origin: 'http://am.example.com:9093',
    path: '/prefix/api/v2/alerts',
    headers: { 'content-type': 'application/json' }
  })
  t.same(wireOf({ generator_url: 'http://prometheus:9090/graph?g0.expr=up' }), {
    labels: alertOf().labels,
    annotations: alertOf().annotations,
    startsAt: '2026-11-20T18:17:30.86Z',
    endsAt: '2026-11-20T23:20:00.000Z',
    generatorURL: 'http://prometheus:9090/graph?g0.expr=up'
  })
  t.equal(wireOf({}, { hold: '30m' }).endsAt, '2026-11-20T18:50:00.000Z')
})

t.test('a resolved alert has its real end', async t => {
  t.match(wireOf({ status: 'resolved', ends_at: '2026-11-20T18:18:00.123456789Z' }), {
    startsAt: '2026-11-20T18:17:30.86Z',
    endsAt: '2026-11-20T18:18:00.123456789Z'
  })
})

t.test('odd times become ones that Alertmanager takes', async t => {
  const now = new Date(testNow).toISOString()
  const cases: [Partial<Alert>, string, string][] = [
    [{ starts_at: 'soon' }, now, '2026-11-20T23:20:00.000Z'],
    [{ starts_at: '2026-11-20 18:00:00Z' }, '2026-11-20T18:00:00.000Z', '2026-11-20T23:20:00.000Z'],
    [{ starts_at: '2026-11-21T18:00:00Z' }, '2026-11-21T18:00:00Z', '2026-11-21T23:00:00.000Z'],
    [{ starts_at: '9999-12-31T20:00:00Z' }, '9999-12-31T20:00:00Z', '9999-12-31T23:59:59.999Z'],
    [{ starts_at: '+275760-09-13T00:00:00Z' }, now, '2026-11-20T23:20:00.000Z'],
    [{ starts_at: '-000001-01-01T00:00:00Z' }, now, '2026-11-20T23:20:00.000Z'],
    [{ status: 'resolved' }, '2026-11-20T18:17:30.86Z', now],
    [{ status: 'resolved', ends_at: 'never' }, '2026-11-20T18:17:30.86Z', now],
    [{ status: 'resolved', ends_at: '2026-11-20T18:00:00Z' }, '2026-11-20T18:00:00Z', '2026-11-20T18:00:00Z']
  ]
  for (const [alert, startsAt, endsAt] of cases) t.match(wireOf(alert), { startsAt, endsAt }, JSON.stringify(alert))
})

const noUris = [
  '',
  'no url',
  '/graph',
  'http:graph',
  'http:/p/graph',
  'http://',
  'http://p/a b',
  'http://p/%zz',
  'http://p/\n',
  'http://a b/',
  'http://{host}/graph',
  'http://%61/',
  'http://a`b/',
  'http://a^b/',
  'http://a|b/',
  'http://a\\b/',
  'http://a#b/',
  'http://a:b/',
  'http://::1/',
  'http://[::1/',
  'http://[a]/',
  'http://user:p^w@h/',
  'http://user:p%w@h/',
  'http://a@b@c/',
  'mailto:ops@example.com'
]
const uris = [
  'http://prometheus:9090/graph?g0.expr=up%7Bjob%3D%22a%22%7D+%3E+1&g0.tab=1#top',
  'https://Prometheus.example.com',
  'http://a_b.svc.cluster.local:/?q={job="a"}|x^`',
  'http://[2001:db8::1]:9090/graph',
  'http://user:p%40w@h/',
  'http://h?q=1',
  'http://h/<{"^`|\\ü/☃'
]

t.test('a generator URL that Alertmanager might refuse is left out: it would have the whole alert refused', async t => {
  for (const generator_url of noUris)
    t.notOk('generatorURL' in wireOf({ generator_url }), JSON.stringify(generator_url))
  for (const generator_url of uris) t.equal(wireOf({ generator_url }).generatorURL, generator_url)
})

t.test('an annotation without a name is left out, a label without one is not: it is part of the identity', async t => {
  const { labels, annotations } = wireOf({
    labels: { alertname: 'A', '': 'x' },
    annotations: { '': 'x', summary: 'y' }
  })
  t.same(labels, { alertname: 'A', '': 'x' })
  t.same(annotations, { summary: 'y' })
})

t.test('classification and enrichment become annotations, not labels', async t => {
  const alert = wireOf({
    classification: { severity: 'warning', confidence: 0.5, reasoning: 'why', recommendations: ['a', 'b'] },
    enrichment: { owner: 'ops' }
  })
  t.same(alert.labels, alertOf().labels)
  t.same(alert.annotations, {
    ...alertOf().annotations,
    classification_severity: 'warning',
    classification_confidence: '0.5',
    classification_reasoning: 'why',
    classification_recommendations: 'a\nb',
    enrichment: '{"owner":"ops"}'
  })
})

t.test('each peer of a cluster is a part of its own, known by its address and not by its place', async t => {
  const urls = ['http://am-0.example.com:9093', 'http://am-1.example.com:9093']
  const notification = notificationOf('firing-3')
  const originsOf = (peers: string[]) => {
    const target = targetOf({ type: 'alertmanager', urls: peers })
    const parts = target.wire.parts!(notification.alerts, notification)
    t.same(
      parts.map(({ key }) => key),
      target.wire.peers
    )
    return new Map(
      parts.map(({ key, alerts }) => {
        t.equal(alerts, notification.alerts)
        return [key, target.wire.requests(messageOf({ notification, part: key }))[0]!.origin]
      })
    )
  }
  const peers = originsOf(urls)
  t.same([...peers.values()], urls)
  t.same(new Map([...originsOf([...urls].reverse())].reverse()), peers)
})

t.test('what waits for a peer that has left goes to one that is still there', async t => {
  const target = targetOf({ type: 'alertmanager', urls: ['http://am-1.example.com:9093'] })
  t.equal(target.wire.requests(messageOf({ part: 'peer-gone' }))[0]!.origin, 'http://am-1.example.com:9093')
})

/** The fields of settings that are refused. */
const problems = (own: object) => {
  const reading = readTarget({ name: 'target', type: 'alertmanager', ...own })
  return reading.ok ? [] : reading.problems.map(({ field }) => field)
}

t.test('url and urls: one of them is needed, and each has to be a URL', async t => {
  t.same(problems({}), ['url'])
  t.same(problems({ urls: ['http://a', 'ftp://b'] }), ['urls[1]'])
  t.same(problems({ url: 'http://a', urls: ['http://b'] }), [])
})

t.test('a hold that would end an alert at once, or that no time can be written of, is refused', async t => {
  for (const hold of ['0s', '0.9ms', '999ms', '30.1d', '1000000000d', `${'9'.repeat(400)}d`])
    t.same(problems({ ...settings, hold }), ['hold'], hold)
  t.same(problems({ hold: '0s' }), ['url', 'hold'])
  for (const hold of ['1s', '30d']) t.same(problems({ ...settings, hold }), [], hold)
})

t.test('a refused list is halved until the bad alerts stand alone; the good ones are stored', async t => {
  const refuse =
    (bad: string[]) =>
    (request: WireRequest): WireAnswer =>
      answerOf(namesIn(request).some(name => bad.includes(name)) ? 400 : 200)
  const target = targetOf(settings)
  const { sent, outcome } = await drive(target, named('a', 'b', 'c', 'd', 'e'), refuse(['b']))
  t.same(sent.map(namesIn), [['a', 'b', 'c', 'd', 'e'], ['a', 'b', 'c'], ['a', 'b'], ['a'], ['b'], ['c'], ['d', 'e']])
  t.same(outcome, {
    kind: 'failed',
    type: 'permanent',
    reason: 'client_error',
    message: 'Alertmanager refused 1 of 5 alerts',
    statusCode: 400,
    mayHave: true
  })
  t.match((await drive(target, named('a', 'b', 'c'), refuse(['a', 'b', 'c']))).outcome, {
    message: 'Alertmanager refused 3 of 3 alerts',
    mayHave: false
  })
})

t.test('a fault while a list is halved is that fault, and all of it is tried again', async t => {
  const answers = [400, 200, 503]
  const { sent, outcome } = await drive(targetOf(settings), named('a', 'b'), () => answerOf(answers.shift()!))
  t.same(sent.map(namesIn), [['a', 'b'], ['a'], ['b']])
  t.match(outcome, { type: 'transient', reason: 'server_error', statusCode: 503 })
})

t.test('a list that is refused once only is delivered in the end', async t => {
  const answers = [422, 200, 200]
  t.equal((await drive(targetOf(settings), named('a', 'b'), () => answerOf(answers.shift()!))).outcome, 'delivered')
})

t.test('a real Alertmanager takes every alert, whatever generates it', async t => {
  if (!needs(t, 'prometheus-alertmanager')) return
  const { url } = await startAlertmanager(t)
  const send = async ({ origin, path, method, headers, body }: WireRequest): Promise<WireAnswer> =>
    answerOf((await fetch(origin + path, { method, headers, body: String(body) })).status)
  const alerts = [...noUris, ...uris].map((generator_url, n) =>
    alertOf({ labels: { alertname: 'A', n: `${n}` }, annotations: { '': 'x' }, generator_url })
  )
  const message = messageOf({ alerts, now: Date.now() })
  t.equal((await drive(targetOf({ type: 'alertmanager', url }), message, send)).outcome, 'delivered')
})

t.test(
  'a real Alertmanager keeps firing alerts firing, resolves the resolved, and stores the good beside the bad',
  async t => {
    if (!needs(t, 'prometheus-alertmanager')) return
    const { url } = await startAlertmanager(t)
    const target = targetOf({ type: 'alertmanager', url })
    const now = Date.now()
    const send = async (request: WireRequest): Promise<WireAnswer> => {
      const { method, headers, body } = request
      const answer = await fetch(request.origin + request.path, { method, headers, body: String(body) })
      return answerOf(answer.status, await answer.text())
    }
    const kept = async () => {
      const alerts = (await (await fetch(`${url}/api/v2/alerts`)).json()) as { labels: { n: string }; endsAt: string }[]
      return Object.fromEntries(alerts.map(alert => [alert.labels.n, Date.parse(alert.endsAt)]))
    }
    const start = new Date(now - 60_000).toISOString()
    const alert = (n: string, more: Partial<Alert> = {}) =>
      alertOf({ fingerprint: n, labels: { alertname: 'A', n, __proto__x: '😀 \ud800' }, starts_at: start, ...more })

    const firing = notificationWith([
      alert('a'),
      alert('bad', { labels: {} }),
      alert('c'),
      alert('d', { generator_url: 'no url' })
    ])
    const first = await drive(target, messageOf({ notification: firing, now }), send)
    t.match(first.outcome, { reason: 'client_error', message: 'Alertmanager refused 1 of 4 alerts', mayHave: true })
    const hold = 5 * 3_600_000
    t.same(await kept(), { a: now + hold, c: now + hold, d: now + hold })

    const ended = alert('a', { status: 'resolved', ends_at: new Date(now).toISOString() })
    const second = await drive(target, messageOf({ alerts: [ended, alert('c')], now: now + 1_000 }), send)
    t.equal(second.outcome, 'delivered')
    t.same(await kept(), { c: now + 1_000 + hold, d: now + hold }, 'the resolved one is gone, the other renewed')
  }
)
