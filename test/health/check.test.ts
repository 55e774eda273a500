import { readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createCheck } from '../../src/health/check.js'
import type { ErrorReason } from '../../src/targets/contract.js'
import { egress } from '../../src/targets/egress.js'
import { targetOf } from '../support/drive.js'
import { testNow } from '../support/messages.js'

const cert = readFileSync(join(import.meta.dirname, '../fixtures/tls/server.crt'), 'utf8')
const key = readFileSync(join(import.meta.dirname, '../fixtures/tls/server.key'), 'utf8')

const check = createCheck(egress([], []), 'alert-fanout/test')

/** What a check of these settings comes to: its reason and status code if it failed. */
async function checked(settings: object, options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const failed = await check(targetOf({ type: 'webhook', ...settings }), {
    timeoutMs: 5_000,
    now: testNow,
    signal: new AbortController().signal,
    ...options
  })
  return failed ? [failed.reason, failed.statusCode] : 'reachable'
}

/** Serves on a free port until the test ends; gives the URL's host and port, and counts connections. */
async function serve(t: Test, server: Server | ReturnType<typeof createTcpServer>) {
  const sockets = new Set<Socket>()
  let connections = 0
  server.on('connection', (socket: Socket) => {
    connections++
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    /** Resolves once nobody is connected any more. */
    async left() {
      while (sockets.size > 0) await new Promise(resolve => [...sockets][0]!.once('close', resolve))
    }
  }
}

const http = (t: Test, listener: RequestListener) => serve(t, createServer(listener))
const https = (t: Test, listener: RequestListener) => serve(t, createTlsServer({ cert, key }, listener))
const tcp = (t: Test) =>
  serve(
    t,
    createTcpServer(socket => void socket.resume())
  )

async function closedPort(t: Test): Promise<string> {
  const server = createTcpServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  t.comment(`nobody listens on ${port}`)
  return `127.0.0.1:${port}`
}

t.test('without a health setting a check connects, asks for nothing and leaves', async t => {
  let requests = 0
  const plain = await http(t, () => requests++)
  const safe = await https(t, () => requests++)
  t.equal(await checked({ url: `http://${plain.host}/hook` }), 'reachable')
  t.equal(await checked({ url: `https://${safe.host}/hook`, tls: { ca: cert } }), 'reachable')
  await Promise.all([plain.left(), safe.left()])
  t.equal(plain.connections() + safe.connections(), 2)
  t.equal(requests, 0)
})

t.test('an address in brackets and a name are connected to as well', async t => {
  const { host } = await http(t, () => {})
  t.equal(await checked({ url: `http://localhost:${host.split(':')[1]}/` }), 'reachable')
  const six = createServer(() => {})
  const listens = await new Promise<boolean>(resolve => {
    six.on('error', () => resolve(false)).listen(0, '::1', () => resolve(true))
  })
  t.teardown(() => six.close())
  if (!listens) return void t.comment('there is no IPv6 here')
  t.equal(await checked({ url: `http://[::1]:${(six.address() as AddressInfo).port}/` }), 'reachable')
})

t.test('what cannot be connected to fails with its reason', async t => {
  const plain = await http(t, () => {})
  const safe = await https(t, () => {})
  const tls = { ca: cert }
  const table: [string, object, ErrorReason][] = [
    ['nobody listens', { url: `http://${await closedPort(t)}/` }, 'connection'],
    ['no such name', { url: 'http://no-such-host.invalid/' }, 'dns'],
    ['a certificate that nobody vouches for', { url: `https://${safe.host}/` }, 'tls'],
    ['another host’s', { url: `https://${safe.host}/`, tls: { ...tls, server_name: 'other.example.com' } }, 'tls'],
    ['no TLS there at all', { url: `https://${plain.host}/`, tls }, 'tls'],
    ['all that with an HTTP check', { url: `https://${safe.host}/`, health: { path: '/' } }, 'tls']
  ]
  for (const [what, settings, reason] of table) t.same(await checked(settings), [reason, undefined], what)
})

t.test('what cannot even begin to connect is a failed check, with and without an HTTP check', async t => {
  const { host, connections } = await https(t, () => {})
  for (const health of [{}, { health: { path: '/' } }]) {
    const target = targetOf({ type: 'webhook', url: `https://${host}/`, ...health })
    // Settings that are refused when they are read: whatever else makes a connector throw has to end as this does.
    const broken = { ...target, settings: { ...target.settings, tls: { cert: 'no certificate' } } }
    const options = { timeoutMs: 5_000, now: testNow, signal: new AbortController().signal }
    t.match(await check(broken, options), { kind: 'failed', reason: 'tls' })
  }
  t.equal(connections(), 0)
})

t.test('a certificate that need not be verified is not', async t => {
  const { host } = await https(t, () => {})
  t.equal(await checked({ url: `https://${host}/`, tls: { insecure_skip_verify: true } }), 'reachable')
})

t.test('a handshake or an answer that never comes ends in a timeout, and its connection is closed', async t => {
  const mute = await tcp(t)
  const timeoutMs = 60
  t.same(await checked({ url: `https://${mute.host}/` }, { timeoutMs }), ['timeout', undefined])
  t.same(await checked({ url: `http://${mute.host}/`, health: { path: '/' } }, { timeoutMs }), ['timeout', undefined])
  await mute.left()
  t.equal(mute.connections(), 2)
})

t.test('a check that is broken off ends at once, and its connection is closed', async t => {
  const mute = await tcp(t)
  const broken = new AbortController()
  const ended = checked({ url: `https://${mute.host}/` }, { signal: broken.signal })
  broken.abort()
  await ended
  await mute.left()
  await checked({ url: `https://${mute.host}/` }, { signal: AbortSignal.abort() })
  await mute.left()
  t.ok(mute.connections() <= 1)
})

t.test('an address that the egress rules forbid is never connected to', async t => {
  const { host, connections } = await http(t, () => {})
  const guarded = createCheck(egress(['127.0.0.0/8', '::1/128'], []), 'alert-fanout/test')
  for (const url of [`http://${host}/`, `http://localhost:${host.split(':')[1]}/`]) {
    for (const health of [{}, { health: { path: '/' } }]) {
      const target = targetOf({ type: 'webhook', url, ...health })
      const failed = await guarded(target, { timeoutMs: 5_000, now: testNow, signal: new AbortController().signal })
      t.match(failed, { reason: 'blocked_address' })
    }
  }
  t.equal(connections(), 0)
})

t.test('an HTTP check takes any answer below 500, and says why it does not take another', async t => {
  const { host } = await http(t, (request, response) => {
    response.writeHead(Number(request.url!.slice(1)), { location: '/500' }).end('a body')
  })
  const reachable = [200, 204, 301, 302, 307, 400, 401, 403, 404, 405, 410, 429]
  for (const status of reachable)
    t.equal(await checked({ url: `http://${host}/`, health: { path: `/${status}` } }), 'reachable', `${status}`)
  for (const status of [500, 502, 503, 504])
    t.same(await checked({ url: `http://${host}/`, health: { path: `/${status}` } }), ['server_error', status])
})

t.test('an HTTP check that expects certain answers takes no others', async t => {
  const { host } = await http(t, (request, response) => {
    response.writeHead(Number(request.url!.slice(1))).end()
  })
  const table: [number, string | [ErrorReason, number]][] = [
    [204, 'reachable'],
    [503, 'reachable'],
    [200, ['rejected', 200]],
    [401, ['auth', 401]],
    [404, ['not_found', 404]],
    [302, ['client_error', 302]],
    [500, ['server_error', 500]]
  ]
  for (const [status, result] of table) {
    const settings = { url: `http://${host}/`, health: { path: `/${status}`, expect: [204, 503] } }
    t.same(await checked(settings), result, `${status}`)
  }
})

t.test(
  'an HTTP check sends the target’s own headers and credentials, by the method and to the path that it names',
  async t => {
    const seen: object[] = []
    const { host } = await http(t, (request, response) => {
      const { 'user-agent': agent, authorization, 'x-team': team, 'x-key': apiKey } = request.headers
      seen.push([request.method, request.url, agent, authorization, team, apiKey])
      response.end()
    })
    const url = `http://${host}/hook?token=1`
    const headers = { 'X-Team': 'ops' }
    const settings: object[] = [
      { url, headers, health: { path: '/-/healthy' }, auth: { type: 'bearer', token: 'abc' } },
      { url, health: { path: '/up?deep=1', method: 'HEAD' }, auth: { type: 'basic', username: 'u', password: 'p' } },
      { url, health: { path: '/with space', method: 'POST' }, auth: { type: 'api_key', header: 'X-Key', value: 'k' } }
    ]
    for (const one of settings) t.equal(await checked(one), 'reachable')
    const agent = 'alert-fanout/test'
    t.same(seen, [
      ['GET', '/-/healthy', agent, 'Bearer abc', 'ops', undefined],
      ['HEAD', '/up?deep=1', agent, 'Basic dTpw', undefined, undefined],
      ['POST', '/with%20space', agent, undefined, undefined, 'k']
    ])
  }
)

t.test('an HTTP check of a target that wants signatures is signed', async t => {
  let seen: object = {}
  const { host } = await http(t, (request, response) => {
    seen = Object.fromEntries(Object.entries(request.headers).filter(([name]) => name.startsWith('webhook-')))
    response.end()
  })
  const auth = { type: 'hmac', secret: 'whsec_ZXhhbXBsZS1zaWduaW5nLXNlY3JldA==' }
  t.equal(await checked({ url: `http://${host}/`, health: { path: '/' }, auth }), 'reachable')
  t.match(seen, {
    'webhook-id': `health-${testNow}`,
    'webhook-timestamp': `${testNow / 1000}`,
    'webhook-signature': /^v1,[A-Za-z0-9+/]{43}=$/
  })
})

t.test('an answer whose body never ends, and one that is no HTTP, are told by what came', async t => {
  const endless = await http(t, (_, response) => void response.writeHead(200).write('and so on'))
  t.equal(await checked({ url: `http://${endless.host}/`, health: { path: '/' } }), 'reachable')
  await endless.left()
  const odd = await serve(
    t,
    createTcpServer(socket => void socket.end('SSH-2.0-OpenSSH_9.9\r\n'))
  )
  t.same(await checked({ url: `http://${odd.host}/`, health: { path: '/' } }), ['connection', undefined])
})

t.test('a cluster of Alertmanagers is reachable while one of its peers is', async t => {
  const up = await http(t, (_, response) => void response.writeHead(200).end())
  const down = await http(t, (_, response) => void response.writeHead(503).end())
  const mute = await tcp(t)
  const [no, never] = [`http://${await closedPort(t)}`, `http://${await closedPort(t)}`]
  const pair = (...urls: string[]) => ({ type: 'alertmanager', urls })
  const health = { path: '/-/healthy' }
  t.equal(await checked(pair(no, `http://${up.host}/am`)), 'reachable')
  t.same(await checked(pair(no, never)), ['connection', undefined])
  t.equal(await checked({ ...pair(`http://${down.host}`, `http://${up.host}`), health }), 'reachable')
  t.same(await checked({ ...pair(`http://${down.host}`, no), health }), ['server_error', 503])
  // The answer of one is not kept waiting for the other, whose connection is given up.
  t.equal(
    await checked({ ...pair(`http://${mute.host}`, `http://${up.host}`), health }, { timeoutMs: 60_000 }),
    'reachable'
  )
  await mute.left()
})

t.test('vendors’ endpoints, which refuse an anonymous GET, are reachable', async t => {
  for (const status of [401, 404, 405]) {
    const { host } = await http(t, (request, response) => {
      response.writeHead(request.method === 'POST' ? 202 : status).end()
    })
    const url = `http://${host}`
    const auth = { type: 'bearer', token: 'abc' }
    const vendors: object[] = [
      { type: 'slack', url: `${url}/services/T/B/x` },
      { type: 'slack', url, token: 'xoxb', channel: 'C1' },
      { type: 'pagerduty', url, routing_key: 'a'.repeat(32) },
      { type: 'rootly', url, auth },
      { type: 'rootly', url, auth, api: 'alerts' }
    ]
    for (const vendor of vendors) {
      t.equal(await checked(vendor), 'reachable', `${status}, connect only`)
      t.equal(await checked({ ...vendor, health: { path: '/' } }), 'reachable', `${status}, asked`)
    }
  }
})
