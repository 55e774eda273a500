import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Memory, Message, Verdict, WireAnswer, WireRequest } from '../../src/targets/contract.js'
import { judgeByStatus } from '../../src/targets/failures.js'
import { readTarget, type Target } from '../../src/targets/target.js'
import { alertOf, messageOf, notificationOf, testNow } from '../support/messages.js'

const auth = { type: 'bearer', token: 'rootly_example_token' }

function targetOf(settings: object = {}): Target {
  const reading = readTarget({ name: 'rootly', type: 'rootly', auth, ...settings })
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}

// biome-ignore lint/suspicious/noExplicitAny: the body is what the test looks into
const attributesOf = (request: WireRequest | undefined): any => JSON.parse(String(request?.body)).data.attributes
const resolvedAlert = alertOf({ status: 'resolved', ends_at: '2026-11-20T18:19:00Z' })
const answerOf = (statusCode: number, body: unknown = '', headers: WireAnswer['headers'] = {}): WireAnswer => ({
  statusCode,
  headers,
  body: typeof body === 'string' ? body : JSON.stringify(body)
})

interface Incident {
  id: string
  type: string
  attributes: Record<string, unknown>
}

/** A server that keeps incidents and alerts as Rootly does; `cutAt` makes its answers as long as Rootly's and cut. */
async function rootlyServer(t: { teardown(run: () => unknown): void }, cutAt = 2048) {
  const incidents = new Map<string, Incident>()
  const alerts = new Map<string, Incident>()
  const calls: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const url = new URL(request.url!, 'http://rootly')
      calls.push(`${request.method} ${url.pathname}${url.search ? '?' : ''}`)
      const attributes = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()).data.attributes : {}
      const [, kind, id, action] = /^\/v1\/(incidents|alerts)(?:\/([^/]+))?(\/resolve)?$/.exec(url.pathname) ?? []
      const all = kind === 'alerts' ? alerts : incidents
      const tell = (status: number, data: unknown) => {
        response.writeHead(status, { 'content-type': 'application/vnd.api+json' })
        response.end(JSON.stringify({ data }))
      }
      const found = all.get(id ?? '')
      if (request.method === 'POST' && id === undefined) {
        const same =
          kind === 'alerts' &&
          [...alerts.values()].find(one => one.attributes.deduplication_key === attributes.deduplication_key)
        if (same) return tell(201, same)
        const one = { id: `id-${all.size + 1}`, type: kind!, attributes: { ...attributes, status: 'started' } }
        all.set(one.id, one)
        return tell(201, one)
      }
      if (request.method === 'GET' && id === undefined) {
        const states = url.searchParams.get('filter[status]')!.split(',')
        const search = url.searchParams.get('filter[search]')!
        const hits = [...all.values()].filter(
          ({ attributes: { status, summary } }) => states.includes(String(status)) && String(summary).includes(search)
        )
        return tell(200, hits)
      }
      if (!found) return tell(404, undefined)
      if (action && found.attributes.status === 'resolved') return tell(409, undefined)
      Object.assign(found.attributes, attributes, action ? { status: 'resolved' } : {})
      tell(200, { ...found, attributes: { ...found.attributes, padding: 'x'.repeat(4000) } })
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise(resolve => server.close(resolve)))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  /** Sends a message as the pipeline does, and returns how it ended. */
  const deliver = async (target: Target, message: Message): Promise<Verdict> => {
    let left = target.wire.requests(message)
    for (let sent = 0; sent < 10; sent++) {
      const [request, ...others] = left
      if (!request) throw new Error('no request')
      const { origin, path, method, headers, body } = request
      const response = await fetch(origin + path, { method, headers, body: (body as string | undefined) ?? null })
      const answer = answerOf(response.status, (await response.text()).slice(0, cutAt))
      const verdict = target.wire.answer?.(answer, message, request) ?? judgeByStatus(answer, 'Rootly', testNow)
      if (verdict.kind === 'failed' || (verdict.kind === 'delivered' && others.length === 0)) return verdict
      left = verdict.kind === 'instead' ? [...verdict.requests] : others
    }
    throw new Error('it never ended')
  }
  const memoryOf = (verdict: Verdict): Memory => {
    if (verdict.kind !== 'delivered') throw new Error(JSON.stringify(verdict))
    return verdict.memory ?? {}
  }
  return { url, incidents, alerts, calls, deliver, memoryOf }
}

