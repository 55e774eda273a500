import { connect } from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { until } from '../support/looks.js'
import { openPost } from '../support/raw.js'
import { alertmanagerBody, oneAlert, publishPaths, type Reply, startTestService } from '../support/service.js'
import { startStandIn } from '../support/stand-in.js'

/** Stands in every input that is refused: no answer may repeat it. */
const mark = 'MARKED-INPUT'

t.test('every input that the contract refuses is refused in words that name field, problem and suggestion', async t => {
  const service = await startTestService(t, { targets: [] })
  const { alert } = oneAlert()
  const withAlert = (more: object) => ({ alert: { ...alert, ...more } })
  const cases: [what: string, body: unknown, fields: string[]][] = [
    ['no name', { alert: { status: 'firing', labels: { team: mark } } }, ['alert.alert_name']],
    ['bad status', withAlert({ status: mark }), ['alert.status']],
    ['no status', { alert: { labels: { alertname: mark } } }, ['alert.status']],
    ['labels no map', withAlert({ labels: [mark], alert_name: 'A' }), ['alert.labels']],
    ['a label no text', withAlert({ labels: { alertname: 'A', n: 1 } }), ['alert.labels.n']],
    ['annotations no map', withAlert({ annotations: mark }), ['alert.annotations']],
    ['an annotation no text', withAlert({ annotations: { n: null } }), ['alert.annotations.n']],
    ['a time that is none', withAlert({ starts_at: mark }), ['alert.starts_at']],
    ['an end that is none', withAlert({ ends_at: mark }), ['alert.ends_at']],
    [
      'an end before the start',
      withAlert({ starts_at: '2026-01-02T00:00:00Z', ends_at: '2026-01-01T00:00:00Z' }),
      ['alert.ends_at']
    ],
    ['a start far ahead', withAlert({ starts_at: '2999-01-01T00:00:00Z' }), ['alert.starts_at']],
    ['a generator URL that is none', withAlert({ generator_url: mark }), ['alert.generator_url']],
    ['a bad severity', withAlert({ classification: { severity: mark } }), ['alert.classification.severity']],
    [
      'a bad confidence',
      withAlert({ classification: { severity: 'info', confidence: 2 } }),
      ['alert.classification.confidence']
    ],
    [
      'a bad reasoning',
      withAlert({ classification: { severity: 'info', reasoning: 5 } }),
      ['alert.classification.reasoning']
    ],
    [
      'everything at once',
      withAlert({ status: mark, labels: { alertname: 1 }, starts_at: mark, generator_url: mark }),
      ['alert.status', 'alert.labels.alertname', 'alert.starts_at', 'alert.generator_url', 'alert.alert_name']
    ],
    ['empty alerts', { alerts: [] }, ['alerts']],
    ['alerts no list', { alerts: mark }, ['alerts']],
    ['nothing that we know', { [mark]: mark }, ['alerts']],
    ['the second of several', { alerts: [alert, { status: 'firing' }] }, ['alerts[1].alert_name']],
    ['no object', [mark], ['body']],
    ['a text', JSON.stringify(mark), ['body']],
    ['null', 'null', ['body']],
    ['bad names', { ...oneAlert(), target_names: mark }, ['target_names']],
    ['names that are no texts', { ...oneAlert(), target_names: [1] }, ['target_names[0]']],
    ['a receiver that is no text', { ...oneAlert(), receiver: 5 }, ['receiver']],
    ['a group key that is no text', { ...oneAlert(), group_key: [mark] }, ['group_key']],
    ['a URL that is no text', { ...oneAlert(), external_url: { mark } }, ['external_url']],
    ['group labels that are no texts', { ...oneAlert(), group_labels: { n: 1 } }, ['group_labels.n']],
    ['an unknown option', { ...oneAlert(), options: { [mark.toLowerCase()]: 1 } }, ['options.marked-input']],
    ['a bad timeout', { ...oneAlert(), options: { timeout: mark } }, ['options.timeout']],
    ['no timeout at all', { ...oneAlert(), options: { timeout: '0s' } }, ['options.timeout']],
    ['a bad limit', { ...oneAlert(), options: { max_concurrent: -1 } }, ['options.max_concurrent']],
    ['a bad strategy', { ...oneAlert(), options: { health_strategy: mark } }, ['options.health_strategy']],
    ['Alertmanager: empty alerts', { ...alertmanagerBody(), alerts: [] }, ['alerts']],
    ['Alertmanager: a bad status', alertmanagerBody(['A'], { status: mark }), ['alerts[0].status']],
    ['Alertmanager: no alert', { ...alertmanagerBody(), alerts: [mark] }, ['alerts[0]']]
  ]
  for (const [what, body, fields] of cases) {
    const reply = await service.post(publishPaths.all, body)
    refused(t, reply, 400, 'INVALID_INPUT', what)
    t.same(reply.body.details.map(({ field }: { field: string }) => field).sort(), fields.sort(), `${what}: fields`)
    for (const detail of reply.body.details)
      t.match(detail, { field: /./, message: /./, suggestion: /./ }, `${what}: ${JSON.stringify(detail)}`)
    t.same((await service.post(publishPaths.explain, body)).body, reply.body, `${what}: explain refuses it alike`)
  }
  const nameless = await service.post(publishPaths.named, oneAlert())
  refused(t, nameless, 400, 'INVALID_INPUT', 'no names on the named route')
  t.match(nameless.body.details, [{ field: 'target_names', message: 'is required here' }])
})

