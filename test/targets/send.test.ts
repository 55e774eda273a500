import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import type { Failure, WireAnswer, WireRequest } from '../../src/targets/contract.js'
import { egress } from '../../src/targets/egress.js'
import { createSender, type Sender, type SendOptions } from '../../src/targets/send.js'
import type { Target } from '../../src/targets/target.js'
import { targetOf } from '../support/drive.js'
import { until } from '../support/looks.js'
import { type Receiver, receive, receiveRaw, unusedPort } from '../support/receiver.js'

const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
const key = pem('server.key')
const cert = pem('server.crt')

const secretPath = '/hooks/TOPSECRET-path'
const options: SendOptions = { timeoutMs: 20_000, deliveryKey: 'key-1', now: 1_700_000_000_000 }

/** A sender whose exchanges can be awaited; one that ended twice would fail the test. */
function openSender(t: Test, rules = egress([], [])) {
  const sender: Sender = createSender(rules, 'alert-fanout/test')
  t.teardown(() => sender.close(true))
  const send = (target: Target, request: WireRequest, options: SendOptions) =>
    new Promise<WireAnswer | Failure>(resolve => {
      let ends = 0
      const exchanged = (result: WireAnswer | Failure) => {
        t.equal(++ends, 1, 'ends once')
        resolve(result)
      }
      sender.send(target, request, options, { exchanged })
    })
  return { ...sender, send }
}

function hook(settings: object = {}): Target {
  return targetOf({ type: 'webhook', url: 'https://hooks.test/', ...settings })
}

function post(origin: string, more: Partial<WireRequest> = {}): WireRequest {
  const headers = { 'content-type': 'application/json' }
  return { method: 'POST', origin, path: secretPath, headers, body: '{"a":1}', ...more }
}

/** One exchange with a sender of its own, and what it came to. */
async function exchange(t: Test, origin: string, settings: object = {}, more: Partial<SendOptions> = {}) {
  return openSender(t).send(hook(settings), post(origin), { ...options, ...more })
}

/** A failure without its wording, having made sure that it tells nothing it must not. */
function told(t: Test, result: WireAnswer | Failure): Partial<Failure> {
  t.notMatch(JSON.stringify(result) + inspect(result, { depth: 9, showHidden: true }), /TOPSECRET|127\.0\.0\.1|hooks/)
  if (!('kind' in result)) return { message: `answered ${result.statusCode}` }
  const { kind: _, ...rest } = result
  return rest
}

t.test('a request arrives as it was written, with what every request carries', async t => {
  const receiver = await receive(t)
  await openSender(t).send(hook(), post(receiver.origin), { ...options, traceparent: '00-trace-01' })
  const [{ method, url, headers, body }] = receiver.received as [Receiver['received'][0]]
  t.strictSame(
    { method, url, body: body.toString(), headers },
    {
      method: 'POST',
      url: secretPath,
      body: '{"a":1}',
      headers: {
        host: `127.0.0.1:${receiver.port}`,
        connection: 'keep-alive',
        'content-length': '7',
        'content-type': 'application/json',
        'idempotency-key': 'key-1',
        traceparent: '00-trace-01',
        'user-agent': 'alert-fanout/test'
      }
    }
  )
})

t.test('a body of bytes arrives byte for byte, and no body as none', async t => {
  const receiver = await receive(t)
  const sender = openSender(t)
  const bytes = Buffer.from([0, 255, 128, 10])
  await sender.send(hook(), post(receiver.origin, { method: 'PUT', body: bytes }), options)
  await sender.send(hook(), post(receiver.origin, { method: 'GET', body: undefined, headers: {} }), options)
  t.strictSame(
    receiver.received.map(({ method, body }) => [method, body]),
    [
      ['PUT', bytes],
      ['GET', Buffer.alloc(0)]
    ]
  )
  t.notOk(receiver.received[1]!.headers['content-type'])
})

for (const status of [200, 201, 202, 204, 400, 401, 403, 404, 408, 410, 413, 418, 425, 429, 500, 503, 599]) {
  t.test(`an answer of ${status} comes back as it is`, async t => {
    const receiver = await receive(t, response => {
      response.writeHead(status, { 'Retry-After': '7', 'X-Twice': ['a', 'b'] }).end(status === 204 ? '' : 'why')
    })
    t.match(await exchange(t, receiver.origin), {
      statusCode: status,
      headers: { 'retry-after': '7', 'x-twice': ['a', 'b'] },
      body: status === 204 ? '' : 'why'
    })
  })
}