t.test('a list of incidents that broke off is none: nothing is taken for closed, or opened anew', async t => {
  const target = targetOf({})
  for (const state of ['firing-1', 'resolved-2'] as const) {
    const message = messageOf({ notification: notificationOf(state), mayHave: true })
    const [find] = target.wire.requests(message)
    for (const body of ['', '{"data":', '{"errors":[]}', '<html>'])
      t.match(target.wire.answer!(answerOf(200, body), message, find!), { kind: 'failed', reason: 'connection' })
  }
})

t.test('a firing alert opens an incident', async t => {
  const target = targetOf({
    severity_ids: { critical: 'sev-1' },
    service_ids: ['svc'],
    environment_ids: ['env'],
    group_ids: ['team']
  })
  const notification = notificationOf('firing-1')
  const [alert] = notification.alerts
  const requests = target.wire.requests(messageOf({ notification }))
  t.equal(requests.length, 1)
  const { body, ...request } = requests[0]!
  t.strictSame(request, {
    method: 'POST',
    origin: 'https://api.rootly.com',
    path: '/v1/incidents',
    headers: { 'content-type': 'application/vnd.api+json', accept: 'application/vnd.api+json' }
  })
  const { summary, ...attributes } = attributesOf(requests[0])
  t.strictSame(attributes, {
    title: 'NodeCPUHigh: CPU above 90% on node-1',
    severity_id: 'sev-1',
    started_at: '2026-11-20T18:17:30.86Z',
    labels: { ...alert?.labels, fingerprint: '40740cd330866521' },
    url: alert?.generator_url,
    service_ids: ['svc'],
    environment_ids: ['env'],
    group_ids: ['team']
  })
  t.equal(JSON.parse(String(body)).data.type, 'incidents')
  t.equal(
    summary,
    [
      '`40740cd330866521` firing since 2026-11-20T18:17:30.86Z',
      'CPU above 90% on node-1',
      'CPU usage on node-1 has been above 90% for 10 minutes.',
      `[Runbook](<https://runbooks.example.com/node-cpu-high>) · [Dashboard](<https://grafana.example.com/d/node?var-instance=node-1>) · [Source](<${alert?.generator_url}>)`,
      '- `alertname`: `NodeCPUHigh`\n- `instance`: `node-1:9100`\n- `job`: `node-exporter`\n- `namespace`: `prod`\n- `service`: `checkout`\n- `severity`: `critical`'
    ].join('\n\n')
  )
})

t.test('an incident is opened, updated, looked at and resolved by the id that was remembered', async t => {
  const rootly = await rootlyServer(t)
  const target = targetOf({ url: rootly.url })
  const opened = rootly.memoryOf(await rootly.deliver(target, messageOf()))
  t.equal(opened.id, 'id-1')

  const changed = alertOf({ annotations: { summary: 'CPU above 99% on node-1' } })
  const updated = rootly.memoryOf(await rootly.deliver(target, messageOf({ alerts: [changed], memory: opened })))
  t.equal(updated.id, 'id-1')
  t.equal(rootly.incidents.get('id-1')?.attributes.title, 'NodeCPUHigh: CPU above 99% on node-1')

  rootly.incidents.get('id-1')!.attributes.summary = 'what people wrote'
  const reminded = rootly.memoryOf(
    await rootly.deliver(target, messageOf({ alerts: [changed], memory: updated, lateByMs: 600_000 }))
  )
  t.strictSame(reminded, updated)
  t.equal(rootly.incidents.get('id-1')?.attributes.summary, 'what people wrote', 'a reminder overwrites nothing')

  const resolved = rootly.memoryOf(
    await rootly.deliver(target, messageOf({ alerts: [resolvedAlert], memory: reminded }))
  )
  t.strictSame(resolved, {}, 'a later firing is a new incident')
  t.match(rootly.incidents.get('id-1')?.attributes, {
    status: 'resolved',
    resolution_message: 'Resolved at 2026-11-20T18:19:00Z'
  })
  t.strictSame(rootly.calls, [
    'POST /v1/incidents',
    'PUT /v1/incidents/id-1',
    'GET /v1/incidents/id-1',
    'PUT /v1/incidents/id-1/resolve'
  ])
})