t.test('options in the query are read as those in the body, and refused as those', async t => {
  const service = await startTestService(t, { targets: [] })
  for (const [query, field] of [
    ['timeout=soon', 'timeout'],
    ['timeout=5', 'timeout'],
    ['timeout=1s&timeout=2s', 'timeout'],
    ['timeout=0ms', 'timeout'],
    ['timeout=2h', 'timeout'],
    ['max_concurrent=-1', 'max_concurrent'],
    ['max_concurrent=many', 'max_concurrent'],
    ['check_health=maybe', 'check_health'],
    ['health_strategy=hope', 'health_strategy'],
    ['respect_circuit_breakers=1', 'respect_circuit_breakers']
  ] as const) {
    const reply = await service.post(`${publishPaths.all}?${query}`, alertmanagerBody())
    refused(t, reply, 400, 'INVALID_INPUT', query)
    t.match(reply.body.details, [{ field }])
  }
  const all =
    'timeout=2.5s&max_concurrent=0&check_health=false&health_strategy=publish_to_all&respect_circuit_breakers=false'
  t.equal((await service.post(`${publishPaths.explain}?${all}&unknown=kept`, alertmanagerBody())).status, 200)
})

t.test('what is no JSON is refused', async t => {
  const service = await startTestService(t, { targets: [] })
  const json = JSON.stringify(oneAlert())
  for (const [what, body] of [
    ['half', json.slice(0, -5)],
    ['words', mark],
    ['a second value', `${json}${json}`],
    ['NaN', json.replace('"critical"', 'NaN')],
    ['bytes', Buffer.from([0xff, 0xfe, 0x00])]
  ] as const)
    refused(t, await service.post(publishPaths.all, body), 400, 'INVALID_INPUT', what)
  refused(t, await service.post(publishPaths.all), 400, 'INVALID_INPUT', 'nothing')
  refused(t, await service.post(publishPaths.all, ''), 400, 'INVALID_INPUT', 'empty')
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonp',
    'multipart/form-data',
    '/',
    mark
  ])
    refused(t, await service.post(publishPaths.all, json, { 'content-type': type }), 415, 'NOT_JSON', type)
  const { request, answer } = openPost(service.url + publishPaths.all)
  request.removeHeader('content-type')
  request.end(json)
  refused(t, await answer, 415, 'NOT_JSON', 'no type')
  for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/vnd.alert+json'])
    t.equal(
      (await service.post(publishPaths.all, json, { 'content-type': type })).body.code,
      'NO_ENABLED_TARGETS',
      type
    )
})