for (const status of [301, 302, 303, 307, 308]) {
  t.test(`a redirect by ${status} is an answer, and is not followed`, async t => {
    const elsewhere = await receive(t)
    const receiver = await receive(t, response => response.writeHead(status, { location: elsewhere.origin }).end())
    t.match(await exchange(t, receiver.origin), { statusCode: status })
    t.equal(elsewhere.connections(), 0)
  })
}

t.test('early hints are not the answer', async t => {
  const receiver = await receive(t, response =>
    response.writeEarlyHints({ link: '</a>; rel=preload' }, () => response.end('ok'))
  )
  t.match(await exchange(t, receiver.origin), { statusCode: 200, body: 'ok' })
})

t.test('a target that does not answer in time may have got it', async t => {
  let givenUp = false
  const receiver = await receive(t, response => void response.once('close', () => (givenUp = true)))
  t.strictSame(told(t, await exchange(t, receiver.origin, {}, { timeoutMs: 50 })), {
    type: 'transient',
    reason: 'timeout',
    message: 'Webhook did not answer in time',
    mayHave: true
  })
  await until('the connection is given up', () => givenUp)
})

t.test('a target that never finishes the TLS handshake has got nothing', async t => {
  const { port } = await receiveRaw(t, () => {})
  t.match(told(t, await exchange(t, `https://127.0.0.1:${port}`, {}, { timeoutMs: 50 })), {
    reason: 'timeout',
    mayHave: false
  })
})

t.test('a request whose turn at the target does not come in time has not been sent', async t => {
  const receiver = await receive(t, () => {})
  const [sender, target] = [openSender(t), hook({ max_concurrent: 1 })]
  const first = sender.send(target, post(receiver.origin), { ...options, timeoutMs: 100 })
  t.match(told(t, await sender.send(target, post(receiver.origin), { ...options, timeoutMs: 50 })), {
    reason: 'timeout',
    mayHave: false
  })
  t.match(await first, { reason: 'timeout', mayHave: true })
  t.equal(receiver.received.length, 1)
})

t.test('with no time left, nothing is sent', async t => {
  const receiver = await receive(t)
  for (const timeoutMs of [0, -5]) {
    t.match(told(t, await exchange(t, receiver.origin, {}, { timeoutMs })), { reason: 'timeout', mayHave: false })
  }
  t.equal(receiver.connections(), 0)
})

t.test('a status counts although its body never ends', async t => {
  let givenUp = false
  const receiver = await receive(t, response => {
    response.once('close', () => (givenUp = true))
    response.writeHead(202).write('so far')
  })
  t.match(await exchange(t, receiver.origin, {}, { timeoutMs: 100 }), { statusCode: 202, body: 'so far' })
  await until('the connection is given up', () => givenUp)
})

t.test('a status counts although its body breaks off', async t => {
  const receiver = await receive(t, response => {
    response.writeHead(400, { 'content-length': 100 }).write('so far', () => response.socket?.destroy())
  })
  t.match(await exchange(t, receiver.origin), { statusCode: 400, body: /^(so far)?$/ })
})

t.test('a long answer is read to its end, and kept to 64 KiB', async t => {
  const receiver = await receive(t, response => response.end('x'.repeat(200_000)))
  const [sender, target] = [openSender(t), hook()]
  for (let round = 0; round < 5; round++) {
    const answer = (await sender.send(target, post(receiver.origin), options)) as WireAnswer
    t.strictSame([answer.statusCode, answer.body.length], [200, 65_536])
  }
  t.ok(receiver.connections() <= 2)
})

t.test('an endless answer is cut off', async t => {
  let givenUp = false
  const receiver = await receive(t, response => {
    const pour = () => {
      while (!response.destroyed && response.write('x'.repeat(10_000)));
      response.once('drain', pour)
    }
    pour()
    response.once('close', () => (givenUp = true))
  })
  const answer = (await exchange(t, receiver.origin)) as WireAnswer
  t.strictSame([answer.statusCode, answer.body.length], [200, 65_536])
  await until('the connection is given up', () => givenUp)
})