t.test('an update writes only what the alert owns', async t => {
  const target = targetOf({ severity_ids: { critical: 'sev-1' }, service_ids: ['svc'] })
  const [request] = target.wire.requests(messageOf({ memory: { id: '0b5c' } }))
  t.match(request, { method: 'PUT', path: '/v1/incidents/0b5c' })
  t.strictSame(Object.keys(attributesOf(request)), ['title', 'summary', 'severity_id'])
})

t.test('an incident that was deleted, or closed while the alert still fires, is opened anew', async t => {
  const rootly = await rootlyServer(t)
  const target = targetOf({ url: rootly.url })
  const memory = rootly.memoryOf(await rootly.deliver(target, messageOf({ memory: { id: 'deleted' } })))
  t.equal(memory.id, 'id-1')
  rootly.incidents.get('id-1')!.attributes.status = 'resolved'
  t.equal(rootly.memoryOf(await rootly.deliver(target, messageOf({ memory }))).id, 'id-2')
  t.strictSame(rootly.calls, [
    'PUT /v1/incidents/deleted',
    'POST /v1/incidents',
    'GET /v1/incidents/id-1',
    'POST /v1/incidents'
  ])
})

t.test(
  'an incident that may have been opened in place of a closed one is found, not opened twice or left open',
  async t => {
    const rootly = await rootlyServer(t)
    const target = targetOf({ url: rootly.url })
    const memory = rootly.memoryOf(await rootly.deliver(target, messageOf()))
    rootly.incidents.get('id-1')!.attributes.status = 'resolved'
    // Whoever opens the next one dies before it can remember that.
    await rootly.deliver(target, messageOf({ memory }))
    t.equal(rootly.memoryOf(await rootly.deliver(target, messageOf({ memory, mayHave: true }))).id, 'id-2')
    const resolved = messageOf({ alerts: [resolvedAlert], memory, mayHave: true })
    for (const _ of ['it is open', 'it is over'])
      t.strictSame(await rootly.deliver(target, resolved), { kind: 'delivered', memory: {} })
    t.same(
      [...rootly.incidents.values()].map(({ attributes }) => attributes.status),
      ['resolved', 'resolved']
    )
  }
)

t.test(
  'a search that lags behind, and still has what was closed, opens nothing and never goes on for ever',
  async t => {
    const target = targetOf({})
    const memory = { id: 'id-1' }
    const open = { id: 'id-1', attributes: { status: 'started', summary: '`40740cd330866521`' } }
    const listed = answerOf(200, JSON.stringify({ data: [open] }))
    const closed = answerOf(200, JSON.stringify({ data: { ...open, attributes: { status: 'resolved' } } }))
    const over = (alerts?: Message['alerts']) => {
      const message = messageOf({ memory, mayHave: true, ...(alerts && { alerts }) })
      const [first] = target.wire.requests(message)
      const seeking = target.wire.answer!(closed, message, first!)
      t.match(seeking, { kind: 'instead', requests: [{ method: 'GET' }], memory: {} })
      return target.wire.answer!(listed, message, (seeking as { requests: readonly WireRequest[] }).requests[0]!)
    }
    t.match(over(), { kind: 'instead', requests: [{ method: 'POST' }] })
    t.strictSame(over([resolvedAlert]), { kind: 'delivered', memory: {} })
  }
)