t.test('a body above BODY_LIMIT is refused, whether it says its length or not', async t => {
  const service = await startTestService(t, { targets: [], env: { BODY_LIMIT: '4KiB' } })
  const url = service.url + publishPaths.all
  const fitting = JSON.stringify(oneAlert()).padEnd(4096)
  t.equal((await service.post(publishPaths.all, fitting)).body.code, 'NO_ENABLED_TARGETS', 'one that just fits')
  refused(t, await service.post(publishPaths.all, `${fitting} `), 413, 'TOO_LARGE', 'told beforehand')
  const chunked = openPost(url)
  chunked.request.write('{"alert":')
  for (let sent = 0; sent < 5; sent++) chunked.request.write(Buffer.alloc(1024, ' '))
  refused(t, await chunked.answer, 413, 'TOO_LARGE', 'counted while reading, before its end')
  chunked.request.destroy()
  t.equal((await service.post(publishPaths.all, fitting)).body.code, 'NO_ENABLED_TARGETS', 'the next one is served')
})

t.test('whoever sends more than BODY_LIMIT in one go gets an answer, not a broken connection', async t => {
  const service = await startTestService(t, { targets: [], env: { BODY_LIMIT: '4KiB' } })
  const { hostname, port } = new URL(service.url)
  for (let times = 0; times < 20; times++) {
    const socket = connect(Number(port), hostname)
    let answer = ''
    socket.setEncoding('utf8').on('data', text => (answer += text))
    const bytes = Buffer.alloc(8 * 1024 * 1024, ' ')
    socket.write(`POST ${publishPaths.all} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`)
    socket.write(`content-length: ${bytes.length}\r\n\r\n`)
    const error = await new Promise<Error | undefined | null>(resolve =>
      socket.once('error', resolve).write(bytes, resolve)
    )
    t.notOk(error, 'all is taken')
    await until('it is answered', () => answer.includes('TOO_LARGE'))
    t.match(answer, /^HTTP\/1.1 413 /)
    socket.destroy()
  }
})

t.test('a body of 10 MiB is taken, one of a byte more is not', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [{ name: 'hook', type: 'webhook', url: hook.url }] })
  const body = (bytes: number) => {
    const empty = JSON.stringify(oneAlert('Big', { annotations: { text: '' } }))
    return empty.replace('"text":""', `"text":"${'x'.repeat(bytes - empty.length)}"`)
  }
  const limit = 10 * 1024 * 1024
  t.equal((await service.post(publishPaths.all, body(limit))).status, 200)
  t.ok(hook.requests[0]!.bytes.length > limit)
  refused(t, await service.post(publishPaths.all, body(limit + 1)), 413, 'TOO_LARGE', 'one byte more')
})

t.test('millions of tiny values are refused with their place, and what comes at the same time is served', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [{ name: 'hook', type: 'webhook', url: hook.url }] })
  const names = Object.fromEntries(Array.from({ length: 900_000 }, (_, index) => [index.toString(36), '']))
  const bodies = {
    'alerts[0]': { version: '4', alerts: [{ status: 'firing', labels: names }] },
    body: oneAlert('A', { enrichment: names })
  }
  for (const [field, body] of Object.entries(bodies)) {
    const [answer, beside] = await Promise.all([
      service.post(publishPaths.all, JSON.stringify(body)),
      service.post(publishPaths.all, oneAlert('Beside'))
    ])
    refused(t, answer, 400, 'INVALID_INPUT', field)
    t.match(answer.body.details, [{ field, message: 'has more than 20000 values' }])
    t.equal(beside.status, 200)
  }
})