t.test('a character that comes in two pieces stays one', async t => {
  const bytes = Buffer.from('a😀b')
  const receiver = await receive(t, response => {
    response.write(bytes.subarray(0, 3))
    setImmediate(() => response.end(bytes.subarray(3)))
  })
  t.match(await exchange(t, receiver.origin), { body: 'a😀b' })
})

t.test('a refused connection has brought nothing', async t => {
  t.strictSame(told(t, await exchange(t, `http://127.0.0.1:${await unusedPort()}`)), {
    type: 'transient',
    reason: 'connection',
    message: 'Webhook refused or broke the connection',
    mayHave: false
  })
})

t.test('a connection reset instead of an answer may have brought it', async t => {
  const receiver = await receive(t, response => (response.socket as import('node:net').Socket).resetAndDestroy())
  t.match(told(t, await exchange(t, receiver.origin)), { type: 'transient', reason: 'connection', mayHave: true })
})

t.test('a connection closed instead of an answer may have brought it', async t => {
  const receiver = await receive(t, response => response.socket?.destroy())
  t.match(told(t, await exchange(t, receiver.origin)), { type: 'transient', reason: 'connection', mayHave: true })
})

for (const [what, talk] of [
  ['something else than HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['headers without end', `HTTP/1.1 200 OK\r\n${'X-Long: abcdefghij\r\n'.repeat(2_000)}`]
] as const) {
  t.test(`a target that answers ${what} may have got it`, async t => {
    const { origin } = await receiveRaw(t, socket => socket.once('data', () => socket.write(talk)))
    t.match(told(t, await exchange(t, origin)), { type: 'transient', reason: 'connection', mayHave: true })
  })
}

t.test('a host name that does not exist has brought nothing', async t => {
  t.strictSame(told(t, await exchange(t, 'http://nowhere.invalid')), {
    type: 'transient',
    reason: 'dns',
    message: 'Webhook has a host name that could not be resolved',
    mayHave: false
  })
})

const failedHandshake = {
  type: 'transient',
  reason: 'tls',
  message: 'Webhook failed the TLS handshake',
  mayHave: false
}

t.test('a certificate that nobody vouches for is refused', async t => {
  const receiver = await receive(t, undefined, { key, cert })
  t.strictSame(told(t, await exchange(t, receiver.origin)), failedHandshake)
  t.equal(receiver.received.length, 0)
})

t.test('a certificate of another host is refused', async t => {
  const receiver = await receive(t, undefined, { key, cert: pem('other.crt') })
  t.strictSame(told(t, await exchange(t, receiver.origin, { tls: { ca: pem('other.crt') } })), failedHandshake)
})

t.test('an expired certificate is refused', async t => {
  const receiver = await receive(t, undefined, { key, cert: pem('expired.crt') })
  t.strictSame(told(t, await exchange(t, receiver.origin, { tls: { ca: pem('expired.crt') } })), failedHandshake)
})

t.test('a client certificate that cannot be used is a failed handshake, time after time', async t => {
  const receiver = await receive(t, undefined, { key, cert })
  const target = hook({ max_concurrent: 1 })
  // Settings that are refused when they are read: whatever else makes a connector throw has to end as this does.
  const broken = { ...target, settings: { ...target.settings, tls: { cert: 'TOPSECRET' } } }
  const sender = openSender(t)
  for (let times = 0; times < 3; times++)
    t.strictSame(told(t, await sender.send(broken, post(receiver.origin), options)), failedHandshake)
})

t.test('plain HTTP where TLS was expected is a failed handshake', async t => {
  const { port } = await receive(t)
  t.strictSame(told(t, await exchange(t, `https://127.0.0.1:${port}`)), failedHandshake)
})

t.test('TLS where plain HTTP was expected is a broken connection', async t => {
  const { port } = await receive(t, undefined, { key, cert })
  t.match(told(t, await exchange(t, `http://127.0.0.1:${port}`)), { reason: 'connection' })
})

t.test('a certificate authority of one’s own is trusted, for just that target', async t => {
  const receiver = await receive(t, undefined, { key, cert })
  const sender = openSender(t)
  t.match(await sender.send(hook({ tls: { ca: cert } }), post(receiver.origin), options), { statusCode: 200 })
  t.match(await sender.send(hook(), post(receiver.origin), options), { reason: 'tls' })
})

t.test('server_name is the name that the certificate must have', async t => {
  const ca = pem('other.crt')
  const receiver = await receive(t, undefined, { key, cert: ca })
  t.match(await exchange(t, receiver.origin, { tls: { ca, server_name: 'other.test' } }), { statusCode: 200 })
})

t.test('insecure_skip_verify takes any certificate', async t => {
  const receiver = await receive(t, undefined, { key, cert: pem('expired.crt') })
  t.match(await exchange(t, receiver.origin, { tls: { insecure_skip_verify: true } }), { statusCode: 200 })
})

t.test('a client certificate is shown to a target that asks for one', async t => {
  const receiver = await receive(t, undefined, { key, cert, ca: cert, requestCert: true, rejectUnauthorized: true })
  t.match(await exchange(t, receiver.origin, { tls: { ca: cert, cert, key } }), { statusCode: 200 })
  t.match(told(t, await exchange(t, receiver.origin, { tls: { ca: cert } })), { type: 'transient' })
  t.equal(receiver.received.length, 1)
})

t.test('an address that egress forbids is not connected to', async t => {
  const receiver = await receive(t)
  const sender = openSender(t, egress(['127.0.0.0/8', '::1/128'], []))
  for (const host of ['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '[::1]']) {
    const { origin } = new URL(`http://${host}:${receiver.port}`)
    t.strictSame(told(t, await sender.send(hook(), post(origin), options)), {
      type: 'permanent',
      reason: 'blocked_address',
      message: 'Webhook has an address that EGRESS_DENY forbids',
      mayHave: false
    })
  }
  t.equal(receiver.connections(), 0)
})

t.test('the connection goes to the address that was checked, whatever the name says next', async t => {
  const receiver = await receive(t)
  const answers = ['127.0.0.1', '169.254.169.254']
  const rules = egress(['169.254.0.0/16'], [], (_name, _options, callback) =>
    callback(null, [{ address: answers.shift()!, family: 4 }])
  )
  const result = await openSender(t, rules).send(hook(), post(`http://rebinding.test:${receiver.port}`), options)
  t.match(result, { statusCode: 200 })
  t.strictSame(answers, ['169.254.169.254'])
})

t.test('a target’s requests share its connections, at most as many as it allows', async t => {
  const receiver = await receive(t, response => setImmediate(() => response.end('ok')))
  const [sender, target] = [openSender(t), hook({ max_concurrent: 2 })]
  for (let round = 0; round < 5; round++) await sender.send(target, post(receiver.origin), options)
  const all = await Promise.all(Array.from({ length: 20 }, () => sender.send(target, post(receiver.origin), options)))
  t.ok(all.every(result => 'statusCode' in result && result.statusCode === 200))
  t.equal(receiver.connections(), 2)
})

t.test('targets at one address do not share connections', async t => {
  const receiver = await receive(t)
  const sender = openSender(t)
  await sender.send(hook({ name: 'a' }), post(receiver.origin), options)
  await sender.send(hook({ name: 'b' }), post(receiver.origin), options)
  t.equal(receiver.connections(), 2)
})

t.test('a retired target’s running exchange ends well, then its connections close', async t => {
  let answer = () => {}
  const receiver = await receive(t, response => (answer = () => response.end('ok')))
  const [sender, target] = [openSender(t), hook()]
  const running = sender.send(target, post(receiver.origin), options)
  await until('the request has come', () => receiver.received.length === 1)
  const retired = sender.retire(target)
  answer()
  t.match(await running, { statusCode: 200 })
  await retired
  await until('its connections are closed', () => receiver.open() === 0)
})

t.test('what a delivery still has to send to a retired target is sent, and leaves no connection', async t => {
  const receiver = await receive(t)
  const [sender, target] = [openSender(t), hook()]
  await sender.send(target, post(receiver.origin), options)
  await sender.retire(target)
  t.match(await sender.send(target, post(receiver.origin), options), { statusCode: 200 })
  await until('its connections are closed', () => receiver.open() === 0)
})

t.test('retiring a target that nothing was sent to is harmless', async t => {
  await t.resolves(openSender(t).retire(hook()))
})

t.test('closing now cancels what runs, which may have arrived, and what waits, which has not', async t => {
  const receiver = await receive(t, () => {})
  const [sender, target] = [openSender(t), hook({ max_concurrent: 1 })]
  const running = sender.send(target, post(receiver.origin), options)
  const waiting = sender.send(target, post(receiver.origin), options)
  await until('the request has come', () => receiver.received.length === 1)
  await sender.close(true)
  t.match(told(t, await running), { type: 'transient', reason: 'cancelled', mayHave: true })
  t.strictSame(told(t, await waiting), {
    type: 'transient',
    reason: 'cancelled',
    message: 'Webhook was not reached: the attempt was cancelled',
    mayHave: false
  })
})

t.test('closing lets what runs end; what comes later is cancelled', async t => {
  let answer = () => {}
  const receiver = await receive(t, response => (answer = () => response.end('ok')))
  const [sender, target] = [openSender(t), hook()]
  const running = sender.send(target, post(receiver.origin), options)
  await until('the request has come', () => receiver.received.length === 1)
  const closed = sender.close(false)
  t.match(told(t, await sender.send(target, post(receiver.origin), options)), { reason: 'cancelled', mayHave: false })
  answer()
  t.match(await running, { statusCode: 200 })
  await closed
  t.equal(receiver.received.length, 1)
})

for (const [auth, name, value] of [
  [{ type: 'bearer', token: 'TOPSECRET-token' }, 'authorization', 'Bearer TOPSECRET-token'],
  [
    { type: 'basic', username: 'ops', password: 'TOPSECRET:ü' },
    'authorization',
    `Basic ${Buffer.from('ops:TOPSECRET:ü').toString('base64')}`
  ],
  [{ type: 'api_key', header: 'X-Api-Key', value: 'TOPSECRET-key' }, 'x-api-key', 'TOPSECRET-key']
] as const) {
  t.test(`auth ${auth.type} is sent as ${name}`, async t => {
    const receiver = await receive(t, response => response.writeHead(401).end())
    await exchange(t, receiver.origin, { auth })
    t.equal(receiver.received[0]!.headers[name], value)
    const refused = await exchange(t, `http://127.0.0.1:${await unusedPort()}`, { auth })
    told(t, refused)
  })
}

// https://github.com/standard-webhooks/standard-webhooks, the vector that its libraries test `sign` with.
const vector = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  now: 1_614_265_330_000,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
}

t.test('auth hmac signs as the Standard Webhooks test vector says', async t => {
  const receiver = await receive(t)
  const target = hook({ auth: { type: 'hmac', secret: vector.secret } })
  const { now, id: deliveryKey, body } = vector
  await openSender(t).send(target, post(receiver.origin, { body }), { ...options, now: now + 999, deliveryKey })
  t.match(receiver.received[0]!.headers, {
    'webhook-id': vector.id,
    'webhook-timestamp': '1614265330',
    'webhook-signature': vector.signature,
    'idempotency-key': vector.id
  })
})

t.test('a receiver’s Standard Webhooks library takes what is signed, and nothing that was changed', async t => {
  const receiver = await receive(t)
  const body = Buffer.from(JSON.stringify({ text: 'ü😀' }))
  const target = hook({ auth: { type: 'hmac', secret: vector.secret } })
  await openSender(t).send(target, post(receiver.origin, { body }), { ...options, now: Date.now() })
  const [{ headers, body: got }] = receiver.received as [Receiver['received'][0]]
  const webhook = new Webhook(vector.secret)
  t.strictSame(webhook.verify(got, headers as Record<string, string>), { text: 'ü😀' })
  t.throws(() => webhook.verify(`${got} `, headers as Record<string, string>))
})

t.test('a secret without the whsec_ prefix is used as it is', async t => {
  const receiver = await receive(t)
  const target = hook({ auth: { type: 'hmac', secret: 'plain text' } })
  await openSender(t).send(target, post(receiver.origin), { ...options, now: Date.now() })
  const [{ headers, body }] = receiver.received as [Receiver['received'][0]]
  t.strictSame(new Webhook('plain text', { format: 'raw' }).verify(body, headers as Record<string, string>), { a: 1 })
})

t.test('while secrets rotate, receivers with the old one and with the new one take it', async t => {
  const receiver = await receive(t)
  const old = 'whsec_b2xkIHNlY3JldA=='
  const target = hook({ auth: { type: 'hmac', secret: vector.secret, previous_secret: old } })
  await openSender(t).send(target, post(receiver.origin), { ...options, now: Date.now() })
  const [{ headers, body }] = receiver.received as [Receiver['received'][0]]
  for (const secret of [vector.secret, old]) {
    t.strictSame(new Webhook(secret).verify(body, headers as Record<string, string>), { a: 1 })
  }
  t.match(headers['webhook-signature'], /^v1,\S{44} v1,\S{44}$/)
})

t.test('no body at all is signed as an empty one', async t => {
  const receiver = await receive(t)
  const target = hook({ auth: { type: 'hmac', secret: vector.secret } })
  const request = post(receiver.origin, { method: 'GET', body: undefined })
  await openSender(t).send(target, request, { ...options, now: Date.now() })
  const { headers } = receiver.received[0]!
  t.doesNotThrow(() => new Webhook(vector.secret).verify('', headers as Record<string, string>))
})

t.test('a target’s own headers are sent, and win over those that would be', async t => {
  const receiver = await receive(t)
  const headers = {
    'X-Team': 'ops é',
    'User-Agent': 'mine/1',
    'Content-Type': 'application/vnd.mine+json',
    Authorization: 'Mine TOPSECRET'
  }
  await exchange(t, receiver.origin, { headers, auth: { type: 'bearer', token: 'other' } })
  const { rawHeaders } = receiver.received[0]!
  const sent = rawHeaders.flatMap((name, index) => (index % 2 ? [] : [[name.toLowerCase(), rawHeaders[index + 1]]]))
  t.strictSame(sent.filter(([name]) => !/^(host|connection|content-length)$/.test(name!)).sort(), [
    ['authorization', 'Mine TOPSECRET'],
    ['content-type', 'application/vnd.mine+json'],
    ['idempotency-key', 'key-1'],
    ['user-agent', 'mine/1'],
    ['x-team', 'ops é']
  ])
})

/** What the only request had under these names, however they were spelt: each header as often as it was sent. */
const sentAs = ({ received }: Receiver, ...names: string[]) =>
  received[0]!.rawHeaders.flatMap((name, index, all) =>
    index % 2 === 0 && names.includes(name.toLowerCase()) ? [[name, all[index + 1]]] : []
  )

t.test(
  'an API key takes the place of a header that would be sent anyway, and the target’s own that of the key',
  async t => {
    for (const header of ['USER-AGENT', 'Content-type', 'Idempotency-key', 'TraceParent']) {
      const auth = { type: 'api_key', header, value: 'TOPSECRET-key' }
      const [keyed, own] = [await receive(t), await receive(t)]
      await exchange(t, keyed.origin, { auth }, { traceparent: '00-trace-01' })
      t.strictSame(sentAs(keyed, header.toLowerCase()), [[header, 'TOPSECRET-key']])
      await exchange(
        t,
        own.origin,
        { auth, headers: { [header.toLowerCase()]: 'mine' } },
        { traceparent: '00-trace-01' }
      )
      t.strictSame(sentAs(own, header.toLowerCase()), [[header.toLowerCase(), 'mine']])
    }
  }
)

t.test('a target’s own headers win over those of a signature', async t => {
  const receiver = await receive(t)
  const headers = { 'Webhook-Id': 'mine', 'WEBHOOK-TIMESTAMP': '1' }
  await exchange(t, receiver.origin, { headers, auth: { type: 'hmac', secret: vector.secret } })
  t.match(sentAs(receiver, 'webhook-id', 'webhook-timestamp', 'webhook-signature').sort(), [
    ['WEBHOOK-TIMESTAMP', '1'],
    ['Webhook-Id', 'mine'],
    ['webhook-signature', /^v1,/]
  ])
})

t.test('a request that cannot be written is a failure, not a crash', async t => {
  const receiver = await receive(t)
  const broken = post(receiver.origin, { headers: { 'x-bad': 'TOPSECRET\n' } })
  const result = await openSender(t).send(hook(), broken, options)
  t.match(told(t, result), { type: 'unknown', reason: 'internal', mayHave: false })
  t.equal(receiver.received.length, 0)
})