t.test('resolving what is gone, or resolved already, is a success', async t => {
  const rootly = await rootlyServer(t)
  const target = targetOf({ url: rootly.url })
  const gone = messageOf({ alerts: [resolvedAlert], memory: { id: 'deleted' } })
  t.strictSame(await rootly.deliver(target, gone), { kind: 'delivered', memory: {} })
  const { id = '' } = rootly.memoryOf(await rootly.deliver(target, messageOf()))
  rootly.incidents.get(id)!.attributes.status = 'resolved'
  const again = messageOf({ alerts: [resolvedAlert], memory: { id } })
  t.strictSame(await rootly.deliver(target, again), { kind: 'delivered', memory: {} })
})

t.test('an incident whose id was lost is found by the fingerprint, not opened twice', async t => {
  const rootly = await rootlyServer(t)
  const target = targetOf({ url: rootly.url })
  t.equal(rootly.memoryOf(await rootly.deliver(target, messageOf({ mayHave: true }))).id, 'id-1', 'it never arrived')
  t.equal(rootly.memoryOf(await rootly.deliver(target, messageOf({ mayHave: true }))).id, 'id-1', 'it had arrived')
  t.equal(rootly.incidents.size, 1)
  const resolved = await rootly.deliver(target, messageOf({ alerts: [resolvedAlert], mayHave: true }))
  t.strictSame(resolved, { kind: 'delivered', memory: {} })
  t.equal(rootly.incidents.get('id-1')?.attributes.status, 'resolved')
  await rootly.deliver(target, messageOf({ alerts: [resolvedAlert], mayHave: true }))
  t.strictSame(rootly.calls, [
    'GET /v1/incidents?',
    'POST /v1/incidents',
    'GET /v1/incidents?',
    'PUT /v1/incidents/id-1',
    'GET /v1/incidents?',
    'PUT /v1/incidents/id-1/resolve',
    'GET /v1/incidents?'
  ])
})

t.test('a search never takes an incident that does not show the fingerprint, or is over', async t => {
  const target = targetOf()
  const message = messageOf({ alerts: [resolvedAlert], mayHave: true })
  const [search] = target.wire.requests(message)
  t.equal(
    search?.path,
    '/v1/incidents?filter%5Bsearch%5D=40740cd330866521&filter%5Bstatus%5D=in_triage%2Cstarted%2Cdetected%2Cacknowledged%2Cmitigated&sort=-created_at&page%5Bsize%5D=1'
  )
  const listed = (attributes: object) => answerOf(200, { data: [{ id: '7', type: 'incidents', attributes }] })
  const verdict = (answer: WireAnswer) => target.wire.answer?.(answer, message, search!)
  t.strictSame(verdict(listed({ summary: 'another one', status: 'started' })), { kind: 'delivered', memory: {} })
  t.strictSame(verdict(listed({ summary: '`40740cd330866521`', status: 'closed' })), { kind: 'delivered', memory: {} })
  t.match(verdict(listed({ summary: '`40740cd330866521`', status: 'started' })), {
    kind: 'instead',
    requests: [{ method: 'PUT', path: '/v1/incidents/7/resolve' }]
  })
  t.match(verdict(answerOf(503)), { kind: 'failed', type: 'transient' })
})

t.test('an answer that was cut still tells the id', async t => {
  const target = targetOf()
  const [create] = target.wire.requests(messageOf())
  const verdict = target.wire.answer?.(
    answerOf(201, '{"data":{"id":"0b5c","type":"incidents","attributes":{"tit'),
    messageOf(),
    create!
  )
  t.match(verdict, { kind: 'delivered', memory: { id: '0b5c' } })
})

t.test('a create whose answer cannot be read is looked for before another is made', async t => {
  const target = targetOf()
  const [create] = target.wire.requests(messageOf())
  for (const body of ['', 'null', '{}', '{"data":{}}', '{"data":[]}', '<html>']) {
    const verdict = target.wire.answer?.(answerOf(201, body), messageOf(), create!)
    const memory = verdict?.kind === 'delivered' ? (verdict.memory ?? {}) : t.fail(body)
    t.match(target.wire.requests(messageOf({ memory: memory as Memory }))[0], { method: 'GET', path: /filter/ }, body)
  }
})