t.test('names that mean something to JavaScript are names like any other', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [{ name: 'hook', type: 'webhook', url: hook.url }] })
  const body = `{"__proto__": {"alerts": [], "polluted": true}, "constructor": 1, "alert": {"status": "firing",
    "__proto__": {"status": "resolved"}, "toString": "x",
    "labels": {"alertname": "A", "__proto__": "p", "constructor": "c", "hasOwnProperty": "h"}, "annotations": {"__proto__": "q"},
    "enrichment": {"__proto__": {"deep": {"__proto__": 1}}}}, "target_names": ["hook", "__proto__", "constructor"],
    "options": {}}`
  const { status, body: answer } = await service.post(publishPaths.named, body)
  t.equal(status, 207)
  t.match(answer.results, [
    { target_name: 'hook', success: true },
    { target_name: '__proto__', error_reason: 'target_not_found' },
    { target_name: 'constructor', error_reason: 'target_not_found' }
  ])
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  const [sent] = hook.requests[0]!.json().alerts
  t.same(Object.entries(sent.labels).sort(), [
    ['__proto__', 'p'],
    ['alertname', 'A'],
    ['constructor', 'c'],
    ['hasOwnProperty', 'h']
  ])
  t.same(Object.entries(sent.annotations), [['__proto__', 'q']])
  refused(
    t,
    await service.post(
      publishPaths.all,
      `{"alert": {"status": "firing", "alert_name": "A"}, "options": {"__proto__": 1}}`
    ),
    400,
    'INVALID_INPUT',
    'an option'
  )
})

t.test('lone surrogates and bytes that are no text reach every target as something that it can read', async t => {
  const hook = await startStandIn(t, ({ path }) => (path === '/slack' ? { body: 'ok' } : {}))
  const service = await startTestService(t, {
    targets: [
      { name: 'am', type: 'alertmanager', url: hook.url },
      { name: 'hook', type: 'webhook', url: `${hook.url}/hook` },
      { name: 'pd', type: 'pagerduty', url: hook.url, routing_key: 'key' },
      { name: 'rootly', type: 'rootly', url: hook.url, api: 'alerts', auth: { type: 'bearer', token: 'token' } },
      { name: 'slack', type: 'slack', url: `${hook.url}/slack` }
    ]
  })
  const lone = String.raw`{"alert": {"status": "firing", "labels": {"alertname": "A\ud800", "b": "\udfff\ud83d"}, "annotations": {"summary": "\ud83d\ude00 \ude00"}}}`
  const { status, text } = await service.post(publishPaths.all, lone)
  t.equal(status, 200, text)
  const bytes = Buffer.concat([
    Buffer.from('{"alert": {"status": "firing", "labels": {"alertname": "B'),
    Buffer.from([0xc3, 0x28, 0xff]),
    Buffer.from('"}}}')
  ])
  t.equal((await service.post(publishPaths.all, bytes)).status, 200)
  t.equal(hook.requests.length, 10)
  for (const { bytes, path } of hook.requests) {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    t.notMatch(text, /\\ud[89a-f]/i, `${path}: no escaped surrogate is left`)
  }
})

t.test('deep nesting is refused where it is ours, and carried where Alertmanager sends it', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    targets: [{ name: 'hook', type: 'webhook', url: hook.url, format: 'alertmanager' }]
  })
  const nest = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
  const deep = JSON.stringify(oneAlert('A', { enrichment: { deep: 0 } })).replace('"deep":0', `"deep":${nest(50_000)}`)
  refused(t, await service.post(publishPaths.all, deep), 400, 'INVALID_INPUT', 'ours')
  const odd = JSON.stringify(alertmanagerBody()).replace('"truncatedAlerts":0', `"more":${nest(50_000)}`)
  t.equal((await service.post(publishPaths.all, odd)).status, 200)
})

