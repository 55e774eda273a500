import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { errorBody, errorTable } from '../../src/errors.js'
import { eventually } from '../support/queues.js'
import { openPost } from '../support/raw.js'
import { oneAlert, publishPaths, startTestService } from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

t.test('each code has its one status, and says what it means', async t => {
  t.same(Object.fromEntries(Object.entries(errorTable).map(([code, [status]]) => [code, status])), {
    INVALID_INPUT: 400,
    UNAUTHORIZED: 401,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    TARGET_NOT_FOUND: 404,
    CONFLICT: 409,
    TOO_LARGE: 413,
    NOT_JSON: 415,
    TOO_MANY_REQUESTS: 429,
    INTERNAL: 500,
    ALL_TARGETS_FAILED: 502,
    NO_HEALTHY_TARGETS: 503,
    NO_ENABLED_TARGETS: 503,
    QUEUE_UNAVAILABLE: 503,
    OVERLOADED: 503,
    NOT_READY: 503,
    DRAINING: 503,
    PUBLISH_TIMEOUT: 504
  })
  for (const code of Object.keys(errorTable) as (keyof typeof errorTable)[]) {
    const { statusCode, error, message } = errorBody(code)
    t.ok(statusCode && error && message, code)
  }
})

t.test('however much is wrong, an error stays below 1 KiB and names the first problems', async t => {
  const labels = Object.fromEntries(
    Array.from({ length: 500 }, (_, index) => [`label_${index}_${'x'.repeat(200)}`, index])
  )
  const service = await startTestService(t, {})
  for (const body of [
    { alert: { status: 'firing', labels } },
    { alerts: Array.from({ length: 1_000 }, () => ({ status: 'odd', labels: { a: 1 } })) },
    { ...oneAlert(), options: Object.fromEntries(Object.keys(labels).map(name => [name, 1])) }
  ]) {
    const { status, text, body: answer } = await service.post(publishPaths.all, body)
    t.equal(status, 400)
    t.ok(Buffer.byteLength(text) < 1024, `${Buffer.byteLength(text)} bytes`)
    t.ok(answer.details.length > 1)
    t.match(answer.details.at(-1), { field: '…', message: /^\d+ more problems$/ })
  }
})

t.test('unknown routes and wrong methods are told as such', async t => {
  const service = await startTestService(t, {})
  for (const [method, path] of [
    ['GET', '/nothing'],
    ['GET', publishPaths.all],
    ['PUT', publishPaths.all],
    ['DELETE', '/status'],
    ['GET', '/api/v1/targets/a/b/c'],
    ['GET', '/..%2f..%2fetc/passwd']
  ] as const) {
    const { status, body } = await service.send(method, path)
    t.equal(status, 404, `${method} ${path}`)
    t.match(body, { statusCode: 404, code: 'NOT_FOUND', error: 'Not Found' })
  }
})

t.test('a path that cannot be read, and one with a long name, are answered as all else is', async t => {
  const service = await startTestService(t, {})
  const bad = await service.get(`/api/v1/targets/%ff${'x'.repeat(2_000)}`)
  t.equal(bad.status, 400)
  t.same(bad.body, errorBody('INVALID_INPUT', 'the path is not a valid URL path'))
  t.equal(bad.headers.get('x-content-type-options'), 'nosniff')
  t.match((await service.get(`/api/v1/targets/${'x'.repeat(500)}`)).body, { statusCode: 404, code: 'TARGET_NOT_FOUND' })
})

t.test('what HTTP itself forbids does not harm the service', async t => {
  const service = await startTestService(t, {})
  const { port } = new URL(service.url)
  const post = `POST ${publishPaths.all} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`
  for (const [statusCode, text] of [
    [400, 'GARBAGE\r\n\r\n'],
    [400, `${post}content-length: 10\r\ntransfer-encoding: chunked\r\n\r\n`],
    [400, `${post}transfer-encoding: chunked\r\n\r\nZZ\r\n`],
    [431, `GET /status HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`],
    [400, `GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n`]
  ] as const) {
    const answer = await new Promise<string>(resolve => {
      let got = ''
      const socket = connect(Number(port), '127.0.0.1', () => socket.write(text))
      socket.on('data', chunk => {
        got += chunk
        socket.end()
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(got))
    })
    t.match(answer, new RegExp(`^HTTP/1.1 ${statusCode} `), text.slice(0, 40))
    t.match(JSON.parse(answer.slice(answer.indexOf('{'))), { statusCode, code: 'INVALID_INPUT', message: String })
  }
  const aborted = openPost(service.url + publishPaths.all, { 'content-length': 1000 })
  aborted.request.write('{"alert":')
  aborted.request.destroy()
  t.equal((await service.get('/healthz')).status, 200)
})

t.test('a body that other tools wrote is read, or told from one that is no JSON', async t => {
  const service = await startTestService(t, {})
  const text = JSON.stringify({ alert: { status: 'odd' } })
  const { details } = (await service.post(publishPaths.all, text)).body
  t.same((await service.post(publishPaths.all, `\uFEFF${text}`)).body.details, details, 'as Windows begins a file')
  const bodies = {
    'the body is not valid JSON': Buffer.from('\uFEFF{'),
    'the body is compressed: send it as it is': gzipSync(text)
  }
  for (const [message, body] of Object.entries(bodies)) {
    const { request, answer } = openPost(service.url + publishPaths.all)
    request.end(body)
    t.match(await answer, { status: 400, body: { message } })
  }
})

t.test('callers who hang up on many requests in a row leave no place taken', async t => {
  const slow = gate()
  const hook = await startStandIn(t, slow.answer)
  const service = await startTestService(t, {
    env: { MAX_IN_FLIGHT: '10' },
    targets: [{ name: 'hook', type: 'webhook', url: hook.url }]
  })
  const { port } = new URL(service.url)
  const bodies = Array.from({ length: 8 }, (_, index) => JSON.stringify(oneAlert(`A${index}`)))
  const requests = bodies.map(
    body =>
      `POST ${publishPaths.all} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  )
  for (const count of [1, 2]) {
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(requests.join('')))
    await hook.got(count)
    socket.destroy()
    await eventually('nobody is served any more', async () => {
      return (await service.get('/status')).body.in_flight.publishes === 0
    })
  }
  slow.open()
  for (const name of ['B', 'C', 'D']) t.equal((await service.post(publishPaths.all, oneAlert(name))).status, 200)
})

t.test('a POST that needs no body takes none, an empty one and an empty object, with any content type', async t => {
  const service = await startTestService(t, { targets: [{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:9' }] })
  const path = '/api/v1/targets/hook/circuit/reset'
  t.equal((await service.post(path)).status, 200)
  t.equal((await service.post(path, '')).status, 200)
  t.equal((await service.post(path, {})).status, 200)
  t.equal((await service.post(path, '{}', { 'content-type': 'text/plain' })).status, 200)
  t.equal((await service.post(path, '[]')).status, 400)
  t.equal((await service.post(path, '{')).status, 400)
})