t.test('a late message says how late it is', async t => {
  const late = { lateByMs: 12 * 60_000 }
  const { summary } = attributesOf(targetOf().wire.requests(messageOf(late))[0])
  t.match(summary, /^`40740cd330866521` firing since 2026-11-20T18:17:30.86Z, late by 12 min\n/)
  const resolve = messageOf({ alerts: [resolvedAlert], memory: { id: '1' }, ...late })
  t.strictSame(attributesOf(targetOf().wire.requests(resolve)[0]), {
    resolution_message: 'Resolved at 2026-11-20T18:19:00Z, late by 12 min'
  })
})

t.test('classification and enrichment come along', async t => {
  const alert = alertOf({
    classification: {
      severity: 'warning',
      confidence: 0.8,
      reasoning: 'known deploy',
      recommendations: ['wait', 'look']
    },
    enrichment: { owner: 'team-a' }
  })
  const { summary } = attributesOf(targetOf().wire.requests(messageOf({ alerts: [alert] }))[0])
  t.match(summary, '**Classified as warning** (confidence 0.8): known deploy\n\n- wait\n- look\n\n')
  t.match(summary, '```json\n{"owner":"team-a"}\n```')
})

t.test('huge texts are cut and label texts cannot become markup', async t => {
  const truncated = new Set<string>()
  const huge = 'x'.repeat(1024 * 1024)
  const labels = { alertname: 'A', evil: '`](http://evil.example.com) <!channel>\n# big', huge }
  const alert = alertOf({ labels, annotations: { summary: huge, description: huge } })
  const message = messageOf({ alerts: [alert], truncated: field => truncated.add(field) })
  const [request] = targetOf().wire.requests(message)
  t.ok(String(request?.body).length < 20_000)
  t.equal([...attributesOf(request).title].length, 200)
  t.match(attributesOf(request).summary, '- `evil`: ` ](http://evil.example.com) <!channel> # big`\n')
  t.strictSame([...truncated].sort(), ['annotations', 'labels', 'title'])
})

t.test('per group, one incident stands for all of it and resolves when all of it has', async t => {
  const rootly = await rootlyServer(t)
  const target = targetOf({ url: rootly.url, per: 'group', severity_ids: { critical: 'sev-1', warning: 'sev-2' } })
  t.equal(target.kind.lane(target.settings), 'group')
  t.equal(target.wire.parts, undefined)
  const storm = notificationOf('storm-120')
  const memory = rootly.memoryOf(await rootly.deliver(target, messageOf({ notification: storm })))
  const { attributes } = rootly.incidents.get('id-1')!
  t.match(attributes.labels, { fingerprint: createHash('sha256').update(storm.group_key).digest('hex') })
  t.match(attributes.title, /\(120 firing\)$/)
  t.match(attributes.summary, '- +100 more')
  const some = {
    ...storm,
    alerts: storm.alerts.map((alert, n) => (n === 0 ? { ...alert, status: 'resolved' as const } : alert))
  }
  const still = rootly.memoryOf(await rootly.deliver(target, messageOf({ notification: some, memory })))
  t.match(attributes, { title: /\(119 firing, 1 resolved\)$/, status: 'started' })
  const none = { ...storm, alerts: storm.alerts.map(alert => ({ ...alert, status: 'resolved' as const })) }
  await rootly.deliver(target, messageOf({ notification: none, memory: still }))
  t.equal(attributes.status, 'resolved')
})