t.test('no change of a valid body makes it our fault', async t => {
  const hook = await startStandIn(t)
  const targets = [
    { name: 'hook', type: 'webhook', url: hook.url, format: 'alertmanager' },
    { name: 'own', type: 'webhook', url: hook.url, batch: 'alert' },
    { name: 'am', type: 'alertmanager', url: hook.url },
    {
      name: 'pd',
      type: 'pagerduty',
      url: hook.url,
      routing_key: 'key',
      rate_limit: { requests: 1e6, per: '1s', burst: 1e6 }
    },
    {
      name: 'rootly',
      type: 'rootly',
      url: hook.url,
      api: 'alerts',
      auth: { type: 'bearer', token: 'token' },
      rate_limit: { requests: 1e6, per: '1s', burst: 1e6 }
    },
    { name: 'slack', type: 'slack', url: hook.url, rate_limit: { requests: 1e6, per: '1s', burst: 1e6 } }
  ]
  const service = await startTestService(t, { targets })
  hook.answer(({ headers }) => ({ status: headers['content-type']?.includes('vnd.api') ? 201 : 200, body: 'ok' }))
  const seeds = [
    alertmanagerBody(['A', 'B']),
    {
      ...oneAlert('A', {
        classification: { severity: 'info', confidence: 0.5, reasoning: 'r', recommendations: ['x'] },
        enrichment: { a: [1] }
      }),
      options: { timeout: '10s', max_concurrent: 2 }
    },
    { alerts: [oneAlert('A').alert, oneAlert('B').alert], receiver: 'r', group_key: 'g' }
  ]
  const odd = fc.oneof(
    fc.constantFrom(
      null,
      true,
      0,
      -1,
      1e308,
      '',
      'x',
      'firing',
      'resolved',
      '\ud800',
      '0001-01-01T00:00:00Z',
      [],
      {},
      [[]],
      { a: null },
      '4',
      'http://[',
      'x'.repeat(5000)
    ),
    fc.jsonValue({ maxDepth: 3 })
  )
  const change = fc.record({
    at: fc.nat(),
    how: fc.constantFrom('set', 'drop', 'add', 'double'),
    value: odd,
    name: fc.constantFrom('status', 'labels', '__proto__', 'version', 'alert', 'alerts', 'endsAt', 'ends_at', 'é\u0000')
  })
  await fc.assert(
    fc.asyncProperty(
      fc.nat(seeds.length - 1),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (seed, changes, explain) => {
        const body = structuredClone(seeds[seed]!) as object
        for (const each of changes) mutate(body, each)
        const path = explain ? publishPaths.explain : publishPaths.all
        const { status, text, body: answer } = await service.post(path, JSON.stringify(body))
        if (![200, 400].includes(status)) {
          // A target may refuse, but nothing of ours may fail.
          if (explain || ![202, 207, 502].includes(status) || /"internal"/.test(text))
            throw new Error(`${status} ${text}`)
        }
        if (status === 400 && (answer.code !== 'INVALID_INPUT' || Buffer.byteLength(text) >= 1024))
          throw new Error(text)
      }
    ),
    { numRuns: 300 }
  )
  t.equal((await service.get('/healthz')).status, 200)
})

interface Change {
  at: number
  how: string
  value: unknown
  name: string
}

/** Changes one place somewhere in a body. */
function mutate(body: object, { at, how, value, name }: Change): void {
  const places: { holder: Record<string, unknown>; key: string }[] = []
  const walk = (holder: Record<string, unknown>) => {
    for (const key of Object.keys(holder)) {
      places.push({ holder, key })
      const inner = holder[key]
      if (inner !== null && typeof inner === 'object') walk(inner as Record<string, unknown>)
    }
  }
  walk(body as Record<string, unknown>)
  const place = places[at % Math.max(places.length, 1)]
  if (!place) return
  const { holder, key } = place
  if (how === 'set') holder[key] = value
  else if (how === 'drop') delete holder[key]
  else if (how === 'add')
    Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true })
  else if (Array.isArray(holder)) holder.push(structuredClone(holder[Number(key)]))
}

function refused(t: Test, { status, body, text }: Reply, expected: number, code: string, what: string): void {
  t.equal(status, expected, `${what}: ${text}`)
  t.match(body, { statusCode: expected, code, error: /./, message: /./ }, what)
  t.ok(Buffer.byteLength(text) < 1024, `${what}: short`)
  t.notMatch(text, mark, `${what}: repeats no input`)
}