for (const api of ['incidents', 'alerts'] as const) {
  t.test(`with api: ${api}, what Alertmanager left out of a group keeps it open`, async t => {
    const rootly = await rootlyServer(t)
    const target = targetOf({ url: rootly.url, per: 'group', api })
    const storm = notificationOf('storm-120')
    const memory = rootly.memoryOf(await rootly.deliver(target, messageOf({ notification: storm })))
    const alerts = storm.alerts.map(alert => ({
      ...alert,
      status: 'resolved' as const,
      ends_at: '2026-11-20T18:19:00Z'
    }))
    const cut = { ...storm, truncated_alerts: 5, alerts }
    const [request, ...more] = target.wire.requests(messageOf({ notification: cut, memory }))
    t.strictSame(more, [])
    t.notMatch(request!.path, /resolve/)
    const { title, summary, description, ended_at } = attributesOf(request)
    t.match(title ?? summary, /\(120 resolved, 5 not listed\)$/)
    t.match(description ?? summary, /not known to be resolved[\s\S]*120 resolved, 5 not listed/)
    t.equal(ended_at, undefined)
    const still = rootly.memoryOf(await rootly.deliver(target, messageOf({ notification: cut, memory })))
    t.equal(still.id, memory.id)
    t.equal(rootly[api].get('id-1')!.attributes.status, 'started')
    await rootly.deliver(target, messageOf({ notification: { ...storm, alerts }, memory: still }))
    t.equal(rootly[api].get('id-1')!.attributes.status, 'resolved')
  })
}

t.test('an incident has the severity of its gravest alert, an unknown one that of error', async t => {
  const target = targetOf({ per: 'group', severity_ids: { P1: 'sev-0', error: 'sev-1', info: 'sev-3' } })
  const idOf = (...severities: (string | undefined)[]) => {
    const alerts = severities.map((severity, n) =>
      alertOf({ fingerprint: `${n}`, labels: severity === undefined ? {} : { severity } })
    )
    return attributesOf(target.wire.requests(messageOf({ alerts }))[0]).severity_id
  }
  for (const severity of ['P1', 'p1']) t.equal(idOf('info', severity), 'sev-0', severity)
  t.equal(idOf('info', 'emergency'), 'sev-1')
  t.equal(idOf('constructor'), 'sev-1')
  t.equal(idOf('warning', 'info'), undefined, 'a known one without an id has none')
  t.equal(idOf(undefined), undefined)
})

t.test('with api: alerts, an alert is posted under its key and resolved by the id', async t => {
  const rootly = await rootlyServer(t)
  const paging = { notification_target_type: 'EscalationPolicy', notification_target_id: 'policy' }
  const target = targetOf({ url: rootly.url, api: 'alerts', ...paging })
  const [request] = target.wire.requests(messageOf({ notification: notificationOf('firing-1') }))
  const { description, ...attributes } = attributesOf(request)
  const [alert] = notificationOf('firing-1').alerts
  t.strictSame(attributes, {
    source: 'alertmanager',
    summary: 'NodeCPUHigh: CPU above 90% on node-1',
    started_at: '2026-11-20T18:17:30.86Z',
    external_url: alert?.generator_url,
    deduplication_key: '40740cd330866521',
    labels: Object.entries({ ...alert?.labels, fingerprint: '40740cd330866521' }).map(([key, value]) => ({
      key,
      value
    })),
    ...paging
  })
  t.match(description, 'CPU usage on node-1 has been above 90% for 10 minutes.')

  const memory = rootly.memoryOf(await rootly.deliver(target, messageOf()))
  t.strictSame(memory, { id: 'id-1' })
  t.strictSame(rootly.memoryOf(await rootly.deliver(target, messageOf({ memory }))), memory)
  const resolved = await rootly.deliver(target, messageOf({ alerts: [resolvedAlert], memory }))
  t.strictSame(resolved, { kind: 'delivered', memory: {} })
  t.equal(rootly.alerts.get('id-1')?.attributes.status, 'resolved')
  t.strictSame(rootly.calls, ['POST /v1/alerts', 'POST /v1/alerts', 'POST /v1/alerts/id-1/resolve'])
})

t.test('with api: alerts, an alert whose id was lost is resolved through its key and pages nobody', async t => {
  const rootly = await rootlyServer(t)
  const paging = { notification_target_type: 'User', notification_target_id: '1' }
  const target = targetOf({ url: rootly.url, api: 'alerts', ...paging })
  await rootly.deliver(target, messageOf())
  const message = messageOf({ alerts: [resolvedAlert], mayHave: true })
  const attributes = attributesOf(target.wire.requests(message)[0])
  t.match(attributes, { deduplication_key: '40740cd330866521', ended_at: '2026-11-20T18:19:00Z' })
  t.notOk('notification_target_type' in attributes)
  t.strictSame(await rootly.deliver(target, message), { kind: 'delivered', memory: {} })
  t.equal(rootly.alerts.get('id-1')?.attributes.status, 'resolved')
})

t.test('answers are judged by status, with Rootly’s own word on when its window ends', async t => {
  const target = targetOf()
  const [create] = target.wire.requests(messageOf())
  const judge = (answer: WireAnswer) => {
    const verdict = target.wire.answer?.(answer, messageOf(), create!)
    return verdict?.kind === 'failed' ? [verdict.type, verdict.reason, verdict.retryAfterMs] : [verdict?.kind]
  }
  t.strictSame(judge(answerOf(401)), ['configuration', 'auth', undefined])
  t.strictSame(judge(answerOf(403)), ['configuration', 'auth', undefined])
  t.strictSame(judge(answerOf(404)), ['configuration', 'not_found', undefined])
  t.strictSame(judge(answerOf(422)), ['permanent', 'client_error', undefined])
  t.strictSame(judge(answerOf(500)), ['transient', 'server_error', undefined])
  const reset = { 'x-ratelimit-reset': String(testNow / 1000 + 30) }
  t.strictSame(judge(answerOf(429, '', reset)), ['rate_limited', 'rate_limited', 30_000])
  t.strictSame(judge(answerOf(429, '', { ...reset, 'retry-after': '5' })), ['rate_limited', 'rate_limited', 5000])
  t.strictSame(judge(answerOf(429, '', { 'x-ratelimit-reset': 'soon' })), ['rate_limited', 'rate_limited', undefined])
})

t.test('settings that cannot work are refused by field', async t => {
  const fieldsOf = (settings: object) => {
    const reading = readTarget({ name: 'rootly', type: 'rootly', ...settings })
    return reading.ok ? [] : reading.problems.map(problem => problem.field)
  }
  t.strictSame(fieldsOf({}), ['auth'])
  t.strictSame(fieldsOf({ auth: { type: 'basic', username: 'a', password: 'b' } }), ['auth'])
  t.strictSame(fieldsOf({ auth, url: 'rootly' }), ['url'])
  t.strictSame(fieldsOf({ auth, notification_target_id: '1' }), ['notification_target_id'])
  t.strictSame(fieldsOf({ auth, api: 'alerts', severity_ids: { critical: '1' } }), ['severity_ids'])
  t.strictSame(fieldsOf({ auth, api: 'alerts', notification_target_id: '1' }), ['notification_target_type'])
  t.strictSame(fieldsOf({ auth, api: 'alerts', notification_target_type: 'User' }), ['notification_target_id'])
})

t.test('severity ids that differ in case only are refused: nobody could tell which is meant', async t => {
  const reading = readTarget({ name: 'r', type: 'rootly', auth, severity_ids: { P1: 'a', info: 'b', p1: 'c' } })
  t.match(reading, {
    ok: false,
    problems: [{ field: 'severity_ids.p1', message: 'is there already, in another case' }]
  })
})

t.test('url may name the host, a path before the API, or its version', async t => {
  for (const [url, path] of [
    ['https://rootly.example.com/', '/v1/incidents'],
    ['https://rootly.example.com/v1', '/v1/incidents'],
    ['https://rootly.example.com/proxy/', '/proxy/v1/incidents']
  ] as const) {
    t.match(targetOf({ url }).wire.requests(messageOf())[0], { origin: 'https://rootly.example.com', path }, url)
  }
})

t.test('the same message gives the same bytes', async t => {
  const message = messageOf({ notification: notificationOf('mixed-1-resolved-of-3') })
  for (const settings of [{}, { per: 'group' }, { api: 'alerts' }]) {
    const target = targetOf(settings)
    t.strictSame(target.wire.requests(message), target.wire.requests(message))
  }
})
